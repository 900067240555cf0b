"""Whether a document cites every instance that it stands on, once, and no other (C.17.2.3)."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from node.dicom.lint.faults import Found, Rule
from node.dicom.lint.images import Source
from node.dicom.lint.items import Item
from node.dicom.lint.tree import Node

_SEQUENCES = ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")


def wrong_citations(dataset: Item, root: Node, source: Source) -> Iterator[Found]:
    """Yield what is absent, doubled or of another study in the evidence of any document."""
    studies, series, classes = _studies(dataset), _series(dataset), _classes(dataset)
    if not classes:
        yield Rule.EVIDENCE, "there is no evidence"
    if {study.get("StudyInstanceUID") for study in studies} - {source.study_instance_uid}:
        yield Rule.EVIDENCE, "the evidence is of another study"
    for what, items, keyword in (
        ("a study", studies, "StudyInstanceUID"),
        ("a series", series, "SeriesInstanceUID"),
        ("an instance", [x for one in series for x in _cited(one)], "ReferencedSOPInstanceUID"),
    ):
        if any(count > 1 for count in Counter(item.get(keyword) for item in items).values()):
            yield Rule.EVIDENCE, f"{what} has more than one item"
    for item in (one for node in root for one in node.references):
        uid = item.get("ReferencedSOPInstanceUID")
        if uid not in classes:
            yield Rule.EVIDENCE, "an instance that the content cites is no evidence"
        elif classes[uid] != item.get("ReferencedSOPClassUID"):
            yield Rule.EVIDENCE, "content and evidence differ in the class of an instance"


def missing_images(dataset: Item, source: Source, *, both: bool) -> Iterator[Found]:
    """Yield where a report does not cite a series whole, under its UID.

    ``both`` PET and CT must be cited; else those that are.
    """
    told = {
        series.get("SeriesInstanceUID"): {
            one.get("ReferencedSOPInstanceUID") for one in _cited(series)
        }
        for series in _series(dataset)
    }
    for uid, one in source.series.items():
        if told.get(uid, set()) != set(one.classes) and (both or uid in told):
            yield Rule.EVIDENCE, f"the {one.series.modality} is not cited whole, under its series"


def foreign_instances(dataset: Item, source: Source, results: Mapping[str, str]) -> Iterator[Found]:
    """Yield where a report on an analysed study cites what is not there, or under another class.

    ``results`` holds the SOP Class UID of every object that goes out with the report.
    """
    known = {**source.classes, **results}
    for uid, sop_class in _classes(dataset).items():
        if known.get(uid, sop_class) != sop_class:
            yield Rule.EVIDENCE, "an instance is cited under another class"
        elif source.series and uid not in known and uid not in source.sop_instance_uids:
            yield Rule.EVIDENCE, "an instance is cited that the study does not hold"


def wrongly_rejected(dataset: Item, source: Source, results: Collection[str]) -> Iterator[Found]:
    """Yield where a rejection would hide the images, or the results that it goes out with."""
    rejected = set(_classes(dataset))
    if rejected & source.sop_instance_uids:
        yield Rule.EVIDENCE, "it rejects an image of the study"
    if rejected.intersection(results):
        yield Rule.EVIDENCE, "it rejects a result that goes out with it"


def cited(dataset: Item) -> set[str]:
    """Return the SOP Instance UIDs that a document names as its evidence."""
    return set(_classes(dataset))


def _studies(dataset: Item) -> list[Item]:
    return [one for keyword in _SEQUENCES for one in dataset.get(keyword, [])]


def _series(dataset: Item) -> list[Item]:
    return [one for study in _studies(dataset) for one in study.get("ReferencedSeriesSequence", [])]


def _cited(series: Item) -> list[Item]:
    cited: list[Item] = series.get("ReferencedSOPSequence", [])
    return cited


def _classes(dataset: Item) -> dict[str, str]:
    """Return the SOP Class UID of everything cited by its SOP Instance UID."""
    return {
        str(one.get("ReferencedSOPInstanceUID")): str(one.get("ReferencedSOPClassUID"))
        for series in _series(dataset)
        for one in _cited(series)
    }
