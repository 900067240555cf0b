"""``petct-node engines``: which back ends can run here, and the plans that TensorRT built."""

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from inference.bundle import Bundle
from inference.codec import digest
from inference.errors import EngineUnavailable
from inference.plans import Plans, Sidecar
from node import engines
from node.config import Settings


def show(settings: Settings, console: Console) -> int:
    """Print the GPUs, what may run in fewer bits, and the plans; returns 0."""
    bundle = engines.load_bundle(settings)
    for line in _told(settings, bundle):
        console.print(escape(line), soft_wrap=True)
    names = _names(bundle)
    held = Plans(settings.model.plans).held()
    for sidecar in held:
        console.print(escape(_line(sidecar, names)), soft_wrap=True)
    if not held:
        console.print(f"no plans in {escape(str(settings.model.plans))}")
    return 0


def build(settings: Settings, kind: str, console: Console) -> int:
    """Build the plans of the bundle that are not there yet; returns 0, or 1 where one cannot be."""
    try:
        tasks = engines.build_plans(settings, kind)
    except EngineUnavailable as unavailable:
        console.print(f"[red]failed[/] {kind}: {escape(str(unavailable))}", soft_wrap=True)
        return 1
    console.print(f"plans of {kind} for {', '.join(tasks)} in {escape(str(settings.model.plans))}")
    return 0


def _told(settings: Settings, bundle: Bundle) -> Iterator[str]:
    yield f"bundle: {bundle.card.name} {bundle.card.version} {bundle.digest[:19]}"
    yield f"threads of one inference on the CPU: {engines.threads_of(settings)}"
    try:
        gpu = engines.gpu_of(settings)
    except EngineUnavailable as unavailable:
        yield f"GPU: {unavailable}"
    else:
        yield (
            f"GPU {gpu.ordinal}: {gpu.name}, compute capability {gpu.compute_capability}, "
            f"driver {gpu.driver}"
        )
    for record in bundle.card.parity:
        yield (
            f"{record.task} in {record.precision} by {record.engine}: AUROC {record.auroc:.4f} "
            f"({record.auroc_f32:.4f} in f32), probabilities within "
            f"{record.probability_difference_max:.4f}: {'may run' if record.holds else 'may not'}"
        )
    if not bundle.card.parity:
        yield "parity: the card has no record, so networks run in f32"


def _names(bundle: Bundle) -> dict[str, str]:
    return {digest(bundle.onnx_path(task).read_bytes()): task.name for task in bundle.tasks}


def _line(sidecar: Sidecar, names: dict[str, str]) -> str:
    making = sidecar.making
    network = names.get(making.network, "a network of another bundle")
    sizes = "-".join(str(size) for size in making.batch)
    return (
        f"plan {making.key[:12]}: {network} in {making.precision} for {making.library} "
        f"{making.library_version}, GPU {making.gpu}, driver {making.driver}, batch {sizes}, "
        f"built in {sidecar.build_s:.1f} s"
    )
