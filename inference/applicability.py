"""Whether a bundle's card covers this study, and whether to predict all the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from inference.bundle import Bundle
from inference.card import Inputs, Limits, ScannerModel
from inference.findings import Lesion, Prediction, Reason
from inference.geometry import Vector
from inference.petct import PetCt, PetFacts
from inference.preprocess import cube_grid


@dataclass(frozen=True, kw_only=True)
class Applicability:
    """Why the card does not cover the study; no reason means that it does.

    ``withhold`` is True where the network would see something else than a lung tumour in a chest.
    """

    reasons: tuple[Reason, ...]
    withhold: bool

    @property
    def applicable(self) -> bool:
        """Whether the card covers the study."""
        return not self.reasons


def judge(
    petct: PetCt,
    lesion: Lesion,
    bundle: Bundle,
    *,
    lung_volume_ml: float,
    lesion_in_thorax: bool,
    nodal_foci: Sequence[Lesion] = (),
) -> Applicability:
    """Hold a study and its primary tumour against the limits on the bundle's card.

    Lungs that are not seen, a lesion outside the thorax and a field of view mostly outside the
    images withhold the predictions; every other limit only marks them. An unknown age is not held
    against a study; an unknown uptake time, tracer or scanner is. ``nodal_foci`` are the further
    foci where hilar and mediastinal nodes lie.
    """
    limits = bundle.card.limits
    share = share_inside(petct, lesion.centroid_lps_mm, bundle.card.inputs)
    grave = (
        *_anatomy(limits, lung_volume_ml, lesion_in_thorax=lesion_in_thorax),
        *_coverage(share, limits.cube_inside_share_withhold),
    )
    minor = (*_minor(petct, lesion, limits), *_overt(nodal_foci, limits))
    if grave:
        return Applicability(reasons=(*grave, *minor), withhold=True)
    part = _coverage(share, limits.cube_inside_share_min)
    return Applicability(reasons=(*part, *minor), withhold=False)


def unfamiliar(predictions: Sequence[Prediction]) -> tuple[Reason, ...]:
    """Return one reason that names each prediction whose network saw what it did not learn from."""
    unlike = [
        f"{one.task} by {one.distance:.1f}, at most {one.distance_max:.1f}"
        for one in predictions
        if not one.familiar
    ]
    if not unlike:
        return ()
    return (
        Reason(
            code="UNLIKE_TRAINING",
            meaning=f"the networks' features differ from those of their training set: "
            f"{'; '.join(unlike)}",
        ),
    )


def share_inside(petct: PetCt, centre: Vector, inputs: Inputs) -> float:
    """Return the share of the networks' field of view that lies inside both PET and CT."""
    grid = cube_grid(centre, inputs, petct.pet.grid.frame_of_reference_uid)
    start = inputs.cube_side // 2 - inputs.crop_side // 2
    ticks = start + np.linspace(0, inputs.crop_side - 1, 17)
    points = grid.to_patient(np.stack(np.meshgrid(ticks, ticks, ticks), axis=-1))
    inside = petct.pet.grid.contains(points) & petct.ct.grid.contains(points)
    return float(inside.mean())


def _anatomy(limits: Limits, lung_volume_ml: float, *, lesion_in_thorax: bool) -> Iterator[Reason]:
    if lung_volume_ml < limits.lung_volume_min_ml:
        yield Reason(
            code="NO_LUNGS",
            meaning=f"the CT shows {lung_volume_ml:.0f} ml of lung, "
            f"the networks need {limits.lung_volume_min_ml:.0f} ml",
        )
    if limits.lesion_in_thorax and not lesion_in_thorax:
        yield Reason(code="OUTSIDE_THORAX", meaning="the lesion lies outside the thoracic cavity")


def _coverage(share: float, least: float) -> Iterator[Reason]:
    if share < least:
        yield Reason(
            code="CUBE_OUTSIDE",
            meaning=f"only {share:.0%} of what the networks look at lies inside both images, "
            f"they need {least:.0%}",
        )


def _minor(petct: PetCt, lesion: Lesion, limits: Limits) -> Iterator[Reason]:
    yield from _acquisition(petct, limits)
    yield from _slices(petct, limits)
    age = petct.patient.age_years
    if age is not None:
        yield from _within("AGE", "age", age, limits.age_years, "years")
    diameter = lesion.longest_diameter_mm
    yield from _within("LESION_SIZE", "longest diameter", diameter, limits.lesion_diameter_mm, "mm")
    yield from _within("LESION_SUV", "SUVmax", lesion.suv_max, limits.lesion_suv_max, "g/ml")


def _acquisition(petct: PetCt, limits: Limits) -> Iterator[Reason]:
    facts = petct.pet_facts
    if facts.uptake_min is None:
        yield Reason(code="UPTAKE_UNKNOWN", meaning="the time from injection to PET is not known")
    else:
        yield from _within("UPTAKE_TIME", "uptake time", facts.uptake_min, limits.uptake_min, "min")
    if facts.tracer not in limits.tracers:
        yield Reason(
            code="TRACER",
            meaning=f"the tracer is not one of {', '.join(limits.tracers)}",
        )
    if limits.scanners and not any(_is_of(facts, known) for known in limits.scanners):
        named = " ".join(name for name in (facts.manufacturer, facts.model_name) if name)
        yield Reason(
            code="SCANNER",
            meaning=f"the PET's scanner, {named or 'which is not named'}, is none of those that "
            "the networks were trained on",
        )


def _is_of(facts: PetFacts, known: ScannerModel) -> bool:
    """Compare without regard to case and spacing, which vary between software versions."""
    pairs = [(facts.manufacturer, known.manufacturer)]
    if known.model_name:
        pairs.append((facts.model_name, known.model_name))
    return all(found.casefold().split() == named.casefold().split() for found, named in pairs)


def _overt(nodal_foci: Sequence[Lesion], limits: Limits) -> Iterator[Reason]:
    if limits.node_suv_max is None:
        return
    overt = [focus.suv_max for focus in nodal_foci if focus.suv_max > limits.node_suv_max]
    if overt:
        several = f"{len(overt)} further foci" if len(overt) > 1 else "a further focus"
        yield Reason(
            code="CN_POSITIVE",
            meaning=f"not clinically N0: {several} at a hilum or in the mediastinum, SUVmax up to "
            f"{max(overt):.1f} g/ml, more than {limits.node_suv_max:g} g/ml",
        )


def _slices(petct: PetCt, limits: Limits) -> Iterator[Reason]:
    ct = max(petct.ct.grid.spacing[0], petct.ct_facts.slice_thickness_mm or 0.0)
    pet = petct.pet.grid.spacing[0]
    for code, modality, found, most in (
        ("CT_SLICES", "CT", ct, limits.ct_slice_mm_max),
        ("PET_SLICES", "PET", pet, limits.pet_slice_mm_max),
    ):
        if found > most:
            yield Reason(
                code=code, meaning=f"{modality} slices of {found:.1f} mm, at most {most:.1f} mm"
            )


def _within(
    code: str, name: str, found: float, allowed: tuple[float, float], unit: str
) -> Iterator[Reason]:
    low, high = allowed
    if not low <= found <= high:
        yield Reason(
            code=code,
            meaning=f"{name} {found:.1f} {unit} is outside the {low:g} to {high:g} {unit} "
            "that the networks were made for",
        )
