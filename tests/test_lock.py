"""requirements.lock: one version of each package, and the hashes of its files."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"([a-z0-9][a-z0-9.-]*)==([^ ]+) \\")
HASH = re.compile(r" {4}--hash=sha256:[0-9a-f]{64}( \\)?")


def packages(text):
    """How many hashes each package has; every line is one of a package or one of its hashes."""
    found = {}
    for line in text.splitlines():
        if pinned := PIN.fullmatch(line):
            name = pinned[1]
            assert name not in found
            found[name] = 0
        else:
            assert HASH.fullmatch(line), line
            found[name] += 1
    return found


def test_every_package_has_one_version_and_the_hashes_of_its_files():
    """With one hash in it pip refuses whatever has none; `scripts/lock.sh` writes them."""
    locked = packages((ROOT / "requirements.lock").read_text(encoding="utf-8"))

    assert len(locked) > 100
    assert [name for name, hashes in locked.items() if hashes == 0] == []


def test_the_image_installs_what_serving_needs_with_its_hashes_and_nothing_of_training():
    told = subprocess.run(
        ["sh", ROOT / "scripts/runtime-requirements.sh", ROOT / "requirements.lock"],
        check=True,
        capture_output=True,
        text=True,
    )

    locked = packages(told.stdout)

    assert {"pydicom", "pynetdicom", "onnxruntime", "openvino", "pg8000"} <= locked.keys()
    assert not {"monai", "onnx", "pytest", "mypy", "pandas", "weasyprint"} & locked.keys()
    assert min(locked.values()) >= 1


def test_continuous_integration_asks_about_known_vulnerabilities():
    assert "make audit" in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
