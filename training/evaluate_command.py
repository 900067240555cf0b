"""``petct-train evaluate``: a bundle on its test phantoms again, or on patients of others."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from inference.bundle import load as load_bundle
from inference.lesion import LesionRules
from training.evaluate import evaluate
from training.partition import Part
from training.patient_material import Patients
from training.phantom_command import DEFAULT_RECIPE
from training.progress import Track
from training.recipe import RecipeUnusable
from training.recipe import load as load_recipe
from training.report import auroc_table

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_evaluate(commands: "Commands") -> None:
    """Add the command to those of ``petct-train``."""
    parser = commands.add_parser(
        "evaluate",
        help="run a bundle on patients of a cohort, or on the phantoms of its test set again",
        description="With --cohort, --cases and --out: asks the bundle about every patient as the "
        "node would, and writes each one's answers, and AUROC, calls at the bundle's cut-offs and "
        "calibration with 95 % intervals, over all and by centre, beside what its card says; "
        "nothing is fitted, and petct-train report reads the folder. Without: draws the test "
        "phantoms of a recipe again and prints AUROC.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder")
    parser.add_argument(
        "--recipe",
        type=Path,
        metavar="RECIPE",
        help="whose phantoms are drawn, or whose rules find the tumours of patients (the bundle "
        "that ships; a threshold of 0.41 and SUV 2.5)",
    )
    parser.add_argument("--n", type=int, metavar="N", help="only the first N test phantoms")
    _add_patients(parser)
    parser.add_argument(
        "--processes",
        type=int,
        default=2,
        metavar="N",
        help="processes to work in, one thread each (default 2); changes no number",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.set_defaults(run=run)


def _add_patients(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cohort", type=Path, metavar="DIR", help="patients, as petct-train cohort wrote them"
    )
    parser.add_argument("--cases", type=Path, metavar="DIR", help="their case folders")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=[part.value for part in Part],
        default=[part.value for part in Part],
        metavar="PART",
        help="only these of the cohort's split: training, validation, test, external (all)",
    )
    parser.add_argument("--replicates", type=int, default=10_000, help="of the bootstrap (10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (0)")


def run(given: argparse.Namespace) -> None:
    """Evaluate on patients where any are given, else on phantoms."""
    patients = (given.cohort, given.cases, given.out)
    if any(patients) and not all(patients):
        raise RecipeUnusable("a cohort of patients needs --cohort, --cases and --out")
    if given.cohort is None:
        _on_phantoms(given)
    else:
        _on_patients(given)


def _on_phantoms(given: argparse.Namespace) -> None:
    bundle = load_bundle(given.bundle)
    recipe = load_recipe(given.recipe or DEFAULT_RECIPE)
    if given.n is not None:
        recipe = replace(recipe, cohort=replace(recipe.phantoms, test=given.n))
    rows = evaluate(bundle, recipe, processes=given.processes, track=Track(quiet=given.quiet))
    sys.stdout.write(auroc_table(rows))


def _on_patients(given: argparse.Namespace) -> None:
    # statsmodels and lifelines take seconds to load, and only this needs them.
    from training.external import Evaluation, evaluate_patients  # noqa: PLC0415
    from training.statistics.bootstrap import Resampling  # noqa: PLC0415

    rules = LesionRules() if given.recipe is None else load_recipe(given.recipe).enrolment.lesion
    asked = Evaluation(
        bundle=given.bundle,
        patients=Patients(cohort=given.cohort, cases=given.cases),
        rules=rules,
        parts=tuple(map(Part, given.parts)),
        resampling=Resampling(replicates=given.replicates, seed=given.seed),
    )
    track = Track(quiet=given.quiet)
    sys.stdout.write(evaluate_patients(asked, given.out, processes=given.processes, track=track))
