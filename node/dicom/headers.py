"""What identifies an instance, read from the top of its bytes."""

import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from threading import local
from typing import BinaryIO, Protocol

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from node.dicom.at_sight import values
from node.dicom.attributes import UNREADABLE, text
from node.dicom.elements import Layouts, UnsureError
from node.dicom.reading import inflated, read_headers, transfer_syntax_uid
from node.errors import NotUnderstood

# PS3.5 9.1 forbids leading zeros in a component; devices in the field write them and they are
# harmless, so they are taken as they are. All else holds: digits, dots, at most 64 characters.
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)+", re.ASCII)
_UID_LENGTH = 64
_SERIES_INSTANCE_UID = 0x0020000E
_KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "StudyInstanceUID",
    "SeriesInstanceUID",
)
_TAGS: list[BaseTag | int] = [Tag(keyword) for keyword in _KEYWORDS]
_VRS = {int(Tag(keyword)): b"CS" if keyword == "Modality" else b"UI" for keyword in _KEYWORDS}
# Values that are what their bytes say; whatever else there is, pydicom reads.
_PLAIN_UID = re.compile(rb"([0-9]+(?:\.[0-9]+)+)\0?")
_PLAIN_MODALITY = re.compile(rb"([A-Z0-9_]{0,16}) ?")
_SIGHT_BYTES = 2**14
"""Identifiers of an image stand well within so many."""
_DEFLATED = DeflatedExplicitVRLittleEndian.encode("ascii")
_TOP_BYTES = 4 * 2**20
"""How much of a deflated data set is inflated to find the UIDs."""


class _Met(local):
    """How the last instances were laid out that a thread has identified: those of one peer."""

    def __init__(self) -> None:
        self.layouts = Layouts()


_MET = _Met()


@dataclass(frozen=True, kw_only=True, slots=True)
class Identifiers:
    """What an instance is and where it belongs."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    """``""`` where absent; ``?`` for U+0000, which no text of PostgreSQL holds."""
    transfer_syntax_uid: str


class Identify(Protocol):
    """Reads the identifiers of Part 10 bytes; raises NotUnderstood where there are none."""

    def __call__(self, part10: bytes | memoryview, *, soon: bool = False) -> Identifiers:
        """``soon``: raise NotUnderstood, too, where that may take long."""


def is_uid(candidate: str) -> bool:
    """Tell whether a text is a UID that can be filed: never a path, never over 64 characters."""
    return len(candidate) <= _UID_LENGTH and _UID.fullmatch(candidate) is not None


def identify(part10: bytes | memoryview, *, soon: bool = False) -> Identifiers:
    """Read the identifiers of Part 10 bytes; raise NotUnderstood where they cannot be filed.

    A missing preamble or File Meta Information is tolerated. Nothing after Series Instance UID is
    read, so that a bad element further down does not matter. Where it has to be ``soon``, also
    what might take pydicom long is not understood.
    """
    found = _at_sight(part10)
    if found is None and soon and _may_take_long(part10):
        raise NotUnderstood("the identifiers do not stand plainly at the top")
    return found or identify_stream(BytesIO(part10))


def identify_file(path: Path) -> Identifiers:
    """Read the identifiers of a file as ``identify`` does, without reading its pixels."""
    try:
        with path.open("rb") as file:
            return identify_stream(file)
    except OSError as error:
        raise NotUnderstood(f"cannot read the file: {error.strerror}") from error


def patient_id(path: Path) -> str:
    """Read the Patient ID of a file, ``""`` where it has none; raise NotUnderstood as above.

    For the audit trail alone, where the settings ask for it.
    """
    try:
        dataset = read_headers(path, ["PatientID"])
    except UNREADABLE as error:
        raise NotUnderstood(f"cannot read the file: {type(error).__name__}") from error
    except OSError as error:
        raise NotUnderstood(f"cannot read the file: {error.strerror}") from error
    return text(dataset, "PatientID")


def _at_sight(part10: bytes | memoryview) -> Identifiers | None:
    """Read plain values without pydicom, in a fifth of its time; None where it might differ."""
    try:
        top = bytes(part10[:_SIGHT_BYTES])
        transfer_syntax_uid, found = values(top, _VRS, size=len(part10), met=_MET.layouts)
        plain = [_plain(tag, found) for tag in _VRS]
    except UnsureError:
        return None
    sop_class_uid, sop_instance_uid, modality, study_instance_uid, series_instance_uid = plain
    return Identifiers(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        study_instance_uid=study_instance_uid,
        series_instance_uid=series_instance_uid,
        modality=modality,
        transfer_syntax_uid=transfer_syntax_uid,
    )


def _may_take_long(part10: bytes | memoryview) -> bool:
    """Tell whether pydicom may meet more elements than fit where identifiers belong."""
    return len(part10) > _SIGHT_BYTES or _DEFLATED in bytes(part10)


def _plain(tag: int, found: dict[int, bytes]) -> str:
    must_be_uid = _VRS[tag] == b"UI"
    plain = (_PLAIN_UID if must_be_uid else _PLAIN_MODALITY).fullmatch(found.get(tag, b""))
    if plain is None or (must_be_uid and len(plain[1]) > _UID_LENGTH):
        raise UnsureError
    return plain[1].decode("ascii")


def identify_stream(file: BinaryIO) -> Identifiers:
    """Read the identifiers with pydicom, whatever the bytes are."""
    dataset, transfer_syntax_uid = _top(file)
    found = {keyword: text(dataset, keyword) for keyword in _KEYWORDS}
    for keyword, uid in found.items():
        if keyword != "Modality" and not is_uid(uid):
            what = "absent" if not uid else f"no UID: {uid[:80]!r}"
            raise NotUnderstood(f"cannot file the instance: {keyword} is {what}")
    return Identifiers(
        sop_class_uid=found["SOPClassUID"],
        sop_instance_uid=found["SOPInstanceUID"],
        study_instance_uid=found["StudyInstanceUID"],
        series_instance_uid=found["SeriesInstanceUID"],
        modality=found["Modality"].replace("\0", "?"),
        transfer_syntax_uid=transfer_syntax_uid,
    )


def _top(file: BinaryIO) -> tuple[Dataset, str]:
    """Read the data set up to Series Instance UID, and the transfer syntax it is written in."""
    try:
        stated = transfer_syntax_uid(file)
        if stated == DeflatedExplicitVRLittleEndian:
            return _inflated_top(file), stated
        file.seek(0)
        dataset = read_partial(file, stop_when=_past_identifiers, force=True, specific_tags=_TAGS)
    except UNREADABLE as error:
        raise NotUnderstood(f"cannot read the bytes as DICOM: {type(error).__name__}") from error
    implicit, little = dataset.original_encoding
    return dataset, stated or _syntax(implicit=bool(implicit), little=bool(little))


def _inflated_top(file: BinaryIO) -> Dataset:
    """Read the top of a deflated data set; the rest stays deflated, however large it would be."""
    return read_dataset(
        BytesIO(b"".join(inflated(file, _TOP_BYTES))),
        False,  # noqa: FBT003  (explicit VR: PS3.5 A.5)
        True,  # noqa: FBT003  (little endian)
        stop_when=_past_identifiers,
        specific_tags=_TAGS,
    )


def _syntax(*, implicit: bool, little: bool) -> str:
    if not little:
        return str(ExplicitVRBigEndian)
    return str(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)


def _past_identifiers(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) > _SERIES_INSTANCE_UID
