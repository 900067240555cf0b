"""Whether a report has what TID 1500, IHE AIR and our own rules ask of every report."""

from collections.abc import Iterator
from typing import Final

from pydicom.sr.codedict import codes

from node.dicom import codes as ours
from node.dicom.lint.faults import Found, Rule
from node.dicom.lint.identity import own_equipment
from node.dicom.lint.items import Item
from node.dicom.lint.tree import Node, key
from node.dicom.provenance import RESEARCH_USE

GROUP: Final = key(codes.DCM.MeasurementGroup)
_TITLES: Final = {
    key(code) for code in (codes.DCM.ImagingMeasurementReport, codes.DCM.OncologyMeasurementReport)
}
_HEADER: Final = {
    "the language": codes.DCM.LanguageOfContentItemAndDescendants,
    "the observer's type": codes.DCM.ObserverType,
    "the device observer's UID": codes.DCM.DeviceObserverUID,
    "the device observer's manufacturer": codes.DCM.DeviceObserverManufacturer,
    "the device observer's model": codes.DCM.DeviceObserverModelName,
    "the procedure reported": codes.DCM.ProcedureReported,
}
_FLAGS: Final = {
    "CompletionFlag": "COMPLETE",
    "VerificationFlag": "UNVERIFIED",
    "PreliminaryFlag": "PRELIMINARY",
}
_REASONED: Final = {
    key(ours.NOT_ANALYZABLE): ours.REFUSAL_REASON,
    key(ours.NOT_APPLICABLE): ours.INAPPLICABLE_REASON,
}
_VALUE: Final = {
    "TEXT": "TextValue",
    "UIDREF": "UID",
    "CODE": "ConceptCodeSequence",
    "NUM": "MeasuredValueSequence",
    "SCOORD": "GraphicData",
    "SCOORD3D": "GraphicData",
    "IMAGE": "ReferencedSOPSequence",
    "COMPOSITE": "ReferencedSOPSequence",
    "CONTAINER": "ContinuityOfContent",
    "DATE": "Date",
    "TIME": "Time",
    "DATETIME": "DateTime",
    "PNAME": "PersonName",
}
# TID 1601 gives the entries of an Image Library no concept name.
_NAMELESS: Final = frozenset({"IMAGE", "COMPOSITE"})


def broken_template(dataset: Item, root: Node) -> Iterator[Found]:
    """Yield what is missing or wrong in the document and in the form of its items."""
    (template,) = dataset.get("ContentTemplateSequence", None) or [{}]
    if (template.get("TemplateIdentifier"), template.get("MappingResource")) != ("1500", "DCMR"):
        yield Rule.TEMPLATE, "the root is not identified as TID 1500"
    if root.name not in _TITLES:
        yield Rule.TEMPLATE, "the title is none that viewers take for measurements"
    for what, code in _HEADER.items():
        if len(root.named(key(code))) != 1:
            yield Rule.TEMPLATE, f"the root does not tell {what} once"
    for keyword, value in _FLAGS.items():
        if dataset.get(keyword) != value:
            yield Rule.TEMPLATE, f"{keyword} is not {value}"
    yield from _malformed(root)


def _malformed(root: Node) -> Iterator[Found]:
    for node in root:
        if not all(node.name) and node.value_type not in _NAMELESS:
            yield Rule.TEMPLATE, f"a {node.value_type} item has no concept name"
        if node is not root and not node.relationship:
            yield Rule.TEMPLATE, f"a {node.value_type} item has no relationship"
        keyword = _VALUE.get(node.value_type)
        if keyword is None or node.dataset.get(keyword) in (None, "", (), []):
            yield Rule.TEMPLATE, f"a {node.value_type or 'nameless'} item has no value"
        if node.value_type == "CONTAINER" and node.dataset.get("ContinuityOfContent") != "SEPARATE":
            yield Rule.VIEWER, "a container is not SEPARATE: its numbers lose their names"


def unequal_equipment(dataset: Item, root: Node) -> Iterator[Found]:
    """Yield where the report names another device than Contributing Equipment (AIR 6.5.3.1)."""
    device = own_equipment(dataset)
    model, version = str(device.get("ManufacturerModelName")), str(device.get("SoftwareVersions"))
    for code, told in (
        (codes.DCM.DeviceObserverUID, str(device.get("DeviceUID"))),
        (codes.DCM.DeviceObserverManufacturer, str(device.get("Manufacturer"))),
        (codes.DCM.DeviceObserverModelName, model),
        (codes.DCM.AlgorithmName, model),
        (codes.DCM.AlgorithmVersion, version),
    ):
        values = {node.text for node in root.below(key(code))}
        if values - {told}:
            yield Rule.EQUIPMENT, f"{code.meaning} differs from Contributing Equipment"


def algorithm_unnamed(root: Node) -> Iterator[Found]:
    """Yield where TID 4019 lacks the algorithm's name or its version."""
    for code in (codes.DCM.AlgorithmName, codes.DCM.AlgorithmVersion):
        if not root.below(key(code)):
            yield Rule.EQUIPMENT, f"{code.meaning} is absent"


def unsaid(root: Node) -> Iterator[Found]:
    """Yield where the outcome, a negative, a reason or the intended use is not told plainly."""
    outcomes = [node.code for node in root.below(key(ours.OUTCOME))]
    measured = bool(root.below(GROUP))
    absent = key(ours.CLINICAL_FINDING_ABSENT) in {
        node.code for node in root.below(key(codes.DCM.Finding))
    }
    if outcomes not in ([key(ours.ANALYZED)], [key(ours.NOT_ANALYZABLE)]):
        yield Rule.TEMPLATE, "the outcome of the analysis is not told once"
    if outcomes == [key(ours.ANALYZED)] and measured == absent:
        yield Rule.TEMPLATE, "it does not tell either of lesions or of their absence"
    if outcomes == [key(ours.NOT_ANALYZABLE)] and (measured or absent):
        yield Rule.TEMPLATE, "it is not analyzable and yet there is a finding"
    told = {node.code for node in root.below(key(ours.OUTCOME), key(ours.APPLICABILITY))}
    for outcome, reason in _REASONED.items():
        if outcome in told and not root.below(key(reason)):
            yield Rule.TEMPLATE, f"{outcome[0]} is told without a reason"
    if RESEARCH_USE not in {node.text for node in root.below(key(ours.INTENDED_USE))}:
        yield Rule.TEMPLATE, "it does not say that it is for research use only"
