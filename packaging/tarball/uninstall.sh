#!/bin/sh
# Removes the files that install.sh has installed, and nothing else: no key file, no option file, no user. It restarts no
# server.
#   uninstall.sh [--prefix DIRECTORY]
set -eu

fail() { printf 'uninstall.sh: error: %s\n' "$1" >&2; exit 1; }

prefix=/usr/local
root=${DESTDIR-}
case $#:${1-} in
  0:) ;;
  1:-h | 1:--help)
    cat <<EOF
Usage: uninstall.sh [--prefix DIRECTORY]

Removes the files that install.sh has installed, and nothing else: no key file, no option file, no user. It restarts no server.

Options:
  --prefix DIRECTORY  the prefix that install.sh was given (default: /usr/local)
  -h, --help          print this
EOF
    exit 0
    ;;
  2:--prefix) prefix=$2 ;;
  *) fail 'the options are --prefix DIRECTORY and --help' ;;
esac
share=$prefix/share/mariadb-aws-kms
manifest=$root$share/installed-files
[ -e "$manifest" ] || fail "$manifest does not exist: nothing is installed there"
files=$(cat "$manifest")

library=$(printf '%s\n' "$files" | grep '/aws_key_management\.so$')
sh "$root$share/removal-warnings" mariadb-aws-kms "$library" || :
if [ -z "$root" ] && [ -d /run/systemd/system ]; then
  systemctl --no-reload disable --now mariadb-aws-kms-agent.service >/dev/null 2>&1 || :
fi

# The list goes last, so that an interrupted run can be repeated.
for file in $files; do [ "$file" = "$share/installed-files" ] || rm -f "$root$file"; done
rm -f "$manifest"
if [ -z "$root" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi
printf '%s\n' "$files" | sed 's|/[^/]*$||' | sort -ru | while IFS= read -r directory; do
  case $directory in
    "$share"* | "$prefix/share/doc"/*) rmdir "$root$directory" 2>/dev/null || : ;;
  esac
done
printf 'removed: the plugin (%s), the command and the other files that install.sh installed below %s. ' "$library" "$prefix"
printf 'Key files, option files and the user mariadb-aws-kms stay\n'
