"""Whether a Key Object Selection rejects earlier results, and nothing else."""

from collections.abc import Iterator
from typing import Final

from pydicom.sr.codedict import codes

from node.dicom.lint.faults import Found, Rule
from node.dicom.lint.items import Item
from node.dicom.lint.tree import Node, key

_TITLES: Final = {
    key(code)
    for code in (codes.DCM.RejectedForQualityReasons, codes.DCM.DataRetentionPolicyExpired)
}


def wrong_rejection(dataset: Item, root: Node) -> Iterator[Found]:
    """Yield what is wrong in the document itself (TID 2010, IHE IOCM)."""
    templates = [
        (one.get("TemplateIdentifier"), one.get("MappingResource"))
        for one in dataset.get("ContentTemplateSequence", [])
    ]
    if templates != [("2010", "DCMR")]:
        yield Rule.TEMPLATE, "the root is not identified as TID 2010"
    if root.name not in _TITLES:
        yield Rule.TEMPLATE, "the title is no reason to reject"
    if len(root.named(key(codes.DCM.DeviceObserverUID))) != 1:
        yield Rule.TEMPLATE, "the root does not tell the device observer's UID once"
    if not any(node.references for node in root.children):
        yield Rule.TEMPLATE, "it rejects nothing"
