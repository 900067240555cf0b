"""One series as a stack of calibrated planes, with the headers that came with them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from inference.geometry import Grid
from inference.resample import BlockSums
from inference.thorax import coarse_factors
from inference.volume import BlockMeans, Voxels
from node.dicom import memory, rescale
from node.dicom.attributes import UNREADABLE, Attributes, frame_headers, number, shared, text
from node.dicom.geometry import PlaneGeometry, lattice, plane_geometry
from node.dicom.native import Form, NativePixels, Stored, ends_of
from node.dicom.reading import read, stored_pixels
from node.dicom.reasons import unusable
from node.dicom.series import ImageSeries, Plane

_Factors: TypeAlias = tuple[int, int, int] | None
_LOSSY: Final = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless})
_RUN_BYTES: Final = 2**21
"""So much is read and rescaled at once, or one plane: more of it leaves the cache in between, and
of less the interpreter's steps take as long as the bytes."""


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
    means: BlockMeans | None = None
    """Of blocks that a thorax is found in, where these were asked for and came by the way."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _File:
    path: Path
    planes: tuple[Plane, ...]
    index: int
    """Of its first plane in the volume."""
    native: NativePixels | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Volume:
    """What is filled, plane by plane."""

    voxels: Voxels
    sums: BlockSums | None

    @classmethod
    def of(cls, shape: tuple[int, int, int], factors: _Factors) -> "_Volume":
        voxels = memory.VOLUMES.empty(shape)
        exact = factors is not None and BlockSums.can_be_of(factors)
        return cls(voxels=voxels, sums=BlockSums(voxels, factors) if factors and exact else None)

    def fill(
        self, first: int, rules: Sequence[rescale.Rule], stored: Stored, ends: Stored
    ) -> tuple[float, float]:
        """Fill in planes from the first on as ``rescale.apply`` does; ``stored`` is overwritten."""
        out = self.voxels[first : first + len(stored)]
        rescaled = rescale.as_whole(rules, stored, ends)
        if rescaled is None:
            return rescale.apply(rules, stored, ends, out=out)
        whole, low, high = rescaled
        np.copyto(out, whole)
        if self.sums is not None:
            self.sums.add(first, whole, _most(low, high))
        return low, high

    def means(self, low: float, high: float) -> BlockMeans | None:
        """Return the means of values from ``low`` to ``high``, or air."""
        if self.sums is None:
            return None
        return self.sums.means(_most(low, high))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Decoded:
    """What pydicom makes of one file."""

    dataset: Dataset
    frames: Stored
    """Always with an axis of frames."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Part:
    """What is known of some files once their planes are in the volume."""

    dataset: Dataset | None
    """None where pydicom was not asked."""
    headers: tuple[Attributes, ...]
    places: tuple[PlaneGeometry | None, ...]
    lossy: bool
    low: float
    high: float


def read_stack(series: ImageSeries, *, averaged: bool = False) -> Stack:
    """Read every file of a series; its pixels go straight into the volume, rescaled.

    If it is to be ``averaged``, blocks are summed while the planes are in cache, as far as that
    changes no bit of the means. Raises UnusableStudy where pixels cannot be decoded or rescaled, or
    planes make no lattice.
    """
    files = _files(series.planes)
    factors = _factors(series.planes) if averaged else None
    volume, parts = _filled(files, len(series.planes), series.modality, factors)
    places = [place for part in parts for place in part.places if place is not None]
    if len(places) < len(series.planes):
        raise unusable("GEOMETRY_ABSENT", f"{len(series.planes) - len(places)} planes")
    first = parts[0].dataset
    low, high = (
        float(np.min([part.low for part in parts])),
        float(np.max([part.high for part in parts])),
    )
    return Stack(
        voxels=volume.voxels,
        headers=tuple(header for part in parts for header in part.headers),
        dataset=_data_set(files[0]) if first is None else first,
        grid=lattice(places),
        lossy=any(part.lossy for part in parts),
        low=low,
        high=high,
        means=volume.means(low, high),
    )


def _most(low: float, high: float) -> float:
    """Return a bound of what whole numbers are in a CT, by their ends as they are told."""
    return max(abs(low), abs(high), abs(rescale.AIR_HU))


def _files(planes: Sequence[Plane]) -> list[_File]:
    files: list[_File] = []
    index = 0
    for _, its in groupby(planes, lambda plane: plane.path if plane.frame else id(plane)):
        own = tuple(its)
        first = own[0]
        native = None if first.header is None else NativePixels.of(first.path, first.header)
        files.append(_File(path=first.path, planes=own, index=index, native=native))
        index += len(own)
    return files


def _data_set(file: _File) -> Dataset:
    return Dataset() if file.native is None else file.native.header.data_set()


def _factors(planes: Sequence[Plane]) -> tuple[int, int, int] | None:
    """Return the blocks that a thorax is found in, by the first two planes; None without them.

    Should the lattice come to others, nobody asks for these.
    """
    first, second = planes[0].geometry, planes[min(1, len(planes) - 1)].geometry
    if first is None or second is None:
        return None
    apart_mm = float(np.linalg.norm(np.subtract(second.position, first.position)))
    return coarse_factors((len(planes), *first.shape), (apart_mm or 1.0, *first.spacing))


def _filled(
    files: list[_File], count: int, modality: str, factors: _Factors
) -> tuple[_Volume, list[_Part]]:
    """Return the volume of ``count`` planes; what is refused is what comes first in their order.

    In one thread: of two, each needs the interpreter between steps of some 0.05 ms, and both
    together are no faster.
    """
    first, rest = files[0], files
    parts: list[_Part] = []
    if first.native is not None:
        volume = _Volume.of((count, *first.native.form.shape), factors)
    else:
        decoded = _decoded(first.path, modality)
        rows, columns = decoded.frames.shape[1:]
        volume = _Volume.of((count, rows, columns), None)
        parts.append(_fill_decoded(first, decoded, modality, volume.voxels))
        rest = files[1:]
    for form, alike in groupby(rest, key=_form):
        if form is None:
            parts += (_fill_by_pydicom(file, modality, volume.voxels) for file in alike)
        else:
            parts += _fill(list(alike), form, modality, volume)
    return volume, parts


def _form(file: _File) -> Form | None:
    return None if file.native is None else file.native.form


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


def _fill(files: list[_File], form: Form, modality: str, volume: _Volume) -> Iterator[_Part]:
    """Fill in what is read in place, and what has changed meanwhile by pydicom."""
    most = max(_RUN_BYTES // form.plane_bytes, 1)
    room = form.room(min(most, len(files)))
    for at in range(0, len(files), most):
        run = files[at : at + most]
        part = _fill_native(run, modality, volume, room[: len(run)])
        if part is not None:
            yield part
            continue
        for file in run:
            part = _fill_native([file], modality, volume, room[:1])
            yield _fill_by_pydicom(file, modality, volume.voxels) if part is None else part


def _fill_by_pydicom(file: _File, modality: str, voxels: Voxels) -> _Part:
    return _fill_decoded(file, _decoded(file.path, modality), modality, voxels)


def _fill_native(run: list[_File], modality: str, volume: _Volume, room: Stored) -> _Part | None:
    """Fill in what lies as it is in files; None where one of them has changed."""
    natives = [file.native for file in run if file.native is not None]
    form = natives[0].form
    if form.shape != volume.voxels.shape[1:]:
        raise unusable("SLICES_DIFFER")
    if not all(native.read(plane) for native, plane in zip(natives, room, strict=True)):
        return None
    headers = tuple(native.header for native in natives)
    rules = [rescale.rule(header, modality) for header in headers]
    first = run[0].index
    low, high = volume.fill(first, rules, room, form.ends(room))
    return _Part(
        dataset=None,
        headers=headers,
        places=tuple(file.planes[0].geometry for file in run),
        lossy=any(shared(header, _says_lossy) for header in headers),
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
            [rescale.rule(every[n], modality)],
            frames[n : n + 1],
            ends_of(frames[n : n + 1]),
            out=voxels[file.index + i : file.index + i + 1],
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
