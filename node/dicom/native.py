"""Uncompressed pixels of planes, read from where they lie in their files."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.dicom.attributes import value
from node.dicom.elements import Stamp
from node.dicom.file_header import FileHeader

Stored: TypeAlias = NDArray[np.generic]

_SYNTAXES: Final = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian})
_MONOCHROME: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})
_TYPES: Final = ("<u2", "<i2")
_BITS: Final = 16


def ends_of(planes: Stored) -> Stored:
    """Return the least and the greatest value of each plane: a row each, two columns."""
    values: NDArray[Any] = planes.reshape(len(planes), -1)
    found: NDArray[Any] = np.empty((len(planes), 2), planes.dtype)
    values.min(axis=1, out=found[:, 0])
    values.max(axis=1, out=found[:, 1])
    return found


class Form(NamedTuple):
    """What planes have in common that are read into one array."""

    shape: tuple[int, int]
    stored_type: str
    unused_bits: int

    @property
    def plane_bytes(self) -> int:
        """How long a plane is."""
        return self.shape[0] * self.shape[1] * _BITS // 8

    def room(self, count: int) -> Stored:
        """Return an array for so many planes."""
        return np.empty((count, *self.shape), self.stored_type)

    def ends(self, planes: Stored) -> Stored:
        """Clean planes of what stands in unused bits, and return ``ends_of`` them."""
        found = ends_of(planes)
        low, high = self._range
        if low <= found.min() and found.max() <= high:
            return found
        values: NDArray[Any] = planes  # other bits than the stored ones are set (PS3.5 8.1.1)
        np.left_shift(values, self.unused_bits, out=values)
        np.right_shift(values, self.unused_bits, out=values)
        return ends_of(planes)

    @property
    def _range(self) -> tuple[int, int]:
        """What the stored bits can say; other bits only repeat the sign where values are within."""
        most = 1 << _BITS - self.unused_bits
        signed = self.stored_type == _TYPES[1]
        return (-most // 2, most // 2 - 1) if signed else (0, most - 1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NativePixels:
    """One plane of grey values in 16 bits each; whatever else there is, pydicom decodes."""

    path: Path
    header: FileHeader
    form: Form
    start: int

    @classmethod
    def of(cls, path: Path, header: FileHeader) -> "NativePixels | None":
        """Return the pixels of a file; None unless the header is whole and fits their length."""
        place, form = header.elements.layout.pixels, header.seen(_form)
        if place is None or form is None or place[1] != header.elements.stamp.size:
            return None  # or something follows
        return cls(path=path, header=header, form=form, start=place[0])

    def read(self, room: Stored) -> bool:
        """Fill ``room`` with the stored values; False where the file is no longer the same."""
        try:
            file = os.open(self.path, os.O_RDONLY)
        except OSError:
            return False
        try:
            return (
                Stamp.of(file) == self.header.elements.stamp
                and os.preadv(file, [room.data], self.start) == room.nbytes
            )
        except OSError:
            return False
        finally:
            os.close(file)


def _form(header: FileHeader) -> Form | None:
    """Return the form of a file's pixels, if it is one and fits their length."""
    layout = header.elements.layout
    if layout.pixels is None or layout.transfer_syntax_uid not in _SYNTAXES:
        return None
    rows, columns = _count(header, "Rows"), _count(header, "Columns")
    bits, sign = _count(header, "BitsStored"), _count(header, "PixelRepresentation")
    if not _is_plain(header) or not 1 <= bits <= _BITS or sign not in (0, 1):
        return None
    start, end = layout.pixels
    if min(rows, columns) < 1 or end - start != rows * columns * _BITS // 8:
        return None
    return Form((rows, columns), _TYPES[sign], _BITS - bits)


def _is_plain(header: FileHeader) -> bool:
    one_frame = header.element("NumberOfFrames") is None or value(header, "NumberOfFrames") == 1
    return (
        one_frame
        and _count(header, "SamplesPerPixel") == 1
        and _count(header, "BitsAllocated") == _BITS
        and value(header, "PhotometricInterpretation") in _MONOCHROME
    )


def _count(header: FileHeader, keyword: str) -> int:
    """Return a whole number, -1 for what is none."""
    found = value(header, keyword)
    return found if isinstance(found, int) else -1
