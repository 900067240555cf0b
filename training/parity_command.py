"""``petct-train parity``: what a bundle loses in fewer bits, written into the card of a copy."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from inference import bundle as bundles
from inference.bundle import Bundle
from inference.card import Parity
from training.evaluate import cohort_again, images_again
from training.parity import Cases, measured
from training.phantom_command import DEFAULT_RECIPE
from training.progress import Track
from training.recipe import load as load_recipe

CALIBRATING = 24
"""Phantoms whose greatest activations decide the scales of int8; they are not judged by."""


def add_parity(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``parity`` to the commands."""
    parser = commands.add_parser(
        "parity",
        help="measure what a bundle loses in fewer bits, and let it run so",
        description="Draws phantoms that the bundle was neither trained nor tested on, runs its "
        "networks on them in float32, f16, bf16 and int8, and prints AUROC and the greatest "
        "difference in a probability. With --out a copy of the bundle is written whose card holds "
        "these records; the node runs it in fewer bits where they are good enough.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new folder for the copy")
    parser.add_argument("--recipe", type=Path, default=DEFAULT_RECIPE, metavar="RECIPE")
    parser.add_argument("--cases", type=int, default=100, metavar="N", help="default 100")
    parser.add_argument(
        "--processes", type=int, default=2, metavar="N", help="processes to draw in (default 2)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.set_defaults(run=_parity)


def _parity(given: argparse.Namespace) -> None:
    bundle, recipe = bundles.load(given.bundle), load_recipe(given.recipe)
    if given.out is not None and given.out.exists():
        raise FileExistsError(f"{given.out} is there already")
    first = recipe.phantoms.test_first_seed + recipe.phantoms.test
    seeds = range(first, first + given.cases)
    others = range(seeds.stop, seeds.stop + CALIBRATING)
    track = Track(quiet=given.quiet)
    cohort = cohort_again(bundle, recipe, seeds, given.processes, track)
    calibrating = images_again(bundle, recipe, others, given.processes, track)
    cases = Cases(planes=cohort.images.planes, labels=cohort.labels, calibrating=calibrating.planes)
    found = measured(bundle, cases)
    sys.stdout.write("".join(_line(record) for record in found))
    if given.out is not None:
        copy = with_records(bundle, found, given.out)
        sys.stdout.write(f"{given.out}: {copy.digest}\n")


def with_records(bundle: Bundle, records: tuple[Parity, ...], out: Path) -> Bundle:
    """Write a copy of the bundle to ``out``, which is new, with these records in its card."""
    networks = {name: (bundle.folder / name).read_bytes() for name in bundle.card.files}
    return bundles.save(out, replace(bundle.card, parity=records), networks)


def _line(record: Parity) -> str:
    return (
        f"{record.task} in {record.precision} by {record.engine}: AUROC {record.auroc:.4f} "
        f"({record.auroc_f32:.4f} in f32) on {record.cases} cases, {record.positives} positive; "
        f"greatest difference in a probability {record.probability_difference_max:.2g}, "
        f"{record.sides_changed} on the other side of the cut-off: "
        f"{'may run' if record.holds else 'may not run'}\n"
    )
