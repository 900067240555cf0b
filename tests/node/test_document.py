"""findings.json tells each thing once."""

import json
from collections import Counter
from datetime import UTC, datetime

from pydicom import dcmread

from inference.applicability import unfamiliar
from inference.findings import Prediction
from node import bootstrap
from node.analysis import StudyOnDisk, conclude
from node.config import Settings
from node.document import analyzed_document
from tests import made_study

FAR = Prediction(task="occult_n1", probability=0.4, cutoff=0.5, distance=31.2, distance_max=19.9)
UNTOLD = Prediction(task="occult_n2", probability=0.1, cutoff=0.4)
WHEN = datetime(2026, 1, 2, 12, tzinfo=UTC)


def test_a_prediction_tells_how_far_it_is_from_the_training_set_or_null():
    findings = made_study.findings(
        predictions=(FAR, UNTOLD), applicable=False, inapplicable=unfamiliar((FAR, UNTOLD))
    )

    document = json.loads(json.dumps(analyzed_document(made_study.petct(), findings)))

    n1, n2 = document["predictions"]
    assert (n1["distance"], n1["distance_max"]) == (31.2, 19.9)
    assert (n2["distance"], n2["distance_max"]) == (None, None)
    (reason,) = document["inapplicable"]
    assert reason["code"] == "UNLIKE_TRAINING"
    assert reason["meaning"].endswith("occult_n1 by 31.2, at most 19.9")


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
