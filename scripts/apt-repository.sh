#!/bin/sh
# Makes a signed apt repository of the Debian packages, to be served by any web server or named as file: or copy:.
#   SIGNING_KEY=KEY sh scripts/apt-repository.sh REPOSITORY [PACKAGES]
# REPOSITORY: a directory, which is made; packages that it has stay, so that both architectures and older versions come
# together. PACKAGES: the directory of the new ones, build/packages. KEY: as for sign-packages.sh. Users then have
#   /etc/apt/keyrings/mariadb-aws-kms.asc              the key, which is in REPOSITORY
#   /etc/apt/sources.list.d/mariadb-aws-kms.list       deb [signed-by=/etc/apt/keyrings/mariadb-aws-kms.asc] URL stable main
set -eu
: "${SIGNING_KEY:?names the secret key of gpg that signs}"
packages=${2:-$(dirname "$0")/../build/packages}
architectures='amd64 arm64'

mkdir -p "$1/pool"
cp "$packages"/*.deb "$1/pool/"
cd "$1"
release=dists/stable
rm -rf "$release"
for architecture in $architectures; do
  index=$release/main/binary-$architecture
  mkdir -p "$index"
  apt-ftparchive --arch "$architecture" packages pool >"$index/Packages"
  xz --keep "$index/Packages"
done
# Not into the directory whose files it lists.
apt-ftparchive -o APT::FTPArchive::Release::Origin=mariadb-aws-kms -o APT::FTPArchive::Release::Suite=stable \
  -o APT::FTPArchive::Release::Codename=stable -o APT::FTPArchive::Release::Components=main \
  -o "APT::FTPArchive::Release::Architectures=$architectures" release "$release" >Release.new
gpg --batch --yes --local-user "$SIGNING_KEY" --output "$release/InRelease" --clearsign Release.new
rm Release.new
gpg --batch --yes --armor --output mariadb-aws-kms.asc --export "$SIGNING_KEY"
