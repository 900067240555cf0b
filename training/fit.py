"""Trains one network on one task, the same way each time it is run."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn

from inference.card import Inputs
from training.checkpoint import EpochRow, Keep, State
from training.cohort import Indices, Labels
from training.distributed import ALONE, World
from training.errors import Diverged
from training.feeding import Batch, Feed, ahead, margins, seen_by
from training.images import Images
from training.losses import deep_loss
from training.optimisation import averaged, optimiser_of, order_of, rate_at
from training.recipe import AugmentationRecipe, FitRecipe, Precision
from training.statistics import auroc

Epoch = Callable[[int, float, float], None]
"""Told after each epoch: its number, the mean loss and the AUROC in validation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Images of a pool, and which of its cases train and which validate one task."""

    images: Images
    labels: Labels
    training: Indices
    validation: Indices


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Everything that training one network needs of the recipe, and where it works."""

    fit: FitRecipe
    augmentation: AugmentationRecipe
    inputs: Inputs
    seed: int
    world: World = ALONE

    def train(
        self,
        build: Callable[[], nn.Module],
        examples: Examples,
        *,
        report: Epoch,
        keep: Keep | None = None,
    ) -> nn.Module:
        """Return the network with the weights of the epoch that was best in validation.

        Only the AUROC in validation chooses the epoch. On a CPU the same seed, number of threads
        and machine give the same weights, also where ``keep`` holds the state of a run that was
        killed: its epochs are reported again, then it goes on. The global random state is left as
        it was. Raises ``CheckpointUnusable`` or ``Diverged``.
        """
        device = torch.device(self.world.device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            run = _Run(_placed(build(), device), self)
            kept = self._kept(keep)
            if kept is not None:
                run.restore(kept)
            for row in run.rows:
                report(row.epoch, row.loss, row.auroc)
            while not run.is_over:
                self._step_epoch(run, examples)
                self._save(run, keep)
                report(run.rows[-1].epoch, run.rows[-1].loss, run.rows[-1].auroc)
        network = run.network
        network.load_state_dict(run.weights)
        return network.to(memory_format=torch.contiguous_format).cpu().eval()

    def _kept(self, keep: Keep | None) -> State | None:
        """Return what the leading process finds: on several hosts only its disk counts."""
        return self.world.led(keep.load() if keep is not None and self.world.leads else None)

    def _save(self, run: "_Run", keep: Keep | None) -> None:
        if keep is None:
            return
        random = self.world.gathered(run.random_state())
        if self.world.leads:
            keep.save({**run.state(), "random": random}, run.rows)

    def _step_epoch(self, run: "_Run", examples: Examples) -> None:
        epoch = len(run.rows)
        started = perf_counter()
        rate = self.fit.learning_rate * rate_at(epoch, self.fit)
        for group in run.optimiser.param_groups:
            group["lr"] = rate
        losses, norms, waited_s = self._descend(run, examples)
        loss = sum(losses) / len(losses)
        if not math.isfinite(loss):
            raise Diverged(f"epoch {epoch}: the loss is {loss} at a learning rate of {rate:g}")
        row = EpochRow(
            epoch=epoch,
            learning_rate=rate,
            loss=loss,
            auroc=self._auroc(run, examples),
            gradient_norm=max(norms),
            clipped_share=sum(norm > self.fit.gradient_norm for norm in norms) / len(norms),
            seconds=perf_counter() - started,
            waited_s=waited_s,
        )
        run.judge(row)

    def _descend(self, run: "_Run", examples: Examples) -> tuple[list[float], list[float], float]:
        """Step once a batch; returns losses, lengths of gradients, and seconds without images."""
        run.network.train()
        losses, norms = [], []
        batches = _Timed(self._batches(run, examples))
        for batch in batches:
            loss = self._loss(run, batch)
            run.optimiser.zero_grad()
            (loss * batch.weight).backward()
            norms.append(nn.utils.clip_grad_norm_(run.network.parameters(), self.fit.gradient_norm))
            run.optimiser.step()
            if run.average is not None:
                run.average.update_parameters(run.network)
            losses.append(loss.detach() * batch.weight)
        # Numbers leave the device once an epoch, so that it never waits for us.
        lengths: list[float] = torch.stack(norms).tolist()
        everyone = self.world.gathered(torch.stack(losses).tolist())
        means = [sum(parts) / len(parts) for parts in zip(*everyone, strict=True)]
        return means, lengths, batches.waited_s

    def _batches(self, run: "_Run", examples: Examples) -> Iterator[Batch]:
        feed = Feed(
            images=examples.images,
            labels=examples.labels,
            inputs=self.inputs,
            augmentation=self.augmentation,
            volumetric=run.network.volumetric,
            world=self.world,
        )
        order = order_of(examples.training, examples.labels, self.fit.positive_share, run.generator)
        batches = feed.batches(order, self.fit.batch, run.generator)
        return ahead(batches) if self.world.device.startswith("cuda") else batches

    def _loss(self, run: "_Run", batch: Batch) -> Tensor:
        halved = self.fit.precision is Precision.BFLOAT16
        device = torch.device(self.world.device).type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=halved):
            outputs = run.parallel(batch.pet, batch.ct)
        return deep_loss(
            tuple(logits.float() for logits in outputs),
            batch.labels,
            gamma=self.fit.focal_gamma,
            weight=self.fit.auxiliary_weight,
            positive_weight=self.fit.positive_weight,
        )

    def _auroc(self, run: "_Run", examples: Examples) -> float:
        """Return the AUROC in validation, whose cases the processes share out."""
        cases = examples.validation
        seen = seen_by(run.network, examples.images, self.inputs)
        mine = cases[self.world.share(len(cases))]
        scores = np.concatenate(self.world.gathered(margins(run.judged, seen, self.inputs, mine)))
        return auroc(examples.labels[cases], scores)


class _Run:
    """The moving parts of one training, and the way to a checkpoint and back."""

    def __init__(self, network: nn.Module, trainer: Trainer) -> None:
        self.network = network
        self.parallel = trainer.world.parallel(network)
        self.optimiser = optimiser_of(network, trainer.fit)
        self.average = averaged(network, trainer.fit)
        self.generator = torch.Generator().manual_seed(trainer.seed)
        self.rows: list[EpochRow] = []
        self.weights: dict[str, Tensor] = {}
        self._best, self._best_epoch = -1.0, -1
        self._fit, self._world = trainer.fit, trainer.world
        if not trainer.world.leads:  # what each drops out is its own
            torch.manual_seed(trainer.seed + trainer.world.rank)

    @property
    def judged(self) -> nn.Module:
        """The network that validation looks at."""
        return self.network if self.average is None else self.average.module

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or the last ones brought nothing."""
        waited = len(self.rows) - 1 - self._best_epoch
        return len(self.rows) >= self._fit.epochs or (
            self._best_epoch >= 0 and waited >= self._fit.patience
        )

    def judge(self, row: EpochRow) -> None:
        """Add an epoch, and keep its weights if it is the best."""
        self.rows.append(row)
        if row.auroc > self._best:
            self._best, self._best_epoch = row.auroc, row.epoch
            self.weights = {k: v.clone() for k, v in self.judged.state_dict().items()}

    def random_state(self) -> State:
        """Return the state of everything that this process draws from.

        Nothing draws from NumPy's or Python's global state.
        """
        device = torch.device(self._world.device)
        return {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            "generator": self.generator.get_state(),
        }

    def state(self) -> State:
        """Return all that training goes on from, but for what it draws from."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "weights": self.weights,
            "best": self._best,
            "best_epoch": self._best_epoch,
            "rows": [vars(row) for row in self.rows],
        }

    def restore(self, state: State) -> None:
        """Go back to where ``state`` and the random states beside it were taken."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.weights = state["weights"]
        self._best, self._best_epoch = state["best"], state["best_epoch"]
        self.rows = [EpochRow(**row) for row in state["rows"]]
        random = state["random"][self._world.rank]
        torch.set_rng_state(random["cpu"])
        if random["cuda"] is not None:
            torch.cuda.set_rng_state(random["cuda"], self._world.device)
        self.generator.set_state(random["generator"])


class _Timed:
    """Passes batches on, and counts how long it waited for them."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self.waited_s = 0.0

    def __iter__(self) -> Iterator[Batch]:
        while True:
            started = perf_counter()
            batch = next(self._batches, None)
            self.waited_s += perf_counter() - started
            if batch is None:
                return
            yield batch


def _placed(network: nn.Module, device: torch.device) -> nn.Module:
    """Move to the device; channels last is a fifth faster on a CPU, and changes no shape."""
    if network.volumetric:
        return network.to(device)
    return network.to(device, memory_format=torch.channels_last)
