"""findings.json tells each thing once."""

from collections import Counter
from datetime import UTC, datetime

from pydicom import dcmread

from node import bootstrap
from node.analysis import StudyOnDisk, conclude
from node.config import Settings

WHEN = datetime(2026, 1, 2, 12, tzinfo=UTC)


def test_a_plane_that_came_twice_is_told_once(phantom_files, tmp_path):
    again = tmp_path / "again.dcm"
    again.write_bytes(phantom_files[0].read_bytes())
    study = StudyOnDisk(
        study_instance_uid=str(dcmread(again, stop_before_pixels=True).StudyInstanceUID),
        paths=(*phantom_files, again),
        key="k",
    )

    document = conclude(
        study, bootstrap.build_recipe(Settings()), when=WHEN, clock=lambda: 0.0
    ).document

    told = Counter(warning["code"] for warning in document["warnings"])
    assert told["SLICES_RESENT"] == 1
