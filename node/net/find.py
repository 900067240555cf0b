"""Asks a PACS what it holds (Study Root C-FIND, PS3.4 C.6.2)."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from node.config import Peer
from node.errors import PeerUnavailable
from node.net.association import NothingAccepted, associate

logger = logging.getLogger(__name__)

STUDY_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
SUCCESS = 0x0000
PENDING = (0xFF00, 0xFF01)
NEVER = (0x0122, 0xA900)  # PS3.4 table C.4-1: SOP class not supported, identifier does not match
UIDS_A_QUERY = 50
COUNTED_MODALITIES = ("CT", "PT")


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesCount:
    """How many instances of one series the PACS holds."""

    series_instance_uid: str
    modality: str
    instances: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyCounts:
    """The CT and PET series of a study in the PACS."""

    series: tuple[SeriesCount, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """Names a series by the unique keys above it (PS3.4 C.6.2.1)."""

    study_instance_uid: str
    series_instance_uid: str


class _CannotTell(Exception):
    """The PACS answered, and what it said is no answer to the question."""

    def __init__(self, status: int = SUCCESS) -> None:
        super().__init__(f"C-FIND ended with status 0x{status:04X}")
        self.status = status


def count_instances(
    peer: Peer, study_instance_uid: str, *, calling_ae_title: str, timeout_s: float = 10
) -> StudyCounts | None:
    """Count the CT and PET images of a study by series; None where the PACS cannot tell.

    It cannot tell where it takes no C-FIND, does not know the study or ends with a failure. Counts
    are asked for at the level of series, as what else lies in the study (our own results, captures)
    says nothing of the images; where they are left out, the images are counted one by one. Raises
    PeerUnavailable where there is no answer.
    """
    try:
        with associate(
            peer,
            calling_ae_title=calling_ae_title,
            contexts=[build_context(STUDY_ROOT_FIND)],
            timeout_s=timeout_s,
        ) as association:
            found = list(_series(association, study_instance_uid))
            series = [_count(association, study_instance_uid, one) for one in found]
    except (NothingAccepted, _CannotTell):
        return None
    return StudyCounts(series=tuple(series)) if series else None


def find_instances(
    peer: Peer,
    wanted: Mapping[Series, Sequence[str]],
    *,
    calling_ae_title: str,
    timeout_s: float = 10,
) -> set[str] | None:
    """Return which of the wanted SOP Instance UIDs the PACS holds; None where it cannot tell.

    It cannot tell where it takes no C-FIND at this level. Raises PeerUnavailable where there is no
    answer, or one that may be another the next time.
    """
    found: set[str] = set()
    try:
        with associate(
            peer,
            calling_ae_title=calling_ae_title,
            contexts=[build_context(STUDY_ROOT_FIND)],
            timeout_s=timeout_s,
        ) as association:
            for series, uids in wanted.items():
                for start in range(0, len(uids), UIDS_A_QUERY):
                    some = uids[start : start + UIDS_A_QUERY]
                    found.update(_held(association, series, some))
    except NothingAccepted:
        return None
    except _CannotTell as refusal:
        if refusal.status in NEVER:
            return None
        raise PeerUnavailable(f"{peer.ae_title}: {refusal}") from refusal
    return found


def _held(association: Association, series: Series, uids: Sequence[str]) -> Iterator[str]:
    """Ask by list of UID (PS3.4 C.2.2.2.2); a PACS that takes it for a wish may answer more."""
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = series.study_instance_uid
    query.SeriesInstanceUID = series.series_instance_uid
    query.SOPInstanceUID = list(uids)
    for found in _find(association, query):
        uid = str(found.get("SOPInstanceUID", ""))
        if uid in uids:
            yield uid


def _series(association: Association, study_instance_uid: str) -> Iterator[Dataset]:
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study_instance_uid
    query.SeriesInstanceUID = ""
    query.Modality = ""
    query.NumberOfSeriesRelatedInstances = None
    for found in _find(association, query):
        if found.get("Modality") in COUNTED_MODALITIES and "SeriesInstanceUID" in found:
            yield found


def _count(association: Association, study_instance_uid: str, found: Dataset) -> SeriesCount:
    uid = str(found.SeriesInstanceUID)
    count = _number(found, "NumberOfSeriesRelatedInstances")
    if count is None:
        query = Dataset()
        query.QueryRetrieveLevel = "IMAGE"
        query.StudyInstanceUID = study_instance_uid
        query.SeriesInstanceUID = uid
        query.SOPInstanceUID = ""
        count = sum(1 for _ in _find(association, query))
    if count == 0:
        raise _CannotTell
    return SeriesCount(series_instance_uid=uid, modality=str(found.Modality), instances=count)


def _number(found: Dataset, keyword: str) -> int | None:
    value = found.get(keyword)
    return None if value is None or value == "" else int(value)


def _find(association: Association, query: Dataset) -> Iterator[Dataset]:
    for status, identifier in association.send_c_find(query, STUDY_ROOT_FIND):
        if "Status" not in status:
            raise PeerUnavailable("the PACS gave no answer to C-FIND")
        if status.Status in PENDING:
            if identifier is not None:
                yield identifier
        elif status.Status != SUCCESS:
            logger.warning("C-FIND ended with status 0x%04X", status.Status)
            raise _CannotTell(int(status.Status))
