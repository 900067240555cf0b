"""Every coded concept that our results use and that a table of the standard does not name.

Standard concepts come from pydicom's ``codes``; those it lacks stand here with their scheme. What
no standard scheme names is in one private scheme, which each object declares (PS3.3 C.12.1.1.9).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from inference.findings import Reason

PRIVATE_SCHEME: Final = "99PETCTNODE"

HIGH_RISK: Final[Code] = codes.SCT.HighRisk
LOW_RISK: Final[Code] = codes.SCT.LowRisk
NEOPLASM: Final[Code] = codes.SCT.Neoplasm
PRIMARY_NEOPLASM: Final[Code] = codes.SCT.NeoplasmPrimary
LESION: Final[Code] = codes.SCT.Lesion
LUNG: Final[Code] = codes.SCT.Lung
THORAX: Final[Code] = codes.SCT.Thorax
MEDIASTINUM: Final[Code] = codes.SCT.Mediastinum
METASTASIS: Final[Code] = codes.SCT.Metastasis
MILLIMETER: Final = Code("mm", "UCUM", "millimeter")
MILLILITER: Final = Code("ml", "UCUM", "milliliter")
PERCENT: Final = Code("%", "UCUM", "Percent")
GRAM: Final = Code("g", "UCUM", "gram")
MINUTE: Final = Code("min", "UCUM", "minute")
BECQUEREL: Final = Code("Bq", "UCUM", "becquerel")
PIXELS: Final = Code("{pixels}", "UCUM", "pixels")
COSINE: Final = Code("{-1:1}", "UCUM", "{-1:1}")
SOURCE: Final = Code("260753009", "SCT", "Source")
CLINICAL_FINDING_ABSENT: Final = Code("373572006", "SCT", "Clinical finding absent")
QUALITATIVE_EVALUATIONS: Final = Code("C0034375", "UMLS", "Qualitative Evaluations")


def _private(value: str, meaning: str) -> Code:
    return Code(value, PRIVATE_SCHEME, meaning)


OUTCOME: Final = _private("OUTCOME", "Outcome of the analysis")
ANALYZED: Final = _private("ANALYZED", "Analyzed")
NOT_ANALYZABLE: Final = _private("NOT_ANALYZABLE", "Not analyzable")
REFUSAL_REASON: Final = _private("REFUSAL_REASON", "Reason for not analyzing")
WARNING: Final = _private("WARNING", "Assumption or warning")
APPLICABILITY: Final = _private("APPLICABILITY", "Applicability of the model to this study")
APPLICABLE: Final = _private("APPLICABLE", "Model applies to this study")
NOT_APPLICABLE: Final = _private("NOT_APPLICABLE", "Model does not apply to this study")
INAPPLICABLE_REASON: Final = _private("INAPPLICABLE", "Reason why the model does not apply")
NODAL_RISK: Final = _private("NODAL_RISK", "Risk of occult nodal metastasis")
NOT_PREDICTED: Final = _private("NOT_PREDICTED", "Not predicted")
PREDICTED: Final = _private("PREDICTED", "Predicted condition")
PREDICTED_SITE: Final = _private("PREDICTED_SITE", "Site of the predicted condition")
EXPLANATION: Final = _private("EXPLANATION", "Why this lesion was chosen")
EXPLAINED: Final = _private("EXPLAINED", "Prediction that is explained")
AXES_OF: Final = _private("AXES_OF", "Lesion that has these axes, in order")
INTENDED_USE: Final = _private("INTENDED_USE", "Intended use")
TRAINING_DATA: Final = _private("TRAINING_DATA", "Data that the model was trained on")
CALIBRATION: Final = _private("CALIBRATION", "Calibration of the probabilities")
POSSIBLE: Final = _private("POSSIBLE", "Answers that remain possible")
UPTAKE: Final = _private("UPTAKE", "Time from injection to scan")
SUV_RULE: Final = _private("SUV_RULE", "How SUVbw was computed")
DECAY_RULE: Final = _private("DECAY_RULE", "Moment that the PET is decay-corrected to")
NOT_STATED: Final = _private("NOT_STATED", "Covariate that the images do not state")
HEIGHT: Final = _private("HEIGHT", "Height of the patient")
WEIGHT: Final = _private("WEIGHT", "Weight of the patient")
VERSION: Final = _private("VERSION", "Version of the result")

DECAY_RULES: Final = {
    "SERIES_TIME": _private("DR_SERIES", "Series time"),
    "ACQUISITION_TIME": _private("DR_ACQUISITION", "Acquisition time of each plane"),
    "FIRST_ACQUISITION": _private("DR_FIRST", "First acquisition time of the series"),
    "FRAME_REFERENCE_TIME": _private("DR_FRAME", "Moment that Frame Reference Time tells"),
    "DECAY_FACTOR": _private("DR_FACTOR", "Moment that Decay Factor tells"),
    "FRAME_AVERAGE": _private("DR_NONE", "Not corrected: average of each frame"),
    "DECAY_CORRECTION_DATETIME": _private("DR_STATED", "Decay Correction DateTime"),
    "ADMINISTRATION": _private("DR_ADMIN", "Administration of the tracer"),
    "VENDOR_FACTOR": _private("DR_VENDOR", "None needed: SUV factor of the vendor"),
    "NOT_NEEDED": _private("DR_SUV", "None needed: the PET holds SUVbw"),
}
"""What ``PetFacts.decay_reference`` is called in a report."""

REGION_METHODS: Final = {
    "RTSTRUCT": _private("REGION_RTSTRUCT", "Region taken from an RT Structure Set"),
    "SEG": _private("REGION_SEG", "Region taken from a Segmentation"),
    "SR": _private("REGION_SR", "Region taken from a structured report"),
    "network": _private("REGION_NETWORK", "Region found by a segmentation network"),
    "pet-threshold": _private("REGION_THRESHOLD", "Region found by a threshold in the PET"),
}
"""How a lesion's region came about, by ``Lesion.source``: Measurement Method (370129005)."""

_TASKS: Final = {
    "occult_n1": ("N1", "occult N1 metastasis"),
    "occult_n2": ("N2", "occult N2 metastasis"),
}
# The regional nodes of lung cancer in the TNM classification: N1 hilar and intrapulmonary, N2
# mediastinal and subcarinal, each on the tumour's side.
_NODES: Final[Mapping[str, tuple[Code, ...]]] = MappingProxyType(
    {
        "occult_n1": (codes.SCT.HilarLymphNode, codes.SCT.IntrapulmonaryLymphNode),
        "occult_n2": (codes.SCT.MediastinalLymphNode, codes.SCT.SubcarinalLymphNode),
    }
)


def _task(task: str) -> tuple[str, str]:
    """Return a task's short name (at most 12 characters) and its name in words."""
    return _TASKS.get(task, (task.upper()[:12], task.replace("_", " ")[:40]))


def task_label(task: str) -> str:
    """Return the task in words: ``occult N1 metastasis``."""
    return _task(task)[1]


def probability(task: str) -> Code:
    """Return the concept under which the probability of ``task`` is reported, in per cent."""
    short, words = _task(task)
    return _private(f"PROB_{short}"[:16], f"Probability of {words}")


def cutoff(task: str) -> Code:
    """Return the concept under which the cut-off of ``task`` is reported, in per cent."""
    short, words = _task(task)
    return _private(f"CUT_{short}"[:16], f"Cut-off for {words}")


def category(task: str) -> Code:
    """Return the concept that has High risk or Low risk as its value for ``task``."""
    short, words = _task(task)
    return _private(f"CAT_{short}"[:16], f"Risk of {words}")


def nodes(task: str) -> tuple[Code, ...]:
    """Return the lymph nodes that the prediction of ``task`` is about; none for other tasks."""
    return _NODES.get(task, ())


def saliency(task: str) -> str:
    """Return what a map of ``task`` is labelled: ``SALIENCY_N1`` (VR CS, so at most 16)."""
    short, _ = _task(task)
    return re.sub("[^A-Z0-9_ ]", "_", f"SALIENCY_{short}"[:16]).rstrip("_ ")


def of_reason(reason: Reason) -> Code:
    """Return a reason as a code; a meaning over the 64 characters of VR LO ends in dots."""
    meaning = reason.meaning if len(reason.meaning) <= 64 else f"{reason.meaning[:61]}..."
    return _private(reason.code, meaning)


def coding_schemes() -> list[CodingSchemeIdentificationItem]:
    """Return the items that declare our private scheme (PS3.3 table C.12-1)."""
    return [
        CodingSchemeIdentificationItem(
            designator=PRIVATE_SCHEME,
            name="petct-node concepts",
            responsible_organization="petct-node project",
        )
    ]
