"""Encodes sequences of data sets as pydicom does, in a tenth of the time.

pydicom makes a buffer for every element and looks through every item three times. Here an item is
its elements, joined. What is not certain is left to pydicom: single elements of unusual values, and
whole sequences of which some element needs its surroundings to be encoded.
"""

import struct
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from node.dicom.encoding import LONG_VRS, SHORT_MOST, as_pydicom_does, element, sequence_element

Content = bytes | None
"""What is certain of a value; None: nothing."""
_SPECIFIC_CHARACTER_SET: Final = 0x00080005


class _Uncertain(Exception):
    """An element needs more than itself to be encoded."""


def certain(dataset: Dataset) -> dict[int, bytes]:
    """Return those of a data set's sequences that can be encoded without pydicom, by their tags.

    Text is encoded as UTF-8, which has to be the character set of the data set (ISO_IR 192).
    """
    encoded = {}
    for one in dataset.elements():
        if one.VR == "SQ":
            try:
                encoded[int(one.tag)] = _element(one.tag, one, dataset)
            except _Uncertain:
                continue
    return encoded


def _item(dataset: Dataset) -> bytes:
    if getattr(dataset, "is_undefined_length_sequence_item", False):
        raise _Uncertain
    get = dataset.get_item
    return b"".join([_element(tag, get(tag), dataset) for tag in sorted(dataset.keys(), key=int)])


def _element(tag: BaseTag, one: DataElement | RawDataElement, within: Dataset) -> bytes:
    if isinstance(one, RawDataElement):
        one = within[tag]
    vr, value = one.VR, one.value
    if vr == "SQ" and not one.is_undefined_length:
        return sequence_element(tag, [_item(item) for item in value])
    if len(vr) != 2 or one.is_undefined_length or tag == _SPECIFIC_CHARACTER_SET:
        raise _Uncertain
    encode = _WAYS.get(vr)
    content = None if encode is None else encode(value)
    if content is None or (len(content) > SHORT_MOST and vr not in LONG_VRS):
        return as_pydicom_does(tag, within)
    return element(tag, vr, content)


def _text(value: object, *, encoding: str = "utf-8", pad: bytes = b" ") -> Content:
    if isinstance(value, MultiValue) and all(isinstance(one, str) for one in value):
        value = "\\".join(value)
    if not isinstance(value, str):
        return b"" if value is None else None
    try:
        content = value.encode(encoding)
    except UnicodeEncodeError:
        return None
    return content + pad if len(content) % 2 else content


def _decimal(value: object) -> Content:
    if isinstance(value, MultiValue):
        return _text("\\".join(map(_as_told, value)))
    return b"" if value is None or value == "" else _text(_as_told(value))


def _as_told(number: object) -> str:
    """Return a number as it was written, else as Python writes it."""
    return str(getattr(number, "original_string", number))


def _numbers(value: Any, *, code: str) -> Content:  # noqa: ANN401  whatever an element holds
    if value is None or value == "":
        return b""
    several = value if isinstance(value, MultiValue) else [value]
    try:
        return struct.pack(f"<{len(several)}{code}", *several)
    except struct.error:
        return None


_ascii: Final = partial(_text, encoding="iso8859")
_WAYS: Final[Mapping[str, Callable[[Any], Content]]] = MappingProxyType(
    dict.fromkeys(("LO", "LT", "SH", "ST", "UC", "UT"), _text)
    | dict.fromkeys(("AE", "AS", "CS", "DA", "DT", "TM", "UR"), _ascii)
    | dict.fromkeys(("DS", "IS"), _decimal)
    | {"UI": partial(_ascii, pad=b"\0")}
    | {
        vr: partial(_numbers, code=code)
        for vr, code in {"FD": "d", "FL": "f", "SL": "l", "UL": "L", "US": "H"}.items()
    }
)
