#!/bin/sh
# Installs the Debian packages that the tests judge our results with, and Pango for petct-train report --pdf; needs root, else says what will be skipped.
# Usage: system-packages.sh [viewers], the second for the tests that open a browser
set -eu
case "${1:-}" in
  "") packages="orthanc dcmtk dicom3tools libpixelmed-java default-jre-headless postgresql libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0" ;;
  viewers) packages="orthanc orthanc-dicomweb nginx-light chromium" ;;
  *) echo "usage: $0 [viewers]" >&2; exit 2 ;;
esac
missing=""
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
# Any Java will do for PixelMed, any PostgreSQL server for the database, any nginx for the viewers.
if command -v java >/dev/null 2>&1; then missing=$(printf '%s' "$missing" | sed 's/ default-jre-headless//'); fi
for server in /usr/lib/postgresql/*/bin/initdb; do
  if [ -x "$server" ]; then missing=$(printf '%s' "$missing" | sed 's/ postgresql//'); fi
done
if [ -x /usr/sbin/nginx ]; then missing=$(printf '%s' "$missing" | sed 's/ nginx-light//'); fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "setup: not installed (needs root and apt):$missing; what needs them says so, tests are skipped with that reason"
  exit 0
fi
echo "setup: installing Debian packages:$missing"
# A policy-rc.d that answers 101 keeps apt from starting daemons; an existing one is left alone.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get update -qq
# shellcheck disable=SC2086  # the list is meant to be split
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
