"""Finds the primary tumour and further avid foci in the chest of one PET/CT."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from inference.beside import beside
from inference.findings import Lesion
from inference.foci import Focus, Place, find_foci
from inference.measure import centroid, diameters, laterality, measure, share_within
from inference.petct import GivenRegion, PetCt, RegionSource
from inference.resample import region_onto
from inference.thorax import Thorax, find_thorax
from inference.volume import Region


@dataclass(frozen=True, kw_only=True)
class LesionRules:
    """How avid a lesion must be and where it ends."""

    threshold_fraction: float = 0.41
    """Of SUVmax: the metabolic volume holds the voxels of a lesion at or above it."""
    suv_min: float = 2.5
    """A focus that nobody has drawn must reach this SUVbw in g/ml."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold_fraction < 1:
            raise ValueError(f"a fraction lies between 0 and 1, got {self.threshold_fraction}")
        if self.suv_min <= 0:
            raise ValueError(f"the least SUV must be positive, got {self.suv_min} g/ml")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Choice:
    """A region taken for a lesion, and why."""

    region: Region
    """On the PET's grid."""
    drawn: Region
    """The same on the grid that it was found or drawn on: what its size is measured on."""
    source: RegionSource
    explanation: str
    place: Place | None = None


def locate(
    petct: PetCt,
    rules: LesionRules,
    thorax: Thorax | None = None,
    *,
    meanwhile: Callable[[], None] | None = None,
) -> tuple[Lesion, ...]:
    """Return the primary tumour first, then further avid foci of the chest, the hottest first.

    A region that came with the study is the primary whatever it takes up; the first of ``given``
    that meets the PET counts. One that only marks a place stands for the avid focus there, and for
    itself where there is none. Otherwise it is the focus in the lung that takes up most in all
    (SUVmax times volume), or, where no focus lies in the lung, in the mediastinum. Heart, liver and
    what lies below the lungs are passed over. Nothing avid enough, or no lungs to look in: empty.

    A lesion found by threshold ends at ``threshold_fraction`` of the way from the uptake around it
    to its SUVmax, holes filled; that is the 41 % isocontour where there is nothing around, and
    tighter where there is. A region that was drawn keeps its own grid for volume, diameters and
    place; its uptake is measured where it lies on the PET. The metabolic volume of either holds
    its voxels at or above the fraction of SUVmax. ``thorax`` is found in the CT if not given,
    ``meanwhile`` done while another thread cuts uptake into basins.
    """
    thorax = thorax or find_thorax(petct.ct, petct.ct_means)
    foci = find_foci(
        petct.pet,
        thorax,
        suv_min=rules.suv_min,
        threshold_fraction=rules.threshold_fraction,
        meanwhile=meanwhile,
    )
    choices = _choose(_given(petct, foci), foci)
    return tuple(
        _lesion(
            petct, choice, label="primary" if n == 0 else f"focus-{n}", rules=rules, thorax=thorax
        )
        for n, choice in enumerate(choices)
    )


def _choose(given: _Choice | None, foci: tuple[Focus, ...]) -> list[_Choice]:
    lesions = [f for f in foci if f.place.of_lesions]
    passed_over = [f for f in foci if not f.place.of_lesions]
    if given is not None:
        apart = [f for f in lesions if not (f.region.mask & given.region.mask).any()]
        return [given, *(_further(f) for f in apart)]
    if not lesions:
        return []
    primary = max(lesions, key=lambda f: (f.place is Place.LUNG, f.burden_g))
    first = _Choice(
        region=primary.region,
        drawn=primary.region,
        source=RegionSource.PET_THRESHOLD,
        explanation=_why(primary, len(lesions), passed_over),
        place=primary.place,
    )
    return [first, *(_further(f) for f in lesions if f is not primary)]


def _why(primary: Focus, count: int, passed_over: list[Focus]) -> str:
    which = (
        "the only avid focus"
        if count == 1
        else f"the one that takes up most among {count} avid foci"
    )
    text = (
        f"{which} of the chest: SUVmax {primary.suv_max:.1f} in the {primary.place}, "
        f"{primary.lung_contact:.0%} of its surroundings being lung"
    )
    hotter = sorted({str(f.place) for f in passed_over if f.suv_max > primary.suv_max})
    if hotter:
        text += f"; passed over as physiological: hotter uptake of {' and '.join(hotter)}"
    return text


def _further(focus: Focus) -> _Choice:
    return _Choice(
        region=focus.region,
        drawn=focus.region,
        source=RegionSource.PET_THRESHOLD,
        explanation=f"a further avid focus in the {focus.place}: SUVmax {focus.suv_max:.1f}",
        place=focus.place,
    )


def _given(petct: PetCt, foci: tuple[Focus, ...]) -> _Choice | None:
    for given in petct.given:
        marked = _marked(given, foci) if given.marks_only else None
        if marked is not None:
            return marked
        region = region_onto(given.region, petct.pet.grid)
        if region.voxel_count:
            return _Choice(
                region=region, drawn=given.region, source=given.source, explanation=_origin(given)
            )
    return None


def _marked(given: GivenRegion, foci: tuple[Focus, ...]) -> _Choice | None:
    """Return the focus that holds most of a mark, whatever lies around it: a person chose it."""
    shares = [share_within(given.region, focus.region) for focus in foci]
    if not shares or max(shares) == 0:
        return None
    focus = foci[int(np.argmax(shares))]
    how = "by boxes" if given.source is RegionSource.BOX else "on one plane"
    return _Choice(
        region=focus.region,
        drawn=focus.region,
        source=RegionSource.PET_THRESHOLD,
        explanation=(
            f"the avid focus in the {focus.place} that is marked {how}; SUVmax "
            f"{focus.suv_max:.1f}; {_origin(given)}"
        ),
        place=focus.place,
    )


def _origin(given: GivenRegion) -> str:
    text = f'drawn before: the region "{given.name}" of the {given.source} that came with the study'
    return f"{text}; {given.origin}" if given.origin else text


def _lesion(
    petct: PetCt, choice: _Choice, *, label: str, rules: LesionRules, thorax: Thorax
) -> Lesion:
    with beside(partial(region_onto, choice.drawn, petct.ct.grid)) as carried:
        found = measure(choice.region, petct.pet, threshold_fraction=rules.threshold_fraction)
        axial_mm, longest_mm = diameters(choice.drawn)
        side = laterality(choice.drawn, thorax.left_lung, thorax.right_lung)
    return Lesion(
        label=label,
        source=str(choice.source),
        on_pet=choice.region,
        on_ct=carried(),
        suv_max=found.suv_max,
        suv_mean=found.suv_mean,
        suv_peak=found.suv_peak,
        mtv_ml=found.mtv_ml,
        tlg_g=found.tlg_g,
        volume_ml=choice.drawn.volume_ml,
        longest_axial_diameter_mm=axial_mm,
        longest_diameter_mm=longest_mm,
        centroid_lps_mm=centroid(choice.drawn),
        suv_max_lps_mm=found.suv_max_lps_mm,
        laterality=side,
        place=None if choice.place is None else str(choice.place),
        explanation=choice.explanation,
    )
