"""Runs a command as the container does: no root, no capability to write, one folder to write to."""

import subprocess
from pathlib import Path

# CAP_DAC_READ_SEARCH stays, as the Python of a developer may lie where user 10001 cannot look.
SCRIPT = """
set -eu
folder=$1; shift
mount --make-rprivate /
mount --bind "$folder" "$folder"
cut -d ' ' -f 2 /proc/self/mounts | while read -r mounted; do
  case $mounted in
    "$folder"|/proc|/proc/*|/sys|/sys/*|/dev|/dev/*) ;;
    *) mount -o remount,bind,ro "$mounted" 2>/dev/null || true ;;
  esac
done
unset HOME TMPDIR
exec setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs \
  --bounding-set=-all,+dac_read_search --inh-caps=-all,+dac_read_search \
  --ambient-caps=-all,+dac_read_search -- "$@"
"""


def prefix(folder: Path) -> list[str]:
    """What to put before a command; the folder must belong to user 10001."""
    return ["unshare", "--mount", "sh", "-c", SCRIPT, "confined", str(folder)]


def works(folder: Path) -> bool:
    """Whether this machine lets us: it takes root, and a kernel that allows mount namespaces."""
    try:
        tried = subprocess.run(
            [*prefix(folder), "true"], capture_output=True, timeout=20, check=False
        )
    except OSError:
        return False
    return tried.returncode == 0
