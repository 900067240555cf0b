"""Damages bytes and data sets: blindly, and knowing where their elements lie."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

UNDEFINED: Final = 0xFFFFFFFF
_LONG: Final = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT")
_VRS: Final = (
    *(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()),
    *_LONG,
    b"\0\0",
    b"ZZ",
)
_NUMBERS: Final = tuple(
    value.to_bytes(size, "little", signed=False)
    for size in (1, 2, 4)
    for value in sorted(
        {0, 1, 2, 7, 8, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1}
    )
    if value < 256**size
)
_VALUES: Final = (
    *(b"", b" ", b"\0", b"\\", b"\\\\\\", b"0", b"-1", b"1", b"65535", b"2147483648", b"-5"),
    *(b"1e308\\-1e308\\1e308", b"nan", b"inf\\-inf\\0", b"1e-320\\1e-320", b"0\\0\\0\\0\\0\\0"),
    *(b"99999999999999999999", b"1.5.2.9", b"--1", b"0x10", b"1_000", b"1" * 200),
    *(b"../../etc/passwd", b"1.2/../../3", b"C:\\x", b"1.2.3\0/..", b"1." + b"2" * 70),
    *(b"<script>alert(1)</script>", b"'; DROP TABLE jobs;--", b"{0}%s%n${x}", b"\x1b$B\x1b(J"),
    *(b"00010101", b"99991231", b"20261332", b"235960", b"99991231235959+1400", b"00010101-1400"),
    *(b"000000.000000", b"24", b"2500", b"999Y", b"\xff\xfe\xfd", b"\xc3\x28", b"A" * 5000),
    *(
        b"ISO_IR 192",
        b"GB18030",
        b"ISO 2022 IR 87\\ISO 2022 IR 159",
        b"\\ISO 2022 IR 999",
        b"utf-8",
    ),
    *(struct.pack("<d", x) for x in (0.0, -1.0, 1e308, float("nan"), float("inf"), 5e-324)),
    *(struct.pack("<f", x) for x in (1e38, float("nan"), float("-inf"), 1e-45)),
    *(b"PT", b"CT", b"SEG", b"SR", b"RTSTRUCT", b"YES", b"NO", b"NONE", b"BINARY", b"LABELMAP"),
    *(b"CIRCLE", b"ELLIPSE", b"ELLIPSOID", b"POINT", b"POLYGON", b"CONTAINER", b"GML", b"CNTS"),
)
DEEPEST: Final = 400


def damaged(data: bytes, chance: Random) -> bytes:
    """Return bytes with one to eight changes that know nothing of what they mean."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, chance.choice((1, 2, 4, 8)))):
        at = chance.randint(0, len(changed))
        other = chance.randint(0, len(changed))
        chance.choice(_BLIND)(changed, at, other, chance)
    return bytes(changed)


def _flip(changed: bytearray, at: int, _other: int, chance: Random) -> None:
    if at < len(changed):
        changed[at] ^= 1 << chance.randrange(8)


def _set(changed: bytearray, at: int, _other: int, chance: Random) -> None:
    number = chance.choice(_NUMBERS)
    changed[at : at + len(number)] = number if chance.random() < 0.7 else number[::-1]


def _insert(changed: bytearray, at: int, _other: int, chance: Random) -> None:
    changed[at:at] = chance.choice(_VALUES)[:64] or chance.randbytes(chance.randint(1, 16))


def _cut(changed: bytearray, at: int, _other: int, chance: Random) -> None:
    del changed[at : at + chance.choice((1, 2, 4, 16, 100))]


def _end(changed: bytearray, at: int, _other: int, _chance: Random) -> None:
    del changed[at:]


def _repeat(changed: bytearray, at: int, other: int, _chance: Random) -> None:
    low, high = sorted((at, other))
    changed[at:at] = changed[low : min(high, low + 512)]


def _rubbish(changed: bytearray, at: int, _other: int, chance: Random) -> None:
    size = chance.randint(1, 8)
    changed[at : at + size] = chance.randbytes(size)


_BLIND: Final = (_flip, _flip, _set, _set, _insert, _cut, _end, _repeat, _rubbish)


@dataclass(frozen=True, kw_only=True)
class Element:
    """One element of explicit VR little endian, as it is to be written: it may lie."""

    tag: int
    vr: bytes
    value: bytes = b""
    items: tuple[tuple["Element", ...], ...] | None = None
    length: int | None = None
    """What is written instead of the true length."""
    tail: bytes = field(default=b"")
    """Follows a value of undefined length: the fragments of compressed pixels."""


def parse(data: bytes) -> tuple[Element, ...]:
    """Take a sound data set in explicit VR little endian apart."""
    found, at = [], 0
    while at + 8 <= len(data):
        element, at = _parsed(data, at)
        found.append(element)
    return tuple(found)


def _parsed(data: bytes, at: int) -> tuple[Element, int]:
    group, number, vr, length = struct.unpack_from("<HH2sH", data, at)
    start = at + 8
    if vr in _LONG:
        (length,) = struct.unpack_from("<I", data, start)
        start += 4
    tag = group << 16 | number
    if length == UNDEFINED:  # the seeds have it in encapsulated pixels alone, which come last
        return Element(tag=tag, vr=vr, length=UNDEFINED, tail=data[start:]), len(data)
    value = data[start : start + length]
    if vr == b"SQ":
        return Element(tag=tag, vr=vr, items=tuple(_items(value))), start + length
    return Element(tag=tag, vr=vr, value=value), start + length


def _items(data: bytes) -> Sequence[tuple[Element, ...]]:
    found, at = [], 0
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        found.append(parse(data[at + 8 : at + 8 + length]))
        at += 8 + length
    return found


def encode(elements: Sequence[Element], *, implicit: bool = False) -> bytes:
    """Write elements as they are, lies and all."""
    return b"".join(_encoded(element, implicit=implicit) for element in elements)


def _encoded(element: Element, *, implicit: bool) -> bytes:
    value = element.value + element.tail
    if element.items is not None:
        inner = [encode(item, implicit=implicit) for item in element.items]
        value = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(i)) + i for i in inner) + value
    length = len(value) if element.length is None else element.length
    head = struct.pack("<HH", element.tag >> 16 & 0xFFFF, element.tag & 0xFFFF)
    if implicit:
        return head + struct.pack("<I", length) + value
    if element.vr in _LONG:
        return head + element.vr + b"\0\0" + struct.pack("<I", length) + value
    return head + element.vr + struct.pack("<H", length & 0xFFFF) + value


def lied(elements: Sequence[Element], chance: Random) -> tuple[Element, ...]:
    """Return a data set with one to five of its elements changed, at any depth."""
    changed = tuple(elements)
    for _ in range(chance.randint(1, 5)):
        changed = _one(changed, chance)
    return changed


def _one(elements: tuple[Element, ...], chance: Random) -> tuple[Element, ...]:
    if not elements:
        return elements
    at = chance.randrange(len(elements))
    element = elements[at]
    if element.items and chance.random() < 0.7:
        inner = chance.randrange(len(element.items))
        items = list(element.items)
        items[inner] = _one(items[inner], chance)
        put: tuple[Element, ...] = (replace(element, items=tuple(items)),)
    else:
        put = chance.choice(_KNOWING)(element, elements, chance)
    return (*elements[:at], *put, *elements[at + 1 :])


Elements = tuple[Element, ...]


def _other_value(element: Element, _all: Elements, chance: Random) -> Elements:
    value = chance.choice(_VALUES)
    return (replace(element, value=value + b" " * (len(value) % 2), items=None),)


def _other_number(element: Element, _all: Elements, chance: Random) -> Elements:
    return (replace(element, value=chance.choice(_NUMBERS), items=None),)


def _other_vr(element: Element, _all: Elements, chance: Random) -> Elements:
    return (replace(element, vr=chance.choice(_VRS)),)


def _other_length(element: Element, _all: Elements, chance: Random) -> Elements:
    true = len(element.value)
    lies = (0, 1, true + 1, true - 1, true * 2, 0xFFFF, 0xFFFE, UNDEFINED, UNDEFINED - 1, 2**31)
    return (replace(element, length=chance.choice(lies) & UNDEFINED),)


def _other_tag(element: Element, every: Elements, chance: Random) -> Elements:
    tags = (chance.choice(every).tag, chance.getrandbits(32), 0x7FE00010, 0xFFFEE0DD, 0x00090010)
    return (replace(element, tag=chance.choice(tags)),)


def _none(_element: Element, _all: Elements, _chance: Random) -> Elements:
    return ()


def _twice(element: Element, every: Elements, chance: Random) -> Elements:
    return (element, *[chance.choice(every)] * chance.choice((1, 1, 2, 50)))


def _more_items(element: Element, every: Elements, chance: Random) -> Elements:
    if element.items is None:
        return (replace(element, vr=b"SQ", items=(every[:3],)),)
    return (replace(element, items=element.items * chance.choice((0, 2, 3, 40))),)


def _nested(element: Element, _all: Elements, chance: Random) -> Elements:
    """Put an element into sequences in sequences, in bytes: Python would give up sooner."""
    value = encode((element,))
    for _ in range(chance.choice((1, 3, 20, DEEPEST))):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(value)) + value
        value = encode((Element(tag=element.tag, vr=b"SQ", value=item),))
    return (Element(tag=element.tag, vr=b"SQ", value=value[12:]),)


def _damaged_value(element: Element, _all: Elements, chance: Random) -> Elements:
    if element.tail:
        return (replace(element, tail=damaged(element.tail, chance)),)
    return (replace(element, value=damaged(element.value, chance)),)


_KNOWING: Final = (
    *(_other_value, _other_value, _other_value, _other_number, _damaged_value, _damaged_value),
    *(_other_vr, _other_length, _other_tag, _none, _none, _twice, _more_items, _nested),
)
