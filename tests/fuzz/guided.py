"""``python -m tests.fuzz.guided TARGET``: fuzzes a target by the coverage of the node's own code.

libFuzzer, by way of Atheris, keeps what reaches new branches of the readers and of the network's
code. ``--keep N`` writes the N smallest of these into the corpus.
"""

import argparse
import logging
import os
import sys
import warnings
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["node.dicom", "node.net", "node.intake", "node.store"]):
    from tests.fuzz.targets import TARGETS

from tests.fuzz import corpus
from tests.fuzz.target import INPUT_MOST, Target


def main() -> int:
    """Fuzz in a child process, which libFuzzer ends; return its status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("target", choices=[target.name for target in TARGETS])
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=int, default=0)
    asked = parser.parse_args()
    (target,) = (one for one in TARGETS if one.name == asked.target)
    with TemporaryDirectory() as name:
        seeds, reached, work = (Path(name) / part for part in ("seeds", "reached", "work"))
        for folder in (seeds, reached, work):
            folder.mkdir()
        for seed in target.seeds().values():
            (seeds / sha256(seed).hexdigest()).write_bytes(seed)
        status = _apart(target, asked, work, [str(reached), str(seeds)])
        _keep(target, reached, asked.keep)
    return status


def _apart(target: Target, asked: argparse.Namespace, work: Path, folders: list[str]) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    options = [f"-runs={asked.runs}", f"-max_total_time={asked.seconds}", f"-seed={asked.seed}"]
    options += [
        f"-max_len={INPUT_MOST}",
        "-timeout=60",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    with target.open(work) as bear:

        def change(content: bytes, size: int, number: int) -> bytes:
            chance = Random(number)
            if chance.random() < 0.5:
                return bytes(atheris.Mutate(content, size))
            try:
                return target.change(content, chance)[:size]
            except Exception:  # noqa: BLE001  what is damaged already need not have elements
                return bytes(atheris.Mutate(content, size))

        atheris.Setup(
            [sys.argv[0], *options, *folders],
            lambda content: bear(content) and None,
            custom_mutator=change,
        )
        atheris.Fuzz()
    return 0


def _keep(target: Target, reached: Path, most: int) -> None:
    """Keep the smallest of what reached something new."""
    found = sorted(reached.iterdir(), key=lambda path: path.stat().st_size)
    for path in found[:most]:
        content = path.read_bytes()
        name = f"reached-{sha256(content).hexdigest()[:12]}"
        why = "reaches code that no seed does"
        corpus.keep(corpus.Kept(target=target.name, name=name, why=why, content=content))


if __name__ == "__main__":
    sys.exit(main())
