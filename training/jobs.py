"""Trains several networks: side by side, one process and one thread for each, or all on one."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from queue import Empty
from typing import Protocol

import torch
from torch import Tensor, nn

from training.checkpoint import Keep, identity_of
from training.cohort import Indices, Labels
from training.fit import Examples, Trainer
from training.images import open_images
from training.networks import network_of
from training.pretrained import load_encoders
from training.recipe import Model, NetworkRecipe

Report = Callable[[str], None]
"""Told once an epoch how a job stands; a job that stops early tells the epochs it skips."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One network to train.

    ``images`` is the folder that holds the pool's images, which all jobs share, and is named for
    what they are. ``folder`` keeps checkpoint and log; without one a killed job begins again.
    """

    title: str
    model: Model
    network: NetworkRecipe
    trainer: Trainer
    images: Path
    labels: Labels
    training: Indices
    validation: Indices
    folder: Path | None = None

    def keep(self) -> Keep | None:
        """Return where its state is kept, marked with all that decides its weights."""
        if self.folder is None:
            return None
        cases = [self.labels, self.training, self.validation]
        trainer = self.trainer
        identity = identity_of(
            [self.model, self.network, self.images.name, trainer.world.size],
            [trainer.fit, trainer.augmentation, trainer.inputs, trainer.seed],
            [part.tolist() for part in cases],
        )
        return Keep(folder=self.folder, identity=identity)


class _Line(Protocol):
    """The end of a queue that words go into."""

    def put(self, told: str) -> None: ...


def train_all(jobs: Sequence[Job], *, processes: int, report: Report) -> list[nn.Module]:
    """Return the trained networks in the order of the jobs.

    Each job runs on one thread whatever ``processes`` is, so the weights do not depend on it. Where
    processes work together on one network, they train one after the other.
    """
    if processes <= 1 or any(job.trainer.world.size > 1 for job in jobs):
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
        lambda: load_encoders(network_of(job.model, job.network), job.network),
        examples,
        report=report_epoch,
        keep=job.keep(),
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
