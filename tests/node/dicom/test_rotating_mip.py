"""The rotating projection shows the PET from all sides of the patient, and plays in viewers."""

import io
from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread

from inference.geometry import axial_grid
from node.dicom import lint
from node.dicom.capture import rotate
from node.dicom.lint import Rule, Source
from node.instance import ResultKind
from tests import made_study
from tests.node.dicom.pictures import (
    FURTHER,
    PRIMARY,
    all_feet_first,
    ball_lesion,
    block,
    of_colour,
    planted,
)

FRONT, LEFT, BACK, RIGHT = 0, 6, 12, 18
GRID = axial_grid(shape=(50, 50, 50), spacing=(4, 4, 4))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_study.study(tmp_path_factory.mktemp("source"))


def rotating(made, **options):
    objects = made_study.analyzed(made, rotating_mip=True, **options)
    return next(one for one in objects if one.kind is ResultKind.ROTATING_MIP)


def where_hot(frame, cold) -> np.ndarray:
    """(row, column) of what is hot in one frame alone, in heights of the frame from its middle."""
    found = np.argwhere((frame[..., 0] < 10) & (cold[..., 0] > 200))
    return (found.mean(axis=0) - (np.array(frame.shape[:2]) - 1) / 2) / frame.shape[0]


@pytest.mark.parametrize("stored", ["head first", "feet first"])
def test_the_patient_is_seen_from_the_front_the_left_the_back_and_the_right(stored):
    """A hot ball 40 mm to the patient's right, 20 mm to the front and 50 mm to the head."""
    data = block(GRID, GRID)
    data = replace(data, pet=planted(data.pet, (-40, -20, 50), 30, 12))
    study = data, made_study.findings()
    if stored == "feet first":
        study = all_feet_first(*study)

    frames, cold = rotate(*study), rotate(block(GRID, GRID), made_study.findings())

    height_mm = 200
    expected = {FRONT: -40, LEFT: -20, BACK: 40, RIGHT: 20}
    for number, right_mm in expected.items():
        assert where_hot(frames[number], cold[number]) == pytest.approx(
            (-50 / height_mm, right_mm / height_mm), abs=0.02
        )


def test_what_lies_on_the_axis_stays_where_it_is():
    data = block(GRID, GRID)
    hot = replace(data, pet=planted(data.pet, (0, 0, 0), 30, 12))

    frames, cold = (rotate(one, made_study.findings()) for one in (hot, data))

    found = [where_hot(frame, without) for frame, without in zip(frames, cold, strict=True)]
    assert found == [pytest.approx((0, 0), abs=0.02)] * 24


def test_uptake_is_dark_and_its_number_of_frames_is_24():
    """SUV 4 of 10: 60 % of white; where the PET is not, all of it."""
    frames = rotate(block(GRID, GRID, suv=4), made_study.findings())

    assert frames.shape[0] == 24
    assert frames[FRONT, frames.shape[1] // 4, frames.shape[2] // 2].tolist() == [153] * 3


def test_every_frame_outlines_every_lesion():
    data = block(GRID, GRID)
    findings = made_study.findings(
        ball_lesion(GRID, GRID, (-40.0, 0.0, 30.0)),
        ball_lesion(GRID, GRID, (40.0, 0.0, -50.0), label="focus-1"),
    )

    for frame in rotate(data, findings):
        assert len(of_colour(frame, np.s_[:, :], PRIMARY)) > 20
        assert len(of_colour(frame, np.s_[:, :], FURTHER)) > 20


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((300, 100, 100), (4, 7, 7)), ((40, 128, 128), (3, 5, 5)), ((1, 1, 1), (4, 4, 4))],
)
def test_it_is_smaller_than_3_mb_and_its_pixels_are_square(shape, spacing):
    """As high as the body is long, as wide as the body's diagonal."""
    grid = axial_grid(shape=shape, spacing=spacing)
    frames = rotate(block(grid, grid), made_study.findings())

    _, rows, columns, _ = frames.shape
    width_mm = np.hypot(shape[1] * spacing[1], shape[2] * spacing[2])
    assert frames.nbytes < 3_000_000
    assert columns / rows == pytest.approx(width_mm / (shape[0] * spacing[0]), rel=0.05, abs=0.5)


def test_viewers_are_told_to_play_its_frames_round_and_round(made):
    ds = dcmread(io.BytesIO(rotating(made).part10))

    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7.4"
    assert ds.pixel_array.shape == (24, ds.Rows, ds.Columns, 3)
    assert ds[ds.FrameIncrementPointer].value == ds.FrameTime == 125
    assert (ds.CineRate, ds.PreferredPlaybackSequencing) == (8, 0)
    cited = [item.ReferencedSOPInstanceUID for item in ds.SourceImageSequence]
    assert cited == [plane.sop_instance_uid for plane in made.choice.pet.planes]


def test_it_is_made_only_where_it_is_asked_for(made):
    kinds = [one.kind for one in made_study.analyzed(made)]

    assert ResultKind.ROTATING_MIP not in kinds
    assert ResultKind.KEY_IMAGE in kinds


def test_the_same_run_makes_the_same_bytes(made):
    assert rotating(made).part10 == rotating(made).part10


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"FrameTime": 0}, Rule.PIXELS),
        ({"FrameIncrementPointer": 0x00181065}, Rule.PIXELS),
        ({"NumberOfFrames": 23}, Rule.PIXELS),
        ({"SourceImageSequence": []}, Rule.EVIDENCE),
    ],
)
def test_frames_that_no_viewer_would_play_are_not_sent(made, wrong, rule):
    objects = made_study.analyzed(made, rotating_mip=True)
    source = Source.of(made.choice, made.petct)
    ds = dcmread(io.BytesIO(rotating(made).part10))
    for keyword, value in wrong.items():
        setattr(ds, keyword, value)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    planted_in = tuple(
        replace(one, part10=buffer.getvalue()) if one.kind is ResultKind.ROTATING_MIP else one
        for one in objects
    )

    assert lint.check(objects, source) == ()
    assert {fault.rule for fault in lint.check(planted_in, source)} == {rule}
