#!/bin/sh
# npm 9.2.0 (Debian 12's): two optional packages, one for each architecture, declare the same command, and it is linked for neither.
#
# Expected:  Packages for x64 and for arm64 both declare the command "hello" in "bin". npm leaves out the one that is not for
#            this machine, installs the other and links its command as node_modules/.bin/hello.
# Happens:   npm 9.2.0 installs the right package and leaves node_modules/.bin without the command, with `npm install` and
#            with `npm ci`, in both orders of the two. npm 11.19.1 links it.
# Seen:      npm 9.2.0:   install: no link; ci: no link
#            npm 11.19.1: install: linked; ci: linked
# Matters:   Splitting a native program by architecture is common, and scripts of package.json find such a command by its
#            link alone. They fail on Debian 12, or run another program of that name that is in the PATH, and nothing says so
#            at the installation. Call the file in the package by its path.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
for version in 9.2.0 11.19.1; do
  mkdir "npm-$version"
  (cd "npm-$version" && npm init -y && npm install --silent --no-audit --no-fund "npm@$version") >/dev/null 2>&1
done
for cpu in x64 arm64; do
  mkdir "hello-$cpu"
  printf '#!/bin/sh\necho hello\n' >"hello-$cpu/hello"
  chmod +x "hello-$cpu/hello"
  echo '{"name":"hello-'$cpu'","version":"1.0.0","bin":{"hello":"hello"},"os":["linux"],"cpu":["'$cpu'"]}' \
    >"hello-$cpu/package.json"
  npm pack --silent "./hello-$cpu" >/dev/null
done

# What `npm $2` of version $1 makes of the command, in either order of the two packages.
link() {
  for order in 'arm64 x64' 'x64 arm64'; do
    rm -rf project/node_modules
    mkdir -p project
    set -- "$1" "$2" $order
    echo '{"name":"project","version":"1.0.0","optionalDependencies":{"hello-'$3'":"file:../hello-'$3'-1.0.0.tgz",
      "hello-'$4'":"file:../hello-'$4'-1.0.0.tgz"}}' >project/package.json
    [ "$2" = ci ] || rm -f project/package-lock.json
    (cd project && node "../npm-$1/node_modules/npm/bin/npm-cli.js" "$2" --silent --no-audit --no-fund) >/dev/null 2>&1
    [ -x project/node_modules/hello-x64/hello ] || [ -x project/node_modules/hello-arm64/hello ] || echo 'not installed '
    if [ -e project/node_modules/.bin/hello ]; then echo linked; else echo 'no link'; fi
  done | sort -u | tr '\n' ' ' | sed 's/ $//'
}
old="install: $(link 9.2.0 install); ci: $(link 9.2.0 ci)"
new="install: $(link 11.19.1 install); ci: $(link 11.19.1 ci)"
printf 'npm 9.2.0:   %s\nnpm 11.19.1: %s\n' "$old" "$new"
[ "$old" = 'install: no link; ci: no link' ]
[ "$new" = 'install: linked; ci: linked' ]
