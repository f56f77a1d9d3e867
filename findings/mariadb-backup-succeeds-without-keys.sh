#!/bin/sh
# MariaDB 10.11.19 (Debian 12): mariadb-backup succeeds although its encryption plugin did not start.
#
# Expected:  mariadb-backup loads the server's key plugin to copy encrypted tables. Where the plugin does not start, the backup ends
#            with an error, as --prepare of the same backup does.
# Happens:   Two [ERROR] lines stand among more than a hundred others; then come "completed OK!" and status 0.
# Seen:      backup: status 0, 2 errors of the plugin, "completed OK!"; prepare without keys: status 1
# Matters:   A key file may be there for the start of the server only, on a medium that is unmounted afterwards. A job that looks at
#            the status or the last line never learns that the backup was made without a key, until the day of the restore.
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
apt-get -q download "mariadb-server=$version" "mariadb-server-core=$version" "mariadb-client-core=$version" \
  "mariadb-backup=$version" liburing2 libaio1 libnuma1 libedit2 libbsd0 libmd0 >log 2>&1 || { cat log; exit 1; }
for package in *.deb; do dpkg-deb -x "$package" tree; done
libraries=$(echo "$directory"/tree/usr/lib/*-linux-gnu)
tree=$directory/tree/usr
user=$(id -un)
run() { LD_LIBRARY_PATH=$libraries "$@"; }
sql() { run "$tree/bin/mariadb" --no-defaults --user="$user" --socket="$directory/socket" -N -B -e "$1"; }

mkdir data
{
  echo 'CREATE DATABASE mysql;'
  echo 'USE mysql;'
  cat "$tree/share/mysql/mysql_system_tables.sql" "$tree/share/mysql/mysql_system_tables_data.sql"
  echo "REPLACE INTO mysql.global_priv VALUES ('localhost', '$user', '{\"access\":18446744073709551615,\"plugin\":\"unix_socket\"}');"
} | run "$tree/sbin/mariadbd" --no-defaults --bootstrap --user="$user" --datadir="$directory/data" \
  --lc-messages-dir="$tree/share/mysql" --innodb-log-file-size=16M >log 2>&1 || { tail log; exit 1; }
printf '1;%s\n' "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" >keys
LD_LIBRARY_PATH=$libraries "$tree/sbin/mariadbd" --no-defaults --user="$user" --datadir="$directory/data" \
  --lc-messages-dir="$tree/share/mysql" --plugin-dir="$tree/lib/mysql/plugin" --plugin-load-add=file_key_management \
  --file-key-management-filename="$directory/keys" --skip-networking --socket="$directory/socket" \
  --pid-file="$directory/pid" --innodb-log-file-size=16M >>log 2>&1 &
server=$!
tries=0
until sql 'SELECT 1' >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || { tail log; exit 1; }
  sleep 1
done
sql 'CREATE DATABASE d; CREATE TABLE d.t (a INT) ENCRYPTED=YES; INSERT INTO d.t VALUES (1)'

mkdir unmounted
mv keys unmounted
backup=0
run "$tree/bin/mariadb-backup" --no-defaults --backup --user="$user" --socket="$directory/socket" \
  --datadir="$directory/data" --target-dir="$directory/copy" >backup.log 2>&1 || backup=$?
errors=$(grep -c "\[ERROR\] Plugin 'file_key_management'" backup.log || :)
last=$(tail -n 1 backup.log | grep -o 'completed OK!' || :)
prepare=0
run "$tree/bin/mariadb-backup" --defaults-file="$directory/copy/backup-my.cnf" --prepare \
  --target-dir="$directory/copy" >prepare.log 2>&1 || prepare=$?
printf 'backup: status %s, %s errors of the plugin, "%s"; prepare without keys: status %s\n' \
  "$backup" "$errors" "$last" "$prepare"
[ "$backup $errors $last $prepare" = '0 2 completed OK! 1' ]
