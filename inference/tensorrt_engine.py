"""Runs a network with TensorRT or TensorRT-RTX on one NVIDIA GPU.

No machine of this project has one: what only a GPU can show, the tests marked ``gpu`` ask.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from inference import gpu as gpus
from inference.engine import OUTPUTS, Explained
from inference.errors import DeviceLost, EngineUnavailable
from inference.gpu import Gpu
from inference.plans import Making, Plans
from inference.tensorrt_builder import (
    TENSORRT_RTX,
    Library,
    Logger,
    Request,
    load,
    log_of,
    making_of,
    plan_of,
)
from inference.volume import Voxels

try:
    import torch
except ImportError:
    torch = None  # open_engine says so, with what to install

logger = logging.getLogger(__name__)

KERNELS = "kernels"
"""What TensorRT-RTX compiled for a GPU at a first run."""
INPUTS = ("pet", "ct")

Stream: TypeAlias = Any  # torch.cuda.Stream, and torch may not be there
Plan: TypeAlias = Any  # ICudaEngine of the library
Context: TypeAlias = Any  # IExecutionContext of the library


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The GPU, the library and where plans are kept."""

    kind: str
    library: Library
    log: Logger
    gpu: Gpu
    precision: str
    plans: Plans


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A plan that lies on the GPU; ``runtime`` has to outlive it.

    ``config`` and ``kernels`` are TensorRT-RTX's: how it runs, and what it compiled at first runs.
    """

    runtime: Any
    plan: Plan
    making: Making
    config: Any = None
    kernels: Any = None


class TensorRtEngine:
    """One plan on one GPU; whoever calls while it runs waits."""

    def __init__(self, ground: Ground, opened: Opened) -> None:
        plan = opened.plan
        self._ground = ground
        self._opened = opened
        self._lock = threading.Lock()
        self._stream = torch.cuda.Stream(ground.gpu.ordinal)
        self._runs: dict[int, _Run] = {}
        names = [plan.get_tensor_name(number) for number in range(plan.num_io_tensors)]
        self._outputs = tuple(name for name in OUTPUTS if name in names)
        fewest, _, most = plan.get_tensor_profile_shape(INPUTS[0], 0)
        self._smallest, self._largest = int(fewest[0]), int(most[0])

    @property
    def name(self) -> str:
        """``tensorrt`` or ``tensorrt-rtx``."""
        return self._ground.kind

    @property
    def device(self) -> str:
        """The GPU as its driver names it."""
        return self._ground.gpu.name

    @property
    def precision(self) -> str:
        """What the convolutions calculate in."""
        return self._ground.precision

    def logits(self, pet: Voxels, ct: Voxels) -> Voxels:
        """Map ``(n, channel, row, column)`` PET and CT inputs to ``(n, 2)`` logits."""
        return self.explained(pet, ct).logits

    def explained(self, pet: Voxels, ct: Voxels) -> Explained:
        """Return every output that the network has, from one run of it for a batch.

        ``DeviceLost`` where the GPU fails: CUDA answers a process whose kernel failed no more.
        """
        found: list[Mapping[str, Voxels]] = []
        with self._lock, torch.cuda.device(self._ground.gpu.ordinal):
            for start in range(0, len(pet), self._largest):
                part = slice(start, start + self._largest)
                try:
                    found.append(self._run_of(pet[part])({"pet": pet[part], "ct": ct[part]}))
                except RuntimeError as error:
                    raise DeviceLost(f"{self.name} on {self.device}: {error}") from error
        return Explained(
            **{name: np.concatenate([part[name] for part in found]) for name in self._outputs}
        )

    def _run_of(self, part: Voxels) -> "_Run":
        """Return the run for a batch of so many or a few more: 1, 2, 4, up to the plan's most."""
        size = max(min(1 << (len(part) - 1).bit_length(), self._largest), self._smallest)
        if size not in self._runs:
            self._runs[size] = self._new_run((size, *part.shape[1:]))
        return self._runs[size]

    def _new_run(self, shape: tuple[int, ...]) -> "_Run":
        opened = self._opened
        given = () if opened.config is None else (opened.config,)
        context = opened.plan.create_execution_context(*given)
        if context is None:
            raise RuntimeError(self._ground.log.told())
        run = _Run(context, self._stream, shape, self._outputs)
        if opened.config is None:
            run.capture()
        else:  # TensorRT-RTX captures graphs by itself, and compiles its kernels now
            run(dict.fromkeys(INPUTS, np.zeros(shape, np.float32)))
            self._ground.plans.keep_cache(KERNELS, opened.making, bytes(opened.kernels.serialize()))
        return run


class _Run:
    """The buffers for one size of batch, whose addresses never change, so that a graph may run.

    It has a context of its own, since a CUDA graph holds for one context and one shape.
    """

    def __init__(
        self,
        context: Context,
        stream: Stream,
        shape: tuple[int, ...],
        outputs: tuple[str, ...],
    ) -> None:
        self._context = context
        self._stream = stream
        self._graph: Any = None
        for name in INPUTS:
            if not context.set_input_shape(name, shape):
                raise RuntimeError(f"the plan does not take {name} of shape {shape}")
        shapes = dict.fromkeys(INPUTS, shape) | {
            name: tuple(context.get_tensor_shape(name)) for name in outputs
        }
        self._outputs = outputs
        self._host = {name: torch.zeros(size).pin_memory() for name, size in shapes.items()}
        self._device = {name: torch.zeros(size, device="cuda") for name, size in shapes.items()}
        for name, tensor in self._device.items():
            if not context.set_tensor_address(name, tensor.data_ptr()):
                raise RuntimeError(f"the plan has no tensor {name}")
        torch.cuda.current_stream().synchronize()  # the zeros are written before our stream runs

    def capture(self) -> None:
        """Record a run as a CUDA graph, after one run in which the library sets itself up."""
        with torch.cuda.stream(self._stream):
            self._enqueue()
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            self._enqueue()
        self._graph = graph

    def __call__(self, given: Mapping[str, Voxels]) -> Mapping[str, Voxels]:
        """Run on as many cases as there are; the rest of the buffers runs for nothing."""
        count = len(given[INPUTS[0]])
        with torch.cuda.stream(self._stream):
            for name in INPUTS:
                self._host[name][:count].copy_(torch.from_numpy(np.ascontiguousarray(given[name])))
                self._device[name].copy_(self._host[name], non_blocking=True)
            self.launch()
            for name in self._outputs:
                self._host[name].copy_(self._device[name], non_blocking=True)
        self._stream.synchronize()
        return {name: self._host[name][:count].numpy().copy() for name in self._outputs}

    def launch(self) -> None:
        """Let the GPU run on what lies in its buffers, in the stream that is current."""
        if self._graph is None:
            self._enqueue()
        else:
            self._graph.replay()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise RuntimeError("the plan does not run")


def open_engine(
    onnx_path: Path,
    *,
    kind: str,
    precision: str,
    plans: Plans,
    ordinal: int = 0,
    ranges: Mapping[str, float] | None = None,
) -> TensorRtEngine:
    """Open the network's plan on that GPU, built now where ``plans`` holds none.

    ``ranges`` are the card's, for int8.

    ``EngineUnavailable`` where there is no such GPU, TensorRT or torch is not installed, or the
    plan cannot be built or opened. TensorRT is not touched before a GPU is known to be there.
    """
    gpu = gpus.at(ordinal)
    try:
        network = onnx_path.read_bytes()
    except OSError as error:
        raise EngineUnavailable(f"{kind} cannot open {onnx_path}: {error}") from error
    request = Request(kind=kind, network=network, precision=precision, gpu=gpu, ranges=ranges or {})
    return open_plan(request, gpu, plans)


def open_plan(request: Request, gpu: Gpu, plans: Plans) -> TensorRtEngine:
    """Open that plan on a GPU, which is known to be there; raises as ``open_engine`` does."""
    kind = request.kind
    library = load(kind)
    if torch is None or not torch.cuda.is_available():
        raise EngineUnavailable(f"{kind} needs torch with CUDA (extra petct-node[{kind}])")
    ground = Ground(
        kind=kind,
        library=library,
        log=log_of(library),
        gpu=gpu,
        precision=request.precision,
        plans=plans,
    )
    try:
        with torch.cuda.device(gpu.ordinal):
            return TensorRtEngine(ground, _opened(ground, request))
    except (RuntimeError, OSError) as error:  # torch and CUDA say RuntimeError of all that fails
        raise EngineUnavailable(f"{kind} does not open on {gpu.name}: {error}") from error


def _opened(ground: Ground, request: Request) -> Opened:
    library, gpu = ground.library, ground.gpu
    runtime = library.Runtime(ground.log)
    opened = _deserialised(ground, request, runtime)
    # What a plan for any GPU becomes at its first run holds for this GPU and driver alone.
    making = replace(
        making_of(request, library),
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
    )
    if ground.kind != TENSORRT_RTX:
        return Opened(runtime=runtime, plan=opened, making=making)
    config = opened.create_runtime_config()
    config.cuda_graph_strategy = library.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    # Left to itself it compiles behind the first runs, and later ones give other numbers than those
    # that were held against ONNX Runtime's.
    eager = library.DynamicShapesKernelSpecializationStrategy.EAGER
    config.dynamic_shapes_kernel_specialization_strategy = eager
    kernels = config.create_runtime_cache()
    if known := ground.plans.read_cache(KERNELS, making):
        kernels.deserialize(known)
    config.set_runtime_cache(kernels)
    return Opened(runtime=runtime, plan=opened, making=making, config=config, kernels=kernels)


def _deserialised(ground: Ground, request: Request, runtime: Any) -> Plan:  # noqa: ANN401  a class of the library
    """Return the plan on the GPU; one of TensorRT that does not open is built anew, once.

    Its name does not hold everything that it depends on, such as the CUDA that the library is for.
    One of TensorRT-RTX would come out the same.
    """
    held = ground.plans.find(making_of(request, ground.library))
    if held is not None:
        opened = runtime.deserialize_cuda_engine(held)
        if opened is not None:
            return opened
        if ground.kind == TENSORRT_RTX:
            raise RuntimeError(ground.log.told())
        logger.warning("a plan of %s is built anew: %s", ground.kind, ground.log.told())
    opened = runtime.deserialize_cuda_engine(plan_of(request, ground.plans, but=held))
    if opened is None:
        raise RuntimeError(ground.log.told())
    return opened
