"""An encoded object as plain values, read once and strictly: keywords to texts, numbers and items.

pydicom reads a file that was cut short without a word, and takes what is left. Here every length
must be kept to the byte (PS3.5 7.1, 7.5), in the one transfer syntax that we write.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from struct import Struct, calcsize, unpack
from typing import Any, Final, NamedTuple, TypeAlias

from pydicom.datadict import keyword_for_tag
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

Item: TypeAlias = Mapping[str, Any]
"""Values by keyword: text without padding (several values parted by a backslash), a number or a
tuple of numbers for binary VRs, a view of bytes, or the list of items of a sequence."""

_PREFIX: Final = 128
_SHORT: Final = Struct("<HH2sH")
_LONG: Final = Struct("<HH2s2xI")
_ITEM: Final = Struct("<HHI")
_ITEM_TAG: Final = (0xFFFE, 0xE000)
_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_BYTES: Final = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "UN", "AT", "SV", "UV"])


class NotNative(ValueError):
    """The object is not in Explicit VR Little Endian, which every viewer reads."""


class Leaf(NamedTuple):
    """One element that holds text, as it stands in the bytes."""

    keyword: str
    vr: str
    text: str | None
    """The value without its padding; None where it has an odd length or is no UTF-8."""


_Leaves: TypeAlias = dict[Leaf, None]
"""Each but once, in the order of the object."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An object read back: its values, its File Meta Information and every different text in it."""

    item: Item
    meta: Item
    leaves: Collection[Leaf]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads objects of ours that go out together, and what they say in the same bytes but once.

    Frames repeat the same codes hundreds of times, and the maps of all tasks the same frames.
    """

    _sequences: dict[bytes, tuple[list[Item], _Leaves]] = field(default_factory=dict)

    def read(self, part10: bytes | memoryview) -> Encoded:
        """Read one object; ValueError or struct.error where it is not whole or not DICOM."""
        if part10[_PREFIX : _PREFIX + 4] != b"DICM":
            raise ValueError("there is no preamble")
        encoded, leaves = memoryview(part10), _Leaves()
        start = _PREFIX + 4
        group_length = _SHORT.size + 4  # (0002,0000) tells how long the rest of its group is
        meta_end = start + group_length
        told = self._item(encoded[start:meta_end], {})
        meta_end += int(told["FileMetaInformationGroupLength"])
        meta = self._item(encoded[start:meta_end], {})
        if meta.get("TransferSyntaxUID") != ExplicitVRLittleEndian:
            raise NotNative("it is not in Explicit VR Little Endian")
        item = self._item(encoded[meta_end:], leaves)
        return Encoded(item=item, meta=meta, leaves=leaves.keys())

    def _item(self, encoded: memoryview, leaves: _Leaves) -> Item:
        values: dict[str, Any] = {}
        for tag, vr, value in _elements(encoded):
            keyword = _keyword(tag)
            if vr == "SQ":
                values[keyword], below = self._sequence(bytes(value))
                leaves.update(below)
            elif vr in _NUMBERS:
                values[keyword] = _number(value, _NUMBERS[vr])
            elif vr in _BYTES:
                values[keyword] = value
            else:
                text = _text(value, vr)
                leaves[Leaf(keyword, vr, text)] = None
                values[keyword] = text or ""
        return values

    def _sequence(self, encoded: bytes) -> tuple[list[Item], _Leaves]:
        """Return the items of a sequence, and the texts in them."""
        known = self._sequences.get(encoded)
        if known is None:
            leaves = _Leaves()
            known = [self._item(item, leaves) for item in _items(memoryview(encoded))], leaves
            self._sequences[encoded] = known
        return known


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


def _elements(encoded: memoryview) -> Iterator[tuple[int, str, memoryview]]:
    """Yield tag, VR and value of each element; tags must ascend, and lengths be kept."""
    position = before = 0
    end = len(encoded)
    while position < end:
        group, element, name, length = _SHORT.unpack_from(encoded, position)
        vr = name.decode("ascii")
        start = position + _SHORT.size
        if vr in EXPLICIT_VR_LENGTH_32:
            *_, length = _LONG.unpack_from(encoded, position)
            start = position + _LONG.size
        tag, position = group << 16 | element, start + length
        if tag <= before or position > end:
            raise ValueError("an element is out of order, or longer than what holds it")
        before = tag
        yield tag, vr, encoded[start:position]


def _items(value: memoryview) -> Iterator[memoryview]:
    """Yield each item of a sequence; all of them, and all of each, must be there."""
    position = 0
    while position < len(value):
        group, element, length = _ITEM.unpack_from(value, position)
        start = position + _ITEM.size
        position = start + length
        if (group, element) != _ITEM_TAG or position > len(value):
            raise ValueError("an item is no item, or longer than its sequence")
        yield value[start:position]


@cache
def _keyword(tag: int) -> str:
    return keyword_for_tag(tag) or f"{tag:08X}"


def _number(value: memoryview, code: str) -> float | tuple[float, ...]:
    found = unpack(f"<{len(value) // calcsize(code)}{code}", value)
    return found[0] if len(found) == 1 else found


def _text(value: memoryview, vr: str) -> str | None:
    if len(value) % 2:
        return None
    try:
        return str(value, "utf-8").rstrip(" \x00" if vr == "UI" else " ")
    except UnicodeDecodeError:
        return None
