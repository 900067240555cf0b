"""Opens the bundle with an engine for each task, by the settings and what the machine has."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import product
from pathlib import Path

from inference import bundle as bundles
from inference import gpu
from inference.analyze import Model
from inference.bundle import Bundle
from inference.card import Task
from inference.engine import F16, F32, Engine
from inference.errors import EngineUnavailable, InferenceError, NoDriver
from inference.gpu import Gpu
from inference.plans import Plans
from inference.quota import usable_cpus
from inference.tensorrt_builder import ON_GPU, TENSORRT, TENSORRT_RTX, Request, plan_of
from inference.warming import warm
from node.config import Settings

logger = logging.getLogger(__name__)

ON_CPU = {
    "openvino": "inference.openvino_engine",
    "onnxruntime": "inference.onnx_engine",
    "torch": "inference.torch_engine",
}
"""Imported only when used: each brings a library of hundreds of megabytes."""
AUTOMATIC = ("openvino", "onnxruntime")
RECORDS = {"openvino": "openvino", "tensorrt": "torch", "tensorrt-rtx": "torch"}
"""Whose record in a card lets an engine run in less than float32; the others never do."""


def load_bundle(settings: Settings) -> Bundle:
    """Load the bundle that the settings name; raises BundleUnusable."""
    return bundles.load(settings.model.bundle)


def build_model(settings: Settings) -> Model:
    """Load the bundle, open an engine for each of its tasks and run each once.

    Raises BundleUnusable, or EngineUnavailable with what every back end that was tried lacks.
    """
    bundle = load_bundle(settings)
    refusals = []
    for kind in _kinds(settings):
        try:
            engines = _engines(settings, bundle, kind)
        except InferenceError as unavailable:
            refusals.append(str(unavailable))
            if kind in ON_GPU:
                logger.warning("%s is not used: %s", kind, unavailable)
        else:
            return Model(bundle=bundle, engines=engines)
    raise EngineUnavailable("; ".join(refusals))


def precision_of(settings: Settings, bundle: Bundle, kind: str) -> str:
    """Return what networks calculate in; ``EngineUnavailable`` where the card does not allow it.

    ``auto`` is float32 on a CPU, whatever that CPU could do, so that a study gets the same numbers
    everywhere; on a GPU it is f16 where the card allows that.
    """
    asked = settings.model.precision
    if asked == "auto":
        return F16 if kind in ON_GPU and _allows(bundle, F16, kind) else F32
    if not _allows(bundle, asked, kind):
        raise EngineUnavailable(
            f"{bundle.card.name} {bundle.card.version} may not run in {asked} on {kind}: its card "
            "has no record of parity that allows it (petct-train parity)"
        )
    return asked


def _allows(bundle: Bundle, precision: str, kind: str) -> bool:
    """Whether an engine may run in that precision; one without records may in float32 alone."""
    if kind not in RECORDS:
        return precision == F32
    return bundle.card.allows(precision, RECORDS[kind])


def build_plans(settings: Settings, kind: str) -> tuple[str, ...]:
    """Build the plans that workers with these settings open, and return their tasks.

    Plans that are there are left. ``EngineUnavailable`` says why one cannot be built; without a GPU
    those of TensorRT-RTX can be.
    """
    bundle = load_bundle(settings)
    precision = precision_of(settings, bundle, kind)
    devices: Sequence[Gpu | None] = (None,) if kind == TENSORRT_RTX else gpus_of(settings)
    for task, device in product(bundle.tasks, devices):
        request = Request(
            kind=kind,
            network=bundle.onnx_path(task).read_bytes(),
            precision=precision,
            gpu=device,
            ranges=_ranges(bundle, task, precision),
        )
        plan_of(request, Plans(settings.model.plans))
    return tuple(task.name for task in bundle.tasks)


def threads_of(settings: Settings) -> int:
    """Return the threads of one inference: what is set, else our share of the CPUs granted."""
    return settings.model.threads or max(1, usable_cpus() // max(1, settings.workers.processes))


def for_worker(settings: Settings, number: int) -> Settings:
    """Return the settings of one worker of several: of the GPUs, one, and one study at a time."""
    devices = settings.model.devices
    own = {"devices": (devices[number % len(devices)],), "batch": 1}
    return settings.model_copy(update={"model": settings.model.model_copy(update=own)})


def for_networks(settings: Settings, device: int) -> Settings:
    """Return the settings of a process that runs networks for all workers: one GPU, all CPUs."""
    model = settings.model.model_copy(update={"devices": (device,)})
    workers = settings.workers.model_copy(update={"processes": 1})
    return settings.model_copy(update={"model": model, "workers": workers})


def gpus_of(settings: Settings) -> tuple[Gpu, ...]:
    """Return all GPUs of the workers, each once; ``EngineUnavailable`` where one is not there."""
    return tuple(gpu.at(ordinal) for ordinal in dict.fromkeys(settings.model.devices))


def gpu_of(settings: Settings) -> Gpu:
    """Return the GPU that this process uses; ``EngineUnavailable`` where it is not there."""
    return gpu.at(settings.model.devices[0])


def _kinds(settings: Settings) -> Iterator[str]:
    if settings.model.engine != "auto":
        yield settings.model.engine
        return
    try:
        gpu_of(settings)
    except NoDriver:
        pass
    except EngineUnavailable as unavailable:
        logger.warning("the GPU is not used: %s", unavailable)
    else:
        yield from ON_GPU
    yield from AUTOMATIC


def _engines(settings: Settings, bundle: Bundle, kind: str) -> Mapping[str, Engine]:
    precision = precision_of(settings, bundle, kind)
    engines = {}
    for task in bundle.tasks:
        path = bundle.onnx_path(task)
        if kind in ON_GPU:
            engine = _on_gpu(settings, path, kind, precision, _ranges(bundle, task, precision))
        elif precision == F32:
            engine = _on_cpu(settings, path, kind)
        else:
            engine = _on_cpu(settings, path, kind, precision=precision)
        # What differs from one machine to another is held against what does not.
        trusted = kind in ON_CPU and precision == F32
        warm(
            engine,
            bundle.card.inputs,
            None if trusted else _on_cpu(settings, path, "onnxruntime"),
            most=settings.model.batch,
        )
        engines[task.name] = engine
    return engines


def _on_cpu(settings: Settings, path: Path, kind: str, **given: str) -> Engine:
    back_end = import_module(ON_CPU[kind])
    engine: Engine = back_end.open_engine(path, threads=threads_of(settings), **given)
    return engine


def _ranges(bundle: Bundle, task: Task, precision: str) -> Mapping[str, float]:
    """Return what the card holds of a network's tensors for plans in that precision."""
    record = bundle.card.record(task.name, precision, RECORDS[TENSORRT])
    return {} if record is None else record.ranges


def _on_gpu(
    settings: Settings, path: Path, kind: str, precision: str, ranges: Mapping[str, float]
) -> Engine:
    engine: Engine = import_module("inference.tensorrt_engine").open_engine(
        path,
        kind=kind,
        precision=precision,
        plans=Plans(settings.model.plans),
        ordinal=settings.model.devices[0],
        ranges=ranges,
    )
    return engine
