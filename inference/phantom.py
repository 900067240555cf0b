"""A PET/CT of a thorax drawn from known parameters: for the demo, the tests and training."""

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from inference.anatomy import AIR_HU, Body, hilum, lungs, obstacles, organs
from inference.geometry import Grid, Vector
from inference.petct import CtFacts, PatientFacts, PetCt, PetFacts
from inference.scanner import SCANNERS, Scanner
from inference.shapes import (
    Box,
    Shape,
    Slices,
    Value,
    coordinates,
    covering,
    paint,
    to_vector,
)
from inference.tumour import Tumour, ball, scattered, tumour_in_ct, tumour_in_pet
from inference.volume import Quantity, Region, Volume, Voxels

__all__ = [
    "SCANNERS",
    "Body",
    "Node",
    "Phantom",
    "Scanner",
    "Tumour",
    "draw",
    "random_phantom",
    "tumour_region",
    "with_nodes",
]

F18_HALF_LIFE_MIN = 109.77
UPTAKE_MIN = 60.0
DOSE_BQ_PER_KG = 5e6


@dataclass(frozen=True, kw_only=True)
class Node:
    """An avid lymph node; ``station`` is N1 (hilar) or N2 (mediastinal)."""

    station: str
    centre_lps_mm: Vector
    diameter_mm: float
    suv: float


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """Everything that decides what is drawn; ``seed`` decides vessels, textures and noise."""

    seed: int
    tumour: Tumour | None = None
    nodes: tuple[Node, ...] = ()
    body: Body = field(default_factory=Body)
    patient: PatientFacts = field(
        default_factory=lambda: PatientFacts(age_years=65, sex="F", weight_kg=70.0, height_m=1.68)
    )

    @property
    def frame_of_reference_uid(self) -> str:
        """The same for every scanner, so that drawings of one phantom lie over each other."""
        return _uid(self.seed, "frame")


def random_phantom(seed: int) -> Phantom:
    """Draw anatomy, physiology and tumour at random: SUV 3 to 18, diameter 10 to 60 mm, no nodes.

    Uptake of heart and kidneys varies independently of the tumour and often exceeds it.
    """
    rng = np.random.default_rng([seed, 0])
    body = _random_body(rng)
    diameter_mm = float(np.clip(rng.lognormal(np.log(28.0), 0.45), 10.0, 60.0))
    tumour = Tumour(
        centre_lps_mm=_place_in_lung(body, diameter_mm, rng),
        diameter_mm=diameter_mm,
        suv=float(np.clip(rng.lognormal(np.log(8.0), 0.45), 3.0, 18.0)),
        heterogeneity=float(rng.uniform(0, 1)),
        solidity=float(rng.choice([1.0, rng.uniform(0.4, 1.0)])),
        spiculation=float(rng.uniform(0, 1)),
        texture=float(rng.uniform(0, 1)),
    )
    weight_kg = 70.0 * body.scale[0] * body.scale[1] * body.scale[2] * rng.uniform(0.92, 1.08)
    patient = PatientFacts(
        age_years=float(rng.integers(45, 86)),
        sex=str(rng.choice(["F", "M"])),
        weight_kg=round(float(weight_kg), 1),
        height_m=round(1.70 * body.height_scale, 2),
    )
    return Phantom(seed=seed, tumour=tumour, body=body, patient=patient)


def with_nodes(phantom: Phantom, *, n1: int = 0, n2: int = 0) -> Phantom:
    """Return the phantom with ``n1`` hilar and ``n2`` mediastinal nodes on the tumour's side."""
    rng = np.random.default_rng([phantom.seed, 5])
    left = phantom.tumour is not None and phantom.tumour.laterality == "left"
    x, y, z = hilum(phantom.body, left=left)
    middle = (0.35 * x, y + 2.0, z + 38.0)
    nodes = [
        Node(
            station=station,
            centre_lps_mm=scattered(place, spread_mm, rng),
            diameter_mm=float(rng.uniform(7, 16)),
            suv=float(rng.uniform(2.5, 8)),
        )
        for station, place, spread_mm, count in (
            ("N1", (1.35 * x, y, z), 7.0, n1),
            ("N2", middle, 9.0, n2),
        )
        for _ in range(count)
    ]
    return replace(phantom, nodes=tuple(nodes))


def draw(phantom: Phantom, scanner: Scanner, *, box: Box | None = None) -> PetCt:
    """Draw the PET in SUVbw and the CT in HU as ``scanner`` would see them.

    With ``box``, least and greatest LPS mm, only the parts of both lattices that cover it are
    drawn, with the values of the whole drawing but for the noise. A box outside is a ValueError.
    """
    scene = _scene(phantom)
    frame = phantom.frame_of_reference_uid
    ct_rng = np.random.default_rng([phantom.seed, 2])
    pet_rng = np.random.default_rng([phantom.seed, 3])
    return PetCt(
        study_instance_uid=_uid(phantom.seed, scanner.name, "study"),
        pet=_draw_pet(scene, scanner, scanner.pet_grid(frame), box, pet_rng),
        ct=_draw_ct(scene, scanner, scanner.ct_grid(frame), box, ct_rng),
        pet_facts=PetFacts(
            series_instance_uid=_uid(phantom.seed, scanner.name, "pet"),
            units="BQML",
            suvbw_factor=1000.0 / (DOSE_BQ_PER_KG * 2 ** (-UPTAKE_MIN / F18_HALF_LIFE_MIN)),
            decay_reference="SERIES_TIME",
            uptake_min=UPTAKE_MIN,
            tracer="FDG",
            manufacturer=scanner.manufacturer,
            model_name=scanner.model_name,
        ),
        ct_facts=CtFacts(
            series_instance_uid=_uid(phantom.seed, scanner.name, "ct"),
            slice_thickness_mm=scanner.ct_spacing[0],
            convolution_kernel="STANDARD",
        ),
        patient=phantom.patient,
    )


def tumour_region(phantom: Phantom, grid: Grid) -> Region:
    """Return the voxels whose centres lie in the tumour, unblurred and without its rays."""
    mask = np.zeros(grid.shape, dtype=np.bool_)
    if phantom.tumour is None:
        return Region(mask=mask, grid=grid)
    shape = ball(phantom.tumour.centre_lps_mm, phantom.tumour.diameter_mm)
    part = covering(grid, shape.box)
    if part is not None:
        mask[part] = shape.depth_mm(coordinates(grid, part)) >= 0
    return Region(mask=mask, grid=grid)


@dataclass(frozen=True)
class _Scene:
    """What is painted, in order, in each modality."""

    hu: list[tuple[Shape, Value]]
    suv: list[tuple[Shape, Value]]


def _scene(phantom: Phantom) -> _Scene:
    found = organs(phantom.body, phantom.seed)
    hu = [(organ.shape, organ.hu) for organ in found if organ.hu is not None]
    suv = [(organ.shape, organ.suv) for organ in found if organ.suv is not None]
    for node in phantom.nodes:
        shape = ball(node.centre_lps_mm, node.diameter_mm)
        hu.append((shape, 40.0))
        suv.append((shape, node.suv))
    if phantom.tumour is not None:
        hu += tumour_in_ct(phantom.tumour, np.random.default_rng([phantom.seed, 4]))
        suv.append(tumour_in_pet(phantom.tumour, np.random.default_rng([phantom.seed, 6])))
    return _Scene(hu, suv)


def _draw_ct(
    scene: _Scene, scanner: Scanner, grid: Grid, box: Box | None, rng: np.random.Generator
) -> Volume:
    window = _window(grid, box)
    voxels = _painted(grid, window, scene.hu, AIR_HU)
    if scanner.ct_noise_hu > 0:
        voxels += np.float32(scanner.ct_noise_hu) * rng.standard_normal(
            voxels.shape, dtype=np.float32
        )
    np.clip(voxels, -1024.0, 3071.0, out=voxels)
    return Volume(voxels=voxels, grid=_crop(grid, window), quantity=Quantity.HU)


def _draw_pet(
    scene: _Scene, scanner: Scanner, grid: Grid, box: Box | None, rng: np.random.Generator
) -> Volume:
    """Paint a margin as wide as the blur around the box, blur, and cut the margin off."""
    sigma = scanner.pet_fwhm_mm / 2.3548 / np.asarray(grid.spacing)
    window = _window(grid, box)
    wide = _window(grid, box, margin=np.ceil(3 * sigma + 1).astype(int))
    voxels: Voxels = ndimage.gaussian_filter(
        _painted(grid, wide, scene.suv, 0.0), sigma, mode="nearest", truncate=3.0
    )
    a, b, c = (
        slice(n.start - w.start, n.stop - w.start) for n, w in zip(window, wide, strict=True)
    )
    voxels = np.ascontiguousarray(voxels[a, b, c])
    if scanner.pet_noise > 0:
        noise = ndimage.gaussian_filter(
            rng.standard_normal(voxels.shape, dtype=np.float32),
            0.7 * sigma,
            mode="wrap",
            truncate=3.0,
        )
        noise *= np.float32(scanner.pet_noise / max(float(noise.std()), 1e-6))
        voxels += noise * np.sqrt(np.maximum(voxels, np.float32(0.01)))
        np.maximum(voxels, 0, out=voxels)
    return Volume(voxels=voxels, grid=_crop(grid, window), quantity=Quantity.SUVBW)


def _painted(
    grid: Grid, window: Slices, solids: list[tuple[Shape, Value]], background: float
) -> Voxels:
    shape = tuple(part.stop - part.start for part in window)
    voxels: Voxels = np.full(shape, background, dtype=np.float32)
    paint(voxels, grid, window, solids)
    return voxels


def _window(grid: Grid, box: Box | None, *, margin: ArrayLike = 0) -> Slices:
    if box is None:
        a, b, c = (slice(0, n) for n in grid.shape)
        return a, b, c
    window = covering(grid, box, margin=margin)
    if window is None:
        raise ValueError(f"the box {box} lies outside the field of view")
    return window


def _crop(grid: Grid, window: Slices) -> Grid:
    return grid.crop([part.start for part in window], [part.stop for part in window])


def _random_body(rng: np.random.Generator) -> Body:
    return Body(
        half_width_mm=float(rng.uniform(155, 190)),
        half_depth_mm=float(rng.uniform(100, 128)),
        height_scale=float(rng.uniform(0.93, 1.05)),
        fat_mm=float(rng.uniform(10, 20)),
        breath_mm=float(rng.uniform(-8, 12)),
        arms=bool(rng.random() < 0.15),
        lung_hu=float(rng.uniform(-870, -800)),
        lung_suv=float(rng.uniform(0.4, 0.6)),
        blood_suv=float(rng.uniform(1.5, 1.9)),
        myocardium_suv=float(np.exp(rng.uniform(np.log(1.5), np.log(12.0)))),
        liver_suv=float(rng.uniform(2.0, 2.6)),
        spleen_suv=float(rng.uniform(1.6, 2.0)),
        kidney_suv=float(rng.uniform(4, 15)),
        marrow_suv=float(rng.uniform(1.0, 1.4)),
        muscle_suv=float(rng.uniform(0.5, 0.7)),
        stomach_suv=float(rng.uniform(1.2, 3.0)),
    )


def _place_in_lung(body: Body, diameter_mm: float, rng: np.random.Generator) -> Vector:
    """Choose a side and a zone, central or peripheral, then a place where half the ball fits."""
    left = bool(rng.random() < 0.45)
    central = bool(rng.random() < 0.35)
    lung, root = lungs(body)[int(left)], np.asarray(hilum(body, left=left))
    least, most = np.asarray(lung.box)
    walls = obstacles(body)
    for _ in range(5000):
        point = rng.uniform(least, most)
        if bool(np.linalg.norm(point - root) < 50.0) is not central:
            continue
        x, y, z = (np.full((1, 1, 1), p, dtype=np.float32) for p in point)
        inside = float(lung.depth_mm((x, y, z)).item())
        clear = -max(float(wall.depth_mm((x, y, z)).item()) for wall in walls)
        if min(inside, clear) > 0.3 * diameter_mm:
            return to_vector(point)
    raise ValueError(f"no place in the lung for a tumour of {diameter_mm} mm")


def _uid(*parts: object) -> str:
    """Return a UID under 2.25 that depends on ``parts`` alone (PS3.5 B.2)."""
    digest = hashlib.sha256("/".join(map(str, ("phantom", *parts))).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
