#!/bin/sh
# Fetches the static build of the OHIF viewer that the tests open our results in, into build/.
# Usage: ohif.sh BIN, the bin folder of the virtual environment, which may hold npm
set -eu
version=3.13.2
integrity="sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
bin=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
target="$root/build/ohif-$version"
[ ! -e "$target/index.html" ] || exit 0
PATH="$PATH:$bin"
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
digest='import base64, hashlib, pathlib, sys
print(base64.b64encode(hashlib.sha512(pathlib.Path(sys.argv[1]).read_bytes()).digest()).decode())'
found="sha512-$("$bin/python" -c "$digest" "$archive")"
if [ "$found" != "$integrity" ]; then
  echo "test-viewers: the archive of OHIF $version is not the one that is known: $found" >&2
  exit 1
fi
tar -xzf "$archive" -C "$work" package/dist
mkdir -p "$root/build"
rm -rf "$target"
mv "$work/package/dist" "$target"
