#!/bin/sh
# Brings a Debian machine to where this checkout can be run: apt packages, npm packages, the build.
#   scripts/setup.sh build|demo|test|suite|bench|debian-13|package|reproducible|roots
#   scripts/setup.sh integration: only the apt packages that the integration tests need
# Installs what is missing and nothing else; no package of it starts a service or changes an installed MariaDB.
set -eu
cd "$(dirname "$0")/.."

fail() { printf 'setup: error: %s\n' "$1" >&2; [ -z "${2-}" ] || printf 'hint: %s\n' "$2" >&2; exit 1; }
say() { printf 'setup: %s\n' "$1" >&2; }

# A file that shows that a package is there, and the package. Files, because a MariaDB of another source (MariaDB's own
# repository, say) brings the same files in packages of other names.
wanted_for_build='
/usr/bin/gcc gcc
/usr/include/stdio.h libc6-dev
/usr/bin/make make
/usr/bin/strip binutils
/usr/include/mariadb/server/mysql/plugin_encryption.h libmariadbd-dev
'
wanted_for_demo="$wanted_for_build
/usr/sbin/mariadbd mariadb-server-core
/usr/bin/mariadb-install-db mariadb-server-core
/usr/bin/mariadb mariadb-client-core
"
wanted_for_integration='
/usr/bin/mariadb-backup mariadb-backup
/usr/bin/aws awscli
/usr/bin/openssl openssl
/usr/bin/python3 python3
/usr/bin/strace strace
/usr/bin/valgrind valgrind
/usr/bin/ss iproute2
/usr/lib/galera/libgalera_smm.so galera-4
/usr/bin/rsync rsync
/usr/bin/socat socat
/usr/bin/lsof lsof
/usr/bin/ps procps
'
wanted_for_test='
/usr/bin/clang clang
/usr/bin/groff groff-base
/usr/bin/mandoc mandoc
/usr/bin/shellcheck shellcheck
'
wanted_for_debian_13='
/usr/sbin/debootstrap debootstrap
'
wanted_for_roots='
/usr/sbin/ip iproute2
'

wanted_for_suite='
/usr/bin/perl perl
/usr/bin/patch patch
/usr/bin/openssl openssl
/usr/bin/mariadb-backup mariadb-backup
'
wanted_for_package="$wanted_for_build
/usr/bin/dpkg-buildpackage dpkg-dev
/usr/bin/dh debhelper
/usr/bin/lintian lintian
/usr/bin/rpmbuild rpm
/usr/bin/shellcheck shellcheck
/usr/bin/xz xz-utils
/usr/bin/systemd-analyze systemd
/usr/bin/apt-ftparchive apt-utils
/usr/bin/gpg gpg
"
# MariaDB's own tests. Their package would bring a server with a service, so that they are unpacked and not installed,
# unless they are there.
suite_packages='mariadb-test mariadb-test-data mariadb-client mariadb-server'
suite=build/mariadb-test

wanted_for_bench='
/usr/include/openssl/ssl.h libssl-dev
/usr/bin/openssl openssl
/usr/bin/sysbench sysbench
/usr/bin/strace strace
/usr/bin/perf linux-perf
/usr/bin/time time
'
# Key plugins and programs to compare with; their packages, too, would bring a server with a service.
bench_packages='mariadb-server mariadb-client mariadb-test mariadb-plugin-hashicorp-key-management'
bench=build/bench-plugins

missing=
collect() {
  # shellcheck disable=SC2086
  set -- $1
  while [ $# -gt 0 ]; do
    [ -e "$1" ] || case " $missing " in *" $2 "*) ;; *) missing="$missing $2" ;; esac
    shift 2
  done
}

case ${1-} in
  build) collect "$wanted_for_build" ;;
  demo) collect "$wanted_for_demo" ;;
  test)
    collect "$wanted_for_demo$wanted_for_integration$wanted_for_test$wanted_for_suite"
    # libFuzzer; its folder differs by version.
    ls /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a >/dev/null 2>&1 || missing="$missing libclang-rt-dev"
    ;;
  suite) collect "$wanted_for_demo$wanted_for_suite" ;;
  bench) collect "$wanted_for_demo$wanted_for_bench" ;;
  debian-13) collect "$wanted_for_demo$wanted_for_debian_13" ;;
  integration) collect "$wanted_for_demo$wanted_for_integration" ;;
  package) collect "$wanted_for_package" ;;
  reproducible) collect "$wanted_for_package
/usr/bin/faketime faketime" ;;
  roots) collect "$wanted_for_package$wanted_for_debian_13$wanted_for_roots" ;;
  *) fail "expected build, demo, test, suite, bench, debian-13, package, reproducible, roots or integration, got '${1-}'" ;;
esac
# Node's binary and MariaDB's test client need these; their folder differs by architecture.
[ "$1" != bench ] || ls /usr/lib/*/libcurl.so.4 >/dev/null 2>&1 || missing="$missing libcurl4"
ls /usr/lib/*/libatomic.so.1 >/dev/null 2>&1 || missing="$missing libatomic1"
case $1 in test|suite) ls /usr/lib/*/libpcre2-posix.so.3 >/dev/null 2>&1 || missing="$missing libpcre2-posix3" ;; esac

if [ -n "$missing" ]; then
  say "missing, to be installed with apt-get:$missing"
  command -v apt-get >/dev/null || fail 'this machine has no apt-get' "install by other means what the packages named above bring (Debian's names)"
  as_root=
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail 'installing packages needs root, and there is no sudo' "as root: apt-get install$missing"
    as_root=sudo
    sudo -v || fail 'installing packages needs root, and sudo does not let you' "as root: apt-get install$missing"
  fi
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  # One broken repository must not matter as long as the packages can be had.
  $as_root apt-get update >"$log" 2>&1 || { tail -n 3 "$log" >&2; say 'apt-get update had errors (see above); trying with what it could get'; }
  # shellcheck disable=SC2086
  apt-get --simulate --no-install-recommends --no-remove install $missing >"$log" 2>&1 \
    || { tail -n 15 "$log" >&2; fail "apt cannot install$missing" 'see above what stands in the way'; }
  # "Inst name [old version] (new version …)" is an upgrade.
  if grep -E '^(Remv|Inst [^ ]*(mariadb|mysql|galera)[^ ]* \[)' "$log" >&2; then
    fail 'installing the packages would change the MariaDB that is installed (see above)' \
      "bring it up to date first, at a time of your choosing: apt-get install$missing"
  fi
  # shellcheck disable=SC2086
  $as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
    apt-get -y -q --no-install-recommends --no-remove install $missing >"$log" 2>&1 \
    || { tail -n 15 "$log" >&2; fail "apt-get could not install$missing"; }
fi

[ "$1" != integration ] || exit 0

# Packages that are unpacked into a directory of the build and not installed: unpack DIRECTORY PACKAGES.
unpack() {
  say "to be unpacked into $1: $2"
  fresh=$PWD/$1.$$
  mkdir -p "$fresh/packages"
  trap 'rm -rf "$fresh"; rm -f "${log-}"' EXIT
  # shellcheck disable=SC2086
  download() { (cd "$fresh/packages" && apt-get -q download $1) >"$fresh/log" 2>&1; }
  # The package lists of a fresh container are empty, others may be old.
  if ! download "$2"; then
    if [ "$(id -u)" -eq 0 ]; then apt-get -q update; else sudo apt-get -q update; fi >"$fresh/log" 2>&1 || :
    download "$2" || { tail -n 5 "$fresh/log" >&2; fail "cannot get $2" 'see above what apt-get says'; }
  fi
  for package in "$fresh"/packages/*.deb; do dpkg-deb -x "$package" "$fresh/tree"; done
  mv "$fresh/tree" "$1"
  rm -rf "$fresh"
}

case $1 in
  test|suite) [ -e /usr/bin/mariadb-test ] || [ -e "$suite" ] || unpack "$suite" "$suite_packages" ;;
  bench)
    for plugin in file_key_management example_key_management hashicorp_key_management; do
      [ -e "$bench" ] || ls /usr/lib*/m*/plugin/$plugin.so >/dev/null 2>&1 || unpack "$bench" "$bench_packages"
    done
    ;;
esac

if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  say 'installing the npm packages of package-lock.json'
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2 || fail 'npm ci failed'
  touch node_modules/.package-lock.json
fi
# The packages of both architectures have a command "node". npm 9 removes the one that does not fit, and the link with it.
if [ ! -e node_modules/.bin/node ]; then
  for binary in node_modules/node-linux-*/bin/node; do
    [ ! -x "$binary" ] || { mkdir -p node_modules/.bin; ln -sf "../${binary#node_modules/}" node_modules/.bin/node; }
  done
fi
node_modules/.bin/node -e '' 2>/dev/null || fail "the pinned Node.js does not run here: $(node_modules/.bin/node -e '' 2>&1 | head -n 1)"

say 'building the plugin and the agent'
node_modules/.bin/node scripts/build.ts >&2 || fail 'the build failed'
