"""Reads what peers sent within bounds of memory, whatever it says of its own size."""

import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from node.dicom.attributes import number, text
from node.dicom.decoding import decode

INFLATED_BYTES_MOST = 2**29
"""A thousand planes of a CT in one deflated instance; a bomb is a thousand times its file."""
HEADER_BYTES_MOST = 2**26
"""How much of a deflated data set is inflated to read what stands before its pixels."""
DECODED_BYTES_MOST = 2**31
"""Four thousand planes of a CT in one instance."""
_META = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00"
"""Transfer Syntax UID: explicit VR little endian, which is what deflated data sets hold."""
_PIECE = 2**20
_OF_PIXELS = (
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "DoubleFloatPixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "FloatPixelData",
    "HighBit",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelData",
    "PixelRepresentation",
    "PlanarConfiguration",
    "Rows",
    "SamplesPerPixel",
)


def read(path: Path, *, force: bool = True) -> Dataset:
    """Read a whole file; raise one of ``UNREADABLE`` where it is no DICOM or inflates too far."""
    plain = _inflated(path, INFLATED_BYTES_MOST)
    if plain is not None and len(plain.getbuffer()) > INFLATED_BYTES_MOST:
        raise ValueError(f"the data set inflates to more than {INFLATED_BYTES_MOST} bytes")
    return dcmread(path if plain is None else plain, force=force)


def read_headers(path: Path, tags: Sequence[str]) -> Dataset:
    """Read the attributes ``tags`` that stand before the pixels; raise as ``read`` does."""
    plain = _inflated(path, HEADER_BYTES_MOST)
    return dcmread(
        path if plain is None else plain,
        stop_before_pixels=True,
        force=True,
        specific_tags=[*tags],
    )


def stored_pixels(dataset: Dataset) -> NDArray[np.generic]:
    """Decode the stored values; raise one of ``UNREADABLE`` where they cannot be or are too many.

    What the headers say is judged before anything is allocated.
    """
    for keyword in _OF_PIXELS:
        # pydicom would name it in full, which takes a time exponential in its depth.
        if isinstance(dataset.get(keyword), DicomSequence):
            raise ValueError(f"{keyword} is a sequence")  # noqa: TRY004  (the bytes are wrong)
    sizes = [number(dataset, keyword) for keyword in ("Rows", "Columns", "BitsAllocated")]
    counts = [number(dataset, keyword) for keyword in ("NumberOfFrames", "SamplesPerPixel")]
    if any(size is None or size < 1 for size in sizes):
        raise ValueError("the pixels have no size")
    bits = prod((*(size or 0 for size in sizes), *(count or 1 for count in counts)))
    if abs(bits) / 8 > DECODED_BYTES_MOST:
        raise ValueError(f"the pixels are more than {DECODED_BYTES_MOST} bytes")
    return decode(dataset)


def transfer_syntax_uid(file: BinaryIO) -> str:
    """Return what the File Meta Information states, ``""`` where it is absent.

    The file is left at the first byte after the File Meta Information.
    """
    if file.read(132)[128:] != b"DICM":
        return ""
    meta = read_dataset(file, False, True, stop_when=_past_file_meta)  # noqa: FBT003 (its API)
    return text(meta, "TransferSyntaxUID")


def inflated(file: BinaryIO, most: int) -> Iterator[bytes]:
    """Inflate what follows in a file, piece by piece, up to ``most`` bytes and no further."""
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    while most > 0 and not inflating.eof:
        deflated = inflating.unconsumed_tail or file.read(_PIECE)
        # Even after the last byte something can be left that a piece before had no room for.
        piece = inflating.decompress(deflated, min(most, _PIECE))
        if not (deflated or piece):
            return
        most -= len(piece)
        yield piece


def _inflated(path: Path, most: int) -> BytesIO | None:
    """Return a deflated file as one that is not, cut off after ``most`` bytes; else None."""
    with path.open("rb") as file:
        if transfer_syntax_uid(file) != DeflatedExplicitVRLittleEndian:
            return None
        plain = BytesIO()
        plain.write(bytes(128) + b"DICM" + _META)
        for piece in inflated(file, most):
            plain.write(piece)
    plain.seek(0)
    return plain


def _past_file_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag.group) != 2
