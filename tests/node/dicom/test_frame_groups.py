"""What a map says of its frames, from one of them, is what highdicom says of them all."""

import io
from dataclasses import replace

import numpy as np
import pytest
from highdicom import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from node.dicom import source
from node.dicom.derived import as_single_frames
from node.dicom.provenance import Provenance
from node.dicom.saliency_map import saliency_maps
from tests import made_study
from tests.made_study import PET_GRID
from tests.node.dicom.by_highdicom import name_true_sources


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_study.with_saliency(made_study.study(tmp_path_factory.mktemp("frames")))


def by_highdicom(series, grid) -> ParametricMap:
    images = as_single_frames(series.planes, grid, series, source.subject_of((series,)))
    for image in images:
        image.Rows = image.Columns = 1
    whole = ParametricMap(
        source_images=images,
        pixel_array=np.zeros((len(images), 1, 1), np.float32),
        series_instance_uid="2.25.1",
        series_number=1,
        sop_instance_uid="2.25.2",
        instance_number=1,
        manufacturer="-",
        manufacturer_model_name="-",
        software_versions="-",
        device_serial_number="-",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            RealWorldValueMapping(
                lut_label="-",
                lut_explanation="-",
                unit=codes.UCUM.NoUnits,
                value_range=(0.0, 1.0),
                slope=1,
                intercept=0,
            )
        ],
        voi_lut_transformations=[VOILUTTransformation(window_center=0.5, window_width=1.0)],
        derivation=codes.DCM.GradientWeightedClassActivation,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    frames = whole.PerFrameFunctionalGroupsSequence[::-1]
    for number, frame in enumerate(frames, 1):
        frame.FrameContentSequence[0].DimensionIndexValues = [number]
    whole.PerFrameFunctionalGroupsSequence = frames
    name_true_sources(whole, series.planes)
    whole.SourceImageSequence = instances(series.planes)
    whole.ReferencedSeriesSequence[0].ReferencedInstanceSequence = instances(series.planes)
    return whole


def instances(planes) -> list[Dataset]:
    """Every instance once, as pydicom encodes it."""
    items = []
    for uid, sop_class_uid in {p.sop_instance_uid: p.sop_class_uid for p in planes}.items():
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class_uid
        item.ReferencedSOPInstanceUID = uid
        items.append(item)
    return items


def encoded(dataset, keyword) -> bytes:
    alone = Dataset()
    alone.add(dataset[keyword])
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, alone)
    return buffer.getvalue()


def moved(planes, change):
    return tuple(
        replace(plane, position=change(number, plane.position))
        for number, plane in enumerate(planes)
    )


CHANGES = {
    "as they are": lambda planes: planes,
    "at long decimals": lambda planes: moved(planes, lambda n, p: (-1 / 3, p[1] / 7, n * 10 / 3)),
    "unevenly spaced": lambda planes: moved(planes, lambda n, p: (*p[:2], p[2] + 0.4 * (n == 7))),
    "nearly evenly spaced": lambda planes: moved(
        planes, lambda n, p: (*p[:2], p[2] + 0.004 * (n == 7))
    ),
    "leaning": lambda planes: moved(planes, lambda n, p: (p[0] + n / 10, *p[1:])),
    "of odd and of even names": lambda planes: tuple(
        replace(plane, sop_instance_uid=f"2.25.{10**number}") for number, plane in enumerate(planes)
    ),
}


@pytest.mark.parametrize("multiframe", [False, True], ids=["files", "one file"])
@pytest.mark.parametrize("name", CHANGES)
def test_frames_are_told_as_by_highdicom(made, name, multiframe):
    study = made_study.multiframe(made) if multiframe else made
    series = replace(study.choice.pet, planes=CHANGES[name](study.choice.pet.planes))
    made_map, *_ = saliency_maps(
        study.findings.saliency,
        series=series,
        grid=PET_GRID,
        subject=source.subject_of((series,)),
        provenance=Provenance(equipment=made_study.EQUIPMENT, key="k", when=made_study.WHEN),
    )
    ours, theirs = dcmread(io.BytesIO(made_map.part10)), by_highdicom(series, PET_GRID)

    assert encoded(theirs, "PerFrameFunctionalGroupsSequence") in bytes(made_map.part10)
    for keyword in ("SourceImageSequence", "ReferencedSeriesSequence", "NumberOfFrames"):
        assert encoded(ours, keyword) == encoded(theirs, keyword)
    for keyword in ("DimensionOrganizationType", "FrameOfReferenceUID", "ImageType"):
        assert ours.get(keyword) == theirs.get(keyword)


def test_only_evenly_spaced_frames_are_told_to_be_a_volume(made):
    def kind(name):
        series = replace(made.choice.pet, planes=CHANGES[name](made.choice.pet.planes))
        return by_highdicom(series, PET_GRID).get("DimensionOrganizationType")

    assert (kind("as they are"), kind("unevenly spaced")) == ("3D", None)
