"""A worker that has rehearsed finds everything loaded when the first study comes."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node import bootstrap
from node.config import Settings
from node.rehearsal import rehearse
from node.store import Store

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
from node.store import Store
from inference.phantom import SCANNERS, draw, random_phantom
from tests.bench import study

when = datetime(2026, 1, 2, 12, tzinfo=UTC)
recipe = bootstrap.build_recipe(Settings())
with tempfile.TemporaryDirectory() as root:
    scratch = Store(Path(root), 0).scratch
    rehearsed = rehearse(recipe, scratch, when=when, clock=time.perf_counter)
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
def store(tmp_path):
    return Store(tmp_path, 0)


def left_in(store):
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_after_a_rehearsal_the_first_study_loads_no_module():
    told = subprocess.run(
        [sys.executable, "-c", FIRST_STUDY], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = json.loads(told.stdout.splitlines()[-1])

    assert found["rehearsed"]
    assert set(found["made"]) == {"SEG", "PM", "SR", "SC"}
    assert found["loaded by the first study"] == []


def test_a_rehearsal_leaves_nothing_behind_and_says_nothing(recipe, store, caplog):
    assert rehearse(recipe, store.scratch, when=WHEN, clock=time.perf_counter)

    assert left_in(store) == []
    assert caplog.records == []


def test_a_rehearsal_that_fails_is_told_and_stops_nothing(recipe, store, caplog):
    without_networks = replace(recipe, model=replace(recipe.model, engines={}))

    assert not rehearse(without_networks, store.scratch, when=WHEN, clock=time.perf_counter)

    (told,) = caplog.messages
    assert told.startswith("no rehearsal: ")
    assert left_in(store) == []


def test_a_rehearsal_without_a_place_for_its_files_stops_nothing(recipe, tmp_path, caplog):
    (tmp_path / "parts").write_bytes(b"a file where the folder should be")

    assert not rehearse(recipe, Store(tmp_path, 0).scratch, when=WHEN, clock=time.perf_counter)

    assert "OutOfResources" in caplog.messages[0]
