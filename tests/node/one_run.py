"""A run in a process of its own: analyses folders and prints the digests of each object.

``python -m tests.node.one_run FOLDER...`` prints one line for each object: name of the folder,
kind, SOP Instance UID, digest of all bytes, digest of all bytes but the times of the run.
"""

import io
import sys
import time
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from pydicom import Dataset, dcmread

from node import bootstrap
from node.analysis import StudyOnDisk, conclude
from node.config import settings_from
from node.dicom import series

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
TIMES = (
    "ContentDate",
    "ContentTime",
    "InstanceCreationDate",
    "InstanceCreationTime",
    "SeriesDate",
    "SeriesTime",
)


def main(folders: list[Path]) -> None:
    recipe = bootstrap.build_recipe(
        settings_from({"results": {"hydratable": True}, "model": {"threads": 1}})
    )
    for folder in folders:
        ((study, files),) = series.studies([*folder.iterdir()]).items()
        conclusion = conclude(
            StudyOnDisk(study_instance_uid=study, paths=files, key=recipe.key(study, "digest")),
            recipe,
            when=WHEN,
            clock=time.perf_counter,
        )
        for one in conclusion.objects:
            digests = sha256(one.part10).hexdigest(), sha256(timeless(one.part10)).hexdigest()
            line = (folder.name, str(one.kind), one.sop_instance_uid, *digests)
            sys.stdout.write(" ".join(line) + "\n")


def timeless(part10: bytes) -> bytes:
    """The object with the times of its making taken out."""
    dataset: Dataset = dcmread(io.BytesIO(part10))
    for keyword in TIMES:
        delattr(dataset, keyword)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
