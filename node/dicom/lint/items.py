"""An encoded object as plain values, read once: keywords to texts, numbers and items."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from struct import unpack
from typing import Any, Final, TypeAlias

from pydicom import dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

Item: TypeAlias = Mapping[str, Any]
"""Values by keyword: text without padding (several values parted by a backslash), a number or a
tuple of numbers for binary VRs, bytes, or the list of items of a sequence."""

_BINARY: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_BYTES: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN", "AT", "SV", "UV"})


@dataclass(frozen=True, slots=True)
class Leaf:
    """One element that holds text, as it stands in the bytes."""

    keyword: str
    vr: str
    text: str | None
    """The value without its padding; None where it has an odd length or is no UTF-8."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An object read back: its values, its File Meta Information and every text in it."""

    item: Item
    meta: Item
    leaves: list[Leaf] = field(default_factory=list)


def read(part10: bytes) -> Encoded:
    """Read an object of ours; what pydicom raises where it is no DICOM goes through."""
    dataset = dcmread(io.BytesIO(part10))
    leaves: list[Leaf] = []
    meta = {element.keyword: str(element.value) for element in dataset.file_meta}
    return Encoded(item=_plain(dataset, leaves), meta=meta, leaves=leaves)


def numbers(item: Item, keyword: str) -> tuple[float, ...]:
    """Return the numbers of an element whatever its VR; empty where it is absent."""
    value = item.get(keyword, ())
    if isinstance(value, str):
        return tuple(float(part) for part in value.split("\\") if part)
    return tuple(value) if isinstance(value, tuple) else (float(value),)


def whole(item: Item, keyword: str) -> int | None:
    """Return the one integer of an element, or None where it is absent or empty."""
    value = item.get(keyword, "")
    return None if value in ("", ()) else int(value)


def _plain(dataset: Dataset, leaves: list[Leaf]) -> Item:
    values: dict[str, Any] = {}
    for tag, raw in dataset.items():
        keyword, vr = _keyword(tag), str(raw.VR or _vr(tag))
        if vr == "SQ":
            items = dataset.get(tag).value  # pydicom turns a sequence into items when it is used
            values[keyword] = [_plain(item, leaves) for item in items]
        elif not isinstance(raw, RawDataElement):
            values[keyword] = raw.value
        elif vr in _BINARY:
            values[keyword] = _number(raw.value or b"", _BINARY[vr])
        elif vr in _BYTES:
            values[keyword] = raw.value or b""
        else:
            text = _text(raw.value or b"", vr)
            leaves.append(Leaf(keyword, vr, text))
            values[keyword] = text or ""
    return values


@cache
def _keyword(tag: BaseTag) -> str:
    return keyword_for_tag(tag) or str(tag)


def _vr(tag: BaseTag) -> str:
    """Return the VR of an element in Implicit VR."""
    return dictionary_VR(tag) if dictionary_has_tag(tag) else "UN"


def _number(value: bytes, code: str) -> float | tuple[float, ...]:
    size = {"H": 2, "h": 2, "I": 4, "i": 4, "f": 4, "d": 8}[code]
    found = unpack(f"<{len(value) // size}{code}", value)
    return found[0] if len(found) == 1 else found


def _text(value: bytes, vr: str) -> str | None:
    if len(value) % 2:
        return None
    try:
        return value.decode("utf-8").rstrip(" \x00" if vr == "UI" else " ")
    except UnicodeDecodeError:
        return None
