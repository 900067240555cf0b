"""The last look at our own objects before they are sent: nothing that fails it leaves the node.

Validators read one object at a time and do not know what it is about. This lint knows the source
images and all objects of a study together, and so sees what no validator sees.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import chain

from pydicom.uid import (
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from node.dicom import source as source_headers
from node.dicom.lint import evidence, groups, items, numbers, predictions, report, tree
from node.dicom.lint.capture import wrong_capture
from node.dicom.lint.concepts import undeclared_schemes, unknown_codes
from node.dicom.lint.editable import not_taken_over
from node.dicom.lint.faults import MEANINGS, Fault, Found, Rule
from node.dicom.lint.identity import wrong_equipment, wrong_identity
from node.dicom.lint.images import Source
from node.dicom.lint.items import Encoded, Item
from node.dicom.lint.rejection import wrong_rejection
from node.dicom.lint.saliency import uncited, wrong_saliency
from node.dicom.lint.segmentation import wrong_segmentation
from node.dicom.lint.values import unfit_values
from node.instance import ResultKind, ResultObject

_PICTURES = (SecondaryCaptureImageStorage, MultiFrameTrueColorSecondaryCaptureImageStorage)
_DOCUMENTS = frozenset({ResultKind.REPORT, ResultKind.EDITABLE, ResultKind.REJECTION})

__all__ = ["MEANINGS", "Fault", "Rule", "Source", "check"]


@source_headers.tolerant()
def check(objects: Sequence[ResultObject], source: Source) -> tuple[Fault, ...]:
    """Return every fault of the objects that one study's analysis, or refusal, came to.

    They are judged together, since a report and its Segmentation must agree. No fault, no words:
    an empty tuple means that all may be sent.
    """
    read: dict[str, Encoded] = {}
    faults: list[Fault] = []
    for made in objects:
        try:
            read[made.sop_instance_uid] = encoded = items.read(made.part10)
        except items.NotNative as error:
            faults += _faults(made, [(Rule.VIEWER, str(error))])
            continue
        except (ValueError, KeyError, struct.error):
            faults += _faults(made, [(Rule.UNREADABLE, "it is not DICOM, or not whole")])
            continue
        faults += _faults(made, list(unfit_values(encoded.leaves, source)))
    for made in objects:
        if made.sop_instance_uid in read:
            faults += _faults(made, _survived(made, objects, read, source))
    if len({made.sop_instance_uid for made in objects}) != len(objects):
        faults += _faults(objects[0], [(Rule.IDENTITY, "two objects have one UID")])
    return tuple(dict.fromkeys(faults))


def _survived(
    made: ResultObject, objects: Sequence[ResultObject], read: dict[str, Encoded], source: Source
) -> list[Found]:
    """Return what is wrong; an object so malformed that it cannot be judged is unreadable."""
    found: list[Found] = []
    try:
        found.extend(_wrong(made, objects, read, source))
    except Exception as error:  # noqa: BLE001  what cannot be judged must not go out
        found.append((Rule.UNREADABLE, f"it cannot be judged ({type(error).__name__})"))
    return found


def _wrong(
    made: ResultObject, objects: Sequence[ResultObject], read: dict[str, Encoded], source: Source
) -> Iterator[Found]:
    encoded = read[made.sop_instance_uid]
    yield from wrong_identity(made, encoded, source)
    yield from wrong_equipment(encoded.item)
    yield from unknown_codes(encoded.item)
    yield from undeclared_schemes(encoded.item)
    others = [one for one in objects if one is not made]
    if made.series_instance_uid in {one.series_instance_uid for one in others}:
        yield Rule.IDENTITY, "another object is in the same series"
    if made.sop_class_uid == SegmentationStorage:
        yield from wrong_segmentation(encoded.item, source)
    elif made.sop_class_uid in _PICTURES:
        yield from wrong_capture(encoded.item, source)
    elif made.sop_class_uid == ParametricMapStorage:
        reports = [tree.read(item) for item in _of(ResultKind.REPORT, objects, read).values()]
        maps = _of(ResultKind.SALIENCY, objects, read)
        yield from wrong_saliency(encoded.item, source, list(maps.values()), reports)
    elif made.kind in _DOCUMENTS:
        yield from _wrong_document(made, objects, read, source)


def _of(
    kind: ResultKind, objects: Sequence[ResultObject], read: dict[str, Encoded]
) -> dict[str, Item]:
    """Return what was read of the objects of one kind, by SOP Instance UID."""
    uids = [one.sop_instance_uid for one in objects if one.kind is kind]
    return {uid: read[uid].item for uid in uids if uid in read}


def _wrong_document(
    made: ResultObject, objects: Sequence[ResultObject], read: dict[str, Encoded], source: Source
) -> Iterator[Found]:
    dataset = read[made.sop_instance_uid].item
    root = tree.read(dataset)
    results = {one.sop_instance_uid: one.sop_class_uid for one in objects}
    yield from evidence.wrong_citations(dataset, root, source)
    yield from report.unequal_equipment(dataset, root)
    if made.kind is ResultKind.REJECTION:
        yield from wrong_rejection(dataset, root)
        yield from evidence.wrongly_rejected(dataset, source, results)
        return
    segmentations = {
        uid: read[uid].item
        for uid, sop_class in results.items()
        if sop_class == SegmentationStorage and uid in read
    }
    yield from _wrong_report(root, dataset, source, segmentations)
    yield from evidence.foreign_instances(dataset, source, results)
    yield from evidence.missing_images(dataset, source, both=made.kind is ResultKind.REPORT)
    if made.kind is ResultKind.EDITABLE:
        yield from not_taken_over(root, source)
    else:
        yield from groups.missing_segments(root, segmentations)
        yield from uncited(dataset, _of(ResultKind.SALIENCY, objects, read))
        yield from predictions.wrong_predictions(root)


def _wrong_report(
    root: tree.Node, dataset: Item, source: Source, segmentations: dict[str, Item]
) -> Iterator[Found]:
    yield from chain(
        report.broken_template(dataset, root),
        report.algorithm_unnamed(root),
        report.unsaid(root),
        numbers.wrong_units(root),
        numbers.wrong_numbers(root),
        groups.wrong_tracking(root, segmentations),
        groups.not_drawn(root),
        groups.wrong_contours(root, source, segmentations),
    )


def _faults(made: ResultObject, found: Sequence[Found]) -> list[Fault]:
    return [
        Fault(rule=rule, detail=detail, sop_instance_uid=made.sop_instance_uid)
        for rule, detail in found
    ]
