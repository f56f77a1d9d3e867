#!/bin/sh
# MariaDB 10.11.19 (Debian 12): a table whose key is missing is said to be corrupted, with the advice to drop it.
#
# Expected:  A table under a key that the key file lacks fails with an error about the key, and its number.
# Happens:   SELECT and CHECK TABLE end with error 1877: the table is corrupted, and one should drop it and recreate it. The log
#            says "looks corrupted" and a key version, but no key. The file is whole: with the key back, every row is there.
# Seen:      without key 2: ERROR 1877, corrupted, advice to drop; CHECK TABLE: Corrupt; key named in the log: no
#            with key 2 again: 1000 rows, CHECK TABLE: OK
# Matters:   A key that was forgotten in a restore or on a new replica looks like a damaged disk, and whoever follows the server's
#            advice destroys intact data.
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
apt-get -q download "mariadb-server-core=$version" "mariadb-client-core=$version" "mariadb-server=$version" \
  liburing2 libaio1 libnuma1 libedit2 libbsd0 libmd0 >log 2>&1 || { cat log; exit 1; }
for package in *.deb; do dpkg-deb -x "$package" tree; done
libraries=$(echo "$directory"/tree/usr/lib/*-linux-gnu)
tree=$directory/tree/usr
user=$(id -un)
run() { LD_LIBRARY_PATH=$libraries "$@"; }
sql() { run "$tree/bin/mariadb" --no-defaults --socket="$directory/socket" -N -B -e "$1" 2>&1; }
mkdir data
{
  echo 'CREATE DATABASE mysql;'
  echo 'USE mysql;'
  cat "$tree/share/mysql/mysql_system_tables.sql"
} | run "$tree/sbin/mariadbd" --no-defaults --bootstrap --user="$user" --datadir="$directory/data" \
  --lc-messages-dir="$tree/share/mysql" >log 2>&1 || { tail log; exit 1; }
start() {
  LD_LIBRARY_PATH=$libraries "$tree/sbin/mariadbd" --no-defaults --user="$user" --datadir="$directory/data" \
    --lc-messages-dir="$tree/share/mysql" --plugin-dir="$tree/lib/mysql/plugin" --skip-networking --skip-grant-tables \
    --socket="$directory/socket" --pid-file="$directory/pid" "$@" >>log 2>&1 &
  server=$!
  tries=0
  until sql 'SELECT 1' >/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || { tail log; exit 1; }
    sleep 1
  done
}
stop() { kill "$server"; wait "$server" || :; server=; }

printf '1;00112233445566778899aabbccddeeff\n2;102132435465768798a9bacbdcedfe0f\n' >both
printf '1;00112233445566778899aabbccddeeff\n' >one
start_with() { start --plugin-load-add=file_key_management --file-key-management-filename="$directory/$1"; }
start_with both
sql "CREATE DATABASE d;
  CREATE TABLE d.t (i INT PRIMARY KEY) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=2;
  INSERT INTO d.t SELECT seq FROM d.seq_1_to_1000"
stop
: >log
start_with one
selected=$(sql 'SELECT COUNT(*) FROM d.t' || :)
checked=$(sql 'CHECK TABLE d.t' | tail -n 1 | cut -f4)
stop
named=no
grep -iq 'key[ _]*id\|key 2\|key number' log && named=yes
start_with both
rows=$(sql 'SELECT COUNT(*) FROM d.t')
again=$(sql 'CHECK TABLE d.t' | cut -f4)
printf 'without key 2: %s; CHECK TABLE: %s; key named in the log: %s\nwith key 2 again: %s rows, CHECK TABLE: %s\n' \
  "$(echo "$selected" | sed -n 's/ (HY000).*is corrupted. Please drop.*/, corrupted, advice to drop/p')" \
  "$checked" "$named" "$rows" "$again"
[ "$rows $again $checked $named" = '1000 OK Corrupt no' ]
echo "$selected" | grep -q 'ERROR 1877.*Please drop the table'
