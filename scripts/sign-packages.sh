#!/bin/sh
# Signs the checksums of the packages: writes SHA256SUMS.asc.
#   SIGNING_KEY=KEY sh scripts/sign-packages.sh [DIRECTORY]
# KEY: an id, fingerprint or address of a secret key that gpg has. DIRECTORY: build/packages.
set -eu
: "${SIGNING_KEY:?names the secret key of gpg that signs}"
cd "${1:-$(dirname "$0")/../build/packages}"

sha256sum --check --strict --quiet SHA256SUMS
gpg --batch --yes --local-user "$SIGNING_KEY" --armor --output SHA256SUMS.asc --detach-sign SHA256SUMS
gpg --batch --verify SHA256SUMS.asc SHA256SUMS
