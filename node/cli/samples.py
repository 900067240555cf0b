"""``petct-node samples``: one example of every object that we send, made from drawn studies."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import track

from inference.phantom import Phantom, draw, random_phantom, with_nodes
from inference.scanner import SCANNERS
from node import bootstrap
from node.analysis import Conclusion, Recipe, StudyOnDisk, conclude
from node.cli.process import file_name
from node.config import Settings
from node.dicom import acquire, sample, secondary_capture
from node.dicom.results import Predecessor
from node.instance import ResultKind, ResultObject

SCANNER = "small"
STARTED_AT = datetime(2026, 1, 2, 10, 15, tzinfo=UTC)
KEPT_IMAGES = ("positive",)
"""Key images are large: those of the other studies look alike."""
_README = """\
# Samples

One example of every object that petct-node sends, made from drawn phantoms: no person is in them.
`petct-node samples --out docs/samples` makes them again with the same UIDs, and
`--images FOLDER` also writes the drawn images that they refer to, on the scanner "{scanner}", so
that a viewer can show both. `tests/node/cli/test_samples.py::test_the_command_makes_what_is_here`
compares. A large object is compressed without loss here; it is sent uncompressed. The UIDs come
from fixed keys instead of the instances' digest. Research use only.

Made by software {software} with the bundle {bundle}, {digest}.

| file | what it shows | kind | SOP Instance UID |
|---|---|---|---|
{rows}

The key image of the first study, as any viewer shows it:

![Key image of a drawn tumour](positive/key-image.png)
"""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One drawn study and what is shown with it."""

    name: str
    title: str
    phantom: Phantom
    without_ct: bool = False
    replaces: str = ""
    """The sample whose result this is a later version of."""


def all_samples() -> tuple[Sample, ...]:
    """Return the studies, a replaced one before the one that replaces it."""
    return (
        Sample(
            name="positive",
            title="One tumour, with the editable report, the key image and two maps",
            phantom=random_phantom(3),
        ),
        Sample(
            name="several",
            title="A tumour and avid foci in hilum and mediastinum",
            phantom=with_nodes(random_phantom(5), n1=1, n2=1),
        ),
        Sample(
            name="negative",
            title="Nothing avid: the finding is absent",
            phantom=replace(random_phantom(11), tumour=None),
        ),
        Sample(
            name="refused",
            title="A study without its CT: not analysable, and why",
            phantom=random_phantom(13),
            without_ct=True,
        ),
        Sample(
            name="superseded",
            title="A later version: it names its predecessor and rejects the earlier objects",
            phantom=random_phantom(3),
            replaces="positive",
        ),
    )


def samples(out: Path, console: Console, *, images: Path | None = None) -> int:
    """Write every sample into a folder of its own below ``out``, and a table of them; return 0.

    The drawn studies, without which a viewer shows little, are written below ``images`` if given.
    """
    with console.status("loading the model"):
        recipe = _recipe(bootstrap.build_recipe(Settings()))
    made: dict[str, tuple[ResultObject, ...]] = {}
    for one in track(all_samples(), "making samples", console=console, transient=True):
        with tempfile.TemporaryDirectory(prefix="petct-node-samples-") as folder:
            drawn = (images or Path(folder)) / one.name
            made[one.name] = _conclusion(one, recipe, drawn, made.get(one.replaces, ())).objects
    kept = {name: _kept(name, objects) for name, objects in made.items()}
    for name, objects in kept.items():
        _write(objects, out / name)
    (out / "README.md").write_text(_table(kept, recipe), encoding="utf-8")
    console.print(f"{sum(map(len, kept.values()))} objects in {out}")
    return 0


def _recipe(recipe: Recipe) -> Recipe:
    options = replace(recipe.options, hydratable=True, supersede="reject")
    return replace(recipe, options=options, refusals=True)


def _conclusion(
    one: Sample, recipe: Recipe, folder: Path, earlier: Sequence[ResultObject]
) -> Conclusion:
    petct = draw(one.phantom, SCANNERS[SCANNER])
    study = acquire.Study.of_phantom(one.phantom.seed, STARTED_AT)
    files = acquire.write(petct, folder, habit=acquire.Habit.SIEMENS, study=study)
    return conclude(
        StudyOnDisk(
            study_instance_uid=petct.study_instance_uid,
            paths=files[petct.ct.grid.shape[0] :] if one.without_ct else files,
            # Fixed, so that samples keep their UIDs on every machine and with every bundle.
            key=f"sample {one.name}",
            predecessors=tuple(_predecessor(made) for made in earlier),
        ),
        recipe,
        when=STARTED_AT + timedelta(hours=2 if one.replaces else 1),
        clock=time.perf_counter,
    )


def _predecessor(made: ResultObject) -> Predecessor:
    return Predecessor(
        kind=made.kind,
        sop_class_uid=made.sop_class_uid,
        sop_instance_uid=made.sop_instance_uid,
        series_instance_uid=made.series_instance_uid,
        study_instance_uid=made.study_instance_uid,
    )


def _kept(name: str, objects: Sequence[ResultObject]) -> dict[str, ResultObject]:
    """Return the objects under the names of their files."""
    return {
        file_name(made): made
        for made in objects
        if made.kind is not ResultKind.KEY_IMAGE or name in KEPT_IMAGES
    }


def _write(objects: dict[str, ResultObject], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in objects.items():
        path = folder / name
        path.write_bytes(sample.small(made))
        if made.kind is ResultKind.KEY_IMAGE:
            secondary_capture.save_png(path, path.with_suffix(".png"))


def _table(kept: dict[str, dict[str, ResultObject]], recipe: Recipe) -> str:
    titles = {one.name: one.title for one in all_samples()}
    rows = [
        f"| [{name}/{file}]({name}/{file}) | {titles[name]} | {made.kind} "
        f"| {made.sop_instance_uid} |"
        for name, objects in kept.items()
        for file, made in objects.items()
    ]
    bundle = recipe.model.bundle.identity
    return _README.format(
        software=recipe.equipment.software_version,
        bundle=f"{bundle.name} {bundle.version}",
        digest=bundle.digest,
        scanner=SCANNER,
        rows="\n".join(rows),
    )
