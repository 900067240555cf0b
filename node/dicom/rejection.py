"""The withdrawal of earlier results: a Key Object Selection that rejects them (IHE IOCM)."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Final

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from node.dicom.provenance import Provenance, finish
from node.dicom.sr import device_context
from node.instance import ResultKind, ResultObject

SERIES_NUMBER: Final = 9905
TITLES: Final[dict[str, Code]] = {
    "113001": codes.DCM.RejectedForQualityReasons,
    "113039": codes.DCM.DataRetentionPolicyExpired,
}
"""The reasons for rejection (CID 7010) that an installation can choose between."""
WHY: Final = "Results of an earlier version; a new version replaces them"


def rejection(
    rejected: Sequence[Dataset], *, title: str, subject: Dataset, provenance: Provenance
) -> ResultObject:
    """Return the selection of the ``rejected`` instances under a title of ``TITLES``.

    A PACS that follows IOCM hides them; one that does not shows the selection beside them.
    """
    role = " ".join(["KOS", *(one.SOPInstanceUID for one in rejected)])
    document = KeyObjectSelectionDocument(
        evidence=[_of_subject(subject, one) for one in rejected],
        content=KeyObjectSelection(
            document_title=TITLES[title],
            referenced_objects=[_pictured(one) for one in rejected],
            observer_device_context=device_context(provenance),
            description=WHY,
        ),
        series_instance_uid=provenance.uid(f"series {role}"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=provenance.uid(f"instance {role}"),
        instance_number=1,
        manufacturer=provenance.equipment.manufacturer,
        series_description="PET/CT analysis, earlier version withdrawn",
        specific_character_set="ISO_IR 192",
    )
    document.copy_patient_and_study_information(subject)
    for item in document.ContentSequence:
        if item.ValueType in {"IMAGE", "COMPOSITE"}:
            del item.ConceptNameCodeSequence  # TID 2010 gives a reference no purpose
    return finish(document, ResultKind.REJECTION, subject=subject, provenance=provenance)


def _of_subject(subject: Dataset, reference: Dataset) -> Dataset:
    """Return what the document takes its patient and study from, identified as the reference."""
    told = deepcopy(subject)
    told.update(reference)
    return told


def _pictured(reference: Dataset) -> Dataset:
    """Return the reference such that images are cited as IMAGE and documents as COMPOSITE."""
    cited = deepcopy(reference)
    if not str(cited.SOPClassUID).startswith("1.2.840.10008.5.1.4.1.1.88."):
        cited.Rows = cited.Columns = 1
    return cited
