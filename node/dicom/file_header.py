"""What the header of one file says, decoded by pydicom once for all the files that say the same."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from io import BytesIO
from typing import Any, Final, TypeAlias, TypeVar

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from node.dicom.elements import Element, Elements

Memo: TypeAlias = dict[Any, Any]
"""What was decoded before; one for all files of a study."""
_T = TypeVar("_T")

_CHARACTER_SET: Final = 0x00080005
_PIXEL_REPRESENTATION: Final = 0x00280103
# What a value may depend on beside its own bytes.
_CONTEXT: Final = (_CHARACTER_SET, _PIXEL_REPRESENTATION)
_OF_PIXEL_REPRESENTATION: Final = frozenset({0x00280120, 0x00280121})
_LOOKS_EXPLICIT: Final = 0x4141
"""From this length on the head of an implicit element can be taken for an explicit one."""

_INTEGER: Final = rb" *-?(?:0|[1-9]\d{0,8}) *"
_DECIMAL: Final = rb" *[+-]?(?:\d{1,16}\.?\d{0,16}|\.\d{1,16})(?:[eE][+-]?\d{1,2})? *"
# Values whose text is what their bytes say, whatever the character set.
_PLAIN: Final = {
    "DA": re.compile(rb"\d{8}"),
    "DS": re.compile(rb"%b(?:\\%b)*" % (_DECIMAL, _DECIMAL)),
    "IS": re.compile(rb"%b(?:\\%b)*" % (_INTEGER, _INTEGER)),
    "TM": re.compile(rb"\d[\d.]{1,15} ?"),
    "UI": re.compile(rb"[\d.]{1,64}\0?"),
}


class _Tags(dict[str, int]):
    """Tags by keyword, looked up once; -1 for what is no keyword."""

    def __missing__(self, keyword: str) -> int:
        tag = tag_for_keyword(keyword)
        self[keyword] = -1 if tag is None else tag
        return self[keyword]


class _Only(dict[str, int]):
    """The tags of some keywords, -1 for all others."""

    def __missing__(self, keyword: str) -> int:
        return -1


ALL: Final[Mapping[str, int]] = _Tags()
"""Every keyword has its tag."""


def only(keywords: Iterable[str]) -> Mapping[str, int]:
    """Return the tags of these keywords alone; all others are told to be absent."""
    return _Only({keyword: ALL[keyword] for keyword in keywords})


@dataclass(frozen=True, kw_only=True, eq=False)
class FileHeader:
    """Yields values of the top level of a file by keyword, as its pydicom data set would.

    A value that other files of the study hold with the same bytes is decoded once, and shared:
    nobody may change it.
    """

    elements: Elements
    tags: Mapping[str, int] = field(default_factory=lambda: ALL, repr=False)
    """The tags of the keywords that are told; see ``only``."""
    memo: Memo = field(repr=False)

    def get(self, keyword: str, /) -> Any:  # noqa: ANN401  (a value has the type that its VR says)
        """Return the value of an attribute or None; raises what pydicom raises."""
        return self.derived(keyword, _value)

    def derived(self, keyword: str, read: Callable[["FileHeader", str], _T]) -> _T:
        """Return ``read(self, keyword)``, called once for all files with the same bytes there."""
        element = self.elements.by_tag.get(self.tags[keyword])
        key: Any = (read, None)
        if element is not None:
            vr, _, start, end = element
            key = (read, keyword, vr, self.elements.data[start:end])
        try:
            found: _T = self._known[key]
        except KeyError:
            found = self._known[key] = read(self, keyword)
        return found

    def plain(self, keyword: str) -> tuple[str, ...] | None:
        """Return the texts of a value that needs no decoding; None where that is not certain."""
        element = self.element(keyword)
        if element is None:
            return None
        vr, _, start, end = element
        pattern = _PLAIN.get(vr.decode() or _dictionary_vr(self.tags[keyword]))
        written = self.elements.data[start:end]
        if pattern is None or pattern.fullmatch(written) is None:
            return None
        return tuple(part.strip(" \0") for part in written.decode().split("\\"))

    def element(self, keyword: str) -> Element | None:
        """Return where an attribute is written, or None."""
        return self.elements.by_tag.get(self.tags[keyword])

    @property
    def full(self) -> "FileHeader":
        """The same header, telling every attribute."""
        return FileHeader(elements=self.elements, memo=self.memo)

    def data_set(self) -> Dataset:
        """Return all of the header as a new data set of pydicom."""
        return self._read(self.elements.data[self.elements.start :])

    def value_of(self, tag: int) -> Any:  # noqa: ANN401  (a value has the type that its VR says)
        """Return a value that is there, decoded together with what it depends on."""
        _, _, start, end = self.elements.by_tag[tag]
        ambiguous = " or " in _dictionary_vr(tag) and tag not in _OF_PIXEL_REPRESENTATION
        if ambiguous or (self.elements.implicit and end - start >= _LOOKS_EXPLICIT):
            return self.data_set()[tag].value
        tags = sorted({tag, *(t for t in _CONTEXT if t in self.elements.by_tag)})
        return self._read(b"".join(map(self._written, tags)))[tag].value

    @cached_property
    def _known(self) -> Memo:
        """What is known of files that are encoded alike."""
        stated = (self._written(tag) for tag in _CONTEXT if tag in self.elements.by_tag)
        known: Memo = self.memo.setdefault((self.elements.implicit, *stated), {})
        return known

    def _written(self, tag: int) -> bytes:
        _, head, _, end = self.elements.by_tag[tag]
        return self.elements.data[head:end]

    def _read(self, data: bytes) -> Dataset:
        return read_dataset(BytesIO(data), self.elements.implicit, True)  # noqa: FBT003  (its API)


def _value(header: FileHeader, keyword: str) -> Any:  # noqa: ANN401  (as its VR says)
    return None if header.element(keyword) is None else header.value_of(header.tags[keyword])


@cache
def _dictionary_vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""
