"""What a reader sees of our results in OHIF, in a real browser, on the DICOMweb of Orthanc."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from node.instance import ResultKind
from tests.viewers.conftest import OUTPUT
from tests.viewers.studies import Analyzed

pytestmark = pytest.mark.viewers

# A voxel of the CT is more than four pixels wide on this page.
CLOSE_PX = 0.5


@dataclass(frozen=True, kw_only=True)
class Tumour:
    """A study with a tumour, and what is seen of it."""

    study: Analyzed
    report: Any
    segmentation: Any
    screenshot: Path


@pytest.fixture(params=["positive", "oblique"])
def tumour(request, analyzed, seen) -> Tumour:
    name = request.param
    return Tumour(
        study=analyzed[name],
        report=seen[f"{name}-report"],
        segmentation=seen[f"{name}-segmentation"],
        screenshot=OUTPUT / f"{name}-segmentation.png",
    )


@pytest.fixture
def positive(analyzed) -> Analyzed:
    return analyzed["positive"]


def test_no_look_fails_and_no_page_throws(seen):
    assert {name: one["error"] for name, one in seen.items() if "error" in one} == {}
    assert {name: one["faults"] for name, one in seen.items() if one["faults"]} == {}


def test_the_report_opens_on_the_slice_in_which_the_tumour_is_largest(tumour):
    assert tumour.study.slices[tumour.report["image"]] == tumour.study.key_slice


def test_the_contour_is_drawn_where_the_tumour_is(tumour):
    """The box round what is drawn is the box round its voxels as the viewport projects them."""
    points = np.asarray(tumour.report["points"])

    boxes = tumour.report["graphics"]
    contour = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))

    assert np.allclose(contour, [*points.min(axis=0), *points.max(axis=0)], atol=CLOSE_PX)


def test_the_numbers_stand_beside_the_contour(tumour):
    (lines,) = tumour.report["labels"]
    lesion = tumour.study.primary

    assert f"SUVbw: {lesion.suv_max:.2f} g/ml{{SUVbw}}" in lines
    for one in tumour.study.conclusion.findings.predictions:
        task = one.task.replace("occult_n", "occult N")
        for what, value in (("Probability of", one.probability), ("Cut-off for", one.cutoff)):
            # One decimal in the report; OHIF writes two of every number.
            assert f"{what} {task} metastasis: {100 * value:.1f}0 %" in lines
    assert not [line for line in lines if "undefined" in line or "NaN" in line]


def test_the_report_is_not_offered_for_editing(tumour):
    assert "Do you want" not in tumour.report["body"]
    assert tumour.report["measurements"] == []


def test_the_axes_of_every_lesion_become_measurements_that_can_be_edited(seen, positive):
    shown = seen["positive-axes"]
    ours = hd.sr.srread(io.BytesIO(positive.result(ResultKind.EDITABLE).part10))
    groups = ours.content.get_image_measurement_groups()

    assert len(shown["measurements"]) == len(groups) >= 2
    for group, line in zip(groups, shown["measurements"], strict=True):
        long, short = (measurement.value for measurement in group.get_measurements())
        assert line["type"] == "Bidirectional"
        assert line["text"][:2] == [f"L: {long:.1f} mm", f"W: {short:.1f} mm"]
    # The longest axis lies in one slice, and the most voxels lie in another or in the same.
    assert abs(positive.slices[shown["measurements"][0]["image"]] - positive.key_slice) <= 2


def test_several_lesions_are_several_segments(positive):
    assert len(positive.conclusion.findings.lesions) >= 2


def test_every_lesion_is_a_segment_in_the_panel_with_our_voxels_on_each_image(tumour):
    shown, study = tumour.segmentation, tumour.study
    (segmentation,) = shown["segmentations"]
    lesions = study.conclusion.findings.lesions
    labels = [f"{lesion.label} {number}" for number, lesion in enumerate(lesions, 1)]

    assert segmentation["labels"] == labels
    assert all(label in shown["body"].splitlines() for label in labels)
    for number, lesion in enumerate(lesions, 1):
        counts = lesion.on_ct.mask.sum(axis=(1, 2))
        images = segmentation["voxels"][str(number)]
        assert {study.slices[uid]: n for uid, n in images.items()} == {
            index: count for index, count in enumerate(counts.tolist()) if count
        }


def test_the_segment_is_painted_on_the_tumour_and_nowhere_around_it(tumour):
    """Every voxel of the slice is looked up in the screenshot: grey is CT, colour is segment."""
    shown, study = tumour.segmentation, tumour.study
    index = study.slices[shown["image"]]
    inside, outside = study.inside[:, 0] == index, study.outside[:, 0] == index
    pixels = np.asarray(Image.open(tumour.screenshot).convert("RGB"), dtype=int)
    columns, rows = np.asarray(shown["points"]).round().astype(int).T

    colourful = np.ptp(pixels[rows, columns], axis=1) > 40

    assert abs(index - study.in_slices(study.primary.centroid_lps_mm)) <= 1
    assert inside.sum() > 100
    assert colourful[: len(inside)][inside].all()
    assert not colourful[len(inside) :][outside].any()


def test_the_map_of_where_a_network_looked_lies_on_the_pet_where_we_wrote_it(seen, positive):
    volume = hd.imread(io.BytesIO(positive.result(ResultKind.SALIENCY).part10)).get_volume()
    hottest = np.argwhere(volume.array == volume.array.max())  # neighbours may be equal
    greatest = seen["positive-map"]["greatest"]

    assert greatest["dimensions"] == list(volume.array.shape[::-1])
    ours = volume.map_indices_to_reference(hottest)
    assert len(ours) <= 8
    assert np.abs(ours - greatest["at"]).max(axis=1).min() <= 0.01


def test_the_key_image_is_shown(seen, positive):
    ds = dcmread(io.BytesIO(positive.result(ResultKind.KEY_IMAGE).part10))

    assert seen["positive-key-image"]["image"] == ds.SOPInstanceUID


def test_a_negative_report_says_that_nothing_was_found(seen):
    text = seen["negative-report"]["text"]

    assert seen["negative-report"]["unscrolled"]
    assert "Clinical finding absent" in text
    assert "Outcome of the analysis: Analyzed" in text
    assert "Research use only" in text


def test_a_refusal_says_why_the_study_was_not_analysed(seen, analyzed):
    text = seen["refused-report"]["text"]
    (reason,) = analyzed["refused"].conclusion.reasons

    assert seen["refused-report"]["unscrolled"]
    assert "Outcome of the analysis: Not analyzable" in text
    assert reason.code == "PET_MISSING"
    assert f"{reason.code}: {reason.meaning}" in text
