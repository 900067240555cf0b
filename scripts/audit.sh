#!/bin/sh
# Asks a database of known vulnerabilities about every package of requirements.lock.
# Usage: audit.sh PYTHON. Exit status: 0 nothing is known, or nobody could be asked; 1 something is.
set -u
tools=build/audit
[ -x "$tools/bin/pip-audit" ] || {
  "$1" -m venv "$tools" && "$tools/bin/pip" install -q --disable-pip-version-check 'pip-audit==2.10.1'
} || { echo "audit: not done: pip-audit cannot be installed from here"; exit 0; }
"$tools/bin/pip-audit" --disable-pip --no-deps --requirement requirements.lock \
  --progress-spinner off >"$tools/report.txt" 2>"$tools/said.txt"
status=$?
skipped=$(grep -c 'could not be audited' "$tools/report.txt")
all=$(grep -c '==' requirements.lock)
if grep -q '^Found .* known vulnerabilit' "$tools/said.txt" "$tools/report.txt"; then
  cat "$tools/report.txt"
  exit 1
elif [ "$status" -ne 0 ] || [ "$skipped" -eq "$all" ]; then
  echo "audit: not done: no database of vulnerabilities can be reached from here;" \
    "the exact versions and hashes of requirements.lock hold (said.txt in $tools tells why)"
else
  echo "audit: $((all - skipped)) of $all packages asked about, nothing known against them"
fi
