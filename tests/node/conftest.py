"""A drawn study on disk and a node's settings, for whoever tests more than one part of the node."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from inference.phantom import draw, random_phantom
from inference.scanner import SCANNERS
from node.config import settings_from
from node.dicom import acquire

SEED = 5


@pytest.fixture(scope="session")
def phantom():
    return random_phantom(SEED)


@pytest.fixture(scope="session")
def phantom_petct(phantom):
    return draw(phantom, SCANNERS["small"])


@pytest.fixture(scope="session")
def phantom_files(phantom_petct, tmp_path_factory) -> tuple[Path, ...]:
    """A whole thorax PET/CT as a scanner would send it; nobody may change these files."""
    return acquire.write(
        phantom_petct,
        tmp_path_factory.mktemp("phantom"),
        habit=acquire.Habit.SIEMENS,
        study=acquire.Study.of_phantom(SEED, datetime(2026, 1, 2, 10, tzinfo=UTC)),
    )


@pytest.fixture
def settings_of(tmp_path):
    """Settings that keep everything below the test's own folder, with what the test adds."""

    def build(**sections):
        own = {
            "store": {"root": str(tmp_path / "store"), "free_bytes_min": 0},
            "database": {"url": f"sqlite:///{tmp_path / 'node.sqlite3'}"},
        }
        return settings_from({**own, **sections})

    return build
