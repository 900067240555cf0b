"""The chosen PET and CT as calibrated arrays on their grids."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from inference.beside import beside
from inference.geometry import Grid
from inference.petct import CtFacts, PetCt
from inference.stages import stage
from inference.volume import Quantity, Volume, Voxels
from node.dicom import contours, pet, philips
from node.dicom.attributes import Attributes, items, number, text
from node.dicom.reasons import unusable, warning
from node.dicom.series import Choice
from node.dicom.stack import read_stack

HU_LIMIT = 100_000.0
"""No substance comes near it: gold, on the widest scales that CTs have, about 30000 HU."""
ACTIVITY_MOST = 1.5
"""What a PET shows in all, as a part of the dose, is one at most. A half more stands for noise,
calibration and a weight that was rounded; a wrong unit or slope is wrong by more."""


def load(choice: Choice, *, contour_names: Sequence[str], contour_codes: Sequence[str]) -> PetCt:
    """Read the chosen PET and CT, and the contours that may show the primary tumour.

    ``contour_names`` and ``contour_codes`` come most trusted first; see ``contours``. Raises
    UnusableStudy where pixels cannot be decoded or SUVbw cannot be computed.
    """
    # What is wrong with the PET is told, whatever is wrong with the CT.
    with beside(partial(read_stack, choice.ct, averaged=True)) as reading:
        with stage("pet"):
            pet_stack = read_stack(choice.pet)
            rule = pet.suv_rule(pet_stack.headers, philips.count_factors(pet_stack.dataset))
            header = pet_stack.headers[0]
            patient = pet.patient_facts(header)
            suv_sum = _scale(pet_stack.voxels, rule.factors)
            _refuse_more_than_injected(suv_sum, pet_stack.grid, patient.weight_kg)
        with stage("ct"):
            ct_stack = reading()
    _refuse_impossible_hu(ct_stack.low, ct_stack.high)
    wanted = contours.Wanted(names=tuple(contour_names), codes=tuple(contour_codes))
    with stage("contours"):
        given, told = contours.given_regions(
            choice, pet_grid=pet_stack.grid, ct_grid=ct_stack.grid, wanted=wanted
        )
    lossy = (warning("PET_LOSSY"),) if pet_stack.lossy else ()
    return PetCt(
        study_instance_uid=choice.study_instance_uid,
        pet=Volume(voxels=pet_stack.voxels, grid=pet_stack.grid, quantity=Quantity.SUVBW),
        ct=Volume(voxels=ct_stack.voxels, grid=ct_stack.grid, quantity=Quantity.HU),
        pet_facts=pet.pet_facts(rule, header, choice.pet.series_instance_uid),
        ct_facts=_ct_facts(ct_stack.headers[0], choice.ct.series_instance_uid),
        patient=patient,
        given=given,
        warnings=(*choice.warnings, *rule.warnings, *lossy, *told),
        ct_means=ct_stack.means,
    )


def _scale(voxels: Voxels, factors: Sequence[float]) -> float:
    """Multiply each plane by its factor, in place, and return the sum of all voxels."""
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for plane, factor in zip(voxels, np.asarray(factors, np.float32), strict=True):
            np.multiply(plane, factor, out=plane)
            total += float(plane.sum())
    return total


def _refuse_more_than_injected(suv_sum: float, grid: Grid, weight_kg: float | None) -> None:
    """Refuse a PET that holds more than the dose.

    SUVbw times volume, summed over a body that keeps all of the dose, is its weight in grams.
    Without a weight the heaviest patient is supposed.
    """
    shown_g = suv_sum * grid.voxel_volume_ml
    share = shown_g / (1000.0 * (weight_kg or pet.WEIGHT_KG[1]))
    if not share <= ACTIVITY_MOST:  # what is no number is refused as well
        raise unusable("SUV_IMPLAUSIBLE", f"{share:.3g} times the dose")


def _refuse_impossible_hu(least: float, most: float) -> None:
    if not (least >= -HU_LIMIT and most <= HU_LIMIT):  # what is no number is refused as well
        raise unusable("HU_IMPLAUSIBLE", f"{least:.6g} to {most:.6g} HU")


def _ct_facts(header: Attributes, series_instance_uid: str) -> CtFacts:
    agents = items(header, "ContrastBolusAgentSequence")
    return CtFacts(
        series_instance_uid=series_instance_uid,
        slice_thickness_mm=number(header, "SliceThickness"),
        convolution_kernel=text(header, "ConvolutionKernel"),
        contrast=bool(agents) or bool(text(header, "ContrastBolusAgent")),
    )
