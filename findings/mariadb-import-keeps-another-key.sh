#!/bin/sh
# MariaDB 10.11.19 (Debian 12): after IMPORT TABLESPACE the table's definition names another encryption key than its data has.
#
# Expected:  A table made with ENCRYPTION_KEY_ID=3 holds data under key 3, also after IMPORT TABLESPACE: the import rewrites every page
#            anyway, or refuses a file under another key, as it refuses another ROW_FORMAT.
# Happens:   The import succeeds without a warning and keeps the key that page 0 of the file names. SHOW CREATE TABLE goes on saying 3,
#            or ENCRYPTED=NO, for data under key 2; INNODB_TABLESPACES_ENCRYPTION alone says 2. After a restart, too.
# Seen:      definition -> view: ENCRYPTION_KEY_ID=3 -> key 2, scheme 1; ENCRYPTED=NO -> key 2, scheme 1; no warning
# Matters:   Key ids that are in use cannot be read from table definitions or from a dump. Whoever retires key 2 because no definition
#            names it loses the table; whoever looks for tables in clear by ENCRYPTED=NO reports one that is encrypted.
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
apt-get -q download "mariadb-server-core=$version" "mariadb-client-core=$version" \
  "mariadb-server=$version" liburing2 libaio1 libnuma1 libedit2 libbsd0 libmd0 >log 2>&1 || { cat log; exit 1; }
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
for id in 1 2 3; do echo "$id;000102030405060708090a0b0c0d0e0$id"; done >keys
start() {
  LD_LIBRARY_PATH=$libraries "$tree/sbin/mariadbd" --no-defaults --user="$user" --datadir="$directory/data" \
    --lc-messages-dir="$tree/share/mysql" --plugin-dir="$tree/lib/mysql/plugin" --plugin-load-add=file_key_management \
    --file-key-management-filename="$directory/keys" --skip-networking --skip-grant-tables --socket="$directory/socket" \
    --pid-file="$directory/pid" >log 2>&1 &
  server=$!
  tries=0
  until sql 'SELECT 1' >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || { tail log; exit 1; }
    sleep 1
  done
}
start
sql 'CREATE DATABASE d; CREATE TABLE d.origin (a INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=2;
     INSERT INTO d.origin VALUES (42);
     CREATE TABLE d.three (a INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3; ALTER TABLE d.three DISCARD TABLESPACE;
     CREATE TABLE d.clear (a INT) ENGINE=InnoDB ENCRYPTED=NO; ALTER TABLE d.clear DISCARD TABLESPACE'
# The lock of FOR EXPORT ends with its connection.
run "$tree/bin/mariadb" --no-defaults --socket="$directory/socket" -N -B <<END
FLUSH TABLES d.origin FOR EXPORT;
\! cp data/d/origin.ibd data/d/three.ibd
\! cp data/d/origin.cfg data/d/three.cfg
\! cp data/d/origin.ibd data/d/clear.ibd
\! cp data/d/origin.cfg data/d/clear.cfg
UNLOCK TABLES;
END
warnings=$(sql 'ALTER TABLE d.three IMPORT TABLESPACE; SHOW WARNINGS; ALTER TABLE d.clear IMPORT TABLESPACE; SHOW WARNINGS')
kill "$server"
wait "$server" || :
start
definition() { sql "SHOW CREATE TABLE d.$1" | tr -d "\`'" | grep -o -E 'ENCRYPTED=NO|ENCRYPTION_KEY_ID=[0-9]+'; }
view() {
  sql "SELECT CONCAT('key ', CURRENT_KEY_ID, ', scheme ', ENCRYPTION_SCHEME) FROM information_schema.INNODB_TABLESPACES_ENCRYPTION
       WHERE NAME = 'd/$1'"
}
seen=
for table in three clear; do
  [ "$(sql "SELECT a FROM d.$table")" = 42 ]
  seen="$seen$(definition "$table") -> $(view "$table"); "
done
echo "definition -> view: $seen"
echo "warnings: '$warnings'"
[ "$seen" = 'ENCRYPTION_KEY_ID=3 -> key 2, scheme 1; ENCRYPTED=NO -> key 2, scheme 1; ' ]
[ -z "$warnings" ]
