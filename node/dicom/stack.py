"""One series as a stack of calibrated planes, with the headers that came with them."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from inference.geometry import Grid
from inference.volume import Voxels
from node.dicom import geometry
from node.dicom.attributes import UNREADABLE, Attributes, frame_headers, number, text
from node.dicom.native import NativePixels, Stored
from node.dicom.reading import read, stored_pixels
from node.dicom.reasons import unusable
from node.dicom.series import ImageSeries, Plane

AIR_HU = -1024.0
"""What stands outside a CT's field of view; nothing is less dense."""
_LOSSY: Final = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless})
_THREADS_MOST: Final = 4
"""More of them wait for memory."""
_AT_ONCE: Final = 8
"""So many planes a thread takes at a time."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Stack:
    """A series read whole: rescaled voxels, and the headers of each plane.

    A CT's voxels are HU, none of them below air; a PET's are in the units of its headers.
    """

    voxels: Voxels
    headers: tuple[Attributes, ...]
    dataset: Dataset
    """The first instance's, where private elements are."""
    grid: Grid
    lossy: bool
    low: float
    """The least of the rescaled values, before air was made the least."""
    high: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _File:
    path: Path
    planes: tuple[Plane, ...]
    index: int
    """Of its first plane in the volume."""
    native: NativePixels | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Decoded:
    """What pydicom makes of one file."""

    dataset: Dataset
    frames: Stored
    """Always with an axis of frames."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Part:
    """What is known of one file once its planes are in the volume."""

    dataset: Dataset | None
    """None where pydicom was not asked."""
    headers: tuple[Attributes, ...]
    lossy: bool
    low: float
    high: float


def read_stack(series: ImageSeries) -> Stack:
    """Read every file of a series; its pixels go straight into the volume, rescaled.

    Raises UnusableStudy where pixels cannot be decoded or rescaled, or planes make no lattice.
    """
    files = _files(series.planes)
    voxels, parts = _filled(files, len(series.planes), series.modality)
    headers = tuple(header for part in parts for header in part.headers)
    places = [geometry.plane_geometry(header) for header in headers]
    return Stack(
        voxels=voxels,
        headers=headers,
        dataset=parts[0].dataset or _data_set(files[0]),
        grid=geometry.lattice([place for place in places if place is not None]),
        lossy=any(part.lossy for part in parts),
        low=float(np.min([part.low for part in parts])),
        high=float(np.max([part.high for part in parts])),
    )


def threads() -> int:
    """Return how many threads fill volumes."""
    return min(len(os.sched_getaffinity(0)), _THREADS_MOST)


def _files(planes: Sequence[Plane]) -> list[_File]:
    files: list[_File] = []
    index = 0
    for path, its in groupby(planes, attrgetter("path")):
        own = tuple(its)
        header = own[0].header
        native = None if header is None else NativePixels.of(path, header)
        files.append(_File(path=path, planes=own, index=index, native=native))
        index += len(own)
    return files


def _data_set(file: _File) -> Dataset:
    return Dataset() if file.native is None else file.native.header.data_set()


def _filled(files: list[_File], count: int, modality: str) -> tuple[Voxels, list[_Part]]:
    """Return the volume of ``count`` planes; what is refused is what comes first in their order.

    Several threads read what is read in place, whose cost is that of moving bytes. What pydicom
    has to decode is decoded one by one.
    """
    first, rest = files[0], files
    parts: list[_Part] = []
    if first.native is not None:
        voxels: Voxels = np.empty((count, *first.native.shape), np.float32)
    else:
        decoded = _decoded(first.path, modality)
        voxels = np.empty((count, *decoded.frames.shape[1:]), np.float32)
        parts.append(_fill_decoded(first, decoded, modality, voxels))
        rest = files[1:]
    chunks = _chunks(rest)
    pool = ThreadPoolExecutor(threads())

    def fill(chunk: list[_File]) -> list[_Part]:
        return [_fill(file, modality, voxels) for file in chunk]

    try:
        waiting = [pool.submit(fill, c) if c[0].native is not None else None for c in chunks]
        for chunk, filling in zip(chunks, waiting, strict=True):
            parts += fill(chunk) if filling is None else filling.result()
    finally:
        pool.shutdown(cancel_futures=True)
    return voxels, parts


def _chunks(files: list[_File]) -> list[list[_File]]:
    """Return the files in their order, some at a time, all of a chunk read in one way."""
    runs = (list(run) for _, run in groupby(files, key=lambda file: file.native is not None))
    return [run[i : i + _AT_ONCE] for run in runs for i in range(0, len(run), _AT_ONCE)]


def _decoded(path: Path, modality: str) -> _Decoded:
    """Return the stored values of a file, and its headers without the bytes of the pixels."""
    try:
        dataset = read(path, force=False)
        pixels = stored_pixels(dataset)
        for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
            if keyword in dataset:
                delattr(dataset, keyword)
        frames = pixels if (number(dataset, "NumberOfFrames") or 1) > 1 else pixels[None]
        if frames.ndim != 3 or len(frames) < len(frame_headers(dataset)):
            raise ValueError("the pixels are no stack of grey frames that each have a header")
    except UNREADABLE as error:
        raise unusable("PIXELS_BAD", f"{modality}, {type(error).__name__}") from error
    return _Decoded(dataset=dataset, frames=frames)


def _fill(file: _File, modality: str, voxels: Voxels) -> _Part:
    """Put the planes of one file into the volume, read from their place where they lie in one."""
    native = file.native
    if native is not None:
        if native.shape != voxels.shape[1:]:
            raise unusable("SLICES_DIFFER")
        stored = native.read()
        if stored is not None:
            low, high = _rescale(stored, native.header, modality=modality, out=voxels[file.index])
            return _Part(
                dataset=None,
                headers=(native.header,),
                lossy=_says_lossy(native.header),
                low=low,
                high=high,
            )
    return _fill_decoded(file, _decoded(file.path, modality), modality, voxels)


def _fill_decoded(file: _File, decoded: _Decoded, modality: str, voxels: Voxels) -> _Part:
    dataset, frames = decoded.dataset, decoded.frames
    if frames.shape[1:] != voxels.shape[1:]:
        raise unusable("SLICES_DIFFER")
    every = frame_headers(dataset)
    numbers = [(plane.frame or 1) - 1 for plane in file.planes]
    ranges = [
        _rescale(frames[n], every[n], modality=modality, out=voxels[file.index + i])
        for i, n in enumerate(numbers)
    ]
    return _Part(
        dataset=dataset,
        headers=tuple(every[n] for n in numbers),
        lossy=_says_lossy(dataset) or dataset.file_meta.get("TransferSyntaxUID") in _LOSSY,
        low=float(np.min([low for low, _ in ranges])),
        high=float(np.max([high for _, high in ranges])),
    )


def _says_lossy(header: Attributes) -> bool:
    return text(header, "LossyImageCompression") == "01"


def _rescale(
    stored: Stored, header: Attributes, *, modality: str, out: Voxels
) -> tuple[float, float]:
    """Apply the plane's own slope and intercept, and return the least and the greatest value.

    Padding becomes air, and no activity in a PET. In a CT nothing stays below air; the least value
    is told as it was before.
    """
    slope, intercept = number(header, "RescaleSlope"), number(header, "RescaleIntercept")
    if not slope or slope < 0:
        told = "no rescale slope" if not slope else f"rescale slope {slope:g}"
        raise unusable("SUV_UNITS" if modality == "PT" else "CT_NOT_HU", told)
    with np.errstate(over="ignore", invalid="ignore"):
        np.multiply(stored, np.float32(slope), out=out, casting="unsafe")
        out += np.float32(intercept or 0.0)
    _replace_padding(stored, header, out=out, value=AIR_HU if modality == "CT" else 0.0)
    low, high = float(out.min()), float(out.max())
    if modality == "CT" and not low >= AIR_HU:  # what is no number is below as well
        np.maximum(out, np.float32(AIR_HU), out=out)
    return low, high


def _replace_padding(stored: Stored, header: Attributes, *, out: Voxels, value: float) -> None:
    """Replace the stored values that stand for no value (PS3.3 C.7.5.1.1.2)."""
    stated = number(header, "PixelPaddingValue")
    if stated is None:
        return
    limit = number(header, "PixelPaddingRangeLimit")
    ends = [_as_stored(stated, header), _as_stored(stated if limit is None else limit, header)]
    low, high = min(ends), max(ends)
    if stored.dtype.kind in "iu":  # compared with whole numbers they need not become others
        low, high = math.ceil(low), math.floor(high)
    values: NDArray[Any] = stored
    np.putmask(out, values == low if low == high else (values >= low) & (values <= high), value)


def _as_stored(value: float, header: Attributes) -> float:
    """Return a value with the sign of the pixels: some write 63536 for -2000."""
    signed = number(header, "PixelRepresentation") == 1
    if signed and value > 0x7FFF:
        return value - 0x10000
    return value + 0x10000 if not signed and value < 0 else value
