"""``petct-node export``: studies as the case folders that training reads."""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import track

from db import instances, studies
from db.engine import reading
from inference import case
from node import audit, bootstrap
from node.cli import clinical, layout
from node.cli.collection import (
    CASES,
    Exported,
    Patient,
    Rules,
    StudyFiles,
    boxes_below,
    export_patients,
    patients,
    studies_below,
    write_cases,
)
from node.cli.export_options import STORE
from node.cli.layout import Layout
from node.cli.pseudonym import Pseudonyms, pseudonyms
from node.config import ConfigError, Settings
from node.dicom import series, volumes
from node.errors import UnusableStudy

OUTCOMES = "outcomes.csv"


def run(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    """Export one study, or with a layout all of a collection; return the exit status."""
    if options.layout is None:
        if options.source is None:
            raise ConfigError("name a study, or a --layout")
        return export(options.source, options.out, settings, console)
    return _collection(options, settings, console)


def _collection(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    from_store = options.layout == STORE
    rules = layout.load("plain" if from_store else options.layout)
    if options.key is None and not rules.deidentified:
        raise ConfigError("give a --key: patients of this layout have their own IDs and UIDs")
    if (options.source is None) is not from_store:
        raise ConfigError("name a folder of studies; with --layout store name none")
    known = pseudonyms(options.key, options.pseudonyms)
    with console.status("looking for studies"):
        found = _in_store(settings) if from_store else studies_below(Path(options.source))
        people, nobodys = patients(found)
    making = _rules(options.boxes, rules, settings, known, console)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.table is not None:
        _reduce(options.table, rules, options.out / OUTCOMES, known.of)
    with _noted(settings, from_store=from_store) as note:
        rows = _exported(people, options.out, making, console, note)
    _tell(rows, nobodys, console)
    return 0 if any(not row.reason for row in rows) else 1


def _rules(
    boxes: Path | None, rules: Layout, settings: Settings, known: Pseudonyms, console: Console
) -> Rules:
    if rules.boxes is (boxes is None):
        raise ConfigError("--boxes belong to a layout with boxes, and such a layout needs them")
    found, refused = ({}, 0) if boxes is None else boxes_below(boxes)
    if refused:
        console.print(f"{refused} files below {boxes} are no Pascal VOC annotations: left")
    return Rules(
        pseudonyms=known,
        contour_names=rules.contour_names or tuple(settings.selection.contour_names),
        contour_codes=rules.contour_codes or tuple(settings.selection.contour_codes),
        boxes=found,
    )


def _in_store(settings: Settings) -> tuple[StudyFiles, ...]:
    """Return the studies whose images are all here."""
    engine = bootstrap.open_database(settings)
    store = bootstrap.open_store(settings)
    found: dict[str, Mapping[str, Path]] = {}
    with reading(engine) as connection:
        for study in studies.newest(connection, limit=1_000_000):
            chosen = instances.to_analyze(connection, study.study_instance_uid)
            if chosen and all(one.is_here for one in chosen):
                found[study.study_instance_uid] = {
                    one.sop_instance_uid: store.path(one.path) for one in chosen
                }
    engine.dispose()
    return tuple(StudyFiles(study_instance_uid=uid, files=found[uid]) for uid in sorted(found))


def _exported(
    people: Sequence[Patient],
    out: Path,
    rules: Rules,
    console: Console,
    note: Callable[[Exported], None],
) -> list[Exported]:
    """Export patient after patient, each noted at once: an export may be stopped at any time."""
    making = export_patients(people, out, rules)
    rows = []
    for row in track(making, "exporting", total=len(people), console=console, transient=True):
        note(row)
        rows.append(row)
    write_cases(rows, out / CASES)
    return rows


def _reduce(source: Path, rules: Layout, target: Path, pseudonym: Callable[[str], str]) -> None:
    if rules.table is None:
        raise ConfigError("the layout says nothing of a table")
    clinical.reduce_table(source, rules.table, target, pseudonym)


@contextmanager
def _noted(settings: Settings, *, from_store: bool) -> Iterator[Callable[[Exported], None]]:
    """Give what notes an export in the audit trail, where it came from the store."""
    if not from_store:
        yield lambda _row: None
        return
    with bootstrap.record_of(settings) as record:

        def note(row: Exported) -> None:
            if row.study_instance_uid:
                about = audit.Study(study_instance_uid=row.study_instance_uid)
                record(audit.study_exported(audit.operator(), about))

        yield note


def _tell(rows: Sequence[Exported], nobodys: int, console: Console) -> None:
    reasons = Counter(row.reason for row in rows if row.reason)
    console.print(f"{len(rows) - reasons.total()} of {len(rows)} patients have a case folder")
    for reason, count in reasons.most_common():
        console.print(f"{count} left: {reason}")
    if nobodys:
        console.print(f"{nobodys} studies name no patient: left")


def export(study_uid: str, out: Path, settings: Settings, console: Console) -> int:
    """Write SUVbw, HU and the facts of one study, without names or dates, into ``out``."""
    engine = bootstrap.open_database(settings)
    store = bootstrap.open_store(settings)
    with reading(engine) as connection:
        chosen = instances.to_analyze(connection, study_uid)
    engine.dispose()
    paths = [store.path(one.path) for one in chosen if one.is_here]
    if not paths:
        console.print(f"no image of study {study_uid} is in the store")
        return 1
    if len(paths) < len(chosen):
        console.print(f"images of study {study_uid} were deleted by retention: send it again")
        return 1
    try:
        with console.status(f"reading {len(paths)} files"):
            petct = volumes.load(
                series.choose(paths),
                contour_names=settings.selection.contour_names,
                contour_codes=settings.selection.contour_codes,
            )
    except UnusableStudy as unusable:
        console.print(f"[red]refused[/] {unusable.reason.code}: {unusable.reason.meaning}")
        return 1
    case.write(petct, out)
    with bootstrap.record_of(settings) as record:
        record(audit.study_exported(audit.operator(), audit.Study(study_instance_uid=study_uid)))
    console.print(f"written to {out}")
    return 0
