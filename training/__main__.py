"""``petct-train``: the command line of training."""

import argparse
import contextlib
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from inference.bundle import load as load_bundle
from inference.errors import InferenceError
from training.build import build
from training.cohort_command import add_cohort
from training.distributed import World, joined
from training.errors import TrainingFailed
from training.evaluate_command import add_evaluate
from training.export import ExportDiffers
from training.material import Resources
from training.odds_command import add_odds
from training.outcomes import CohortUnusable
from training.parity_command import add_parity
from training.patient_material import Patients
from training.phantom_command import add_phantom_cohort
from training.progress import Track
from training.recipe import RecipeUnusable
from training.recipe import load as load_recipe
from training.report import performance_table
from training.reporting.command import add_report
from training.statistics.values import UnusableScores
from training.statistics_command import add_statistics


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    given = parser().parse_args(arguments)
    # The exporter logs that torchvision is absent, which nothing here needs.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        given.run(given)
    except (
        RecipeUnusable,
        CohortUnusable,
        InferenceError,
        TrainingFailed,
        ExportDiffers,
        UnusableScores,
        OSError,
    ) as error:
        Console(stderr=True, soft_wrap=True).print(
            f"petct-train: {error}", style="red", markup=False
        )
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(
        prog="petct-train",
        description="Makes the model bundles that petct-node runs. Nothing here needs a network "
        "or a GPU; what is trained on phantoms is for demonstration only.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_bundle(commands)
    add_evaluate(commands)
    _add_show(commands)
    add_parity(commands)
    add_phantom_cohort(commands)
    add_cohort(commands)
    add_statistics(commands)
    add_odds(commands)
    add_report(commands)
    return parser


def _add_bundle(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "bundle",
        help="draw phantoms or take patients, train, test and write a bundle",
        description="Does everything in a recipe: draws its phantoms, or finds the tumours of a "
        "cohort's patients, trains the fusion network and its rivals for each task, tests them on "
        "cases never trained on, calibrates, exports to ONNX and writes the bundle. The same "
        "recipe and cases give the same bundle.",
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="a file of training/recipes")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--cohort", type=Path, metavar="DIR", help="patients, as petct-train cohort wrote them"
    )
    parser.add_argument("--cases", type=Path, metavar="DIR", help="their case folders")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep drawings here (2 GB)")
    parser.add_argument(
        "--runs",
        type=Path,
        metavar="DIR",
        help="keep checkpoints and logs here; the same command goes on where it was stopped",
    )
    parser.add_argument(
        "--answers",
        type=Path,
        metavar="DIR",
        help="write what every model says of every case here, a new folder of tables",
    )
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="what to train on (default cpu)"
    )
    _add_processes(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.set_defaults(run=_bundle)


def _add_show(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "show",
        help="verify a bundle and print what its card says of its worth",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder")
    parser.set_defaults(run=_show)


def _add_processes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--processes",
        type=int,
        default=2,
        metavar="N",
        help="processes to work in, one thread each (default 2); changes no number",
    )


def _bundle(given: argparse.Namespace) -> None:
    recipe = load_recipe(given.recipe)
    with contextlib.ExitStack() as stack:
        world = stack.enter_context(joined(given.device))
        folder = given.cache or Path(stack.enter_context(_scratch(world)))
        resources = Resources(
            folder=folder, processes=given.processes, runs=given.runs, world=world
        )
        track = Track(quiet=given.quiet or not world.leads)
        made = build(
            recipe, given.out, resources, track, patients=_patients(given), answers=given.answers
        )
    if made is None:
        return
    sys.stdout.write(performance_table(made.card) + f"\n{given.out}: {made.digest}\n")


def _patients(given: argparse.Namespace) -> Patients | None:
    if given.cohort is None and given.cases is None:
        return None
    if given.cohort is None or given.cases is None:
        raise RecipeUnusable("a cohort of patients needs both --cohort and --cases")
    return Patients(cohort=given.cohort, cases=given.cases)


def _scratch(world: World) -> tempfile.TemporaryDirectory[str]:
    """Return a folder that goes with this process; several processes need one that they share."""
    if world.size > 1:
        raise RecipeUnusable("several processes need a folder for drawings: give --cache")
    return tempfile.TemporaryDirectory()


def _show(given: argparse.Namespace) -> None:
    bundle = load_bundle(given.bundle)
    card = bundle.card
    sys.stdout.write(f"{card.name} {card.version}  {bundle.digest}\n{card.intended_use}\n\n")
    sys.stdout.write(performance_table(card))


if __name__ == "__main__":
    sys.exit(main())
