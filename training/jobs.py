"""Trains several networks side by side, one process and one thread for each."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from queue import Empty
from typing import Protocol

import torch
from torch import Tensor, nn

from training.cohort import Indices, Labels
from training.fit import Examples, Trainer
from training.images import open_images
from training.networks import Fusion, Single
from training.recipe import NetworkRecipe

Report = Callable[[str], None]
"""Told once an epoch how a job stands; a job that stops early tells the epochs it skips."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One network to train: ``model`` is ``fusion``, ``pet`` or ``ct``.

    ``images`` is the folder that holds the pool's images, which all jobs share.
    """

    title: str
    model: str
    network: NetworkRecipe
    trainer: Trainer
    images: Path
    labels: Labels
    training: Indices
    validation: Indices


class _Line(Protocol):
    """The end of a queue that words go into."""

    def put(self, told: str) -> None: ...


def network_of(model: str, recipe: NetworkRecipe) -> nn.Module:
    """Return the untrained network of a model's name."""
    return Fusion(recipe) if model == "fusion" else Single(recipe, model)


def train_all(jobs: Sequence[Job], *, processes: int, report: Report) -> list[nn.Module]:
    """Return the trained networks in the order of the jobs.

    Each job runs on one thread whatever ``processes`` is, so the weights do not depend on it.
    """
    if processes <= 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            found = [_train(job, report) for job in jobs]
        finally:
            torch.set_num_threads(threads)
    else:
        found = list(_in_processes(jobs, processes, report))
    networks = []
    for job, weights in zip(jobs, found, strict=True):
        network = network_of(job.model, job.network)
        network.load_state_dict(weights)
        networks.append(network.eval())
    return networks


def _train(job: Job, report: Report) -> dict[str, Tensor]:
    examples = Examples(
        images=open_images(job.images),
        labels=job.labels,
        training=job.training,
        validation=job.validation,
    )
    told = 0

    def report_epoch(_: int, loss: float, reached: float) -> None:
        nonlocal told
        told += 1
        report(f"{job.title}: loss {loss:.3f}, validation AUROC {reached:.3f}")

    network = job.trainer.train(
        lambda: network_of(job.model, job.network), examples, report=report_epoch
    )
    for _ in range(job.trainer.fit.epochs - told):
        report(f"{job.title}: stopped, no longer better")
    weights: dict[str, Tensor] = network.state_dict()
    return weights


def _train_alone(job: Job, line: _Line) -> dict[str, Tensor]:
    torch.set_num_threads(1)
    return _train(job, line.put)


def _in_processes(
    jobs: Sequence[Job], processes: int, report: Report
) -> Iterator[dict[str, Tensor]]:
    # A fresh interpreter each: torch's threads do not survive a fork.
    context = get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(processes, mp_context=context) as pool:
        line = manager.Queue()
        futures = [pool.submit(_train_alone, job, line) for job in jobs]
        pending: set[Future[dict[str, Tensor]]] = set(futures)
        while pending:
            _, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            try:
                while True:
                    report(line.get_nowait())
            except Empty:
                pass
        yield from (future.result() for future in futures)
