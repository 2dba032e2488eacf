#!/usr/bin/env bash
# Installs the real peers that the tests talk to. Without root it says what is missing; tests that need it then skip by name.
set -euo pipefail
packages=(orthanc orthanc-dicomweb orthanc-webviewer dcmtk dicom3tools default-jre-headless libpixelmed-java redis-server postgresql faketime ghostscript chromium chromium-driver)

# the viewer OHIF, from its npm package (48 MB, once)
python3 "$(dirname "$0")/viewers/ohif_package.py" || echo "Going on without OHIF; the tests that need it are skipped by name."

# the OpenID provider oidc-provider, from its npm packages (4 MB, once)
python3 "$(dirname "$0")/admin/oidc_provider.py" || echo "Going on without oidc-provider; the tests that need it are skipped by name."

missing=()
for package in "${packages[@]}"; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "The full test run needs: ${missing[*]}"
    echo "Install them with: sudo apt-get install ${missing[*]}"
    echo "Going on without; the tests that need them are skipped by name."
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# a server that Debian starts by itself would take the ports and the files that the tests' own servers use
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
