"""Which NVIDIA GPUs can be used here, asked of the driver alone before any library touches one."""

import ctypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import EngineUnavailable, NoDriver

DRIVER = "libcuda.so.1"
VERSION = Path("/proc/driver/nvidia/version")
"""Where the kernel module of the driver tells its version."""
_NAME_BYTES = 256
_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU as its driver names it; ``ordinal`` counts what CUDA_VISIBLE_DEVICES leaves."""

    ordinal: int
    name: str
    compute_capability: str
    driver: str


def find(library: str = DRIVER, version: Path = VERSION) -> tuple[Gpu, ...]:
    """Return every usable GPU, at least one; ``EngineUnavailable`` says why there is none.

    A runtime of TensorRT that is opened without a GPU ends the process, so this is asked first.
    """
    try:
        driver = ctypes.CDLL(library)
    except OSError as error:
        raise NoDriver(f"no usable GPU: the NVIDIA driver's {library} is not here") from error
    ask = _asking(driver)
    ask("cuInit", ctypes.c_uint(0))
    count = ctypes.c_int()
    ask("cuDeviceGetCount", ctypes.byref(count))
    if not count.value:
        raise EngineUnavailable("no usable GPU: the NVIDIA driver shows none")
    told = _driver_version(ask, version)
    return tuple(_gpu(ask, ordinal, told) for ordinal in range(count.value))


def at(ordinal: int, library: str = DRIVER) -> Gpu:
    """Return the GPU of that ordinal; ``EngineUnavailable`` where there is none."""
    found = find(library)
    if not 0 <= ordinal < len(found):
        raise EngineUnavailable(f"no usable GPU {ordinal}: the NVIDIA driver shows {len(found)}")
    return found[ordinal]


@contextmanager
def current(ordinal: int, library: str = DRIVER) -> Iterator[None]:
    """Make that GPU the one that this thread uses, for whatever asks CUDA which it is.

    It is the context that every runtime in the process shares, and which stays until the process
    ends: what a library has loaded into it would be gone behind its back. ``EngineUnavailable``
    where there is no such GPU.
    """
    at(ordinal, library)
    ask = _asking(ctypes.CDLL(library))
    device, context = ctypes.c_int(), ctypes.c_void_p()
    ask("cuDeviceGet", ctypes.byref(device), ctypes.c_int(ordinal))
    ask("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    ask("cuCtxPushCurrent_v2", context)
    try:
        yield
    finally:
        ask("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))


Ask = Callable[..., None]


def _asking(driver: ctypes.CDLL) -> Ask:
    def ask(function: str, *arguments: Any) -> None:  # noqa: ANN401  whatever ctypes passes on
        code: int = getattr(driver, function)(*arguments)
        if code:
            raise EngineUnavailable(f"no usable GPU: the NVIDIA driver's {function} gave {code}")

    return ask


def _gpu(ask: Ask, ordinal: int, driver: str) -> Gpu:
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    ask("cuDeviceGet", ctypes.byref(device), ctypes.c_int(ordinal))
    ask("cuDeviceGetName", name, ctypes.c_int(_NAME_BYTES), device)
    ask("cuDeviceGetAttribute", ctypes.byref(major), ctypes.c_int(_MAJOR), device)
    ask("cuDeviceGetAttribute", ctypes.byref(minor), ctypes.c_int(_MINOR), device)
    return Gpu(
        ordinal=ordinal,
        name=name.value.decode(errors="replace"),
        compute_capability=f"{major.value}.{minor.value}",
        driver=driver,
    )


def _driver_version(ask: Ask, version: Path) -> str:
    """Return the driver's own version, or the CUDA version that it speaks where it is not told."""
    try:
        told = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", version.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError):
        told = None
    if told:
        return told[1]
    spoken = ctypes.c_int()
    ask("cuDriverGetVersion", ctypes.byref(spoken))
    return f"CUDA {spoken.value // 1000}.{spoken.value % 1000 // 10}"
