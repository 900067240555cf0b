"""Where the top-level elements of Part 10 bytes lie, told without a data set.

Only what is certain is told. A file in another encoding than little endian, with an element out of
order, a Value Representation nobody knows or a length that does not fit is left to pydicom.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from pydicom.datadict import dictionary_VR
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

PIXEL_DATA: Final = 0x7FE00010
_PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})
_FIRST_PIXELS: Final = min(_PIXELS)
_BEFORE_DATA_SET: Final = 0x0002FFFF
_TRANSFER_SYNTAX_UID: Final = 0x00020010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LAST_TAG: Final = 0xFFFFFFFF
_UNDEFINED: Final = 0xFFFFFFFF
_NESTED_MOST: Final = 16
_LAYOUTS_MOST: Final = 32
"""Lengths of positions and numbers of a series vary, but not much."""
_HEADS_MOST: Final = 1000
"""To compare more of them takes longer than to walk."""
_FIRST_BYTES: Final = 16 * 2**10
_MARGIN: Final = 2**10
"""By so much at most do headers of a series differ, but for a few."""
_MOST_BYTES: Final = 2**20
"""What is longer up to its pixels has frames by the hundred, or a document in it."""
_LONG: Final = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_32)
_SHORT: Final = frozenset(vr.encode() for vr in VR if len(vr) == 2) - _LONG
_EXPLICIT: Final = frozenset(
    {
        ExplicitVRLittleEndian,
        RLELossless,
        *JPEGTransferSyntaxes,
        *JPEGLSTransferSyntaxes,
        *JPEG2000TransferSyntaxes,
    }
)
_EXPLICIT_HEAD: Final = Struct("<HH2sH").unpack_from
_IMPLICIT_HEAD: Final = Struct("<HHL").unpack_from
_LENGTH: Final = Struct("<L").unpack_from


Element: TypeAlias = tuple[bytes, int, int, int]
"""The Value Representation of an element, ``b""`` in implicit VR, and where its tag, its value and
what follows it begin, counted from the start of the file. There are many of them."""
Place: TypeAlias = tuple[int, int]
"""Where some bytes of a file begin and end."""


class Stamp(NamedTuple):
    """What changes when a file is written again."""

    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, descriptor: int) -> "Stamp":
        """Return the stamp of an open file."""
        status = os.fstat(descriptor)
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Layout:
    """Where the top-level elements of a file lie; files that are laid out alike share it."""

    transfer_syntax_uid: str
    implicit: bool
    start: int
    """Where the data set begins."""
    end: int
    """Where its pixels begin, tag and all."""
    by_tag: Mapping[int, Element]
    pixels: tuple[int, int] | None
    """Where the value of Pixel Data begins and ends, where it has a length."""
    is_common: bool
    """Whether files that are alike can be told to be."""


class Elements(NamedTuple):
    """The top-level elements of one file up to its pixels."""

    layout: Layout
    data: bytes
    """The file up to its pixels."""
    stamp: Stamp


class UnsureError(Exception):
    """The bytes are such that pydicom shall read them."""


class TooFewError(Exception):
    """The pixels lie beyond the bytes that were read."""


def find(path: Path, met: "Layouts | None" = None) -> Elements | None:
    """Find the elements of a file; None where only pydicom can tell, or nobody.

    Where the file is laid out as one that was ``met`` before, it is not walked through again.
    """
    met = Layouts() if met is None else met
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        stamp = Stamp.of(file)
        data = os.read(file, met.first_bytes)
        try:
            return _elements(data, stamp, met)
        except TooFewError:
            data += os.read(file, _MOST_BYTES)
            return _elements(data, stamp, met)
    except (OSError, UnsureError, TooFewError):
        return None
    finally:
        os.close(file)


class Layouts:
    """How the files of a study that were walked through were laid out, the last one met first.

    What a walk finds follows from the bytes that it looks at, which are the heads of elements and
    items: where they stand the same at the same places, it would find the same.
    """

    def __init__(self) -> None:
        """Nothing was met yet."""
        self.first_bytes = _FIRST_BYTES
        """So many bytes of a file are likely to be enough."""
        self._met: list[tuple[Struct, tuple[bytes, ...], Layout]] = []

    def like(self, data: bytes) -> Layout | None:
        """Return the layout of a file if it was met, else None."""
        for index, (places, heads, layout) in enumerate(self._met):
            if places.size <= len(data) and places.unpack_from(data) == heads:
                if index:
                    self._met.insert(0, self._met.pop(index))
                return layout
        return None

    def add(self, layout: Layout, data: bytes, seen: Sequence[Place]) -> None:
        """Remember a file whose walk looked at the bytes ``seen``, in their order."""
        places = cutter(seen)
        self.first_bytes = min(places.size + _MARGIN, _FIRST_BYTES)
        self._met.insert(0, (places, places.unpack_from(data), layout))
        del self._met[_LAYOUTS_MOST:]


def cutter(places: Sequence[Place]) -> Struct:
    """Return what cuts the bytes of some places, which are in their order, out of a file."""
    code, at = ["<"], 0
    for begin, end in places:
        code.append(f"{begin - at}x{end - begin}s")
        at = end
    return Struct("".join(code))


def _elements(data: bytes, stamp: Stamp, met: Layouts) -> Elements:
    layout = met.like(data)
    if layout is not None:
        return Elements(layout, data[: layout.end], stamp)
    walk = Walk(data, size=stamp.size, last=_LAST_TAG)
    uid, start, by_tag = walk.top()
    heads = [(at, begin) for _, at, begin, _ in by_tag.values()]
    last = by_tag[next(reversed(by_tag))] if by_tag else None
    pixels = None
    end = start if last is None else last[3]
    ends_at_pixels = _PIXELS & by_tag.keys()
    for tag in ends_at_pixels:
        _, end, begin, behind = by_tag.pop(tag)
        pixels = (begin, behind) if tag == PIXEL_DATA and behind >= begin else None
    looked_at = sorted((*walk.of_file_meta, *heads, *walk.of_sequences))
    layout = Layout(
        transfer_syntax_uid=uid,
        implicit=uid == ImplicitVRLittleEndian,
        start=start,
        end=end,
        by_tag=by_tag,
        pixels=pixels,
        is_common=bool(ends_at_pixels) and len(looked_at) <= _HEADS_MOST,
    )
    if layout.is_common:
        met.add(layout, data, looked_at)
    return Elements(layout, data[:end], stamp)


class Walk:
    """Goes from element to element; what is unsure ends it."""

    def __init__(self, data: bytes, *, size: int, last: int) -> None:
        """Walk the first bytes of ``size``, up to the pixels or to the tag ``last``."""
        self._data, self._size, self._last = data, size, last
        self._known = len(data)
        self.of_file_meta: list[Place] = [(128, 132)]
        """What was looked at before the data set."""
        self.of_sequences: list[Place] = []
        """What was looked at within sequences of undefined length."""
        self.beyond: Place | None = None
        """What was looked at behind the last tag, where there is more."""

    def top(self) -> tuple[str, int, dict[int, Element]]:
        """Return the transfer syntax, where the data set begins, and the elements of it."""
        data = self._data
        if data[128:132] != b"DICM":
            raise UnsureError
        stated, start = self._file_meta()
        uid = stated.decode("latin-1")
        implicit = uid == ImplicitVRLittleEndian
        if not implicit and uid not in _EXPLICIT:
            raise UnsureError
        if implicit and start + 6 <= self._known and data[start + 4 : start + 6].isupper():
            raise UnsureError  # pydicom would take it for explicit VR
        return uid, start, self._top_implicit(start) if implicit else self._top_explicit(start)

    def _file_meta(self) -> tuple[bytes, int]:
        """Return the transfer syntax, and where the data set begins. Group 2 is explicit VR."""
        data, at, before = self._data, 132, 0
        syntax = b""
        while data[at : at + 2] == b"\x02\x00":
            self._need(at + 12)
            group, number, vr, length = _EXPLICIT_HEAD(data, at)
            tag, head, at = group << 16 | number, at, at + 8
            if vr not in _SHORT:
                length = self._long(vr, at)
                at += 4
            if tag <= before or at + length > self._known:
                raise UnsureError
            self.of_file_meta.append((head, at))
            if tag == _TRANSFER_SYNTAX_UID:
                self.of_file_meta.append((at, at + length))
                syntax = data[at : at + length].rstrip(b"\0")
            before, at = tag, at + length
        return syntax, at

    def _top_explicit(self, at: int) -> dict[int, Element]:
        found: dict[int, Element] = {}
        data, known, before = self._data, self._known, _BEFORE_DATA_SET
        while at + 12 <= known:
            group, number, vr, length = _EXPLICIT_HEAD(data, at)
            tag = group << 16 | number
            if tag <= before:
                raise UnsureError
            if tag > self._last:
                self.beyond = (at, at + 4)
                return found
            start = at + 8
            if vr not in _SHORT:
                length = self._long(vr, start)
                start += 4
            end = self._end(tag, vr, start) if length == _UNDEFINED else start + length
            found[tag] = (vr, at, start, end)
            if tag >= _FIRST_PIXELS and tag in _PIXELS:
                return found
            before, at = tag, end
        self._ended(at)
        return found

    def _top_implicit(self, at: int) -> dict[int, Element]:
        found: dict[int, Element] = {}
        data, known, before = self._data, self._known, _BEFORE_DATA_SET
        while at + 8 <= known:
            group, number, length = _IMPLICIT_HEAD(data, at)
            tag = group << 16 | number
            if tag <= before:
                raise UnsureError
            if tag > self._last:
                self.beyond = (at, at + 4)
                return found
            start = at + 8
            end = self._end(tag, b"", start) if length == _UNDEFINED else start + length
            found[tag] = (b"", at, start, end)
            if tag in _PIXELS:
                return found
            before, at = tag, end
        self._ended(at)
        return found

    def _long(self, vr: bytes, at: int) -> int:
        """Return a length of four bytes."""
        if vr not in _LONG:
            raise UnsureError
        return int(_LENGTH(self._data, at)[0])

    def _end(self, tag: int, vr: bytes, start: int) -> int:
        """Return where an element of undefined length ends, before it begins if it is pixels."""
        if tag in _PIXELS:
            return -1
        return self._sequence(start, vr, tag)

    def _ended(self, at: int) -> None:
        """Accept the end of the walk where it is the end of the file, and nowhere else."""
        if self._known < self._size:
            raise TooFewError
        if at != self._known:
            raise UnsureError

    def _explicit(self, at: int) -> tuple[int, Element]:
        """Return an element of defined length."""
        self._need(at + 8)
        group, number, vr, length = _EXPLICIT_HEAD(self._data, at)
        start = at + 8
        if vr in _LONG:
            self._need(at + 12)
            (length,) = _LENGTH(self._data, start)
            start += 4
        elif vr not in _SHORT:
            raise UnsureError
        return group << 16 | number, (vr, at, start, start + length)

    def _sequence(self, at: int, vr: bytes, tag: int, depth: int = 0) -> int:
        """Return where a sequence of undefined length ends, having seen every element in it."""
        if depth == _NESTED_MOST or not _is_sequence(vr, tag):
            raise UnsureError
        implicit = not vr
        while True:
            self._need(at + 8)
            group, number, length = _IMPLICIT_HEAD(self._data, at)
            self.of_sequences.append((at, at + 8))
            at += 8
            opened = group << 16 | number
            if opened == _SEQUENCE_END and length == 0:
                return at
            if opened != _ITEM:
                raise UnsureError
            end = None if length == _UNDEFINED else at + length
            at = self._item(at, end, implicit=implicit, depth=depth)

    def _item(self, at: int, end: int | None, *, implicit: bool, depth: int) -> int:
        while end is None or at < end:
            self._need(at + 8)
            group, number, length = _IMPLICIT_HEAD(self._data, at)
            tag, vr, start = group << 16 | number, b"", at + 8
            if tag == _ITEM_END and end is None and length == 0:
                self.of_sequences.append((at, start))
                return start
            if group == 0xFFFE:
                raise UnsureError
            if not implicit:
                tag, (vr, _, start, behind) = self._explicit(at)
                length = behind - start
            self.of_sequences.append((at, start))
            undefined = length == _UNDEFINED
            at = self._sequence(start, vr, tag, depth + 1) if undefined else start + length
        if at != end:
            raise UnsureError
        return at

    def _need(self, count: int) -> None:
        if count > self._known:
            raise TooFewError if self._known < self._size else UnsureError


def _is_sequence(vr: bytes, tag: int) -> bool:
    if vr:
        return vr == b"SQ"
    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:
        return False
