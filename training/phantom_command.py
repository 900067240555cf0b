"""``petct-train phantom-cohort``: whole phantom PET/CTs as case folders, with their true risks."""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from inference import case
from inference.codec import encode
from inference.phantom import SCANNERS, Phantom, draw, random_phantom, tumour_region
from training.bayes import best_auroc
from training.cohort import COVARIATES, covariates_of, labels_of, risk_of
from training.labels import labels
from training.outcomes import CohortUnusable
from training.progress import Track
from training.recipe import Recipe
from training.recipe import load as load_recipe
from training.truth import Truth, drawn, load_truth

DEFAULT_RECIPE = Path(__file__).parent / "recipes" / "dlnms-phantom.yaml"
BAYES_FIRST_SEED = 5_000_000
"""Phantoms that the best AUROC is computed on: none of them is drawn or trained on."""


@dataclass(frozen=True, kw_only=True)
class _Case:
    """What the tables say of one phantom beside its covariates."""

    scanner: str
    risks: Mapping[str, float]
    labels: Mapping[str, bool]
    outcome: tuple[str, str] | None = None
    """The stage and the centre, where a truth knows of them."""


def add_phantom_cohort(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``phantom-cohort`` to the commands."""
    parser = commands.add_parser(
        "phantom-cohort",
        help="write whole phantom PET/CTs as case folders, with a table of labels",
        description="Writes one case folder a phantom (arrays as npz, facts as JSON) and "
        "labels.csv with covariates, risks and labels, and prints the best AUROC that any model "
        "could reach. With --truth, patients come from several centres, clinical covariates count, "
        "and outcomes.csv is a table for petct-train cohort.",
    )
    parser.add_argument("--seed", type=int, required=True, help="seed of the first phantom")
    parser.add_argument("--n", type=int, required=True, help="how many phantoms")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--scanner", choices=sorted(SCANNERS), default="small")
    parser.add_argument("--recipe", type=Path, default=DEFAULT_RECIPE, metavar="RECIPE")
    parser.add_argument(
        "--truth", type=Path, metavar="YAML", help="centres and risks, instead of a recipe's"
    )
    parser.add_argument(
        "--bayes-draws",
        type=int,
        default=2000,
        metavar="N",
        help="phantoms that the best AUROC is computed on, without drawing them (default 2000)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.set_defaults(run=_phantom_cohort)


def _phantom_cohort(given: argparse.Namespace) -> None:
    if given.n < 1:
        raise CohortUnusable(f"--n must be 1 or more, got {given.n}")
    of_phantom, told = _generator(given)
    given.out.mkdir(parents=True)
    written = []
    with Track(quiet=given.quiet).stage("drawing phantoms", given.n) as advance:
        for seed in range(given.seed, given.seed + given.n):
            phantom = random_phantom(seed)
            written.append(_write_phantom(given.out, phantom, of_phantom(phantom)))
            advance("")
    _write_table(given.out / "labels.csv", [row for row, _ in written])
    outcomes = [row for _, row in written if row]
    if outcomes:
        _write_table(given.out / "outcomes.csv", outcomes)
    # Of fewer than two there is no pair to compute on.
    draws = given.bayes_draws if given.bayes_draws > 1 else 0
    seeds = range(BAYES_FIRST_SEED, BAYES_FIRST_SEED + draws)
    risks = [of_phantom(random_phantom(seed)).risks for seed in seeds]
    best = {task: best_auroc([one[task] for one in risks]) for task in risks[0]} if risks else {}
    for task, found in best.items():
        sys.stdout.write(f"{task}: the best possible AUROC is {found.told()}\n")
    told["bayes"] = encode(best)
    text = json.dumps(told, indent=1, ensure_ascii=False)
    (given.out / "truth.json").write_text(text + "\n", encoding="utf-8")


def _generator(
    given: argparse.Namespace,
) -> tuple[Callable[[Phantom], _Case], dict[str, object]]:
    """Return what makes a phantom's risks and labels, and all that decides it as JSON."""
    if given.truth is None:
        recipe = load_recipe(given.recipe)
        return lambda phantom: _by_recipe(phantom, recipe, given.scanner), {
            "recipe": encode(recipe.risks)
        }
    truth = load_truth(given.truth)
    return lambda phantom: _by_truth(phantom, truth), {"truth": encode(truth)}


def _by_recipe(phantom: Phantom, recipe: Recipe, scanner: str) -> _Case:
    risks = {name: risk_of(phantom, risk, scanner) for name, risk in recipe.risks.items()}
    found = labels_of(phantom.seed, tuple(risks.values()))
    chosen = {name: bool(label) for name, label in zip(risks, found, strict=True)}
    return _Case(scanner=scanner, risks=risks, labels=chosen)


def _by_truth(phantom: Phantom, truth: Truth) -> _Case:
    made = drawn(phantom, truth)
    answers = labels(made.nodal)
    return _Case(
        scanner=made.scanner,
        risks=dict(zip(answers, made.chances, strict=True)),
        labels=answers,
        outcome=(made.nodal.value, made.site.name),
    )


def _write_phantom(
    out: Path, phantom: Phantom, made: _Case
) -> tuple[dict[str, object], dict[str, object]]:
    """Write one case; return its rows of ``labels.csv`` and ``outcomes.csv``."""
    petct = draw(phantom, SCANNERS[made.scanner])
    name = f"phantom-{phantom.seed}"
    case.write(petct, out / name)
    inside = tumour_region(phantom, petct.pet.grid).mask
    covariates = covariates_of(phantom, float(petct.pet.voxels[inside].max()))
    row: dict[str, object] = {
        "case": name,
        **dict(zip(COVARIATES, covariates, strict=True)),
        **{f"{task}_risk": risk for task, risk in made.risks.items()},
        **{task: int(label) for task, label in made.labels.items()},
    }
    if made.outcome is None:
        return row, {}
    pn, centre = made.outcome
    patient = phantom.patient
    outcome = {"patient": name, "pn": f"p{pn}", "cn": "cN0", "centre": centre}
    return row, {**outcome, "age_years": patient.age_years, "sex": patient.sex}


def _write_table(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("x", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)
