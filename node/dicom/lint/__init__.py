"""The last look at our own objects before they are sent: nothing that fails it leaves the node.

Validators read one object at a time and do not know what it is about. This lint knows the source
images and all objects of a study together, and so sees what no validator sees.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
from node.dicom.lint.concepts import wrong_codes
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
    reader = items.Reader()
    read: dict[str, Encoded] = {}
    faults: list[Fault] = []
    for made in objects:
        try:
            read[made.sop_instance_uid] = encoded = reader.read(made.part10)
        except items.NotNative as error:
            faults += _faults(made, [(Rule.VIEWER, str(error))])
            continue
        except (ValueError, KeyError, struct.error):
            faults += _faults(made, [(Rule.UNREADABLE, "it is not DICOM, or not whole")])
            continue
        faults += _faults(made, list(unfit_values(encoded.leaves, source)))
    together = _Together(objects=objects, read=read, source=source)
    for made in objects:
        if made.sop_instance_uid in read:
            faults += _faults(made, _survived(made, together))
    if len({made.sop_instance_uid for made in objects}) != len(objects):
        faults += _faults(objects[0], [(Rule.IDENTITY, "two objects have one UID")])
    return tuple(dict.fromkeys(faults))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Together:
    """What goes out together, as far as it could be read, and the images that it is about."""

    objects: Sequence[ResultObject]
    read: Mapping[str, Encoded]
    source: Source

    def of(self, kind: ResultKind) -> dict[str, Item]:
        """Return what was read of the objects of one kind, by SOP Instance UID."""
        uids = [one.sop_instance_uid for one in self.objects if one.kind is kind]
        return {uid: self.read[uid].item for uid in uids if uid in self.read}

    @cached_property
    def classes(self) -> dict[str, str]:
        """The SOP Class UID of everything by its SOP Instance UID."""
        return {one.sop_instance_uid: one.sop_class_uid for one in self.objects}

    @cached_property
    def reports(self) -> dict[str, tree.Node]:
        """The content tree of each report by its SOP Instance UID."""
        return {uid: tree.read(item) for uid, item in self.of(ResultKind.REPORT).items()}

    @cached_property
    def segmentations(self) -> dict[str, Item]:
        """What was read of the Segmentations by SOP Instance UID."""
        return {
            uid: self.read[uid].item
            for uid, sop_class in self.classes.items()
            if sop_class == SegmentationStorage and uid in self.read
        }


def _survived(made: ResultObject, together: _Together) -> list[Found]:
    """Return what is wrong; an object so malformed that it cannot be judged is unreadable."""
    found: list[Found] = []
    try:
        found.extend(_wrong(made, together))
    except Exception as error:  # noqa: BLE001  what cannot be judged must not go out
        found.append((Rule.UNREADABLE, f"it cannot be judged ({type(error).__name__})"))
    return found


def _wrong(made: ResultObject, together: _Together) -> Iterator[Found]:
    encoded, source = together.read[made.sop_instance_uid], together.source
    yield from wrong_identity(made, encoded, source)
    yield from wrong_equipment(encoded.item)
    yield from wrong_codes(encoded.item)
    others = [one for one in together.objects if one is not made]
    if made.series_instance_uid in {one.series_instance_uid for one in others}:
        yield Rule.IDENTITY, "another object is in the same series"
    if made.sop_class_uid == SegmentationStorage:
        yield from wrong_segmentation(encoded.item, source)
    elif made.sop_class_uid in _PICTURES:
        yield from wrong_capture(encoded.item, source)
    elif made.sop_class_uid == ParametricMapStorage:
        reports = list(together.reports.values())
        maps = list(together.of(ResultKind.SALIENCY).values())
        yield from wrong_saliency(encoded.item, source, maps, reports)
    elif made.kind in _DOCUMENTS:
        yield from _wrong_document(made, together)


def _wrong_document(made: ResultObject, together: _Together) -> Iterator[Found]:
    dataset, source = together.read[made.sop_instance_uid].item, together.source
    root = together.reports.get(made.sop_instance_uid) or tree.read(dataset)
    yield from evidence.wrong_citations(dataset, root, source)
    yield from report.unequal_equipment(dataset, root)
    if made.kind is ResultKind.REJECTION:
        yield from wrong_rejection(dataset, root)
        yield from evidence.wrongly_rejected(dataset, source, together.classes)
        return
    segmentations = together.segmentations
    yield from _wrong_report(root, dataset, source, segmentations)
    yield from evidence.foreign_instances(dataset, source, together.classes)
    yield from evidence.missing_images(dataset, source, both=made.kind is ResultKind.REPORT)
    if made.kind is ResultKind.EDITABLE:
        yield from not_taken_over(root, source)
    else:
        yield from groups.missing_segments(root, segmentations)
        yield from uncited(dataset, together.of(ResultKind.SALIENCY))
        yield from predictions.wrong_predictions(root)


def _wrong_report(
    root: tree.Node, dataset: Item, source: Source, segmentations: Mapping[str, Item]
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
