"""Parametric Maps hold where each network looked, on the planes of the PET that they name."""

import io
from dataclasses import replace

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from inference.findings import Saliency
from inference.volume import Quantity, Volume
from node.dicom import lint, results, saliency_map
from node.instance import ResultKind
from tests import made_study
from tests.made_study import CENTRE, PET_GRID


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_study.with_saliency(made_study.study(tmp_path_factory.mktemp("saliency")))


@pytest.fixture(scope="module")
def first(made):
    """The map of the first task, read back."""
    return dataset(maps_of(made)[0])


def maps_of(made, **options):
    objects = made_study.analyzed(made, key_image=False, **options)
    return [one for one in objects if one.kind is ResultKind.SALIENCY]


def dataset(one):
    return dcmread(io.BytesIO(one.part10))


def with_maps(made, *maps):
    return replace(made, findings=replace(made.findings, saliency=maps))


def mapping_of(read):
    (mapping,) = read.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    return mapping


def definition_of(read):
    """What the quantity is told to be, by the meaning of each name."""
    told = {}
    for item in mapping_of(read).QuantityDefinitionSequence:
        name = item.ConceptNameCodeSequence[0].CodeMeaning
        code = item.get("ConceptCodeSequence")
        value = code[0].CodeMeaning if code else item.get("TextValue") or item.get("UID")
        told.setdefault(name, []).append(value)
    return told


def on_the_pet(saliency):
    """The map's numbers on the whole PET, 0 where its box does not reach."""
    whole = np.zeros(PET_GRID.shape, np.float32)
    points = saliency.on_pet.grid.to_patient(
        np.moveaxis(np.indices(saliency.on_pet.grid.shape), 0, -1)
    )
    where = np.rint(PET_GRID.to_indices(points)).astype(int)
    whole[tuple(np.moveaxis(where, -1, 0))] = saliency.on_pet.voxels
    return whole


def test_each_task_has_a_map_in_a_series_of_its_own_before_the_report(made):
    objects = made_study.analyzed(made, key_image=False)

    kinds = [one.kind.value for one in objects]
    assert kinds == ["SEG", "PM", "PM", "SR"]
    assert len({one.series_instance_uid for one in objects}) == 4
    assert [dataset(one).SeriesNumber for one in objects[1:3]] == [9906, 9907]


def test_its_numbers_are_the_networks_on_every_voxel_of_the_planes(made):
    for one, saliency in zip(maps_of(made), made.findings.saliency, strict=True):
        assert np.array_equal(dataset(one).pixel_array, on_the_pet(saliency))


def test_its_bytes_are_those_that_pydicom_writes(made):
    """Frames are encoded once for all maps, and joined to each."""
    for one in maps_of(made):
        written = io.BytesIO()
        dataset(one).save_as(written, enforce_file_format=True)
        assert written.getvalue() == one.part10


def test_a_map_is_the_same_whatever_maps_are_beside_it(made):
    first, second = maps_of(made)
    (alone,) = maps_of(with_maps(made, made.findings.saliency[0]))

    assert alone.part10 == first.part10
    assert second.part10 != first.part10


def test_its_greatest_number_lies_in_the_tumour_for_who_reads_it_with_another_library(made):
    """The middle of the tumour lies between voxels: half a voxel is 4, 4 and 2.5 mm."""
    for one, centre in zip(maps_of(made), (CENTRE, (40, 10, 5)), strict=True):
        volume = hd.imread(io.BytesIO(one.part10)).get_volume()
        hottest = np.unravel_index(volume.array.argmax(), volume.array.shape)

        (place,) = volume.map_indices_to_reference(np.array([hottest]))

        assert volume.array.max() == 1
        assert np.all(np.abs(place - centre) <= (4.01, 4.01, 2.51))


def test_each_frame_lies_on_the_plane_of_the_pet_that_it_cites(made, first):
    planes = [(plane.sop_instance_uid, plane.position) for plane in made.choice.pet.planes]

    frames = [
        (
            item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID,
            tuple(item.PlanePositionSequence[0].ImagePositionPatient),
        )
        for item in first.PerFrameFunctionalGroupsSequence
    ]

    assert frames == planes


def test_its_frames_are_the_pixels_of_the_pet_as_floats(first):
    assert first.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert (first.NumberOfFrames, first.Rows, first.Columns) == PET_GRID.shape
    assert first.FrameOfReferenceUID == made_study.FRAME_UID
    assert first["FloatPixelData"].VR == "OF"
    assert "PixelData" not in first
    shared = first.SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [8, 8]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    assert first.ReferencedSeriesSequence[0].SeriesInstanceUID == "2.25.1200"


def test_of_a_very_large_pet_it_has_the_planes_of_the_box_alone(made, monkeypatch):
    """20 planes of 40 x 40 voxels are 128,000 bytes; one byte less is too little for all."""
    monkeypatch.setattr(saliency_map, "WHOLE_BYTES_MAX", 127_999)
    saliency = made.findings.saliency[0]

    objects = made_study.analyzed(made)

    read = dataset(objects[1])
    assert read.NumberOfFrames == saliency.on_pet.grid.shape[0] == 13
    assert np.array_equal(read.pixel_array, on_the_pet(saliency)[5:18])
    planes = {plane.sop_instance_uid for plane in made.choice.pet.planes[5:18]}
    (series,) = read.ReferencedSeriesSequence
    for named in (read.SourceImageSequence, series.ReferencedInstanceSequence):
        assert {item.ReferencedSOPInstanceUID for item in named} == planes
    assert lint.check(objects, lint.Source.of(made.choice, made.petct)) == ()


def test_the_lint_finds_nothing_in_it(made):
    for study in (made, made_study.multiframe(made)):
        objects = made_study.analyzed(study)

        assert lint.check(objects, lint.Source.of(study.choice, study.petct)) == ()


def test_a_voxel_is_a_share_of_1_and_tells_of_which_quantity_and_prediction(made, first):
    mapping = mapping_of(first)
    told = definition_of(first)

    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    assert mapping.LUTLabel == first.ContentLabel == "SALIENCY_N1"
    assert first.DerivationDescription.startswith("HiResCAM")
    assert told["Quantity"] == ["Gradient-weighted class activation"]
    assert told["Prediction that is explained"] == ["Probability of occult N1 metastasis"]
    assert told["Tracking Identifier"] == ["occult_n1"]
    uids = [definition_of(dataset(one))["Tracking Unique Identifier"] for one in maps_of(made)]
    assert uids[0] == told["Tracking Unique Identifier"] != uids[1]


def test_it_names_the_algorithm_and_its_model(first):
    told = definition_of(first)

    assert told["Algorithm Name"] == ["petct-node"]
    assert told["Algorithm Version"] == ["0.1.0"]
    assert f"digest=sha256:{'ab' * 32}" in told["Algorithm Parameters"]


def test_it_says_that_it_is_for_research_and_what_it_does_not_show(first):
    assert first.ContentQualification == "RESEARCH"
    assert first.ImageComments.startswith("Research use only - not for clinical decisions.")
    assert "not what is there" in first.ImageComments
    assert "(research)" in first.SeriesDescription


def test_its_window_shows_0_as_black_and_1_as_white(first):
    """LINEAR would show everything above 0 white: PS3.3 C.11.2.1.2.1 takes half a step off."""
    (window,) = first.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence

    assert (window.WindowCenter, window.WindowWidth) == (0.5, 1)
    assert window.VOILUTFunction == "LINEAR_EXACT"


def test_a_multiframe_pet_is_cited_by_instance_and_frame(made):
    """The frames run from head to feet, against the planes, and one instance holds them all."""
    turned = made_study.multiframe(made)
    read = dataset(maps_of(turned)[0])
    frames = {plane.position[2]: plane.frame for plane in turned.choice.pet.planes}

    for item in read.PerFrameFunctionalGroupsSequence:
        cited = item.DerivationImageSequence[0].SourceImageSequence[0]
        height = item.PlanePositionSequence[0].ImagePositionPatient[2]
        assert cited.ReferencedSOPInstanceUID == "2.25.1201"
        assert cited.ReferencedFrameNumber == frames[height]
    (instance,) = read.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert instance.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.130"


def test_the_same_run_gives_the_same_bytes(made):
    assert [one.part10 for one in maps_of(made)] == [one.part10 for one in maps_of(made)]


def test_every_map_is_evidence_of_the_report(made):
    objects = made_study.analyzed(made, key_image=False)
    report = dataset(next(one for one in objects if one.kind is ResultKind.REPORT))

    cited = {
        item.ReferencedSOPInstanceUID: item.ReferencedSOPClassUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }

    for one in objects[1:3]:
        assert cited[one.sop_instance_uid] == "1.2.840.10008.5.1.4.1.1.30"


def test_a_later_version_rejects_the_maps_of_the_one_before(made):
    earlier = tuple(
        results.Predecessor(
            kind=one.kind,
            sop_class_uid=one.sop_class_uid,
            sop_instance_uid=f"{one.sop_instance_uid}.1",
            series_instance_uid=f"{one.series_instance_uid}.1",
            study_instance_uid=one.study_instance_uid,
        )
        for one in maps_of(made)
    )

    objects = made_study.analyzed(made, supersede="reject", predecessors=earlier)

    items = dataset(objects[-1]).ContentSequence
    rejected = [one.ReferencedSOPSequence[0] for one in items if one.ValueType == "IMAGE"]
    assert {one.ReferencedSOPInstanceUID for one in rejected} == {
        one.sop_instance_uid for one in earlier
    }


def test_no_map_is_made_where_it_is_not_asked_for(made):
    objects = made_study.analyzed(made, saliency_map=False)

    assert [one.kind.value for one in objects] == ["SEG", "SR", "SC"]


def test_a_network_that_looked_nowhere_leaves_no_map(made):
    one = made.findings.saliency[0]
    blank = replace(one, on_pet=replace(one.on_pet, voxels=np.zeros_like(one.on_pet.voxels)))

    (only,) = maps_of(with_maps(made, blank, made.findings.saliency[1]))

    assert saliency_map.task_of(only.part10) == "occult_n2"


def off_the_voxels(volume):
    x, y, z = volume.grid.origin
    return replace(volume, grid=replace(volume.grid, origin=(x + 2, y, z)))


def beyond_the_pet(volume):
    x, y, z = volume.grid.origin
    return replace(volume, grid=replace(volume.grid, origin=(x, y, z + 50)))


def above_1(volume):
    return replace(volume, voxels=volume.voxels * np.float32(1.001))


def not_a_number(volume):
    return replace(volume, voxels=np.where(volume.voxels > 0.5, np.nan, volume.voxels))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (off_the_voxels, "does not lie on voxels of the PET"),
        (beyond_the_pet, "is not within the PET"),
        (above_1, "holds numbers outside 0 to 1"),
        (not_a_number, "holds numbers outside 0 to 1"),
    ],
)
def test_a_map_that_cannot_be_is_refused(made, change, why):
    one = made.findings.saliency[0]

    with pytest.raises(ValueError, match=f"the map of occult_n1 {why}"):
        maps_of(with_maps(made, replace(one, on_pet=change(one.on_pet))))


@pytest.mark.parametrize(
    ("task", "file", "label"),
    [
        ("occult_n1", "occult_n1", "SALIENCY_N1"),
        ("EGFR mutation", "EGFR_mutation", "SALIENCY_EGFR MU"),
        ("../sub-type/é", ".._sub-type__", "SALIENCY____SUB"),
    ],
)
def test_any_task_gives_a_label_that_dicom_takes_and_a_name_that_is_no_path(
    made, task, file, label
):
    one = replace(made.findings.saliency[0], task=task)

    (only,) = maps_of(with_maps(made, one))

    assert saliency_map.task_of(only.part10) == file
    assert dataset(only).ContentLabel == label


def test_a_map_of_one_voxel_in_the_corner_of_the_pet_is_kept(made):
    box = PET_GRID.crop((0, 0, 0), (1, 1, 1))
    ones = np.ones((1, 1, 1), np.float32)
    corner = Volume(voxels=ones, grid=box, quantity=Quantity.SALIENCY)

    (only,) = maps_of(with_maps(made, Saliency(task="occult_n1", on_pet=corner)))

    voxels = dataset(only).pixel_array
    assert voxels[0, 0, 0] == voxels.sum() == 1
