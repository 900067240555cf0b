"""A worker that has rehearsed finds everything loaded when the first study comes."""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node import bootstrap
from node.config import Settings
from node.rehearsal import rehearse

ROOT = Path(__file__).resolve().parents[2]
WHEN = datetime(2026, 1, 2, 12, tzinfo=UTC)
FIRST_STUDY = """
import json, sys, tempfile, time
from datetime import UTC, datetime
from pathlib import Path
from node import bootstrap
from node.analysis import StudyOnDisk, conclude
from node.config import Settings
from node.rehearsal import rehearse
from inference.phantom import SCANNERS, draw, random_phantom
from tests.bench import study

when = datetime(2026, 1, 2, 12, tzinfo=UTC)
recipe = bootstrap.build_recipe(Settings())
rehearsed = rehearse(recipe, when=when, clock=time.perf_counter)
before = set(sys.modules)
with tempfile.TemporaryDirectory() as folder:
    paths = study.write(draw(random_phantom(4), SCANNERS["small"]), Path(folder))
    one = StudyOnDisk(study_instance_uid="1.2", paths=paths, key="first")
    made = conclude(one, recipe, when=when, clock=time.perf_counter)
print(json.dumps({
    "rehearsed": rehearsed,
    "made": [str(one.kind) for one in made.objects],
    "loaded by the first study": sorted(set(sys.modules) - before),
}))
"""


@pytest.fixture(scope="module")
def recipe():
    return bootstrap.build_recipe(Settings())


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_after_a_rehearsal_the_first_study_loads_no_module():
    told = subprocess.run(
        [sys.executable, "-c", FIRST_STUDY], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = json.loads(told.stdout.splitlines()[-1])

    assert found["rehearsed"]
    assert set(found["made"]) == {"SEG", "PM", "SR", "SC"}
    assert found["loaded by the first study"] == []


def test_a_rehearsal_leaves_nothing_behind_and_says_nothing(recipe, temporary, caplog):
    assert rehearse(recipe, when=WHEN, clock=time.perf_counter)

    assert list(temporary.iterdir()) == []
    assert caplog.records == []


def test_a_rehearsal_that_fails_is_told_and_stops_nothing(recipe, temporary, caplog):
    without_networks = replace(recipe, model=replace(recipe.model, engines={}))

    assert not rehearse(without_networks, when=WHEN, clock=time.perf_counter)

    (told,) = caplog.messages
    assert told.startswith("no rehearsal: ")
    assert list(temporary.iterdir()) == []


def test_a_rehearsal_without_a_place_for_its_files_stops_nothing(recipe, monkeypatch, caplog):
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")

    assert not rehearse(recipe, when=WHEN, clock=time.perf_counter)

    assert "FileNotFoundError" in caplog.messages[0]
