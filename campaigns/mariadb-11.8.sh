#!/bin/sh
# The integration tests with MariaDB 11.8: in a Debian 13 root, with the plugin and the agent as they are in build/.
#   sh campaigns/mariadb-11.8.sh [FILE...]
# The root is made once, in build/debian-13. A run leaves no trace in it, nor in the checkout.
set -eu
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/.bin:$PATH"

fail() { printf 'mariadb-11.8: error: %s\n' "$1" >&2; exit 1; }
say() { printf 'mariadb-11.8: %s\n' "$1" >&2; }

[ "$(id -u)" -eq 0 ] || fail 'changing the root directory needs root'
[ -e build/plugin/aws_key_management.so ] || fail 'nothing is built: npm run build'

folder=$PWD/build/debian-13
root=$folder/root
# Changes of the tests to the root; on a disk, since a kill on tmpfs can tear a page beyond what InnoDB mends.
written=$folder/written.$$
fresh=
trap 'rm -rf "$written" ${fresh:+"$fresh"}' EXIT
trap 'exit 130' INT TERM HUP
# Leftovers of killed runs.
for left in "$folder"/written.*; do [ -e "/proc/${left##*.}" ] || rm -rf "$left"; done

# Runs a command of the root in this checkout, with the network and the apt configuration of this machine. The command
# ends with this script, and the mounts with the command, however they end. With a directory as the first argument, what
# the root gets written goes there, and what the checkout gets written vanishes.
enter() {
  setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child sh -euc '
    written=$1; root=$2; checkout=$PWD; modules=$(readlink -f node_modules); shift 2
    bind() {
      [ -e "$1" ] || return 0
      if [ -d "$1" ]; then mkdir -p "$root$1"; else mkdir -p "$root${1%/*}"; touch "$root$1"; fi
      mount --rbind "$(readlink -f "$1")" "$root$1"
    }
    overlay() {
      mkdir -p "$2" "$3" "$3.work"
      mount -t overlay overlay -o "lowerdir=$1,upperdir=$3,workdir=$3.work" "$2"
    }
    if [ "$written" = keep ]; then
      bind "$checkout"
    else
      mount -t tmpfs tmpfs /mnt
      overlay "$root" "$root" "$written/root"
      overlay "$checkout" "$root$checkout" /mnt/checkout
    fi
    bind "$modules"
    for path in /dev /sys /etc/hosts /etc/resolv.conf /etc/ssl/certs /usr/share/ca-certificates \
        /usr/local/share/ca-certificates /etc/apt/apt.conf.d /etc/apt/auth.conf /etc/apt/auth.conf.d; do
      bind "$path"
    done
    mount -t proc proc "$root/proc"
    exec chroot "$root" env --chdir="$checkout" "$@"
  ' sh "$@"
}

# Addresses from which this machine gets its own release, in the reading of apt.
archives() {
  codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  apt-get update --print-uris | sed -n "s#^'\(.*\)/dists/\($codename\|stable\|oldstable\)/main/binary-.*#\1#p" | sort -u
}

if [ ! -e "$root" ]; then
  uris=$(archives)
  [ -n "$uris" ] || fail "none of this machine's apt sources has \"main\" of its own release"
  mkdir -p "$folder"
  fresh=$(mktemp -d "$folder/fresh.XXXXXX")
  chmod 755 "$fresh"
  say "making a Debian 13 root in $root, once"
  eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
  export http_proxy="${http_proxy-}"
  debootstrap --variant=minbase --include=ca-certificates trixie "$fresh" "${uris%%
*}" >"$fresh.log" 2>&1 || { tail -n 5 "$fresh.log" >&2; fail 'debootstrap failed'; }
  for uri in $uris; do echo "deb $uri trixie main"; done >"$fresh/etc/apt/sources.list"
  mv "$fresh" "$root"
  rm "$fresh.log"
fi

enter keep "$root" sh scripts/setup.sh integration
# The plugin to compare with comes in a package that would bring a server with a service: it alone is unpacked.
[ -e "$root/usr/lib/mysql/plugin/file_key_management.so" ] || enter keep "$root" sh -euc '
  cd /var/tmp
  apt-get -q download mariadb-server
  dpkg-deb --fsys-tarfile mariadb-server_*.deb | tar -x -C / ./usr/lib/mysql/plugin/file_key_management.so
  rm mariadb-server_*.deb
'
enter keep "$root" mariadbd --version
enter "$written" "$root" vitest run --project integration "$@"
