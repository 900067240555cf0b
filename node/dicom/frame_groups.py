"""The functional groups of frames that differ in their plane alone, encoded without data sets."""

import struct
from collections.abc import Sequence
from typing import Final

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from node.dicom.derived import decimal
from node.dicom.series import Plane

_ITEM: Final = struct.Struct("<HHL")
_SHORT: Final = struct.Struct("<HH2sH")
_LONG: Final = struct.Struct("<HH2s2xL")


def per_frame(one: Dataset, planes: Sequence[Plane]) -> bytes:
    """Return the Per-frame Functional Groups Sequence of planes, in Explicit VR Little Endian.

    ``one`` is the item of one frame with one source image. Every frame has the same groups but for
    its Dimension Index Value, counted from 1, its position, and the instance and frame it cites.
    """
    groups = _parts(one)
    derivation = _parts(one.DerivationImageSequence[0])
    image = _parts(one.DerivationImageSequence[0].SourceImageSequence[0])
    items = []
    for number, plane in enumerate(planes, 1):
        image |= _cited(plane)
        derivation |= _sequence("SourceImageSequence", [_joined(image)])
        groups |= _sequence("DerivationImageSequence", [_joined(derivation)])
        index = _value("DimensionIndexValues", struct.pack("<L", number))
        groups |= _sequence("FrameContentSequence", [_joined(index)])
        place = "\\".join(map(decimal, plane.position)).encode()
        position = _value("ImagePositionPatient", place)
        groups |= _sequence("PlanePositionSequence", [_joined(position)])
        items.append(_joined(groups))
    return _joined(_sequence("PerFrameFunctionalGroupsSequence", items))


def _cited(plane: Plane) -> dict[int, bytes]:
    cited = _value("ReferencedSOPClassUID", plane.sop_class_uid.encode())
    cited |= _value("ReferencedSOPInstanceUID", plane.sop_instance_uid.encode())
    if plane.frame is not None:
        cited |= _value("ReferencedFrameNumber", str(plane.frame).encode())
    return cited


def _parts(item: Dataset) -> dict[int, bytes]:
    """Return the elements of an item as pydicom encodes them, by tag."""
    return {int(element.tag): _encoded(element.tag, item) for element in item}


def _encoded(tag: int, item: Dataset) -> bytes:
    alone = Dataset()
    alone.add(item[tag])
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, alone, "ISO_IR 192")
    return buffer.getvalue()


def _joined(elements: dict[int, bytes]) -> bytes:
    return b"".join(elements[tag] for tag in sorted(elements))


def _value(keyword: str, value: bytes) -> dict[int, bytes]:
    """Return one element with a length of two bytes, padded to an even one (PS3.5 7.1.2, 6.2)."""
    tag, vr = _known(keyword)
    padded = value + (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return {tag: _SHORT.pack(tag >> 16, tag & 0xFFFF, vr, len(padded)) + padded}


def _sequence(keyword: str, items: Sequence[bytes]) -> dict[int, bytes]:
    """Return a sequence, all of whose lengths are stated (PS3.5 7.5.1)."""
    tag, vr = _known(keyword)
    content = b"".join(_ITEM.pack(0xFFFE, 0xE000, len(item)) + item for item in items)
    return {tag: _LONG.pack(tag >> 16, tag & 0xFFFF, vr, len(content)) + content}


def _known(keyword: str) -> tuple[int, bytes]:
    tag = tag_for_keyword(keyword)
    assert tag is not None  # keywords of ours
    return tag, dictionary_VR(tag).encode()
