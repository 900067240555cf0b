"""As an instance the key image is a Secondary Capture that names the images it shows."""

import io
from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread

from node.dicom.capture import render
from node.instance import ResultKind
from tests import made_study


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_study.study(tmp_path_factory.mktemp("source"))


def read(made, kind=ResultKind.KEY_IMAGE, **options):
    objects = made_study.analyzed(made, **options)
    return dcmread(io.BytesIO(next(one for one in objects if one.kind is kind).part10))


def cited(ds) -> list[str]:
    return [item.ReferencedSOPInstanceUID for item in ds.SourceImageSequence]


def test_it_is_a_secondary_capture_without_identity_in_its_pixels(made):
    ds = read(made)

    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert (ds.ConversionType, ds.BurnedInAnnotation) == ("WSD", "NO")
    assert np.array_equal(ds.pixel_array, render(made.petct, made.findings))


def test_nothing_of_the_patient_changes_its_pixels(made, tmp_path):
    other = made_study.study(tmp_path, PatientName="Other^Phantom", PatientID="P2", StudyID="S9")

    assert read(made).PixelData == read(other).PixelData


def test_it_names_every_ct_slice_that_a_section_cuts_and_the_whole_pet(made):
    """The CT is 100 mm long and a section shows 200 mm: all of it, then the PET."""
    planes = (*made.choice.ct.planes, *made.choice.pet.planes)

    assert cited(read(made)) == [plane.sop_instance_uid for plane in planes]


def test_ct_slices_beyond_the_sections_are_not_named(made):
    """Slices 25 mm apart from -237.5 to 237.5 mm, and 200 mm around 5 mm: -95 to 105 mm."""
    ct = replace(made.petct.ct, grid=replace(made.petct.ct.grid, spacing=(25.0, 4.0, 4.0)))
    ct = replace(ct, grid=replace(ct.grid, origin=(*ct.grid.origin[:2], -237.5)))

    ds = read(replace(made, petct=replace(made.petct, ct=ct)))

    slices = made.choice.ct.planes[6:15]
    assert cited(ds)[: len(slices)] == [plane.sop_instance_uid for plane in slices]
    assert cited(ds)[len(slices)] == made.choice.pet.planes[0].sop_instance_uid


def test_the_frames_of_an_enhanced_ct_are_named_by_number(made):
    frames = made_study.multiframe(made)

    items = read(frames).SourceImageSequence[: len(frames.choice.ct.planes)]

    assert {item.ReferencedSOPInstanceUID for item in items} == {"2.25.1101"}
    numbers = [plane.frame for plane in frames.choice.ct.planes]
    assert [item.ReferencedFrameNumber for item in items] == numbers


def test_without_a_lesion_it_names_the_pet_alone(made):
    ds = read(replace(made, findings=made_study.findings(predictions=())))

    assert cited(ds) == [plane.sop_instance_uid for plane in made.choice.pet.planes]
    assert ds.DerivationDescription == "Axial, coronal and sagittal maximum projections of the PET"


def test_the_same_run_makes_the_same_bytes(made):
    first, second = (
        next(one for one in made_study.analyzed(made) if one.kind is ResultKind.KEY_IMAGE)
        for _ in range(2)
    )

    assert first.part10 == second.part10
