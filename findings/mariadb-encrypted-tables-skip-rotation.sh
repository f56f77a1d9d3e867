#!/bin/sh
# MariaDB 10.11.19 (Debian 12): with innodb_encrypt_tables=OFF no key rotation ever reaches a table made with ENCRYPTED=YES.
#
# Expected:  A table that was explicitly created with ENCRYPTED=YES is re-encrypted after a key rotation like any other,
#            once innodb_encryption_threads run and innodb_encryption_rotate_key_age allows it.
# Happens:   The encryption threads visit tables only by the global innodb_encrypt_tables, whose default is OFF. With OFF
#            the table stays under its first key version for ever, and INNODB_TABLESPACES_ENCRYPTION shows nothing under
#            way. The same table with innodb_encrypt_tables=ON moves within seconds.
# Seen:      innodb_encrypt_tables=OFF, key version 1 to 9, after 20 s: version 1 of 9, rotating 0
#            innodb_encrypt_tables=ON, same table:                      moved past version 1
# Matters:   Key version 1 is still needed after nine rotations, on a server whose settings look complete. Whoever retires it by
#            the calendar loses the table. ALTER TABLE ... FORCE moves such a table.
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
  --lc-messages-dir="$tree/share/mysql" >log 2>&1 || { tail log; exit 1; }
LD_LIBRARY_PATH=$libraries "$tree/sbin/mariadbd" --no-defaults --user="$user" --datadir="$directory/data" --lc-messages-dir="$tree/share/mysql" \
  --plugin-dir="$tree/lib/mysql/plugin" --plugin-load-add=debug_key_management --plugin-maturity=experimental \
  --skip-networking --skip-grant-tables --socket="$directory/socket" --pid-file="$directory/pid" \
  --innodb-encryption-threads=4 >log 2>&1 &
server=$!
tries=0
until sql 'SELECT 1' >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || { tail log; exit 1; }
  sleep 1
done

sql 'CREATE DATABASE d; CREATE TABLE d.secret (a VARCHAR(200)) ENGINE=InnoDB ENCRYPTED=YES;
     INSERT INTO d.secret VALUES ("precious")'
state() {
  sql 'SELECT CONCAT("version ", MIN_KEY_VERSION, " of ", CURRENT_KEY_VERSION, ", rotating ", ROTATING_OR_FLUSHING)
       FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE NAME = "d/secret"'
}
[ "$(sql 'SELECT @@innodb_encrypt_tables')" = OFF ]
for key_version in 2 3 4 5 6 7 8 9; do sql "SET GLOBAL debug_key_management_version = $key_version"; done
# Each look at the view wakes the threads.
for second in $(seq 20); do state >/dev/null; sleep 1; done
off=$(state)
sql 'SET GLOBAL innodb_encrypt_tables = ON'
on=$(state)
for second in $(seq 60); do
  on=$(state)
  case $on in 'version 1 '*) sleep 1 ;; *) break ;; esac
done
printf 'innodb_encrypt_tables=OFF: %s\ninnodb_encrypt_tables=ON:  %s\n' "$off" "$on"
[ "$off" = 'version 1 of 9, rotating 0' ]
case $on in 'version 1 '*) exit 1 ;; esac
