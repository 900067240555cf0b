"""Single attributes of received data sets, read with tolerance and without surprise."""

import math
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.coding import Code

from node.dicom import charsets
from node.dicom.file_header import FileHeader

# A received value is judged here, not by pydicom, whose warnings would print the value.
config.settings.reading_validation_mode = config.IGNORE
charsets.correct()

# What pydicom raises on bytes that are not what they claim to be.
UNREADABLE: tuple[type[Exception], ...] = (
    BytesLengthException,
    InvalidDicomError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

# Functional groups that hold what we read of a frame (PS3.3 C.7.6.16 and C.8.15 to C.8.22).
_MACROS = (
    "FrameContentSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "SegmentIdentificationSequence",
    "PETFrameTypeSequence",
    "CTImageFrameTypeSequence",
    "CTReconstructionSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
)


_T = TypeVar("_T")


class Attributes(Protocol):
    """Anything that yields a value by keyword: a data set, an item, a frame."""

    def get(self, key: str, /) -> Any:  # noqa: ANN401  (a value has the type that its VR says)
        """Return the value of the attribute or None."""
        ...


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What the headers say of one frame: its own groups, then the shared ones, then the top."""

    items: tuple[Dataset, ...]

    def get(self, keyword: str, /) -> Any:  # noqa: ANN401  (a value has the type that its VR says)
        """Return the first value of ``keyword`` that is not empty, or None."""
        for item in self.items:
            found = value(item, keyword)
            if found is not None:
                return found
        return None


def frame_headers(dataset: Dataset) -> tuple[FrameHeader, ...]:
    """Return one header for each frame; a single-frame instance has one."""
    per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")
    if not per_frame:
        return (FrameHeader((dataset,)),)
    shared = [g for group in items(dataset, "SharedFunctionalGroupsSequence") for g in _flat(group)]
    return tuple(FrameHeader((*_flat(group), *shared, dataset)) for group in per_frame)


def _flat(group: Dataset) -> list[Dataset]:
    return [*(item for macro in _MACROS for item in items(group, macro)[:1]), group]


def value(source: Attributes, keyword: str) -> Any:  # noqa: ANN401  (as its VR says)
    """Return a value, or None where it is absent, empty or unreadable."""
    try:
        found = source.get(keyword)
    except UNREADABLE:
        return None
    return None if found is None or (isinstance(found, str) and not found.strip()) else found


def shared(source: Attributes, read: Callable[[Attributes], _T]) -> _T:
    """Return ``read(source)``, told once for all files of a study of which it would be the same."""
    return source.seen(read) if isinstance(source, FileHeader) else read(source)


def texts(source: Attributes, keyword: str) -> tuple[str, ...]:
    """Return all values of an attribute as stripped text."""
    if isinstance(source, FileHeader):
        return source.derived(keyword, _texts)
    return _texts(source, keyword)


def _texts(source: Attributes, keyword: str) -> tuple[str, ...]:
    plain = source.plain(keyword) if isinstance(source, FileHeader) else None
    if plain is not None:
        return plain
    found = value(source, keyword)
    if found is None or isinstance(found, bytes | Dataset | DicomSequence):
        return ()
    values = [found] if isinstance(found, str) or not isinstance(found, Sequence) else found
    return tuple(str(v).strip(" \0\t\r\n") for v in values)


def text(source: Attributes, keyword: str) -> str:
    """Return the first value of an attribute as stripped text, ``""`` where absent."""
    return next(iter(texts(source, keyword)), "")


def numbers(source: Attributes, keyword: str) -> tuple[float, ...]:
    """Return all values as finite numbers; none at all where one of them is not a number."""
    if isinstance(source, FileHeader):
        return source.derived(keyword, _numbers)
    return _numbers(source, keyword)


def _numbers(source: Attributes, keyword: str) -> tuple[float, ...]:
    plain = source.plain(keyword) if isinstance(source, FileHeader) else None
    try:
        found = tuple([float(v) for v in (_texts(source, keyword) if plain is None else plain)])
    except ValueError:
        return ()
    return found if all(math.isfinite(v) for v in found) else ()


def number(source: Attributes, keyword: str) -> float | None:
    """Return the first value as a finite number, or None."""
    return next(iter(numbers(source, keyword)), None)


def items(source: Attributes, keyword: str) -> tuple[Dataset, ...]:
    """Return the items of a sequence attribute, none where it is absent or no sequence."""
    found = value(source, keyword)
    return tuple(found) if isinstance(found, DicomSequence) else ()


def codes(source: Attributes, keyword: str) -> tuple[Code, ...]:
    """Return the codes of a code sequence; SNOMED's old designators become SRT."""
    found = []
    for item in items(source, keyword):
        scheme = text(item, "CodingSchemeDesignator")
        found.append(code(scheme, text(item, "CodeValue"), text(item, "CodeMeaning")))
    return tuple(found)


def code(scheme: str, code_value: str, meaning: str = "") -> Code:
    """Return a code that compares equal to the same concept in SCT, SRT, SNM3 or 99SDM."""
    old = {"SNM3", "99SDM", "SRT"}
    return Code(code_value, "SRT" if scheme.upper() in old else scheme.upper(), meaning)
