"""Elements in Explicit VR Little Endian, encoded without data sets, and their place among others.

Lists of hundreds of instances that are cited take most of the time of an object where each is a
data set, which pydicom builds, looks through and encodes by itself.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Final, TypeAlias

import numpy as np
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from inference.volume import Voxels
from node.dicom.series import Plane

Elements: TypeAlias = Mapping[int, bytes]
"""Whole elements by their tags."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxed:
    """Numbers of a volume that are 0 outside of a box."""

    shape: tuple[int, int, int]
    start: tuple[int, int, int]
    box: Voxels

    def __len__(self) -> int:
        return 4 * prod(self.shape)

    def draw(self, blank: memoryview) -> None:
        """Write the box where it belongs, in little endian; nothing else of it is touched."""
        volume: Voxels = np.ndarray(self.shape, "<f4", blank)
        a, b, c = (
            slice(first, first + size)
            for first, size in zip(self.start, self.box.shape, strict=True)
        )
        volume[a, b, c] = self.box


Part: TypeAlias = bytes | memoryview | Boxed

_ITEM: Final = struct.Struct("<HHL")
_SHORT: Final = struct.Struct("<HH2sH")
_LONG: Final = struct.Struct("<HH2s2xL")
_PREAMBLE: Final = 132
LONG_VRS: Final = frozenset(map(str, EXPLICIT_VR_LENGTH_32))
"""What has a length of four bytes (PS3.5 Table 7.1-1)."""
SHORT_MOST: Final = 0xFFFF
"""The greatest length of all else."""


def element(tag: int, vr: str, content: bytes) -> bytes:
    """Return one element, whose content has to be of an even length and to fit (PS3.5 7.1.2)."""
    head = _LONG if vr in LONG_VRS else _SHORT
    return head.pack(tag >> 16, tag & 0xFFFF, vr.encode(), len(content)) + content


def sequence_element(tag: int, items: Sequence[bytes]) -> bytes:
    """Return a sequence, all of whose lengths are stated (PS3.5 7.5.1)."""
    return element(tag, "SQ", b"".join([_ITEM.pack(0xFFFE, 0xE000, len(i)) + i for i in items]))


def value(keyword: str, content: bytes) -> dict[int, bytes]:
    """Return one element, padded to an even length (PS3.5 6.2)."""
    tag, vr = _known(keyword)
    return {tag: element(tag, vr, content + (b"\0" if vr == "UI" else b" ") * (len(content) % 2))}


def sequence(keyword: str, items: Sequence[bytes]) -> dict[int, bytes]:
    """Return a sequence, all of whose lengths are stated (PS3.5 7.5.1)."""
    tag, _ = _known(keyword)
    return {tag: sequence_element(tag, items)}


def joined(elements: Elements) -> bytes:
    """Return elements one after the other, as their tags ascend."""
    return b"".join(elements[tag] for tag in sorted(elements))


def as_pydicom(item: Dataset) -> dict[int, bytes]:
    """Return the elements of an item as pydicom encodes them."""
    return {int(one.tag): as_pydicom_does(one.tag, item) for one in item}


def as_pydicom_does(tag: int, item: Dataset) -> bytes:
    """Return one element of an item as pydicom encodes it."""
    alone = Dataset()
    alone.add(item[tag])
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, alone, "ISO_IR 192")
    return buffer.getvalue()


def reference(sop_class_uid: str, sop_instance_uid: str) -> dict[int, bytes]:
    """Return the SOP Instance Reference Macro (PS3.3 10.8)."""
    return {
        **value("ReferencedSOPClassUID", sop_class_uid.encode()),
        **value("ReferencedSOPInstanceUID", sop_instance_uid.encode()),
    }


def image_reference(plane: Plane) -> dict[int, bytes]:
    """Return the Image SOP Instance Reference Macro (PS3.3 10.3)."""
    cited = reference(plane.sop_class_uid, plane.sop_instance_uid)
    if plane.frame is None:
        return cited
    return {**cited, **value("ReferencedFrameNumber", str(plane.frame).encode())}


def put_among(part10: memoryview, elements: Elements) -> Iterator[bytes | memoryview]:
    """Yield an object's bytes with further top-level elements where their tags belong.

    ``part10`` has none of them, and states all lengths.
    """
    waiting = sorted(elements)
    position = written = _PREAMBLE
    yield part10[:written]
    while waiting and position < len(part10):
        group, element, vr, length = _SHORT.unpack_from(part10, position)
        if group << 16 | element > waiting[0]:
            yield part10[written:position]
            yield elements[waiting.pop(0)]
            written = position
            continue
        start = position + _SHORT.size
        if vr.decode() in LONG_VRS:
            *_, length = _LONG.unpack_from(part10, position)
            start = position + _LONG.size
        position = start + length
    yield part10[written:]
    yield from (elements[tag] for tag in waiting)


def in_one(parts: Sequence[Part]) -> bytes | memoryview:
    """Return the parts one after the other.

    Memory that is 0 as it comes from the system is not written: most of a volume that is 0 outside
    of a box takes neither time nor room.
    """
    plain = [part for part in parts if not isinstance(part, Boxed)]
    if len(plain) == len(parts):
        return b"".join(plain)
    whole = np.zeros(sum(map(len, parts)), np.uint8).data
    end = 0
    for part in parts:
        room = whole[end : (end := end + len(part))]
        if isinstance(part, Boxed):
            part.draw(room)
        else:
            room[:] = part
    return whole.toreadonly()


@cache
def _known(keyword: str) -> tuple[int, str]:
    tag = tag_for_keyword(keyword)
    assert tag is not None  # keywords of ours
    return tag, str(dictionary_VR(tag))
