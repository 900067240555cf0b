"""Result objects on disk, and the judges: software of others that says what is wrong with them."""

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inference.findings import Reason
from node.dicom import results, saliency_map
from node.instance import ResultKind, ResultObject
from tests import made_study

Judge = Callable[..., str]


@pytest.fixture(scope="session")
def judge() -> Judge:
    """Runs a program on files and gives what it says; skips where the program is absent."""

    def run(*command: str | Path) -> str:
        name = str(command[0])
        beside = Path(sys.executable).parent / name
        program = shutil.which(name) or (str(beside) if beside.exists() else None)
        if program is None:
            pytest.skip(f"{name} is not installed; scripts/system-packages.sh installs it")
        done = subprocess.run(
            [program, *map(str, command[1:])],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=120,
        )
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> made_study.MadeStudy:
    """The study that the results are about, on disk."""
    return made_study.study(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="session")
def written(made, tmp_path_factory) -> dict[str, Path]:
    """Every kind of object that we write, by name."""
    folder = tmp_path_factory.mktemp("results")
    common = {"equipment": made_study.EQUIPMENT, "key": "k", "when": made_study.WHEN}
    second = made_study.lesion(
        label="focus-1", place="mediastinum", on_ct=made_study.ball(made_study.CT_GRID, (50, 0, 0))
    )
    both = made_study.findings(made_study.lesion(), second)
    reason = Reason(code="SLICES_THICK", meaning="CT slices of 10 mm")
    negative = made_study.findings(predictions=(), applicable=False, inapplicable=(reason,))
    cases = {
        "one": (made, {}),
        "two": (replace(made, findings=both), {"segmentation_grid": "PET"}),
        "frames": (made_study.multiframe(made), {}),
        "maps": (made_study.with_saliency(made), {}),
        "maps-of-frames": (made_study.multiframe(made_study.with_saliency(made)), {}),
        "tiny": (replace(made, findings=made_study.findings(made_study.between_voxels())), {}),
        "editable": (made, {"hydratable": True}),
        "rotating": (made, {"rotating_mip": True}),
        "negative": (replace(made, findings=negative), {}),
        "superseding": (
            replace(made, findings=both),
            {"hydratable": True, "supersede": "reject", "predecessors": earlier(made)},
        ),
    }
    paths = {}
    for name, (study, options) in cases.items():
        for one in results.analyzed(
            study.choice,
            study.petct,
            study.findings,
            options=results.ResultOptions(**options),
            **common,
        ):
            called = f"{name} {_called(one)}"
            paths[called] = folder / f"{called}.dcm".replace(" ", "_")
            paths[called].write_bytes(one.part10)
    (refusal,) = results.refused(made.choice.ct.paths, [reason], **common)
    paths["refusal SR"] = folder / "refusal_SR.dcm"
    paths["refusal SR"].write_bytes(refusal.part10)
    return paths


def _called(one: ResultObject) -> str:
    task = saliency_map.task_of(one.part10) if one.kind is ResultKind.SALIENCY else ""
    return f"{one.kind.value} {task}".rstrip()


def earlier(made: made_study.MadeStudy) -> tuple[results.Predecessor, ...]:
    """A whole earlier version of the results."""
    return tuple(
        results.Predecessor(
            kind=one.kind,
            sop_class_uid=one.sop_class_uid,
            sop_instance_uid=one.sop_instance_uid,
            series_instance_uid=one.series_instance_uid,
            study_instance_uid=one.study_instance_uid,
        )
        for one in results.analyzed(
            made.choice,
            made.petct,
            made.findings,
            equipment=made_study.EQUIPMENT,
            key="earlier",
            when=made_study.WHEN,
            options=results.ResultOptions(hydratable=True),
        )
    )


@pytest.fixture
def read() -> Callable[[Path], io.BytesIO]:
    """The bytes of a file, ready to be parsed."""
    return lambda path: io.BytesIO(path.read_bytes())
