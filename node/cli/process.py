"""``petct-node process``: the node's job on a folder of DICOM, without a network."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track

from db.instances import digest_of_set
from node import bootstrap
from node.analysis import Conclusion, Recipe, StudyOnDisk, conclude
from node.cli.findings import print_document
from node.config import Settings
from node.dicom import headers, saliency_map, secondary_capture, series
from node.digest import digest_of
from node.errors import NotUnderstood
from node.instance import ResultKind, ResultObject

FILE_NAMES = {
    ResultKind.REPORT: "sr.dcm",
    ResultKind.SEGMENTATION: "seg.dcm",
    ResultKind.KEY_IMAGE: "key-image.dcm",
    ResultKind.ROTATING_MIP: "rotating-mip.dcm",
    ResultKind.EDITABLE: "sr-editable.dcm",
    ResultKind.REJECTION: "rejection.dcm",
}
"""Of which there is one at most; of the maps there is one for each task."""
_MAP: Final = "saliency-{task}.dcm"


def process(folder: Path, out: Path, settings: Settings, console: Console) -> int:
    """Analyse every study below ``folder``; return 0, or 1 where no study was found.

    One study writes its files into ``out``, several write into ``out/<Study Instance UID>``.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    found = series.studies(paths)
    if not found:
        console.print(f"[red]no DICOM study in {folder}[/]: {len(paths)} files, none readable")
        return 1
    with console.status("loading the model"):
        recipe = bootstrap.build_recipe(settings)
    for study, files in found.items():
        target = out if len(found) == 1 else out / study
        conclusion = process_study(study, files, recipe, console)
        write(conclusion, target)
        print_document(conclusion.document, console)
        console.print(f"written to {target}\n")
    return 0


def process_study(
    study: str, files: Sequence[Path], recipe: Recipe, console: Console
) -> Conclusion:
    """Bring one study to its outcome."""
    digest = instance_set_digest(files, console)
    key = recipe.key(study, digest)
    with console.status(f"analysing {len(files)} files of study {study}"):
        return conclude(
            StudyOnDisk(study_instance_uid=study, paths=files, key=key),
            recipe,
            when=datetime.now(UTC),
            clock=time.perf_counter,
        )


def instance_set_digest(files: Sequence[Path], console: Console) -> str:
    """``sha256:`` and the digest of the instances' UIDs and bytes, in no order."""
    return digest_of_set(_digests(track(files, "reading", console=console, transient=True)))


def _digests(files: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for path in files:
        part10 = path.read_bytes()
        try:
            uid = headers.identify(part10).sop_instance_uid
        except NotUnderstood:
            continue
        yield uid, digest_of(part10)


def file_name(made: ResultObject) -> str:
    """Return what the file of an object is called; that of a map names its task."""
    if made.kind is ResultKind.SALIENCY:
        return map_name(made.part10)
    return FILE_NAMES[made.kind]


def map_name(part10: bytes | memoryview) -> str:
    """Return what the file of a map is called: ``saliency-occult_n1.dcm``."""
    return _MAP.format(task=saliency_map.task_of(part10))


def write(conclusion: Conclusion, target: Path) -> None:
    """Write ``findings.json`` and every object of one study into ``target``."""
    target.mkdir(parents=True, exist_ok=True)
    key_image = target / FILE_NAMES[ResultKind.KEY_IMAGE]
    # What an earlier run left must not stand beside this outcome as if it belonged to it.
    names = (*FILE_NAMES.values(), key_image.with_suffix(".png").name)
    for path in (*(target / name for name in names), *target.glob(_MAP.format(task="*"))):
        path.unlink(missing_ok=True)
    document: Mapping[str, object] = conclusion.document
    (target / "findings.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    for made in conclusion.objects:
        (target / file_name(made)).write_bytes(made.part10)
    if key_image.exists():
        secondary_capture.save_png(key_image, key_image.with_suffix(".png"))
