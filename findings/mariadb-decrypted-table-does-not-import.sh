#!/bin/sh
# MariaDB 10.11.19 (Debian 12): a ROW_FORMAT=COMPRESSED table that InnoDB has decrypted does not import without the key.
#
# Expected:  After innodb_encrypt_tables=OFF, once every row of INNODB_TABLESPACES_ENCRYPTION is at version 0 and the server has
#            been restarted without its key plugin, an exported table is a plaintext file that IMPORT TABLESPACE accepts.
# Happens:   The encryption threads leave out free pages, which stay encrypted on disk. IMPORT TABLESPACE reads them, too, and
#            calls the file corrupted if it has the checksums of ROW_FORMAT=COMPRESSED. The server that reads the same table, and
#            CHECK TABLE, never ask for these pages. ROW_FORMAT=DYNAMIC imports.
# Seen:      every row at version 0; encrypted pages left: COMPRESSED 149, DYNAMIC 132; CHECK TABLE: OK OK
#            import of DYNAMIC:    100 rows
#            import of COMPRESSED: ERROR 1815, Data structure corruption
# Matters:   The error speaks of damage and names no key, and it comes in the place where the table is needed: at a restore, on
#            another server, perhaps after the key was destroyed. ALTER TABLE ... FORCE before the export cures it.
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
until_none() {
  tries=0
  until [ "$(sql "SELECT COUNT(*) FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE $1")" = 0 ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || { echo "still there: $1"; exit 1; }
    sleep 1
  done
}
# Encrypted pages of a table, by the key versions in the headers of its pages.
encrypted_pages() {
  od -An -v -tx1 -w"$2" "data/d/$1.ibd" | awk -v at="$3" '($at $(at + 1) $(at + 2) $(at + 3)) != "00000000"' | wc -l
}

echo '1;00112233445566778899aabbccddeeff' >keys
start --plugin-load-add=file_key_management --file-key-management-filename="$directory/keys" \
  --innodb-encrypt-tables=ON --innodb-encryption-threads=1
sql 'CREATE DATABASE d'
for format in DYNAMIC COMPRESSED; do
  sql "CREATE TABLE d.$format (i INT PRIMARY KEY, s VARCHAR(2000)) ENGINE=InnoDB ROW_FORMAT=$format;
    INSERT INTO d.$format SELECT seq, CONCAT(SHA2(seq, 512), SHA2(-seq, 512), SHA2(seq * 7.5, 512)) FROM d.seq_1_to_5000"
done
until_none "NAME LIKE 'd/%' AND (MIN_KEY_VERSION = 0 OR ROTATING_OR_FLUSHING <> 0)"
# The pages are written before they become free.
sql 'SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0; SET GLOBAL innodb_max_dirty_pages_pct = 0'
tries=0
until [ "$(sql "SHOW STATUS LIKE 'Innodb_buffer_pool_pages_dirty'" | cut -f2)" = 0 ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || { echo 'the pages were not written'; exit 1; }
  sleep 1
done
sql 'DELETE FROM d.DYNAMIC WHERE i > 100; DELETE FROM d.COMPRESSED WHERE i > 100; SET GLOBAL innodb_max_purge_lag_wait = 0'
sleep 5
sql 'SET GLOBAL innodb_encrypt_tables = OFF'
until_none 'MIN_KEY_VERSION <> 0 OR ROTATING_OR_FLUSHING <> 0'
stop
compressed=$(encrypted_pages COMPRESSED 8192 27)
dynamic=$(encrypted_pages DYNAMIC 16384 1)

start
checked=$(sql 'CHECK TABLE d.COMPRESSED, d.DYNAMIC' | cut -f4 | paste -s -d' ')
printf 'every row at version 0; encrypted pages left: COMPRESSED %s, DYNAMIC %s; CHECK TABLE: %s\n' \
  "$compressed" "$dynamic" "$checked"
for format in DYNAMIC COMPRESSED; do
  sql "CREATE TABLE d.two_$format LIKE d.$format; ALTER TABLE d.two_$format DISCARD TABLESPACE"
  printf '%s\n' "FLUSH TABLES d.$format FOR EXPORT;" "system cp data/d/$format.ibd data/d/two_$format.ibd" \
    "system cp data/d/$format.cfg data/d/two_$format.cfg" 'UNLOCK TABLES;' |
    run "$tree/bin/mariadb" --no-defaults --socket="$directory/socket"
done
imported=$(sql 'ALTER TABLE d.two_DYNAMIC IMPORT TABLESPACE; SELECT COUNT(*) FROM d.two_DYNAMIC')
refused=$(sql 'ALTER TABLE d.two_COMPRESSED IMPORT TABLESPACE' || :)
printf 'import of DYNAMIC:    %s rows\nimport of COMPRESSED: %s\n' "$imported" \
  "$(echo "$refused" | grep -o 'ERROR [0-9]*\|Data structure corruption' | paste -s -d, | sed 's/,/, /')"
[ "$checked" = 'OK OK' ] && [ "$imported" = 100 ] && [ "$compressed" -gt 0 ]
echo "$refused" | grep -q 'ERROR 1815.*Data structure corruption'
