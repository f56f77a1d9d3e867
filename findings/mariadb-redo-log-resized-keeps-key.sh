#!/bin/sh
# MariaDB 10.11.19 (Debian 12): a redo log that is resized online is a new file under the old key version.
#
# Expected:  SET GLOBAL innodb_log_file_size writes a whole new ib_logfile0 and replaces the old one. As with a restart under
#            another size, the new file is encrypted with the latest key version.
# Happens:   The new file carries the old file's key version on. Only a restart with another size takes the latest one.
# Seen:      at first: 1; latest version 5, resized online from 96 to 64 MiB: still 1; restarted with 48 MiB: 5
# Matters:   The header of the redo log names the key version without which the server does not start. Whoever resizes the log
#            online to get rid of a retired version, and sees a fresh file of the new size, loses the server with that key.
# Needs:     Debian 12 (apt-get download works there), ldd's libraries of the Debian packages named below.
set -eu
version=1:10.11.19-0+deb12u1
directory=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null || :; wait "$server" 2>/dev/null || :; }
  rm -rf "$directory"
}
trap finish EXIT
trap 'exit 1' INT TERM
cd "$directory"
apt-get -q download "mariadb-server-core=$version" "mariadb-client-core=$version" "mariadb-test=$version" \
  liburing2 libaio1 libnuma1 libedit2 libbsd0 libmd0 >log 2>&1 || { cat log; exit 1; }
for package in *.deb; do dpkg-deb -x "$package" tree; done
libraries=$(echo "$directory"/tree/usr/lib/*-linux-gnu)
tree=$directory/tree/usr
user=$(id -un)
run() { LD_LIBRARY_PATH=$libraries "$@"; }
sql() { run "$tree/bin/mariadb" --no-defaults --socket="$directory/socket" -N -B -e "$1"; }

mkdir data
{
  echo 'CREATE DATABASE mysql;'
  echo 'USE mysql;'
  cat "$tree/share/mysql/mysql_system_tables.sql"
} | run "$tree/sbin/mariadbd" --no-defaults --bootstrap --user="$user" --datadir="$directory/data" \
  --lc-messages-dir="$tree/share/mysql" --innodb-log-file-size=96M >log 2>&1 || { tail log; exit 1; }
start() {
  LD_LIBRARY_PATH=$libraries "$tree/sbin/mariadbd" --no-defaults --user="$user" --datadir="$directory/data" \
    --lc-messages-dir="$tree/share/mysql" --plugin-dir="$tree/lib/mysql/plugin" \
    --plugin-load-add=debug_key_management --plugin-maturity=experimental --skip-networking --skip-grant-tables \
    --socket="$directory/socket" --pid-file="$directory/pid" --innodb-encrypt-log=ON "$@" >>log 2>&1 &
  server=$!
  tries=0
  until sql 'SELECT 1' >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || { tail log; exit 1; }
    sleep 1
  done
}
stop() { kill "$server"; wait "$server" || :; server=; }
# Bytes 52 to 55 of the header, big-endian: the key version. The size of the file, in MiB.
version_of_log() { od -An -tu1 -j55 -N1 data/ib_logfile0 | tr -d ' '; }
size_of_log() { echo $(($(wc -c <data/ib_logfile0) / 1048576)); }

start --innodb-log-file-size=96M
first=$(version_of_log)
sql 'SET GLOBAL debug_key_management_version = 5; SET GLOBAL innodb_log_file_size = 67108864'
tries=0
until [ "$(size_of_log)" = 64 ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || { echo 'the log was not resized'; exit 1; }
  sleep 1
done
online=$(version_of_log)
stop
start --innodb-log-file-size=48M --debug-key-management-version=5
restarted=$(version_of_log)
printf 'at first: %s; latest version 5, resized online to 64 MiB: %s; restarted with 48 MiB: %s\n' \
  "$first" "$online" "$restarted"
[ "$first $online $restarted" = '1 1 5' ]
