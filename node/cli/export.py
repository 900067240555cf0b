"""``petct-node export``: a study of the store as the case folder that training reads."""

from pathlib import Path

from rich.console import Console

from db import instances
from db.engine import reading
from inference import case
from node import audit, bootstrap
from node.config import Settings
from node.dicom import series, volumes
from node.errors import UnusableStudy


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
