#!/bin/sh
# Installs the plugin, the command and the agent. It restarts no server. Run again it brings everything to this version.
#   ./install.sh [--prefix DIRECTORY] [--plugin-dir DIRECTORY]
# The prefix is /usr/local if not given; the server is asked for its plugin directory. Files go below $DESTDIR.
set -eu
umask 022

fail() { printf 'install.sh: error: %s\n' "$1" >&2; [ -z "${2-}" ] || printf 'hint: %s\n' "$2" >&2; exit 1; }

here=$(cd "$(dirname "$0")" && pwd)
prefix=/usr/local
plugins=
root=${DESTDIR-}
usage() {
  cat <<EOF
Usage: install.sh [--prefix DIRECTORY] [--plugin-dir DIRECTORY]

Installs the plugin, the command mariadb-aws-kms and the agent. It restarts no server. Run again, it brings everything to
this version.

Options:
  --prefix DIRECTORY      place of everything but the plugin (default: /usr/local)
  --plugin-dir DIRECTORY  the server's plugin directory (default: the server is asked)
  -h, --help              print this
EOF
}

while [ $# -gt 0 ]; do
  case $1 in -h | --help) usage; exit 0 ;; esac
  case $1 in --prefix | --plugin-dir) [ $# -ge 2 ] || fail "$1 needs a value" ;; esac
  case $1 in
    --prefix) prefix=$2 ;;
    --plugin-dir) plugins=$2 ;;
    *) fail "unknown option $1" 'the options are --prefix, --plugin-dir and --help' ;;
  esac
  shift 2
done

plugin_directory() {
  for server in mariadbd /usr/sbin/mariadbd /usr/libexec/mariadbd /usr/local/mysql/bin/mariadbd; do
    command -v "$server" >/dev/null || continue
    # Without the option files where they name a plugin that is not there yet.
    for defaults in '' --no-defaults; do
      # shellcheck disable=SC2086
      found=$("$server" $defaults --user=mysql --verbose --help 2>/dev/null | sed -n 's/^plugin-dir  *//p')
      if [ -n "$found" ]; then printf '%s\n' "${found%/}"; return; fi
    done
  done
}

[ -n "$plugins" ] || plugins=$(plugin_directory)
[ -n "$plugins" ] || fail 'no MariaDB server was found' \
  "name the directory that SELECT @@plugin_dir prints: --plugin-dir DIRECTORY"
case $prefix$plugins in *' '*) fail 'directories with spaces in their names are not supported' ;; esac
case $prefix in /*) ;; *) fail "--prefix: expected an absolute path, got $prefix" ;; esac
case $plugins in /*) ;; *) fail "--plugin-dir: expected an absolute path, got $plugins" ;; esac
"$here/files/bin/mariadb-aws-kms" --version >/dev/null ||
  fail 'the command does not run here' 'it needs libatomic1 and libstdc++6 (Red Hat: libatomic, libstdc++), and the architecture of this archive'

share=$prefix/share/mariadb-aws-kms
# systemd looks for units below these two prefixes alone.
case $prefix in /usr | /usr/local) units=$prefix/lib/systemd/system ;; *) units=/usr/local/lib/systemd/system ;; esac
manifest=$root$share/installed-files
files=$(cd "$here/files" && find . -type f | sed "s|^\./plugin/|$plugins/|; s|^\./lib/systemd/system/|$units/|; s|^\./|$prefix/|")
wanted=$(printf '%s\n' "$files" "$plugins/aws_key_management_agent" "$share/uninstall.sh" "$share/installed-files" | sort)
before=
[ ! -e "$manifest" ] || before=$(cat "$manifest")
is_in() { printf '%s\n' "$2" | grep -qxF "$1"; }

for file in $wanted; do
  if [ -e "$root$file" ] || [ -L "$root$file" ]; then
    is_in "$file" "$before" || fail "$root$file was not installed by this script" 'remove the package or the copy that it is of, or move it away'
  fi
done
# The list comes first, so that an interrupted run can be repeated or undone.
mkdir -p "$root$share"
printf '%s\n' "$wanted" "$before" | sed '/^$/d' | sort -u >"$manifest.new"
mv -f "$manifest.new" "$manifest"

# A rename leaves a file that a running server or agent has open as it is.
put() { start "$2"; cp "$1" "$root$2.new"; finish "$2" "$3"; }
# Files that name others by their places in a package of a distribution.
put_text() {
  start "$2"
  sed "s|/usr/bin/mariadb-aws-kms|$prefix/bin/mariadb-aws-kms|g; s|/usr/share/mariadb-aws-kms|$share|g" "$1" >"$root$2.new"
  finish "$2" 644
}
start() { mkdir -p "$(dirname "$root$1")"; rm -f "$root$1.new"; }
finish() { chmod "$2" "$root$1.new"; mv -f "$root$1.new" "$root$1"; }
for file in $files; do
  case $file in
    "$plugins"/*) put "$here/files/plugin/${file##*/}" "$file" 644 ;;
    "$units"/*) put_text "$here/files/lib/systemd/system/${file##*/}" "$file" ;;
    "$share"/*) put_text "$here/files${file#"$prefix"}" "$file" ;;
    "$prefix/bin"/*) put "$here/files${file#"$prefix"}" "$file" 755 ;;
    *) put "$here/files${file#"$prefix"}" "$file" 644 ;;
  esac
done
put "$here/uninstall.sh" "$share/uninstall.sh" 755
ln -s "$prefix/bin/mariadb-aws-kms" "$root$plugins/aws_key_management_agent.new"
mv -f "$root$plugins/aws_key_management_agent.new" "$root$plugins/aws_key_management_agent"

for file in $before; do is_in "$file" "$wanted" || rm -f "$root$file"; done
printf '%s\n' "$wanted" >"$manifest.new"
mv -f "$manifest.new" "$manifest"

# The user of the separate agent. Whoever does not use that needs no rights of it.
if [ -z "$root" ] && [ "$(id -u)" -eq 0 ]; then
  getent group mariadb-aws-kms >/dev/null || groupadd -r mariadb-aws-kms
  getent passwd mariadb-aws-kms >/dev/null ||
    useradd -r -g mariadb-aws-kms -d /nonexistent -M -s /usr/sbin/nologin -c 'agent of aws_key_management' mariadb-aws-kms
  if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    systemctl try-restart mariadb-aws-kms-agent.service || :
  fi
fi
printf 'installed: %s/bin/mariadb-aws-kms, and the plugin in %s. ' "$prefix" "$plugins"
# A server that is set up already goes on with the plugin that it has loaded.
if [ -z "$root" ] && sh "$share/removal-warnings" --is-configured; then
  printf 'Next: mariadb-aws-kms doctor, then restart the server: it has its plugin in memory until then\n'
else
  printf 'Next: mariadb-aws-kms init\n'
fi
