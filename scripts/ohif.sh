#!/bin/sh
# Fetches the static build of the OHIF viewer that the tests open our results in, into build/.
set -eu
version=3.13.2
integrity="sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
root=$(cd "$(dirname "$0")/.." && pwd)
target="$root/build/ohif-$version"
[ ! -e "$target/index.html" ] || exit 0
PATH="$PATH:$root/.venv/bin"
if ! command -v npm >/dev/null 2>&1; then
  echo "test-viewers: no npm to fetch OHIF with; its tests are skipped with that reason"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "test-viewers: fetching OHIF $version"
if ! (cd "$work" && npm pack --silent --fetch-retries 1 --fetch-timeout 120000 "@ohif/app@$version" >/dev/null); then
  echo "test-viewers: OHIF could not be fetched; its tests are skipped with that reason"
  exit 0
fi
archive=$(ls "$work"/*.tgz)
found="sha512-$(openssl dgst -sha512 -binary "$archive" | base64 | tr -d '\n')"
if [ "$found" != "$integrity" ]; then
  echo "test-viewers: the archive of OHIF $version is not the one that is known: $found" >&2
  exit 1
fi
tar -xzf "$archive" -C "$work" package/dist
mkdir -p "$root/build"
rm -rf "$target"
mv "$work/package/dist" "$target"
