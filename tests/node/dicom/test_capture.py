"""The key image shows the lesion on the patient's side, with outline, numbers and warnings."""

import io
from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread

from inference.findings import Reason
from inference.petct import PetCt
from inference.volume import Region, Volume
from node.dicom import results
from node.dicom.capture import render
from node.instance import ResultKind
from tests import made_study

OUTLINE = (0, 230, 255)
LEFT_PANEL = np.s_[56:556, 8:508]
RIGHT_PANEL = np.s_[56:556, 516:1016]


def outline_in(image, panel):
    return np.argwhere(np.all(image[panel] == OUTLINE, axis=-1))


def turned(volume: Volume | Region):
    """The same box stored from the other end: slices to the feet, columns to the right."""
    grid = volume.grid
    far = grid.to_patient((grid.shape[0] - 1, 0, grid.shape[2] - 1))
    slice_axis, row_axis, column_axis = (np.array(axis) for axis in grid.direction)
    other = replace(
        grid,
        origin=tuple(float(v) for v in far),
        direction=(tuple(-slice_axis), tuple(row_axis), tuple(-column_axis)),
    )
    if isinstance(volume, Region):
        return Region(mask=volume.mask[::-1, :, ::-1], grid=other)
    return replace(volume, voxels=volume.voxels[::-1, :, ::-1], grid=other)


def test_it_is_a_colour_image_of_1024_by_1024():
    image = render(made_study.petct(), made_study.findings(made_study.lesion()))

    assert image.shape == (1024, 1024, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("panel", [LEFT_PANEL, RIGHT_PANEL])
def test_a_lesion_of_the_left_lung_is_outlined_in_the_right_half_of_each_panel(panel):
    image = render(made_study.petct(), made_study.findings(made_study.lesion()))

    found = outline_in(image, panel)

    assert len(found) > 100
    assert found[:, 1].min() > 250


def test_the_outline_of_the_axial_plane_is_centred_on_the_lesion():
    """The ball's centre is (60, 10) in a field of 316 mm on 500 pixels: column 345, row 266."""
    image = render(made_study.petct(), made_study.findings(made_study.lesion()))

    centre = outline_in(image, LEFT_PANEL).mean(axis=0)

    assert centre == pytest.approx([(10 + 158) / 316 * 499, (60 + 158) / 316 * 499], abs=4)


def test_images_acquired_the_other_way_round_make_the_same_picture():
    data, lesion = made_study.petct(), made_study.lesion()
    other = replace(lesion, on_ct=turned(lesion.on_ct), on_pet=turned(lesion.on_pet))
    reversed_data: PetCt = replace(data, ct=turned(data.ct), pet=turned(data.pet))

    first = render(data, made_study.findings(lesion)).astype(int)
    second = render(reversed_data, made_study.findings(other)).astype(int)

    # Rounding at half a pixel may move an edge by one; nothing else may differ.
    assert np.mean(np.abs(first - second) > 8) < 0.002


def test_without_a_lesion_there_is_an_overview_without_an_outline():
    image = render(made_study.petct(), made_study.findings(predictions=()))

    assert not len(outline_in(image, LEFT_PANEL))
    assert not len(outline_in(image, RIGHT_PANEL))
    assert np.ptp(image[LEFT_PANEL].astype(int)) > 200


def test_every_number_that_changes_changes_the_picture():
    data = made_study.petct()
    plain = render(data, made_study.findings(made_study.lesion()))
    reason = Reason(code="SLICES_THICK", meaning="CT slices of 10 mm " * 8)

    for findings in (
        made_study.findings(made_study.lesion(suv_max=3.0)),
        made_study.findings(made_study.lesion(suv_peak=None)),
        made_study.findings(made_study.lesion(), predictions=()),
        made_study.findings(made_study.lesion(), warnings=()),
        made_study.findings(made_study.lesion(), made_study.lesion(label="node")),
        made_study.findings(made_study.lesion(), applicable=False, inapplicable=(reason,)),
        replace(
            made_study.findings(made_study.lesion()),
            bundle=replace(made_study.findings().bundle, training_data=""),
        ),
    ):
        assert not np.array_equal(render(data, findings)[600:], plain[600:])


def test_text_that_is_too_long_stays_above_the_statement_of_use():
    data = made_study.petct()
    many = tuple(Reason(code=f"WARNING_{n}", meaning="a long warning " * 6) for n in range(30))

    first = render(data, made_study.findings(made_study.lesion(), warnings=()))
    second = render(data, made_study.findings(made_study.lesion(), warnings=many))

    assert not np.array_equal(first[600:860], second[600:860])
    assert np.array_equal(first[860:], second[860:])


def test_as_an_instance_it_is_a_secondary_capture_without_identity_in_its_pixels(tmp_path):
    made = made_study.study(tmp_path)
    objects = results.analyzed(
        made.choice,
        made.petct,
        made.findings,
        equipment=made_study.EQUIPMENT,
        key="k",
        when=made_study.WHEN,
        options=results.ResultOptions(),
    )
    ds = dcmread(io.BytesIO(next(o for o in objects if o.kind is ResultKind.KEY_IMAGE).part10))

    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert (ds.ConversionType, ds.BurnedInAnnotation) == ("WSD", "NO")
    assert np.array_equal(ds.pixel_array, render(made.petct, made.findings))
    cited = [item.ReferencedSOPInstanceUID for item in ds.SourceImageSequence]
    # LPS z of 5 mm is (5 + 47.5) / 5 = slice 10.5 of the CT; the PET is projected whole.
    assert cited[0] in {"2.25.1100.11", "2.25.1100.12"}
    assert cited[1:] == [plane.sop_instance_uid for plane in made.choice.pet.planes]
