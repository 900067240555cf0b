"""Our own results that come back with a study are read as they were meant, never as a contour."""

import io
from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread

from inference.petct import RegionSource
from node.dicom import foreign_sr, segments
from node.dicom.contours import given_regions
from node.dicom.naming import in_thorax
from node.dicom.series import Document
from tests import made_study
from tests.node.dicom.foreign_reports import WANTED


@pytest.fixture
def own(tmp_path):
    """A study and the files of its report and Segmentation."""
    made = made_study.study(tmp_path)
    objects = made_study.analyzed(made, key_image=False)
    return made, [dcmread(io.BytesIO(one.part10)) for one in objects]


def regions(made, folder, datasets):
    documents = []
    for index, ds in enumerate(datasets):
        path = folder / f"document {index}.dcm"
        ds.save_as(path, enforce_file_format=True)
        documents.append(
            Document(
                path=path,
                modality=ds.Modality,
                sop_class_uid=ds.SOPClassUID,
                sop_instance_uid=ds.SOPInstanceUID,
                series_instance_uid=ds.SeriesInstanceUID,
            )
        )
    known = made.choice.sop_instance_uids | {ds.SOPInstanceUID for ds in datasets}
    choice = replace(made.choice, documents=tuple(documents), sop_instance_uids=known)
    return given_regions(
        choice, pet_grid=made.petct.pet.grid, ct_grid=made.petct.ct.grid, wanted=WANTED
    )


def test_our_own_report_reads_back_as_it_was_meant(own):
    made, (seg, sr) = own
    lesion = made.findings.lesions[0]
    on_segment, on_pet = foreign_sr.groups(sr)

    assert on_segment.segments == ((seg.SOPInstanceUID, 1),)
    assert on_segment.tracking_uid == seg.SegmentSequence[0].TrackingUID
    assert on_pet.name == "primary 1 on PT"
    assert in_thorax(on_segment.sites) is True
    (segment,) = segments.segments(seg)
    region = segments.region(seg, segment)
    assert region.volume_ml == pytest.approx(lesion.on_ct.volume_ml)


def test_our_own_results_are_never_taken_for_a_contour(own, tmp_path):
    made, documents = own

    given, notes = regions(made, tmp_path, documents)

    assert given == ()
    assert {note.code for note in notes} == {"CONTOUR_OWN"}
    assert {note.meaning.rsplit(": ")[-1] for note in notes} == {"SEG", "SR"}


@pytest.mark.parametrize("algorithm", ["AUTOMATIC", "SEMIAUTOMATIC"])
def test_neither_are_those_that_rest_on_a_contour_that_came_with_the_study(
    own, tmp_path, algorithm
):
    made, (seg, _) = own
    seg.SegmentSequence[0].SegmentAlgorithmType = algorithm

    given, notes = regions(made, tmp_path, [seg])

    assert (given, [note.code for note in notes]) == ((), ["CONTOUR_OWN"])


def test_a_copy_that_was_edited_elsewhere_is_taken_voxel_by_voxel(own, tmp_path):
    made, (seg, _) = own
    seg.Manufacturer, seg.ManufacturerModelName = "Editor", "Workstation"
    seg.SegmentSequence[0].SegmentAlgorithmType = "SEMIAUTOMATIC"

    (given,), notes = regions(made, tmp_path, [seg])

    assert np.array_equal(given.region.mask, made.findings.lesions[0].on_ct.mask)
    assert (given.source, given.name, notes) == (RegionSource.SEG, "primary 1", ())
