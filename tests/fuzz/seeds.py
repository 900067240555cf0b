"""What is damaged: one sound object of every kind that the node reads, drawn from code."""

from functools import cache
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from tests.node.dicom.drawn_regions import frame_of, segment_item, segmentation, structure_set
from tests.node.dicom.foreign_reports import SQUARE, group, report, scoord, scoord3d
from tests.node.dicom.minimal import ct_plane, pet_plane
from tests.node.dicom.test_volumes import enhanced_pet

PREAMBLE = 132
PLANES = 3


def part10(ds: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """Return a file of a data set, compressed where the syntax says so."""
    if syntax.is_encapsulated:
        ds.compress(syntax, generate_instance_uid=False)
    ds.file_meta.TransferSyntaxUID = syntax
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


@cache
def planes() -> dict[str, bytes]:
    """Return the planes that a sound study is made of, by their SOP Instance UID."""
    made = [make(index) for make in (pet_plane, ct_plane) for index in range(PLANES)]
    return {str(ds.SOPInstanceUID): part10(ds) for ds in made}


@cache
def images() -> dict[str, bytes]:
    """Return images in every shape that the readers know."""
    return {
        "pet": part10(pet_plane(1)),
        "ct": part10(ct_plane(1)),
        "pet-implicit": part10(pet_plane(1), ImplicitVRLittleEndian),
        "pet-deflated": part10(pet_plane(1), DeflatedExplicitVRLittleEndian),
        "ct-jpegls": part10(ct_plane(1), JPEGLSLossless),
        "ct-rle": part10(ct_plane(1), RLELossless),
        "pet-enhanced": part10(enhanced_pet(PLANES)),
    }


@cache
def documents() -> dict[str, bytes]:
    """Return documents with regions of every kind, on the planes of the sound study."""
    on_plane = [[(x, y, 4.0) for x, y in SQUARE]]
    outlined = group("GTV", scoord("POLYLINE", SQUARE), scoord("CIRCLE", SQUARE[:2]), uid="1.2.9")
    frames = [frame_of(1, (2, 3), (2, 4)), frame_of(1, (3, 3))]
    where = {"places": [4.0, 8.0], "segments": [1, 1]}
    return {
        "rtstruct": part10(structure_set(["GTV", "Lung"], place=4.0)),
        "seg-binary": part10(segmentation("BINARY", [segment_item(1, "GTV")], frames, **where)),
        "seg-labelmap": part10(segmentation("LABELMAP", [segment_item(1, "GTV")], frames, **where)),
        "sr": part10(report(outlined, group("GTV", scoord3d("POLYGON", on_plane[0])))),
    }


@cache
def everything() -> dict[str, bytes]:
    """Return every seed."""
    return {**images(), **documents()}


def split(content: bytes) -> tuple[bytes, bytes]:
    """Return the File Meta Information with its preamble, and the data set."""
    length = int.from_bytes(content[140:144], "little")
    start = PREAMBLE + 12 + length
    return content[:start], content[start:]
