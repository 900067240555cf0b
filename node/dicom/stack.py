"""One series as a stack of calibrated planes, with the headers that came with them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from inference.geometry import Grid
from inference.quota import usable_cpus
from inference.volume import Voxels
from node.dicom import memory, rescale
from node.dicom.attributes import UNREADABLE, Attributes, frame_headers, number, text
from node.dicom.geometry import PlaneGeometry, lattice, plane_geometry
from node.dicom.native import NativePixels, Stored
from node.dicom.reading import read, stored_pixels
from node.dicom.reasons import unusable
from node.dicom.series import ImageSeries, Plane

_LOSSY: Final = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless})
_THREADS_MOST: Final = 4
"""More of them wait for memory."""
_AT_ONCE: Final = 16
"""So many planes a thread takes at a time."""
_WORTH_VOXELS: Final = 2**17
"""Of smaller planes threads wait for the interpreter more than for memory: one reads them all."""


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
    places: tuple[PlaneGeometry | None, ...]
    lossy: bool
    low: float
    high: float


def read_stack(series: ImageSeries) -> Stack:
    """Read every file of a series; its pixels go straight into the volume, rescaled.

    Raises UnusableStudy where pixels cannot be decoded or rescaled, or planes make no lattice.
    """
    files = _files(series.planes)
    voxels, parts = _filled(files, len(series.planes), series.modality)
    places = [place for part in parts for place in part.places if place is not None]
    first = parts[0].dataset
    return Stack(
        voxels=voxels,
        headers=tuple(header for part in parts for header in part.headers),
        dataset=_data_set(files[0]) if first is None else first,
        grid=lattice(places),
        lossy=any(part.lossy for part in parts),
        low=float(np.min([part.low for part in parts])),
        high=float(np.max([part.high for part in parts])),
    )


def threads() -> int:
    """Return how many threads fill volumes."""
    return min(usable_cpus(), _THREADS_MOST)


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
        voxels = memory.VOLUMES.empty((count, *first.native.shape))
    else:
        decoded = _decoded(first.path, modality)
        rows, columns = decoded.frames.shape[1:]
        voxels = memory.VOLUMES.empty((count, rows, columns))
        parts.append(_fill_decoded(first, decoded, modality, voxels))
        rest = files[1:]
    chunks = _chunks(rest)
    pool = ThreadPoolExecutor(threads() if voxels[0].size >= _WORTH_VOXELS else 1)
    try:
        fill = partial(_fill, modality=modality, voxels=voxels)
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


def _fill(chunk: list[_File], modality: str, voxels: Voxels) -> list[_Part]:
    room = None if chunk[0].native is None else chunk[0].native.room()
    parts = []
    for file in chunk:
        part = None if room is None else _fill_native(file, modality, voxels, room)
        if part is None:
            part = _fill_decoded(file, _decoded(file.path, modality), modality, voxels)
        parts.append(part)
    return parts


def _fill_native(file: _File, modality: str, voxels: Voxels, room: Stored) -> _Part | None:
    """Fill in what lies as it is in a file; None where the file has changed."""
    native = file.native
    assert native is not None  # as its chunk's first is not
    if native.shape != voxels.shape[1:]:
        raise unusable("SLICES_DIFFER")
    stored = room.view(native.stored_type)
    ends = native.read(stored)
    if ends is None:
        return None
    header = native.header
    rule = rescale.rule(header, modality)
    low, high = rescale.apply(rule, stored, ends, out=voxels[file.index])
    return _Part(
        dataset=None,
        headers=(header,),
        places=(file.planes[0].geometry,),
        lossy=_says_lossy(header),
        low=low,
        high=high,
    )


def _fill_decoded(file: _File, decoded: _Decoded, modality: str, voxels: Voxels) -> _Part:
    dataset, frames = decoded.dataset, decoded.frames
    if frames.shape[1:] != voxels.shape[1:]:
        raise unusable("SLICES_DIFFER")
    every = frame_headers(dataset)
    numbers = [(plane.frame or 1) - 1 for plane in file.planes]
    ranges = [
        rescale.apply(
            rescale.rule(every[n], modality),
            frames[n],
            (frames[n].min(), frames[n].max()),
            out=voxels[file.index + i],
        )
        for i, n in enumerate(numbers)
    ]
    headers = tuple(every[n] for n in numbers)
    return _Part(
        dataset=dataset,
        headers=headers,
        places=tuple(plane_geometry(header) for header in headers),
        lossy=_says_lossy(dataset) or dataset.file_meta.get("TransferSyntaxUID") in _LOSSY,
        low=float(np.min([low for low, _ in ranges])),
        high=float(np.max([high for _, high in ranges])),
    )


def _says_lossy(header: Attributes) -> bool:
    return text(header, "LossyImageCompression") == "01"
