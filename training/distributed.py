"""Several processes that train one network together, as torch's own launcher starts them.

Each works on its share of every batch. Gradients, the statistics of the batch norms and the loss
are those of the whole batch, so that weights are those of one process up to rounding (and up to
dropout, which each process draws for itself).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from training.errors import TrainingFailed

T = TypeVar("T")

PATIENCE = timedelta(hours=6)
"""How long a process waits for the others, of which one may be drawing the cohort."""


@dataclass(frozen=True, kw_only=True)
class World:
    """The processes that work together, this one's place among them, and its device."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    @property
    def leads_its_host(self) -> bool:
        """Whether this process writes what each host keeps for itself."""
        return self.local_rank == 0

    def share(self, count: int) -> slice:
        """Return which of ``count`` cases this process takes: one run of them, no two overlap."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def gathered(self, value: T) -> list[T]:
        """Return everybody's value, in the order of ranks, to everybody."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def led(self, value: T) -> T:
        """Return the leading process's value to everybody."""
        if self.size == 1:
            return value
        values: list[Any] = [value if self.leads else None]
        distributed.broadcast_object_list(values)
        return values[0]  # type: ignore[no-any-return]  # it came as what the leader gave

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.size > 1:
            distributed.barrier()

    def parallel(self, network: nn.Module) -> nn.Module:
        """Return ``network`` such that its gradients become the mean over all processes.

        Its batch norms are replaced in place.
        """
        if self.size == 1:
            return network
        _share_norms(network)
        ids = [torch.device(self.device).index] if self.device.startswith("cuda") else None
        # Batch norms have everybody's numbers already.
        return DistributedDataParallel(network, device_ids=ids, broadcast_buffers=False)


ALONE = World()


@contextmanager
def joined(device: str = "cpu") -> Iterator[World]:
    """Join the processes that ``torchrun`` started; without it the world is this process alone.

    On ``cuda`` each process takes the GPU of its rank on its host. Raises ``TrainingFailed`` where
    there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainingFailed("there is no GPU that torch can use: train on cpu")
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield World(device=device)
        return
    local_rank = int(os.environ["LOCAL_RANK"])
    mine = f"cuda:{local_rank}" if device == "cuda" else device
    if device == "cuda":
        torch.cuda.set_device(local_rank)
    distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield World(
            rank=distributed.get_rank(),
            size=distributed.get_world_size(),
            local_rank=local_rank,
            device=mine,
        )
    finally:
        distributed.destroy_process_group()


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):  # type: ignore[misc]  # torch is not followed
    """A batch norm whose mean and variance are those of the whole batch of all processes.

    Torch's own ``SyncBatchNorm`` refuses CPUs.
    """

    def _check_input_dim(self, given: Tensor) -> None:
        """Any number of dimensions will do."""

    def forward(self, given: Tensor) -> Tensor:
        """Normalise ``(n, channel, ...)``; with running statistics where it does not train."""
        if not self.training:
            plain: Tensor = functional.batch_norm(
                given, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
            return plain
        places = [0, *range(2, given.ndim)]
        numbers = given.float()
        count = numbers.new_full((1,), numbers.numel() / numbers.shape[1])
        # Mean first, then squares about it: sums of squares alone would lose small variances.
        total = _Sum.apply(torch.cat([numbers.sum(dim=places), count]))
        mean, everyone = total[:-1] / total[-1], total[-1].detach()
        shape = [1, -1] + [1] * (given.ndim - 2)
        centred = numbers - mean.view(shape)
        variance = _Sum.apply((centred * centred).sum(dim=places)) / everyone
        self._remember(mean.detach(), variance.detach() * everyone / (everyone - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(shape) + self.bias.view(shape)).to(given.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


class _Sum(torch.autograd.Function):  # type: ignore[misc]  # as above
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:  # noqa: ANN401 - torch's own context
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401 - as above
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def _share_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            shared = SharedBatchNorm(child.num_features, eps=child.eps, momentum=child.momentum)
            shared.load_state_dict(child.state_dict())
            setattr(module, name, shared.to(child.weight.device))
        else:
            _share_norms(child)
