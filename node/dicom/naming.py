"""Which names and codes of contours stand for the primary tumour, and how surely."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.sr.coding import Code

from node.dicom.attributes import code

_WORDS = re.compile(r"[^a-z0-9]+")
# Gross tumour volumes of nodes and metastases begin like those of the primary tumour.
_NOT_PRIMARY = re.compile(r"n\d*|ln\d*|nodes?|nodal|nodules?_?ln|lymph\w*|m\d*|mets?|metast\w*")
_WIDER = re.compile(r"\w*o?edema\w*|margin|expanded|union|ring|shell|bg|background")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Rank:
    """How surely a contour is the primary tumour; the smaller the surer."""

    wider: bool
    """The name says that more than the tumour is inside, as edema."""
    index: int
    """Which of the wanted names or codes it is."""
    inexact: bool
    """The name only begins with the wanted one."""


def rank(name: str, codes: Sequence[Code], wanted: "Wanted") -> Rank | None:
    """Return the rank of a contour, or None where it is not wanted.

    Case and separators do not count. A name is wanted where it is one of the wanted names or
    begins with one (``GTV_Mass_PET`` with ``GTV``); a number must not go on (``GTV-10`` is not
    ``GTV-1``). A code is wanted where it is the same concept, whichever scheme it is written in. A
    name that goes on with a word for nodes or metastases (``GTVn``, ``GTV_LN2``) is never wanted.
    """
    found = [*_by_name(name, wanted.names), *_by_code(codes, wanted.codes)]
    if not found or _says(name, wanted.names, _NOT_PRIMARY):
        return None
    index, inexact = min(found)
    return Rank(wider=_says(name, wanted.names, _WIDER), index=index, inexact=inexact)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """The names and codes (``SCT:86049000``) of contours to be taken, most trusted first."""

    names: tuple[str, ...]
    codes: tuple[str, ...]


def _by_name(name: str, wanted: Sequence[str]) -> list[tuple[int, bool]]:
    plain = _plain(name)
    found = []
    for index, candidate in enumerate(map(_plain, wanted)):
        rest = plain[len(candidate) :]
        goes_on = candidate[-1:].isdigit() and rest[:1].isdigit()
        if candidate and plain.startswith(candidate) and not goes_on:
            found.append((index, bool(rest)))
    return found


def _by_code(codes: Sequence[Code], wanted: Sequence[str]) -> list[tuple[int, bool]]:
    concepts = [code(*written.split(":", 1)) for written in wanted if ":" in written]
    return [(index, False) for index, concept in enumerate(concepts) if concept in codes]


def _says(name: str, wanted: Sequence[str], words: re.Pattern[str]) -> bool:
    """Tell whether a word of the name, less a wanted name that it begins with, is among words."""
    plain = [word for word in _WORDS.split(name.lower()) if word]
    starts = [_plain(candidate) for candidate in wanted]
    rests = [word[len(s) :] for word in plain for s in starts if word.startswith(s)]
    return any(words.fullmatch(word) for word in (*plain, *rests) if word)


def _plain(name: str) -> str:
    return _WORDS.sub("", name.lower())
