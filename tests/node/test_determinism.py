"""The same study gives the same objects, whichever process, hash seed or time zone made them."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node.dicom import acquire

ROOT = Path(__file__).resolve().parent.parent.parent
MACHINES = (
    {"TZ": "Asia/Kolkata", "PYTHONHASHSEED": "1", "LC_ALL": "C"},
    {"TZ": "America/St_Johns", "PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8"},
)


@pytest.fixture(scope="module")
def runs(phantom_petct, tmp_path_factory):
    """What two machines made of a study whose files state their zone and of one without."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("zoned", "zoneless")}
    began = {
        "zoned": datetime(2026, 1, 2, 10, tzinfo=UTC),
        "zoneless": datetime(2026, 1, 2, 10),  # noqa: DTZ001 - the scanner states no zone
    }
    names = {}
    for name, folder in folders.items():
        study = acquire.Study.of_phantom(6, began[name])
        acquire.write(phantom_petct, folder, habit=acquire.Habit.SIEMENS, study=study)
        names[folder.name] = name
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.node.one_run", *map(str, folders.values())],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **machine},
            stdout=subprocess.PIPE,
            text=True,
        )
        for machine in MACHINES
    ]
    said = [run.communicate(timeout=300)[0].splitlines() for run in started]
    lines = [[line.split() for line in one] for one in said]
    return [[(names[folder], *rest) for folder, *rest in one] for one in lines]


def test_two_processes_make_the_same_uids(runs):
    first, second = ([(study, kind, uid) for study, kind, uid, *_ in run] for run in runs)

    kinds = ["SEG", "PM", "PM", "SR", "SR-EDIT", "SC"]
    assert [(study, kind) for study, kind, _ in first] == [
        *(("zoned", kind) for kind in kinds),
        *(("zoneless", kind) for kind in kinds),
    ]
    assert first == second


def test_a_study_that_states_its_zone_gives_the_same_bytes_wherever_the_machine_stands(runs):
    first, second = ([digest for study, _, _, digest, _ in run if study == "zoned"] for run in runs)

    assert first == second


def test_apart_from_times_a_study_without_a_zone_gives_the_same_bytes_too(runs):
    """Its results tell times in the machine's own zone, for want of the scanner's."""
    whole, timeless = (
        [[line[column] for line in run if line[0] == "zoneless"] for run in runs]
        for column in (3, 4)
    )

    assert timeless[0] == timeless[1]
    assert whole[0] != whole[1], "the machines' zones differ"
