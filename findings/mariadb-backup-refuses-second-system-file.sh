#!/bin/sh
# MariaDB 10.11.19 (Debian 12): mariadb-backup calls a sound ibdata2 corrupted once the first page of that file is encrypted.
#
# Expected:  An encrypted system tablespace of two files (innodb_data_file_path) is copied as one of one file is, with every
#            innodb_checksum_algorithm that the server takes.
# Happens:   With innodb_checksum_algorithm=crc32 the backup tries page 0 of ibdata2 ten times and ends with an error. While that page
#            is unused it succeeds, and with full_crc32 afterwards, too. The restarted server reads the table without an error.
# Seen:      crc32:      empty: status 0; encrypted: status 1, page 0 of ibdata2; restarted: 10000 rows, CHECK TABLE: OK, errors 0
#            full_crc32: empty: status 0; encrypted: status 0; restarted: 10000 rows, CHECK TABLE: OK, errors 0
# Matters:   A backup that worked until then fails when the data reaches the second file, and its message sends people to look for a
#            broken disk. innodb_checksum_algorithm=full_crc32, the default, writes pages that it accepts.
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
stop() { kill "$server"; wait "$server" || :; server=; }
files='ibdata1:12M;ibdata2:12M:autoextend'
printf '1;%s\n' "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" >keys

# Starts a new server with the checksums $1.
start() {
  rm -rf data
  mkdir data
  {
    echo 'CREATE DATABASE mysql;'
    echo 'USE mysql;'
    cat "$tree/share/mysql/mysql_system_tables.sql" "$tree/share/mysql/mysql_system_tables_data.sql"
    echo "REPLACE INTO mysql.global_priv VALUES ('localhost', '$user', '{\"access\":18446744073709551615,\"plugin\":\"unix_socket\"}');"
  } | run "$tree/sbin/mariadbd" --no-defaults --bootstrap --user="$user" --datadir="$directory/data" \
    --lc-messages-dir="$tree/share/mysql" --innodb-log-file-size=16M --innodb-data-file-path="$files" \
    --innodb-checksum-algorithm="$1" >log 2>&1 || { tail log; exit 1; }
  LD_LIBRARY_PATH=$libraries "$tree/sbin/mariadbd" --no-defaults --user="$user" --datadir="$directory/data" \
    --lc-messages-dir="$tree/share/mysql" --plugin-dir="$tree/lib/mysql/plugin" --plugin-load-add=file_key_management \
    --file-key-management-filename="$directory/keys" --skip-networking --socket="$directory/socket" \
    --pid-file="$directory/pid" --innodb-log-file-size=16M --innodb-data-file-path="$files" --innodb-file-per-table=OFF \
    --innodb-checksum-algorithm="$1" --innodb-encrypt-tables=ON --innodb-encryption-threads=1 >>log 2>&1 &
  server=$!
  tries=0
  until sql 'SELECT 1' >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 30 ] || { tail log; exit 1; }
    sleep 1
  done
}
backup() {
  status=0
  rm -rf copy
  run "$tree/bin/mariadb-backup" --no-defaults --backup --user="$user" --socket="$directory/socket" \
    --datadir="$directory/data" --target-dir="$directory/copy" >backup.log 2>&1 || status=$?
  printf 'status %s' "$status"
  page=$(sed -n 's/.*Database page corruption detected at page \([0-9]*\),.*/\1/p' backup.log | sort -u)
  ! grep -q 'File .*ibdata2 seems to be corrupted' backup.log || printf ', page %s of ibdata2' "$page"
}
# Byte $1 of page 0 of ibdata2 ends the key version: bytes 26 to 29, 0 to 3 with full_crc32.
is_written() {
  [ "$(od -An -tu1 -j"$1" -N1 data/ibdata2 | tr -d ' ')" = 1 ] &&
    [ "$(sql "SHOW STATUS LIKE 'Innodb_buffer_pool_pages_dirty'" | cut -f2)" = 0 ]
}
# Checksums $1, with the end of the key version at byte $2.
look() {
  start "$1"
  empty=$(backup)
  sql 'CREATE DATABASE d; CREATE TABLE d.t (i INT PRIMARY KEY, s VARCHAR(2000)) ENGINE=InnoDB;
    INSERT INTO d.t SELECT seq, REPEAT("a", 1500) FROM d.seq_1_to_10000;
    SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0; SET GLOBAL innodb_max_dirty_pages_pct = 0'
  tries=0
  until is_written "$2"; do
    tries=$((tries + 1))
    [ "$tries" -lt 30 ] || { echo 'the pages were not written'; exit 1; }
    sleep 1
  done
  encrypted=$(backup)
  stop
  LD_LIBRARY_PATH=$libraries "$tree/sbin/mariadbd" --no-defaults --user="$user" --datadir="$directory/data" \
    --lc-messages-dir="$tree/share/mysql" --plugin-dir="$tree/lib/mysql/plugin" --plugin-load-add=file_key_management \
    --file-key-management-filename="$directory/keys" --skip-networking --socket="$directory/socket" \
    --pid-file="$directory/pid" --innodb-data-file-path="$files" >log 2>&1 &
  server=$!
  tries=0
  until rows=$(sql 'SELECT COUNT(*) FROM d.t' 2>/dev/null); do
    tries=$((tries + 1))
    [ "$tries" -lt 30 ] || { tail log; exit 1; }
    sleep 1
  done
  checked=$(sql 'CHECK TABLE d.t' | cut -f4)
  stop
  errors=$(grep -c -i 'corrupt\|\[ERROR\] InnoDB' log || :)
  seen="empty: $empty; encrypted: $encrypted; restarted: $rows rows, CHECK TABLE: $checked, errors $errors"
}
look crc32 29
crc32=$seen
look full_crc32 3
full_crc32=$seen
printf 'crc32:      %s\nfull_crc32: %s\n' "$crc32" "$full_crc32"
end='restarted: 10000 rows, CHECK TABLE: OK, errors 0'
[ "$crc32" = "empty: status 0; encrypted: status 1, page 0 of ibdata2; $end" ]
[ "$full_crc32" = "empty: status 0; encrypted: status 0; $end" ]
