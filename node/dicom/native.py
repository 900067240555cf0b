"""Uncompressed pixels of one plane, read from where they lie in its file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NativePixels:
    """One plane of grey values in 16 bits each; whatever else there is, pydicom decodes."""

    path: Path
    header: FileHeader
    shape: tuple[int, int]
    stored_type: str
    unused_bits: int
    start: int

    @classmethod
    def of(cls, path: Path, header: FileHeader) -> "NativePixels | None":
        """Return the pixels of a file; None unless the header is whole and fits their length."""
        place = header.elements.pixels
        if place is None or header.elements.transfer_syntax_uid not in _SYNTAXES:
            return None
        start, end = place
        if end != header.elements.stamp.size:
            return None  # something follows
        rows, columns = _count(header, "Rows"), _count(header, "Columns")
        bits, sign = _count(header, "BitsStored"), _count(header, "PixelRepresentation")
        if not _is_plain(header) or not 1 <= bits <= _BITS or sign not in (0, 1):
            return None
        if min(rows, columns) < 1 or end - start != rows * columns * _BITS // 8:
            return None
        return cls(
            path=path,
            header=header,
            shape=(rows, columns),
            stored_type=_TYPES[sign],
            unused_bits=_BITS - bits,
            start=start,
        )

    def room(self) -> Stored:
        """Return an array that ``read`` can fill."""
        return np.empty(self.shape, self.stored_type)

    def read(self, room: Stored) -> tuple[int, int] | None:
        """Fill ``room`` with the stored values, and return the least and the greatest of them.

        None where the file is no longer the one whose header was read.
        """
        try:
            with self.path.open("rb", buffering=0) as file:
                if Stamp.of(file.fileno()) != self.header.elements.stamp:
                    return None
                if os.preadv(file.fileno(), [room.data], self.start) != room.nbytes:
                    return None
        except OSError:
            return None
        least, most = int(room.min()), int(room.max())
        low, high = self._range
        if low <= least and most <= high:
            return least, most
        values: NDArray[Any] = room  # other bits than the stored ones are set (PS3.5 8.1.1)
        np.left_shift(values, self.unused_bits, out=values)
        np.right_shift(values, self.unused_bits, out=values)
        return int(values.min()), int(values.max())

    @property
    def _range(self) -> tuple[int, int]:
        """What the stored bits can say; other bits only repeat the sign where values are within."""
        most = 1 << _BITS - self.unused_bits
        signed = self.stored_type == _TYPES[1]
        return (-most // 2, most // 2 - 1) if signed else (0, most - 1)


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
