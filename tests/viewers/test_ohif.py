"""What a reader sees of our results in OHIF, in a real browser, on the DICOMweb of Orthanc."""

import io

import highdicom as hd
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from node.instance import ResultKind
from tests.viewers.conftest import OUTPUT

pytestmark = pytest.mark.viewers

# A voxel of the CT is more than four pixels wide on this page.
CLOSE_PX = 0.5


@pytest.fixture(scope="session")
def positive(analyzed):
    return analyzed["positive"]


def test_no_look_fails_and_no_page_throws(seen):
    assert {name: one["error"] for name, one in seen.items() if "error" in one} == {}
    assert {name: one["faults"] for name, one in seen.items() if one["faults"]} == {}


def test_the_report_opens_on_the_slice_in_which_the_tumour_is_largest(seen, positive):
    assert positive.slices[seen["positive-report"]["image"]] == positive.key_slice


def test_the_contour_is_drawn_where_the_tumour_is(seen, positive):
    """The box round what is drawn is the box round its voxels as the viewport projects them."""
    shown = seen["positive-report"]
    points = np.asarray(shown["points"])

    contour = max(shown["graphics"], key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))

    assert np.allclose(contour, [*points.min(axis=0), *points.max(axis=0)], atol=CLOSE_PX)


def test_the_numbers_stand_beside_the_contour(seen, positive):
    (lines,) = seen["positive-report"]["labels"]
    lesion = positive.primary

    assert f"SUVbw: {lesion.suv_max:.2f} g/ml{{SUVbw}}" in lines
    assert f"Metabolic Volume: {lesion.mtv_ml:.2f} ml" in lines
    assert not [line for line in lines if "undefined" in line or "NaN" in line]


def test_the_report_is_not_offered_for_editing(seen):
    assert "Do you want" not in seen["positive-report"]["body"]
    assert seen["positive-report"]["measurements"] == []


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


def test_every_lesion_is_a_segment_in_the_panel_with_our_voxels_on_each_image(seen, positive):
    shown = seen["positive-segmentation"]
    (segmentation,) = shown["segmentations"]
    lesions = positive.conclusion.findings.lesions
    labels = [f"{lesion.label} {number}" for number, lesion in enumerate(lesions, 1)]

    assert len(labels) >= 2
    assert segmentation["labels"] == labels
    assert all(label in shown["body"].splitlines() for label in labels)
    for number, lesion in enumerate(lesions, 1):
        counts = lesion.on_ct.mask.sum(axis=(1, 2))
        images = segmentation["voxels"][str(number)]
        assert {positive.slices[uid]: n for uid, n in images.items()} == {
            index: count for index, count in enumerate(counts.tolist()) if count
        }


def test_the_segment_is_painted_on_the_tumour_and_nowhere_around_it(seen, positive):
    """Every voxel of the slice is looked up in the screenshot: grey is CT, colour is segment."""
    shown = seen["positive-segmentation"]
    index = positive.slices[shown["image"]]
    inside, outside = positive.inside[:, 0] == index, positive.outside[:, 0] == index
    pixels = np.asarray(Image.open(OUTPUT / "positive-segmentation.png").convert("RGB"), dtype=int)
    columns, rows = np.asarray(shown["points"]).round().astype(int).T

    colourful = np.ptp(pixels[rows, columns], axis=1) > 40

    assert abs(index - positive.in_slices(positive.primary.centroid_lps_mm)) <= 1
    assert inside.sum() > 100
    assert colourful[: len(inside)][inside].all()
    assert not colourful[len(inside) :][outside].any()


def test_the_key_image_is_shown(seen, positive):
    ds = dcmread(io.BytesIO(positive.result(ResultKind.KEY_IMAGE).part10))

    assert seen["positive-key-image"]["image"] == ds.SOPInstanceUID


def test_a_negative_report_says_that_nothing_was_found(seen):
    text = seen["negative-report"]["text"]

    assert "Clinical finding absent" in text
    assert "Outcome of the analysis: Analyzed" in text
    assert "Research use only" in text


def test_a_refusal_says_why_the_study_was_not_analysed(seen, analyzed):
    text = seen["refused-report"]["text"]
    (reason,) = analyzed["refused"].conclusion.reasons

    assert "Outcome of the analysis: Not analyzable" in text
    assert reason.code == "PET_MISSING"
    assert f"{reason.code}: {reason.meaning}" in text
