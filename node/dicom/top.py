"""Finds values at the top of Part 10 bytes without a data set, where that is certain.

What pydicom might read otherwise is left to it: another encoding than little endian, an element out
of order, a Value Representation nobody knows, a length that does not fit.
"""

from struct import Struct, error
from typing import Final

from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

_PREAMBLE: Final = 128
_TRANSFER_SYNTAX_UID: Final = 0x00020010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED: Final = 0xFFFFFFFF
_NESTED_MOST: Final = 16
_LONG: Final = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_32)
_SHORT: Final = frozenset(vr.encode() for vr in VR if len(vr) == 2) - _LONG
_EXPLICIT: Final = frozenset(
    str(uid)
    for uid in (
        ExplicitVRLittleEndian,
        RLELossless,
        *JPEGTransferSyntaxes,
        *JPEGLSTransferSyntaxes,
        *JPEG2000TransferSyntaxes,
    )
)
_EXPLICIT_HEAD: Final = Struct("<HH2sH").unpack_from
_IMPLICIT_HEAD: Final = Struct("<HHL").unpack_from
_LENGTH: Final = Struct("<L").unpack_from


class UnsureError(Exception):
    """The bytes are such that pydicom shall read them."""


def values(part10: bytes, wanted: dict[int, bytes]) -> tuple[str, dict[int, bytes]]:
    """Return the transfer syntax and the values of ``wanted``: tags, each with the VR it must have.

    What is absent is left out. Nothing beyond the greatest of the tags is read. Raises UnsureError.
    """
    if part10[_PREAMBLE : _PREAMBLE + 4] != b"DICM":
        raise UnsureError
    walk = _Walk(part10)
    try:
        uid, start = walk.file_meta(_PREAMBLE + 4)
        implicit = uid == ImplicitVRLittleEndian
        if not implicit and uid not in _EXPLICIT:
            raise UnsureError
        if implicit and part10[start + 4 : start + 6].isupper():
            raise UnsureError  # pydicom would take it for explicit VR
        return uid, walk.data_set(start, wanted, implicit=implicit)
    except (ValueError, error) as why:
        raise UnsureError from why


class _Walk:
    """Goes from element to element; what is unsure ends it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def file_meta(self, at: int) -> tuple[str, int]:
        """Return the transfer syntax, ``""`` if absent, and where the data set begins."""
        uid, before = "", 0
        while self._data[at : at + 2] == b"\x02\x00":
            tag, _, start, length = self._explicit(at)
            if tag <= before or length == _UNDEFINED:
                raise UnsureError
            at, before = start + length, tag
            if tag == _TRANSFER_SYNTAX_UID:
                uid = self._value(start, length).rstrip(b"\0").decode("ascii")
        return uid, at

    def data_set(self, at: int, wanted: dict[int, bytes], *, implicit: bool) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        head = self._implicit if implicit else self._explicit
        before, last, end = 0x0002FFFF, max(wanted), len(self._data)
        while at < end:
            tag, vr, start, length = head(at)
            if tag <= before:
                raise UnsureError
            if tag > last:
                return found
            before = tag
            if tag in wanted:
                if vr and vr != wanted[tag]:
                    raise UnsureError
                found[tag] = self._value(start, length)
            at = self._after(tag, vr, start, length)
        if at != end:
            raise UnsureError
        return found

    def _value(self, start: int, length: int) -> bytes:
        value = self._data[start : start + length]
        if len(value) != length:
            raise UnsureError
        return value

    def _explicit(self, at: int) -> tuple[int, bytes, int, int]:
        """Return tag, VR, where the value begins, and its length."""
        group, number, vr, length = _EXPLICIT_HEAD(self._data, at)
        if vr in _SHORT:
            return group << 16 | number, vr, at + 8, length
        if vr not in _LONG:
            raise UnsureError
        (length,) = _LENGTH(self._data, at + 8)
        return group << 16 | number, vr, at + 12, length

    def _implicit(self, at: int) -> tuple[int, bytes, int, int]:
        group, number, length = _IMPLICIT_HEAD(self._data, at)
        return group << 16 | number, b"", at + 8, length

    def _after(self, tag: int, vr: bytes, start: int, length: int, depth: int = 0) -> int:
        """Return where the next element begins."""
        if length != _UNDEFINED:
            return start + length
        if depth == _NESTED_MOST or vr not in {b"", b"SQ"} or tag >> 16 & 1:
            raise UnsureError
        return self._sequence(start, depth, implicit=not vr)

    def _sequence(self, at: int, depth: int, *, implicit: bool) -> int:
        """Return where a sequence of undefined length ends, having seen every element in it."""
        while True:
            tag, _, at, length = self._implicit(at)
            if tag == _SEQUENCE_END and length == 0:
                return at
            if tag != _ITEM:
                raise UnsureError
            at = at + length if length != _UNDEFINED else self._item(at, depth, implicit=implicit)

    def _item(self, at: int, depth: int, *, implicit: bool) -> int:
        while True:
            tag, vr, start, length = self._implicit(at)
            if tag == _ITEM_END and length == 0:
                return start
            if tag >> 16 == _ITEM >> 16:
                raise UnsureError
            if not implicit:
                tag, vr, start, length = self._explicit(at)
            at = self._after(tag, vr, start, length, depth + 1)
