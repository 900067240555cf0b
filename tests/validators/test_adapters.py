"""What cornerstone's adapters, with which OHIF reads results, find in the objects that we write."""

import base64
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ParametricMapStorage

from node.dicom.series import ImageSeries
from tests import made_study
from tests.node_tools import node

JUDGE = node.FOLDER / "judge.mjs"
SUV = "g/ml{SUVbw}"
MAXIMUM, MEAN, PEAK = "56851009", "373098007", "126031"
IMAGING_MEASUREMENT_REPORT = "126000"
TOOLS = "Cornerstone3DTools@^0.1.0:"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One object that we wrote: its content, and what the adapters say of it."""

    ours: Dataset
    said: Any


@pytest.fixture(scope="module")
def judged(written, made) -> dict[str, Judged]:
    """Every report and Segmentation among the objects, judged in one run of Node, by name."""
    missing = node.what_is_missing()
    if missing:
        pytest.skip(missing)
    ours = {name: dcmread(path) for name, path in written.items()}
    stacks = [
        _stack(made.choice.ct, made_study.CT_GRID),
        _stack(made.choice.pet, made_study.PET_GRID),
        _stack(made_study.multiframe(made).choice.ct, made_study.CT_GRID),
        _stack(made_study.multiframe(made).choice.pet, made_study.PET_GRID),
    ]
    question = {
        "images": [image for stack in stacks for image in stack],
        "reports": [str(written[n]) for n, one in ours.items() if one.Modality == "SR"],
        "segmentations": [
            {"path": str(written[name]), "stack": _stack_of(one, stacks)}
            for name, one in ours.items()
            if one.Modality == "SEG"
        ],
        "maps": [
            {"path": str(written[name]), "stack": _stack_of(one, stacks)}
            for name, one in ours.items()
            if one.SOPClassUID == ParametricMapStorage
        ],
    }
    answer = node.run(JUDGE, question=question, timeout_s=120)
    verdicts = {**answer["reports"], **answer["segmentations"], **answer["maps"]}
    return {
        name: Judged(ours=one, said=verdicts[str(written[name])])
        for name, one in ours.items()
        if str(written[name]) in verdicts
    }


@pytest.fixture(scope="module")
def reports(judged) -> dict[str, Judged]:
    return {name: one for name, one in judged.items() if one.ours.Modality == "SR"}


@pytest.fixture(scope="module")
def segmentations(judged) -> dict[str, Judged]:
    return {name: one for name, one in judged.items() if one.ours.Modality == "SEG"}


@pytest.fixture(scope="module")
def maps(judged) -> dict[str, Judged]:
    return {n: one for n, one in judged.items() if one.ours.SOPClassUID == ParametricMapStorage}


def test_the_adapters_read_every_object_without_an_error(judged):
    assert {name: one.said["error"] for name, one in judged.items() if "error" in one.said} == {}
    assert {"one SR", "two SR", "frames SR", "negative SR", "refusal SR"} <= set(judged)
    assert {"superseding SR", "superseding SR-EDIT", "editable SR-EDIT"} <= set(judged)
    assert {"one SEG", "two SEG", "frames SEG"} <= set(judged)
    assert {"maps PM occult_n1", "maps PM occult_n2", "maps-of-frames PM occult_n1"} <= set(judged)


def test_every_segment_has_the_voxels_that_we_wrote_on_the_images_that_we_named(segmentations):
    for name, one in segmentations.items():
        assert _read_voxels(one) == _written_voxels(one.ours), name
        assert one.said["labels"] == [s.SegmentLabel for s in one.ours.SegmentSequence], name


def test_the_segment_of_a_ball_has_as_many_voxels_as_the_ball_on_each_image(segmentations):
    mask = made_study.ball(made_study.CT_GRID).mask
    counts = [int(count) for count in mask.sum(axis=(1, 2)) if count]

    assert sorted(_read_voxels(segmentations["one SEG"]).values()) == sorted(counts)


def test_segments_that_overlap_are_read_whole_on_the_grid_of_the_pet(segmentations):
    both = made_study.ball(made_study.PET_GRID)
    totals = Counter()
    for (segment, _, _), count in _read_voxels(segmentations["two SEG"]).items():
        totals[segment] += count

    assert totals == {1: both.voxel_count, 2: both.voxel_count}


def test_every_map_has_the_numbers_that_we_wrote_on_the_whole_series(maps, made):
    """The voxels come as one array, laid on the series as the viewer sorts it: by the normal."""
    saliency = {one.task: one.on_pet for one in made_study.with_saliency(made).findings.saliency}
    for name, one in maps.items():
        on_pet = saliency[name.split()[-1]]
        first = np.rint(made_study.PET_GRID.to_indices(on_pet.grid.origin)).astype(int)
        box = tuple(slice(a, a + n) for a, n in zip(first, on_pet.grid.shape, strict=True))
        expected = np.zeros(made_study.PET_GRID.shape, np.float32)
        expected[box] = on_pet.voxels

        read = np.frombuffer(base64.b64decode(one.said["voxels"]), np.float32)

        assert one.said["type"] == "Float32Array"
        assert np.array_equal(read.reshape(expected.shape), expected), name


def test_the_report_gives_the_numbers_of_the_lesion(reports):
    n1, _, lesion, *_ = reports["one SR"].said["groups"]
    both = (*n1["numbers"], *lesion["numbers"])
    numbers = {(n["name"], n["derivation"], n["unit"]): n["value"] for n in both}

    assert numbers["126401", MAXIMUM, SUV] == 18.12
    assert numbers["126401", MEAN, SUV] == 12.5
    assert numbers["126401", PEAK, SUV] == 15.75
    assert numbers["126032", None, "ml"] == 20.0
    assert numbers["126033", None, "g"] == 250.0
    assert numbers["PROB_N1", None, "%"] == 62.3
    for group in (n1, lesion):
        assert group["trackingIdentifier"] == "primary 1"
        assert group["finding"] == "372087000"


def test_a_report_of_measurements_has_a_contour_for_every_tracked_finding(reports):
    """A finding without one leaves OHIF's viewport black, for the whole report."""
    for name, one in reports.items():
        if one.said["title"] != IMAGING_MEASUREMENT_REPORT:
            assert one.said["groups"] == [], name
            continue
        drawn = {group["trackingUID"] for group in one.said["groups"] if group["regions"]}
        assert drawn, name
        assert {group["trackingUID"] for group in one.said["groups"]} == drawn, name


def test_every_contour_lies_on_an_image_of_the_evidence(reports):
    for name, one in reports.items():
        cited = {
            instance.ReferencedSOPInstanceUID
            for study in one.ours.CurrentRequestedProcedureEvidenceSequence
            for series in study.ReferencedSeriesSequence
            for instance in series.ReferencedSOPSequence
        }
        regions = [region for group in one.said["groups"] for region in group["regions"]]
        assert {region["image"] for region in regions} <= cited, name


def test_only_a_group_that_names_a_tool_is_offered_for_editing(reports):
    """A contour of four or five points would be taken for a rectangle and spoil the display."""
    for name, one in reports.items():
        editable = {each["trackingUID"]: each["tool"] for each in one.said["editable"]}
        assert editable == {
            group["trackingUID"]: group["trackingIdentifier"].removeprefix(TOOLS)
            for group in one.said["groups"]
            if group["trackingIdentifier"].startswith(TOOLS)
        }, name


def test_the_axes_that_can_be_edited_are_as_long_as_their_numbers_say(reports):
    assert len(reports["editable SR-EDIT"].said["editable"]) == 1
    for name, one in reports.items():
        for each in one.said["editable"]:
            (group,) = [g for g in one.said["groups"] if g["trackingUID"] == each["trackingUID"]]
            long, short = (number["value"] for number in group["numbers"])
            ends = np.asarray(each["points"])
            assert (each["statistics"]["length"], each["statistics"]["width"]) == (long, short)
            assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(long, abs=0.06), name
            assert np.linalg.norm(ends[3] - ends[2]) == pytest.approx(short, abs=0.06), name


def _read_voxels(one: Judged) -> dict[tuple[int, str, int], int]:
    """Voxels by segment, SOP Instance UID and frame, as the adapters count them."""
    return {
        (int(segment), *_image(image)): count
        for segment, images in one.said["voxels"].items()
        for image, count in images.items()
    }


def _written_voxels(seg: Dataset) -> dict[tuple[int, str, int], int]:
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    shared = seg.SharedFunctionalGroupsSequence[0]
    counts = {}
    for frame, item in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        macro = item if "SegmentIdentificationSequence" in item else shared
        segment = int(macro.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        image = (source.ReferencedSOPInstanceUID, int(source.get("ReferencedFrameNumber") or 1))
        counts[segment, *image] = int(np.count_nonzero(frame))
    return {where: count for where, count in counts.items() if count}


def _image(image_id: str) -> tuple[str, int]:
    uid, frame = image_id.removeprefix("wadors:/instances/").split("/frames/")
    return uid, int(frame)


def _stack(series: ImageSeries, grid) -> list[dict[str, Any]]:
    """What a viewer knows of the planes of a series."""
    return [
        {
            "imageId": f"wadors:/instances/{plane.sop_instance_uid}/frames/{plane.frame or 1}",
            "sopClassUID": plane.sop_class_uid,
            "sopInstanceUID": plane.sop_instance_uid,
            "frame": plane.frame or 1,
            "seriesInstanceUID": series.series_instance_uid,
            "studyInstanceUID": series.study_instance_uid,
            "frameOfReferenceUID": series.frame_of_reference_uid,
            "modality": series.modality,
            "rows": grid.shape[1],
            "columns": grid.shape[2],
            "orientation": [float(v) for v in (*grid.direction[2], *grid.direction[1])],
            "position": [float(v) for v in plane.position],
            "spacing": [float(v) for v in grid.spacing[1:]],
        }
        for plane in series.planes
    ]


def _stack_of(one: Dataset, stacks: list[list[dict[str, Any]]]) -> list[str]:
    """The images that a viewer would put a Segmentation or a map on: the whole series."""
    cited = {item.ReferencedSOPInstanceUID for item in _cited(one)}
    (stack,) = [s for s in stacks if cited <= {image["sopInstanceUID"] for image in s}]
    return [image["imageId"] for image in stack]


def _cited(one: Dataset) -> list[Dataset]:
    return list(one.ReferencedSeriesSequence[0].ReferencedInstanceSequence)
