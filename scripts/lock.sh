#!/bin/sh
# Writes into requirements.lock, beside each version, the hashes of all its files on PyPI: pip then installs nothing else.
# Usage: lock.sh PYTHON, after a version in requirements.lock has changed; `package==version` alone is enough of a new one.
set -eu
tools=build/lock
[ -x "$tools/bin/uv" ] || {
  "$1" -m venv "$tools" && "$tools/bin/pip" install -q --disable-pip-version-check 'uv==0.13.9'
}
sed -n 's/^\([^ #]*==[^ ]*\).*/\1/p' requirements.lock >"$tools/versions.in"
"$tools/bin/uv" pip compile -q --no-deps --generate-hashes --no-header --no-annotate --python-version 3.11 \
  --default-index https://pypi.org/simple -o "$tools/hashed.txt" "$tools/versions.in" >/dev/null
mv "$tools/hashed.txt" requirements.lock
echo "lock: $(grep -c '==' requirements.lock) packages, $(grep -c 'sha256:' requirements.lock) files"
