"""One tumour of the lung: its traits, and the solids that show them in PET and in CT."""

from dataclasses import dataclass

import numpy as np

from inference.geometry import Vector
from inference.shapes import Capsule, Coordinates, Ellipsoid, Shape, Value, Waves, to_vector
from inference.volume import Voxels

SOLID_HU = 35.0
GROUND_GLASS_HU = -550.0
TEXTURE_HU = 180.0
"""SD of the density at the greatest texture: from cavities to calcium.

At 90 HU, in waves that a slice of 4.5 mm averages away, a network cannot learn it from thousands of
labelled cases, though a hand-made feature finds it (docs/decisions/0030-recipe.md).
"""


@dataclass(frozen=True, kw_only=True)
class Tumour:
    """A round tumour of the lung. ``suv`` is the SUVbw of its living tissue, before blur.

    The five traits from 0 to 1 are seen in one modality each: ``heterogeneity`` (a necrotic core
    and mottling) in PET alone; ``solidity`` (the solid share of the diameter, the rest being ground
    glass), ``spiculation`` (rays into the lung) and ``texture`` (density that varies) in CT alone.
    """

    centre_lps_mm: Vector
    diameter_mm: float
    suv: float
    heterogeneity: float = 0.0
    solidity: float = 1.0
    spiculation: float = 0.0
    texture: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.diameter_mm <= 150:
            raise ValueError(f"a tumour's diameter is 0 to 150 mm, got {self.diameter_mm}")
        if self.suv < 0:
            raise ValueError(f"SUV cannot be negative, got {self.suv}")
        traits = (self.heterogeneity, self.solidity, self.spiculation, self.texture)
        if min(traits) < 0 or max(traits) > 1:
            raise ValueError(f"traits lie between 0 and 1, got {traits}")

    @property
    def laterality(self) -> str:
        """``left`` or ``right``."""
        return "left" if self.centre_lps_mm[0] > 0 else "right"


def ball(centre: Vector, diameter_mm: float) -> Ellipsoid:
    """Return a sphere."""
    radius = diameter_mm / 2
    return Ellipsoid(centre, (radius, radius, radius))


def scattered(centre: Vector, sd_mm: float, rng: np.random.Generator) -> Vector:
    """Return a point near ``centre``."""
    return to_vector(np.asarray(centre) + rng.normal(0, sd_mm, 3))


def tumour_in_ct(tumour: Tumour, rng: np.random.Generator) -> list[tuple[Shape, Value]]:
    """Rays first, then ground glass, then the solid core over both."""
    waves = Waves.random(rng, count=8, shortest_mm=7.0, longest_mm=18.0)
    whole = ball(tumour.centre_lps_mm, tumour.diameter_mm)

    def density(mean_hu: float) -> Value:
        if tumour.texture == 0:
            return mean_hu
        sd_hu = np.float32(TEXTURE_HU * tumour.texture)
        return lambda at: np.float32(mean_hu) + sd_hu * waves.at(at)

    result: list[tuple[Shape, Value]] = [
        (ray, 0.0) for ray in _rays(tumour, count=round(70 * tumour.spiculation), rng=rng)
    ]
    if tumour.solidity < 1:
        result.append((whole, density(GROUND_GLASS_HU)))
    if tumour.solidity > 0:
        core = ball(tumour.centre_lps_mm, tumour.diameter_mm * tumour.solidity)
        result.append((core, density(SOLID_HU)))
    return result


def _rays(tumour: Tumour, *, count: int, rng: np.random.Generator) -> list[Shape]:
    centre, radius = np.asarray(tumour.centre_lps_mm), tumour.diameter_mm / 2
    result: list[Shape] = []
    for _ in range(count):
        along = rng.standard_normal(3)
        along /= np.linalg.norm(along)
        tip = centre + along * (radius + rng.uniform(3.0, 5.0 + 0.7 * radius))
        root = centre + along * radius * 0.85
        result.append(Capsule(to_vector(root), to_vector(tip), 3.0, 1.5))
    return result


def tumour_in_pet(tumour: Tumour, rng: np.random.Generator) -> tuple[Shape, Value]:
    """Heterogeneity empties a core that lies somewhat off the centre, and mottles the rest."""
    whole = ball(tumour.centre_lps_mm, tumour.diameter_mm)
    radius = tumour.diameter_mm / 2
    length = max(radius, 8.0)
    waves = Waves.random(rng, count=6, shortest_mm=0.9 * length, longest_mm=1.8 * length)
    core = ball(scattered(tumour.centre_lps_mm, 0.1 * radius, rng), 1.2 * radius)
    if tumour.heterogeneity == 0:
        return whole, tumour.suv

    def uptake(at: Coordinates) -> Voxels:
        dead = np.clip(core.depth_mm(at) / np.float32(0.3 * radius), 0, 1)
        mottle = np.clip(
            np.float32(1) + np.float32(0.35 * tumour.heterogeneity) * waves.at(at), 0, 2
        )
        alive = np.float32(1) - np.float32(0.85 * tumour.heterogeneity) * dead
        suv: Voxels = np.float32(tumour.suv) * mottle * alive
        return suv

    return whole, uptake
