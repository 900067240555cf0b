"""Who catches which planted fault: the table of docs/faults.md.

``python -m tests.validators.faults`` plants every fault, asks the lint and the validators, and
writes the document anew.
"""

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.findings import Reason
from node.dicom import lint, results
from node.instance import ResultKind, ResultObject
from tests import made_study
from tests.validators import (
    planted_in_documents,
    planted_in_images,
    planted_in_maps,
    planted_in_predictions,
    planted_in_reports,
)
from tests.validators.planting import Fault, planted

FAULTS = (
    *planted_in_reports.FAULTS,
    *planted_in_documents.FAULTS,
    *planted_in_predictions.FAULTS,
    *planted_in_images.FAULTS,
    *planted_in_maps.FAULTS,
)
DOCUMENTS = {kind.value for kind in (ResultKind.REPORT, ResultKind.EDITABLE, ResultKind.REJECTION)}
EARLIER = tuple(
    results.Predecessor(
        kind=kind,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=f"2.25.9{number}",
        series_instance_uid=f"2.25.8{number}",
        study_instance_uid=made_study.STUDY_UID,
    )
    for number, (kind, sop_class_uid) in enumerate(
        (
            (ResultKind.REPORT, "1.2.840.10008.5.1.4.1.1.88.34"),
            (ResultKind.SEGMENTATION, "1.2.840.10008.5.1.4.1.1.66.4"),
        )
    )
)
JUDGES = ("dciodvfy", "dcentvfy", "dsrdump")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
HEADING = "## Rules of the lint"


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A set of objects without a fault, and what they are about."""

    objects: Mapping[str, ResultObject]
    source: lint.Source
    images: Sequence[Path]


def sound_sets(folder: Path) -> dict[str, Sound]:
    """The sets to plant faults in: of a lesion, of none, a next version, maps, a refusal."""
    made = made_study.study(folder)
    reason = Reason(code="SLICES_THICK", meaning="CT slices of 10 mm")
    common = {"equipment": made_study.EQUIPMENT, "key": "k", "when": made_study.WHEN}
    superseding = {"hydratable": True, "supersede": "reject", "predecessors": EARLIER}
    negative = made_study.findings(predictions=(), applicable=False, inapplicable=(reason,))
    images = [made.choice.ct.paths[0], made.choice.pet.paths[0]]
    sets = {"refusal": results.refused(made.choice.ct.paths, [reason], **common)}
    for name, findings, options in (
        ("lesion", made.findings, {}),
        ("negative", negative, {}),
        ("next", made.findings, superseding),
        ("maps", made_study.with_saliency(made).findings, {}),
    ):
        sets[name] = results.analyzed(
            made.choice,
            made.petct,
            findings,
            options=results.ResultOptions(**options),
            **common,
        )
    analyzed = lint.Source.of(made.choice, made.petct)
    sources = {"refusal": lint.Source.of_files(made.choice.ct.paths)}
    return {
        name: Sound(
            objects=by_kind(objects),
            source=sources.get(name, analyzed),
            images=images,
        )
        for name, objects in sets.items()
    }


def by_kind(objects: Sequence[ResultObject]) -> dict[str, ResultObject]:
    """The objects by their kind; the second of a kind by its kind and number."""
    found: dict[str, ResultObject] = {}
    for one in objects:
        same = sum(other.kind is one.kind for other in found.values())
        found[f"{one.kind.value}{same + 1 if same else ''}"] = one
    return found


def with_fault(sets: Mapping[str, Sound], fault: Fault) -> tuple[Sound, str]:
    """The set with the fault in one of its objects, and the kind of that object."""
    name, _, kind = fault.target.rpartition(" ")
    sound = sets[name or "lesion"]
    objects = {**sound.objects, kind: planted(sound.objects[kind], fault)}
    return Sound(objects=objects, source=sound.source, images=sound.images), kind


def by_the_lint(sound: Sound) -> set[lint.Rule]:
    """The rules that the lint finds broken."""
    return {one.rule for one in lint.check(list(sound.objects.values()), sound.source)}


def by_the_judges(sound: Sound, kind: str, folder: Path) -> dict[str, set[str]]:
    """What each validator complains of, in the object or in how it goes with the others."""
    paths = {}
    for name, one in sound.objects.items():
        paths[name] = folder / f"{name}.dcm"
        paths[name].write_bytes(one.part10)
    entities = [line for line in said("dcentvfy", *sound.images, *paths.values()) if line.strip()]
    return {
        "dciodvfy": {x for x in said("dciodvfy", paths[kind]) if x.startswith("Error")},
        # It counts the Accession Number to the series in one IOD and to the study in the other.
        "dcentvfy": {line for line in entities if "<AccessionNumber>" not in line},
        "dsrdump": {x for x in said("dsrdump", paths[kind]) if x.startswith(("E:", "F:"))}
        if kind in DOCUMENTS
        else set(),
    }


def said(*command: str | Path) -> list[str]:
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=60,
    )
    return (done.stdout + done.stderr).splitlines()


def absent_judges() -> list[str]:
    """The validators that are not installed."""
    return [judge for judge in JUDGES if shutil.which(judge) is None]


def table(folder: Path) -> list[str]:
    """The rows of the table: object, fault, rule of the lint, and each validator that sees it."""
    sets = sound_sets(folder)
    rows = [
        "| Object | Planted fault | Lint | " + " | ".join(JUDGES) + " |",
        "| --- | --- | --- | " + " | ".join("---" for _ in JUDGES) + " |",
    ]
    for fault in FAULTS:
        faulty, kind = with_fault(sets, fault)
        seen = by_the_judges(faulty, kind, folder)
        caught = fault.rule if fault.rule in by_the_lint(faulty) else ""
        judged = " | ".join("yes" if seen[judge] else "" for judge in JUDGES)
        rows.append(f"| {fault.target} | {fault.what} | {caught} | {judged} |")
    return [row.replace("|  |", "| |").replace("|  |", "| |") for row in rows]


def rules() -> list[str]:
    """The rows that tell each rule's code and what it means that it is broken."""
    counted = Counter(fault.rule for fault in FAULTS)
    return [
        "| Code | What is wrong | Planted |",
        "| --- | --- | --- |",
        *(f"| {rule} | {meaning} | {counted[rule]} |" for rule, meaning in lint.MEANINGS.items()),
    ]


def document(rows: Sequence[str]) -> str:
    """The document as its first part and these rows make it."""
    told = DOCUMENT.read_text(encoding="utf-8").split(HEADING, 1)[0]
    parts = [HEADING, "", *rules(), "", "## Planted faults and who catches them", "", *rows]
    return told + "\n".join(parts) + "\n"


def main() -> None:
    if absent_judges():
        sys.exit(f"not installed: {', '.join(absent_judges())}")
    with tempfile.TemporaryDirectory() as folder:
        DOCUMENT.write_text(document(table(Path(folder))), encoding="utf-8")


if __name__ == "__main__":
    main()
