"""Whether a report cites every instance that it stands on, once, and no other."""

from collections import Counter
from collections.abc import Iterator, Mapping

from node.dicom.lint.faults import Found, Rule
from node.dicom.lint.images import Source
from node.dicom.lint.items import Item
from node.dicom.lint.tree import Node

_SEQUENCES = ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")


def wrong_evidence(
    dataset: Item, root: Node, source: Source, made: Mapping[str, str]
) -> Iterator[Found]:
    """Yield what is absent, doubled, foreign or misnamed in the evidence (PS3.3 C.17.2.3).

    ``made`` holds the SOP Class UID of every object that goes out with the report.
    """
    studies = [one for keyword in _SEQUENCES for one in dataset.get(keyword, [])]
    series = [one for study in studies for one in study.get("ReferencedSeriesSequence", [])]
    cited = [one for each in series for one in each.get("ReferencedSOPSequence", [])]
    if not cited:
        yield Rule.EVIDENCE, "there is no evidence"
    if {study.get("StudyInstanceUID") for study in studies} - {source.study_instance_uid}:
        yield Rule.EVIDENCE, "the evidence is of another study"
    yield from _doubled(studies, series, cited)
    classes = {
        one.get("ReferencedSOPInstanceUID"): one.get("ReferencedSOPClassUID") for one in cited
    }
    yield from _uncited(root, classes)
    if source.series:
        yield from _unlike(series, classes, source, made)


def _doubled(studies: list[Item], series: list[Item], cited: list[Item]) -> Iterator[Found]:
    for what, items, keyword in (
        ("a study", studies, "StudyInstanceUID"),
        ("a series", series, "SeriesInstanceUID"),
        ("an instance", cited, "ReferencedSOPInstanceUID"),
    ):
        if any(count > 1 for count in Counter(item.get(keyword) for item in items).values()):
            yield Rule.EVIDENCE, f"{what} has more than one item"


def _uncited(root: Node, classes: Mapping[str | None, str | None]) -> Iterator[Found]:
    for node in root:
        for item in node.references:
            uid = item.get("ReferencedSOPInstanceUID")
            if uid not in classes:
                yield Rule.EVIDENCE, "an instance that the content cites is no evidence"
            elif classes[uid] != item.get("ReferencedSOPClassUID"):
                yield Rule.EVIDENCE, "content and evidence differ in the class of an instance"


def _unlike(
    series: list[Item],
    classes: Mapping[str | None, str | None],
    source: Source,
    made: Mapping[str, str],
) -> Iterator[Found]:
    """Yield where the evidence is not every image of PET and CT, as it is."""
    for uid, one in source.series.items():
        modality = one.series.modality
        if set(one.classes) - set(classes):
            yield Rule.EVIDENCE, f"instances of the {modality} are absent"
        items = [item for item in series if item.get("SeriesInstanceUID") == uid]
        told = {
            each.get("ReferencedSOPInstanceUID")
            for item in items
            for each in item.get("ReferencedSOPSequence", [])
        }
        if told != set(one.classes):
            yield Rule.EVIDENCE, f"the item of the {modality} does not hold its instances"
    known = {**source.classes, **made}
    for uid_cited, sop_class in classes.items():
        if uid_cited in known and known[uid_cited] != sop_class:
            yield Rule.EVIDENCE, "an instance is cited under another class"
        elif uid_cited not in known and uid_cited not in source.sop_instance_uids:
            yield Rule.EVIDENCE, "an instance is cited that the study does not hold"
