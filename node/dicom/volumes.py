"""The chosen PET and CT as calibrated arrays on their grids."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from inference.geometry import Grid
from inference.petct import CtFacts, PetCt
from inference.volume import Quantity, Volume, Voxels
from node.dicom import contours, geometry, pet, philips
from node.dicom.attributes import UNREADABLE, Attributes, frame_headers, items, number, text
from node.dicom.reading import read, stored_pixels
from node.dicom.reasons import unusable, warning
from node.dicom.series import Choice, ImageSeries, Plane

AIR_HU = -1024.0
"""What stands outside a CT's field of view; nothing is less dense."""
HU_LIMIT = 100_000.0
"""No substance comes near it: gold, on the widest scales that CTs have, about 30000 HU."""
ACTIVITY_MOST = 1.5
"""What a PET shows in all, as a part of the dose, is one at most. A half more stands for noise,
calibration and a weight that was rounded; a wrong unit or slope is wrong by more."""
_LOSSY = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless})


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Stack:
    """A series read whole: rescaled voxels, and the headers of each plane."""

    voxels: Voxels
    headers: tuple[Attributes, ...]
    dataset: Dataset
    """The first instance's, where private elements are."""
    grid: Grid
    lossy: bool


def load(choice: Choice, *, contour_names: Sequence[str], contour_codes: Sequence[str]) -> PetCt:
    """Read the chosen PET and CT, and the contours that may show the primary tumour.

    ``contour_names`` and ``contour_codes`` come most trusted first; see ``contours``. Raises
    UnusableStudy where pixels cannot be decoded or SUVbw cannot be computed.
    """
    pet_stack = _read(choice.pet)
    rule = pet.suv_rule(pet_stack.headers, philips.count_factors(pet_stack.dataset))
    suv = pet_stack.voxels
    with np.errstate(over="ignore", invalid="ignore"):
        suv *= np.asarray(rule.factors, np.float32)[:, None, None]
    header = pet_stack.headers[0]
    patient = pet.patient_facts(header)
    _refuse_more_than_injected(suv, pet_stack.grid, patient.weight_kg)
    ct_stack = _read(choice.ct)
    _refuse_impossible_hu(ct_stack.voxels)
    hu = np.maximum(ct_stack.voxels, np.float32(AIR_HU), out=ct_stack.voxels)
    wanted = contours.Wanted(names=tuple(contour_names), codes=tuple(contour_codes))
    given, told = contours.given_regions(
        choice, pet_grid=pet_stack.grid, ct_grid=ct_stack.grid, wanted=wanted
    )
    lossy = (warning("PET_LOSSY"),) if pet_stack.lossy else ()
    return PetCt(
        study_instance_uid=choice.study_instance_uid,
        pet=Volume(voxels=suv, grid=pet_stack.grid, quantity=Quantity.SUVBW),
        ct=Volume(voxels=hu, grid=ct_stack.grid, quantity=Quantity.HU),
        pet_facts=pet.pet_facts(rule, header, choice.pet.series_instance_uid),
        ct_facts=_ct_facts(ct_stack.headers[0], choice.ct.series_instance_uid),
        patient=patient,
        given=given,
        warnings=(*choice.warnings, *rule.warnings, *lossy, *told),
    )


def _refuse_more_than_injected(suv: Voxels, grid: Grid, weight_kg: float | None) -> None:
    """Refuse a PET that holds more than the dose.

    SUVbw times volume, summed over a body that keeps all of the dose, is its weight in grams.
    Without a weight the heaviest patient is supposed.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        shown_g = float(suv.sum(dtype=np.float64)) * grid.voxel_volume_ml
    share = shown_g / (1000.0 * (weight_kg or pet.WEIGHT_KG[1]))
    if not share <= ACTIVITY_MOST:  # what is no number is refused as well
        raise unusable("SUV_IMPLAUSIBLE", f"{share:.3g} times the dose")


def _refuse_impossible_hu(hu: Voxels) -> None:
    least, most = float(hu.min()), float(hu.max())
    if not (least >= -HU_LIMIT and most <= HU_LIMIT):  # what is no number is refused as well
        raise unusable("HU_IMPLAUSIBLE", f"{least:.6g} to {most:.6g} HU")


def _read(series: ImageSeries) -> _Stack:
    """Read every file once; its pixels go straight into the volume, rescaled."""
    voxels: Voxels = np.empty((0, 0, 0), np.float32)
    headers: list[Attributes] = []
    lossy = False
    first: Dataset | None = None
    for path, planes in groupby(series.planes, key=lambda plane: plane.path):
        try:
            dataset = read(path, force=False)
            frames = _decoded(dataset)
        except UNREADABLE as error:
            raise unusable("PIXELS_BAD", f"{series.modality}, {type(error).__name__}") from error
        if first is None:
            first = dataset
            voxels = np.empty((len(series.planes), *frames.shape[1:]), np.float32)
        elif frames.shape[1:] != voxels.shape[1:]:
            raise unusable("SLICES_DIFFER")
        lossy |= _is_lossy(dataset)
        for plane, header in _planes(dataset, tuple(planes)):
            stored = frames[(plane.frame or 1) - 1]
            _rescale(stored, header, modality=series.modality, out=voxels[len(headers)])
            headers.append(header)
    assert first is not None, "a series has planes"
    places = [geometry.plane_geometry(header) for header in headers]
    grid = geometry.lattice([place for place in places if place is not None])
    return _Stack(voxels=voxels, headers=tuple(headers), dataset=first, grid=grid, lossy=lossy)


def _is_lossy(dataset: Dataset) -> bool:
    stated = text(dataset, "LossyImageCompression") == "01"
    return stated or dataset.file_meta.get("TransferSyntaxUID") in _LOSSY


def _decoded(dataset: Dataset) -> NDArray[np.generic]:
    """Return the stored values, always with an axis of frames, and let the bytes go."""
    pixels: NDArray[np.generic] = stored_pixels(dataset)
    for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
        if keyword in dataset:
            delattr(dataset, keyword)
    frames = pixels if (number(dataset, "NumberOfFrames") or 1) > 1 else pixels[None]
    if frames.ndim != 3 or len(frames) < len(frame_headers(dataset)):
        raise ValueError("the pixels are no stack of grey frames that each have a header")
    return frames


def _planes(dataset: Dataset, planes: Sequence[Plane]) -> Iterator[tuple[Plane, Attributes]]:
    headers = frame_headers(dataset)
    for plane in planes:
        yield plane, headers[(plane.frame or 1) - 1]


def _rescale(
    stored: NDArray[np.generic], header: Attributes, *, modality: str, out: Voxels
) -> None:
    """Apply the plane's own slope and intercept; padding becomes air, and no activity in a PET."""
    slope, intercept = number(header, "RescaleSlope"), number(header, "RescaleIntercept")
    if not slope or slope < 0:
        told = "no rescale slope" if not slope else f"rescale slope {slope:g}"
        raise unusable("SUV_UNITS" if modality == "PT" else "CT_NOT_HU", told)
    with np.errstate(over="ignore", invalid="ignore"):
        np.multiply(stored, np.float32(slope), out=out, casting="unsafe")
        out += np.float32(intercept or 0.0)
    out[_padding(stored, header)] = AIR_HU if modality == "CT" else 0.0


def _padding(stored: NDArray[np.generic], header: Attributes) -> NDArray[np.bool_]:
    """Tell which stored values stand for no value (PS3.3 C.7.5.1.1.2)."""
    value = number(header, "PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, np.bool_)
    limit = number(header, "PixelPaddingRangeLimit")
    ends = [_as_stored(value, header), _as_stored(value if limit is None else limit, header)]
    values: NDArray[Any] = stored
    padded: NDArray[np.bool_] = (values >= min(ends)) & (values <= max(ends))
    return padded


def _as_stored(value: float, header: Attributes) -> float:
    """Return a value with the sign of the pixels: some write 63536 for -2000."""
    signed = number(header, "PixelRepresentation") == 1
    if signed and value > 0x7FFF:
        return value - 0x10000
    return value + 0x10000 if not signed and value < 0 else value


def _ct_facts(header: Attributes, series_instance_uid: str) -> CtFacts:
    agents = items(header, "ContrastBolusAgentSequence")
    return CtFacts(
        series_instance_uid=series_instance_uid,
        slice_thickness_mm=number(header, "SliceThickness"),
        convolution_kernel=text(header, "ConvolutionKernel"),
        contrast=bool(agents) or bool(text(header, "ContrastBolusAgent")),
    )
