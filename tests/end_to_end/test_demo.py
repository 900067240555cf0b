"""What ``make demo`` shows is what happened: objects over the wire, a tumour where it was drawn."""

import io
import json

import numpy as np
import pytest
from pydicom import dcmread
from rich.console import Console

from inference.phantom import random_phantom
from node.cli import demo

pytestmark = [pytest.mark.associations, pytest.mark.slow]


def test_the_demonstration_leaves_report_segmentation_and_picture(tmp_path):
    console = Console(record=True, width=100, file=io.StringIO())

    assert demo.demo(tmp_path / "out", console) == 0

    out = tmp_path / "out"
    document = json.loads((out / "findings.json").read_text())
    tumour = random_phantom(demo.SEED).tumour
    centre = document["lesions"][0]["centroid_lps_mm"]
    assert np.linalg.norm(np.subtract(centre, tumour.centre_lps_mm)) < 6
    assert document["applicable"] is True
    assert len(document["predictions"]) == 2
    assert dcmread(out / "sr.dcm").Modality == "SR"
    assert dcmread(out / "seg.dcm").Modality == "SEG"
    assert dcmread(out / "key-image.dcm").Rows == 1024
    for task in ("occult_n1", "occult_n2"):
        assert dcmread(out / f"saliency-{task}.dcm").ContentQualification == "RESEARCH"
    assert (out / "key-image.png").stat().st_size > 10_000
    screen = console.export_text()
    assert "236 of 236 images acknowledged as safe" in screen
    assert "Research use only" in screen
