"""What the header of one file says, decoded by pydicom once for all the files that say the same."""

import re
from collections.abc import Callable, Iterable
from functools import cache
from io import BytesIO
from struct import Struct
from typing import Any, Final, TypeAlias, TypeVar

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from typing_extensions import override

from node.dicom.elements import Element, Elements, cutter

Memo: TypeAlias = dict[Any, Any]
"""What was decoded before; one for all files of a study."""
_T = TypeVar("_T")
_UNKNOWN: Final[Any] = object()

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
    b"DA": re.compile(rb"\d{8}"),
    b"DS": re.compile(rb"%b(?:\\%b)*" % (_DECIMAL, _DECIMAL)),
    b"IS": re.compile(rb"%b(?:\\%b)*" % (_INTEGER, _INTEGER)),
    b"TM": re.compile(rb"\d[\d.]{1,15} ?"),
    b"UI": re.compile(rb"[\d.]{1,64}\0?"),
}


class Tags(dict[str, int]):
    """Tags by keyword, -1 for what has none. One such mapping equals itself alone."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # a dict has none, as it may change

    @override
    def __eq__(self, other: object) -> bool:
        return self is other

    def __missing__(self, keyword: str) -> int:
        return -1


class _All(Tags):
    """The tags of all keywords, looked up once."""

    @override
    def __missing__(self, keyword: str) -> int:
        tag = tag_for_keyword(keyword)
        self[keyword] = -1 if tag is None else tag
        return self[keyword]


ALL: Final[Tags] = _All()
"""Every keyword has its tag."""


def only(keywords: Iterable[str]) -> Tags:
    """Return the tags of these keywords alone; all others are told to be absent."""
    return Tags({keyword: ALL[keyword] for keyword in keywords})


class FileHeader:
    """Yields values of the top level of a file by keyword, as its pydicom data set would.

    A value that other files of the study hold with the same bytes is decoded once, and shared:
    nobody may change it.
    """

    __slots__ = ("_by_tag", "_data", "_known", "elements", "memo", "tags")

    def __init__(self, *, elements: Elements, memo: Memo, tags: Tags = ALL) -> None:
        """Tell the attributes of ``tags``; ``memo`` is one for all files of a study."""
        self.elements = elements
        self.memo = memo
        self.tags = tags
        self._by_tag = elements.layout.by_tag
        self._data = elements.data
        stated = [self._written(tag) for tag in _CONTEXT if tag in self._by_tag]
        # What is known of files that are encoded alike.
        self._known: Memo = memo.setdefault((elements.layout.implicit, *stated), {})

    def get(self, keyword: str, /) -> Any:  # noqa: ANN401  (a value has the type that its VR says)
        """Return the value of an attribute or None; raises what pydicom raises."""
        return self.derived(keyword, _value)

    def derived(self, keyword: str, read: Callable[["FileHeader", str], _T]) -> _T:
        """Return ``read(self, keyword)``, called once for all files with the same bytes there."""
        element = self.element(keyword)
        key: Any = (read, None)
        if element is not None:
            vr, _, start, end = element
            key = (read, keyword, vr, self._data[start:end])
        try:
            found: _T = self._known[key]
        except KeyError:
            found = self._known[key] = read(self, keyword)
        return found

    def seen(self, read: Callable[["FileHeader"], _T]) -> _T:
        """Return ``read(self)``, called once for all files where it would look at the same bytes.

        What it returns follows from those, and from what the layout of the file says, alone: where
        another file of the same layout has the same bytes at the places it looked at, it would
        look at the same places and return the same.
        """
        layout = self.elements.layout
        if not layout.is_common:
            return read(self)
        precedents: list[tuple[Struct, dict[tuple[bytes, ...], _T]]]
        precedents = self.memo.setdefault((read, layout, self.tags), [])
        for places, found in precedents:
            known = found.get(places.unpack_from(self._data), _UNKNOWN)
            if known is not _UNKNOWN:
                told: _T = known
                return told
        return self._watched(read, precedents)

    def plain(self, keyword: str) -> tuple[str, ...] | None:
        """Return the texts of a value that needs no decoding; None where that is not certain."""
        element = self.element(keyword)
        if element is None:
            return None
        vr, _, start, end = element
        pattern = _PLAIN.get(vr or _dictionary_vr(self.tags[keyword]).encode())
        written = self._data[start:end]
        if pattern is None or pattern.fullmatch(written) is None:
            return None
        return tuple([part.strip(" \0") for part in written.decode().split("\\")])

    def element(self, keyword: str) -> Element | None:
        """Return where an attribute is written, or None."""
        return self._by_tag.get(self.tags[keyword])

    @property
    def full(self) -> "FileHeader":
        """The same header, telling every attribute."""
        return FileHeader(elements=self.elements, memo=self.memo)

    def data_set(self) -> Dataset:
        """Return all of the header as a new data set of pydicom."""
        return self._read(self._data[self.elements.layout.start :])

    def value_of(self, tag: int) -> Any:  # noqa: ANN401  (a value has the type that its VR says)
        """Return a value that is there, decoded together with what it depends on."""
        _, _, start, end = self._by_tag[tag]
        ambiguous = " or " in _dictionary_vr(tag) and tag not in _OF_PIXEL_REPRESENTATION
        if ambiguous or (self.elements.layout.implicit and end - start >= _LOOKS_EXPLICIT):
            return self.data_set()[tag].value
        tags = sorted({tag, *(t for t in _CONTEXT if t in self._by_tag)})
        return self._read(b"".join(map(self._written, tags)))[tag].value

    def _watched(
        self, read: Callable[["FileHeader"], _T], precedents: list[tuple[Struct, dict[Any, _T]]]
    ) -> _T:
        watched = _Watched(elements=self.elements, memo=self.memo, tags=self.tags)
        returned = read(watched)
        spans = (self._by_tag[tag] for tag in sorted(watched.looked_at))
        places = cutter([(start, end) for _, _, start, end in spans])
        key = places.unpack_from(self._data)
        for others, known in precedents:
            if others.format == places.format:
                known[key] = returned
                return returned
        precedents.append((places, {key: returned}))
        return returned

    def _written(self, tag: int) -> bytes:
        _, head, _, end = self._by_tag[tag]
        return self._data[head:end]

    def _read(self, data: bytes) -> Dataset:
        return read_dataset(BytesIO(data), self.elements.layout.implicit, True)  # noqa: FBT003  (its API)


class _Watched(FileHeader):
    """Notes at what it is looked."""

    __slots__ = ("looked_at",)

    def __init__(self, *, elements: Elements, memo: Memo, tags: Tags) -> None:
        """Begin with what all values may depend on."""
        super().__init__(elements=elements, memo=memo, tags=tags)
        self.looked_at = {tag for tag in _CONTEXT if tag in self._by_tag}

    @override
    def element(self, keyword: str) -> Element | None:
        tag = self.tags[keyword]
        if tag in self._by_tag:
            self.looked_at.add(tag)
        return super().element(keyword)

    @override
    def seen(self, read: Callable[[FileHeader], _T]) -> _T:
        return read(self)

    @property
    @override
    def full(self) -> FileHeader:
        self.looked_at.update(self._by_tag)
        return super().full

    @override
    def data_set(self) -> Dataset:
        self.looked_at.update(self._by_tag)
        return super().data_set()


def _value(header: FileHeader, keyword: str) -> Any:  # noqa: ANN401  (as its VR says)
    return None if header.element(keyword) is None else header.value_of(header.tags[keyword])


@cache
def _dictionary_vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""
