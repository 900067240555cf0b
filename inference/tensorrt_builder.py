"""Builds TensorRT plans of a network; TensorRT-RTX does so without a GPU."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, TypeAlias

from inference import gpu as gpus
from inference.codec import canonical, digest, encode
from inference.engine import F32, INT8
from inference.errors import EngineUnavailable
from inference.gpu import Gpu
from inference.plans import ANY, Making, Plans, Tensor

logger = logging.getLogger(__name__)

TENSORRT, TENSORRT_RTX = ON_GPU = "tensorrt", "tensorrt-rtx"
MODULES = {TENSORRT: "tensorrt", TENSORRT_RTX: "tensorrt_rtx"}
BATCH = (1, 1, 8)
"""A study is one case; more come together where a cohort is analysed."""
TIMING = "timing"
_TOLD_MOST = 6
"""Of what the library said before it gave up, the last lines tell why."""

Library: TypeAlias = Any  # the module tensorrt or tensorrt_rtx, which may not be there
Logger: TypeAlias = Any  # a class made of one of theirs


@dataclass(frozen=True, kw_only=True)
class Request:
    """One plan that is wanted: of this network, in this precision, for this GPU.

    ``gpu`` None asks for a plan for GPUs that are not here, which TensorRT-RTX alone can build.
    """

    kind: str
    network: bytes = field(repr=False)
    precision: str
    gpu: Gpu | None
    ranges: Mapping[str, float] = field(default_factory=dict)
    """Of int8, from the card."""
    batch: tuple[int, int, int] = BATCH


def load(kind: str) -> Library:
    """Import ``tensorrt`` or ``tensorrt-rtx``; ``EngineUnavailable`` says how to install it."""
    try:
        return import_module(MODULES[kind])
    except (ImportError, OSError) as error:  # OSError: a library that its loader cannot open
        raise EngineUnavailable(
            f"{kind} is not installed (extra petct-node[{kind}]): {error}"
        ) from error


def making_of(request: Request, library: Library) -> Making:
    """Return what the plan is kept under."""
    gpu = None if request.kind == TENSORRT_RTX else request.gpu
    return Making(
        library=request.kind,
        library_version=library.__version__,
        network=digest(request.network),
        precision=request.precision,
        gpu=gpu.name if gpu else ANY,
        compute_capability=gpu.compute_capability if gpu else ANY,
        driver=gpu.driver if gpu else ANY,
        calibration=digest(canonical(encode(request.ranges))) if request.ranges else "",
        batch=request.batch,
    )


def plan_of(request: Request, plans: Plans, *, but: bytes | None = None) -> bytes:
    """Return the plan, from ``plans`` or built now and kept there.

    ``but`` is one that does not open: another is built, unless somebody else has done so already.
    ``EngineUnavailable`` where the library is missing, cannot read the network or cannot build it,
    with what the library said.
    """
    library = load(request.kind)
    making = making_of(request, library)
    plan = plans.find(making)
    if plan not in {None, but}:
        return plan
    try:
        with plans.building(making):
            plan = plans.find(making)
            if plan not in {None, but}:
                return plan
            with _on_its_gpu(request):
                return _built(library, request, making, plans)
    except OSError as error:
        raise EngineUnavailable(f"cannot keep a plan of {request.kind}: {error}") from error


def _on_its_gpu(request: Request) -> AbstractContextManager[None]:
    """Make the request's GPU the current one: TensorRT builds for that and is told no other."""
    if request.kind == TENSORRT_RTX or request.gpu is None:
        return nullcontext()
    return gpus.current(request.gpu.ordinal)


def _built(library: Library, request: Request, making: Making, plans: Plans) -> bytes:
    started = time.monotonic()
    # Timings hold for a GPU, whatever the network; TensorRT-RTX takes none without one.
    timed = replace(making, network=ANY, precision=ANY, calibration=ANY)
    timing = plans.read_cache(TIMING, timed) if request.kind == TENSORRT else None
    build = _Build(library, _rewritten(request), timing)
    plan = build.run(request.batch)
    seconds = time.monotonic() - started
    if build.timing:
        plans.keep_cache(TIMING, timed, build.timing)
    plans.keep(making, plan, tensors=build.tensors, build_s=round(seconds, 3))
    logger.info("built a plan of %s in %.1f s: %s", request.kind, seconds, making.key)
    return plan


def _rewritten(request: Request) -> bytes:
    if request.precision == F32:
        return request.network
    from inference.precision import lowered, quantised  # noqa: PLC0415  brings onnx, which few need

    if request.precision == INT8:
        return quantised(request.network, request.ranges)
    return lowered(request.network, request.precision)


class _Build:
    """One run of the builder; ``timing`` None leaves the library's timings to itself."""

    def __init__(self, library: Library, network: bytes, timing: bytes | None) -> None:
        self._library = library
        self._name = library.__name__
        self._network = network
        self.timing = timing
        self.tensors: tuple[Tensor, ...] = ()
        self._log = log_of(library)

    def run(self, batch: tuple[int, int, int]) -> bytes:
        library = self._library
        try:
            builder = library.Builder(self._log)
        except TypeError as error:  # how a constructor that CUDA failed in shows itself
            raise EngineUnavailable(
                f"{self._name}'s builder does not start, which needs a GPU: {self._log.told()}"
            ) from error
        # Stated for version 10; from 11 on there is nothing else.
        typed = 1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(typed)
        parser = library.OnnxParser(network, self._log)
        if not parser.parse(self._network):
            errors = [parser.get_error(number) for number in range(parser.num_errors)]
            said = "; ".join(f"{one.node_operator()}: {one.desc()}".lstrip(": ") for one in errors)
            raise EngineUnavailable(f"{self._name} cannot read the network: {said}")
        self.tensors = tuple(_tensors(network))
        plan = builder.build_serialized_network(network, self._config(builder, network, batch))
        if plan is None:
            raise EngineUnavailable(f"{self._name} cannot build the network: {self._log.told()}")
        if self._timings is not None:
            self.timing = bytes(self._timings.serialize())
        return bytes(plan)

    def _config(self, builder: Any, network: Any, batch: tuple[int, int, int]) -> Any:  # noqa: ANN401  classes of the library
        config = builder.create_builder_config()
        # float32 is full float32 wherever the network asks for it, as on a CPU (decision 10).
        config.clear_flag(self._library.BuilderFlag.TF32)
        profile = builder.create_optimization_profile()
        for number in range(network.num_inputs):
            tensor = network.get_input(number)
            case = tuple(tensor.shape)[1:]
            profile.set_shape(tensor.name, *((size, *case) for size in batch))
        config.add_optimization_profile(profile)
        self._timings = None
        if self.timing is not None:
            self._timings = config.create_timing_cache(self.timing)
            config.set_timing_cache(self._timings, ignore_mismatch=False)
        return config


def _tensors(network: Any) -> Iterator[Tensor]:  # noqa: ANN401  a class of the library
    inputs = (network.get_input(number) for number in range(network.num_inputs))
    outputs = (network.get_output(number) for number in range(network.num_outputs))
    for tensor in (*inputs, *outputs):
        yield Tensor(name=tensor.name, type=tensor.dtype.name, shape=tuple(tensor.shape))


def log_of(library: Library) -> Logger:
    """Return a logger for the library that keeps what went wrong; ``told()`` repeats the last."""

    class Log(library.ILogger):  # type: ignore[misc]  # a class of the library
        def __init__(self) -> None:
            library.ILogger.__init__(self)
            self._said: list[str] = []

        def log(self, severity: Any, said: str) -> None:  # noqa: ANN401  an enumeration of the library
            if severity <= library.ILogger.WARNING:
                self._said = [*self._said, said][-_TOLD_MOST:]
                logger.debug("%s", said)

        def told(self) -> str:
            return "; ".join(self._said) or "it said nothing"

    return Log()
