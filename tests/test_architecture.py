"""What no linter checks of the shape of the code."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydicom import dcmread

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("node", "inference", "training", "db")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_at_most_400_lines_and_opens_with_its_duty(module):
    lines = module.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 400
    if "migrations" not in module.parts:
        assert lines[0].startswith('"""')


def test_no_module_of_tests_has_more_than_400_lines():
    ours = (path for path in (ROOT / "tests").rglob("*.py") if "node_modules" not in path.parts)
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in ours}

    assert [path.name for path, count in counts.items() if count > 400] == []


def test_no_dicom_file_lies_in_the_repository_but_samples_of_phantoms():
    """A file with DICM at byte 128 could hold a patient; tests draw theirs or find them outside."""
    folders = [ROOT / name for name in (*PACKAGES, "tests", "docs", "scripts", "changes")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    found = [path for path in files if path.read_bytes()[128:132] == b"DICM"]
    assert [str(path) for path in found if not is_sample(path)] == []


@pytest.mark.parametrize("kind", ["onnx", "npz", "json"])
def test_what_a_bundle_may_hold_is_packed_with_the_software(kind):
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]

    assert f"*.{kind}" in packed["package-data"]["*"]


def test_who_receives_loads_nothing_of_what_analyses():
    """It would hold a third more memory for as long as the node runs."""
    told = subprocess.run(
        [sys.executable, "-c", "import sys, node.__main__, node.bootstrap; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    analysis = {"highdicom", "scipy", "SimpleITK", "openvino", "onnxruntime", "torch"}

    assert analysis & set(told.stdout.split()) == set()


def is_sample(path: Path) -> bool:
    if not path.is_relative_to(ROOT / "docs" / "samples"):
        return False
    header = dcmread(path, stop_before_pixels=True)
    return header.PatientID.startswith("PHANTOM") and header.PatientName.family_name == "Phantom"
