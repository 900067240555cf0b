"""What ``petct-node export`` takes."""

import argparse
from pathlib import Path

from node.cli import layout

STORE = "store"
"""What ``--layout`` is called for all studies of the store; its table is laid out as ``plain``."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    command.add_argument(
        "source",
        nargs="?",
        metavar="STUDY_UID|DIR",
        help="a study of the store or, with --layout, a folder of the studies of many patients",
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.add_argument(
        "--layout",
        metavar="NAME",
        help=f"{', '.join((STORE, *layout.names()))}, or a YAML file like those in "
        "node/cli/layouts: one case a patient, with cases.csv and outcomes.csv beside",
    )
    command.add_argument("--table", type=Path, metavar="CSV", help="clinical data, by Patient ID")
    command.add_argument("--boxes", type=Path, metavar="DIR", help="Pascal VOC files of a layout")
    command.add_argument(
        "--key", type=Path, metavar="FILE", help="32 bytes or more: pseudonyms are made with them"
    )
    command.add_argument(
        "--pseudonyms", type=Path, metavar="CSV", help="columns patient, pseudonym: chosen ones"
    )
