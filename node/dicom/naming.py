"""Which names and codes of contours stand for the primary tumour, and how surely."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from node.dicom.attributes import code

_WORDS = re.compile(r"[^a-z0-9]+")
# Gross tumour volumes of nodes and metastases begin like those of the primary tumour.
_NOT_PRIMARY = re.compile(r"n\d*|ln\d*|nodes?|nodal|nodules?_?ln|lymph\w*|m\d*|mets?|metast\w*")
_WIDER = re.compile(r"\w*o?edema\w*|margin|expanded|union|ring|shell|bg|background")
_NEVER_PRIMARY: Final = (
    standard.SCT.LymphNode,
    Code("128462008", "SCT", "Secondary malignant neoplastic disease"),
    Code("14799000", "SCT", "Neoplasm, Secondary"),
)
# The disorder and its morphology are one concept to whoever wants a primary tumour.
_SAME: Final = ((standard.SCT.NeoplasmPrimary, Code("86049000", "SCT", "Neoplasm, Primary")),)
# SNOMED CT: lung, right, left; lobes; hilum, bronchus; thorax, its cavity, mediastinum, pleura.
_LUNG: Final = (
    *("39607008", "3341006", "44029006"),
    *("31094006", "45653009", "90572001", "42400003", "72481006", "266005", "44714003", "41224006"),
    *("46750007", "955009", "51185008", "816094009", "43799004", "72410000", "3120008"),
)
_LUNG_WORDS = re.compile(
    r"lungs?|lingula\w*|pulmon\w*|bronch\w*|intrathoracic|thora(x|cic)|chest|mediastin\w*"
    r"|pleura\w*|hilum|hilar|carina|trachea"
)
_NOT_LUNG_WORDS = re.compile(
    r"lymph\w*|nodes?|skin|spine|vertebra\w*|ribs?|aort\w*|heart|muscle|wall|liver|thyroid"
    r"|kidneys?|renal|brain|bones?"
)


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
    name that goes on with a word for nodes or metastases (``GTVn``, ``GTV_LN2``) is never wanted,
    nor is what is coded as a lymph node or a metastasis.
    """
    found = [*_by_name(name, wanted.names), *_by_code(codes, wanted.codes)]
    if not found or _says(name, wanted.names, _NOT_PRIMARY):
        return None
    if any(code == never for code in codes for never in _NEVER_PRIMARY):
        return None
    index, inexact = min(found)
    return Rank(wider=_says(name, wanted.names, _WIDER), index=index, inexact=inexact)


def best_rank(names: Sequence[str], codes: Sequence[Code], wanted: "Wanted") -> Rank | None:
    """Return the best rank of a contour that has several names, or None.

    One name that speaks of nodes or metastases is enough for it not to be wanted.
    """
    if any(_says(name, wanted.names, _NOT_PRIMARY) for name in names):
        return None
    ranks = [rank(name, codes, wanted) for name in names] or [rank("", codes, wanted)]
    return min((found for found in ranks if found is not None), default=None)


def in_thorax(sites: Sequence[Code]) -> bool | None:
    """Tell whether sites are where a lung tumour arises; None where no site is given.

    A site outside of it, or a lymph node, outweighs one inside. A site that neither its SNOMED code
    nor its English meaning places is taken to lie elsewhere.
    """
    return all(_is_lung(site) for site in sites) if sites else None


def _is_lung(site: Code) -> bool:
    if any(site == Code(number, "SCT", "") for number in _LUNG):
        return True
    words = [word for word in _WORDS.split(site.meaning.lower()) if word]
    if any(_NOT_LUNG_WORDS.fullmatch(word) for word in words):
        return False
    return any(_LUNG_WORDS.fullmatch(word) for word in words)


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
    known = [*codes, *(other for found in codes for other in _equivalents(found))]
    return [(index, False) for index, concept in enumerate(concepts) if concept in known]


def _equivalents(found: Code) -> list[Code]:
    return [other for pair in _SAME if found in pair for other in pair]


def _says(name: str, wanted: Sequence[str], words: re.Pattern[str]) -> bool:
    """Tell whether a word of the name, less a wanted name that it begins with, is among words."""
    plain = [word for word in _WORDS.split(name.lower()) if word]
    starts = [_plain(candidate) for candidate in wanted]
    rests = [word[len(s) :] for word in plain for s in starts if word.startswith(s)]
    return any(words.fullmatch(word) for word in (*plain, *rests) if word)


def _plain(name: str) -> str:
    return _WORDS.sub("", name.lower())
