"""A thorax and upper abdomen as solids with their HU and SUVbw, in the order of painting."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from inference.geometry import Vector
from inference.shapes import Capsule, Column, Coordinates, Ellipsoid, Ribs, Shape, Value
from inference.volume import Voxels

AIR_HU = -1000.0
HILA: tuple[Vector, Vector] = ((-38.0, 10.0, 5.0), (38.0, 10.0, 8.0))
"""Right and left hilum in the nominal body."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """Size and physiology of one body; SUVs are SUVbw in g/ml."""

    half_width_mm: float = 170.0
    half_depth_mm: float = 112.0
    height_scale: float = 1.0
    """Stretches everything from head to feet."""
    fat_mm: float = 16.0
    breath_mm: float = 0.0
    """How much higher than nominal the diaphragm stands."""
    arms: bool = False
    """Whether the arms lie beside the body."""
    lung_hu: float = -840.0
    lung_suv: float = 0.5
    blood_suv: float = 1.7
    myocardium_suv: float = 3.0
    liver_suv: float = 2.3
    spleen_suv: float = 1.8
    kidney_suv: float = 7.0
    marrow_suv: float = 1.2
    muscle_suv: float = 0.6
    stomach_suv: float = 1.6

    def __post_init__(self) -> None:
        if min(self.half_width_mm, self.half_depth_mm, self.height_scale) <= 0:
            raise ValueError("a body has a positive size")

    @property
    def scale(self) -> Vector:
        """Nominal mm to mm of this body, for x, y and z."""
        return self.half_width_mm / 170.0, self.half_depth_mm / 112.0, self.height_scale


@dataclass(frozen=True, kw_only=True)
class Organ:
    """A solid and what it looks like; None leaves that modality as it is."""

    name: str
    shape: Shape
    hu: Value | None
    suv: Value | None


@dataclass(frozen=True)
class _Builder:
    """Places nominal solids in one body."""

    body: Body

    def ellipsoid(self, centre: Vector, radii: Vector) -> Ellipsoid:
        return Ellipsoid(self.place(centre), self.place(radii))

    def column(self, *levels: tuple[float, float, float, float, float]) -> Column:
        x, y, z = self.body.scale
        return Column(tuple((h * z, cx * x, cy * y, a * x, b * y) for h, cx, cy, a, b in levels))

    def rod(self, start: Vector, end: Vector, radius: float, end_radius: float = 0.0) -> Capsule:
        return Capsule(self.place(start), self.place(end), radius, end_radius or radius)

    def place(self, nominal: Vector) -> Vector:
        x, y, z = (n * s for n, s in zip(nominal, self.body.scale, strict=True))
        return x, y, z


def lungs(body: Body) -> tuple[Column, Column]:
    """Return the right and the left lung, before heart and diaphragm indent them."""
    build = _Builder(body)
    right, left = (
        build.column(
            (-145.0, 84.0 * side, 20.0, 40.0, 50.0),
            (-125.0, 80.0 * side, 8.0, 56.0, 74.0),
            (-60.0, 78.0 * side, 2.0, 62.0, 82.0),
            (0.0, 76.0 * side, 0.0, 61.0, 80.0),
            (60.0, 68.0 * side, 2.0, 53.0, 68.0),
            (100.0, 58.0 * side, 8.0, 41.0, 50.0),
            (122.0, 50.0 * side, 14.0, 26.0, 30.0),
            (134.0, 46.0 * side, 18.0, 8.0, 9.0),
        )
        for side in (-1.0, 1.0)
    )
    return right, left


def hilum(body: Body, *, left: bool) -> Vector:
    """Return where bronchus and vessels enter the lung."""
    return _Builder(body).place(HILA[int(left)])


def organs(body: Body, seed: int) -> tuple[Organ, ...]:
    """List the organs in the order of painting; ``seed`` decides the course of the vessels."""
    build = _Builder(body)
    return (
        *_wall(build),
        *_chest(build, np.random.default_rng([seed, 1])),
        *_mediastinum(build),
        *_abdomen(build),
        *_skeleton(build),
    )


def obstacles(body: Body) -> tuple[Shape, ...]:
    """Return what indents the lungs: no tumour of the lung has its centre in there."""
    build = _Builder(body)
    names = ("mediastinum", "heart", "liver", "left diaphragm", "ventricle", "spleen", "spine")
    found = (*_mediastinum(build), *_abdomen(build), *_skeleton(build))
    return tuple(organ.shape for organ in found if organ.name in names)


def _wall(build: _Builder) -> tuple[Organ, ...]:
    body = build.body
    outline = (
        (-420.0, 0.0, 0.0, 165.0, 108.0),
        (-100.0, 0.0, 0.0, 166.0, 110.0),
        (60.0, 0.0, 0.0, 170.0, 112.0),
        (110.0, 0.0, 2.0, 168.0, 98.0),
        (145.0, 0.0, 6.0, 120.0, 80.0),
        (168.0, 0.0, 8.0, 66.0, 62.0),
        (280.0, 0.0, 8.0, 58.0, 62.0),
    )
    skin = build.column(*outline)
    inner = Column(
        tuple((z, cx, cy, a - body.fat_mm, b - body.fat_mm) for z, cx, cy, a, b in skin.levels)
    )
    organs = [
        Organ(name="fat", shape=skin, hu=-100.0, suv=0.3),
        Organ(name="muscle", shape=inner, hu=50.0, suv=body.muscle_suv),
    ]
    for side in (-1.0, 1.0) if body.arms else ():
        ends = (218.0 * side, 15.0, -420.0), (205.0 * side, 15.0, 95.0)
        organs += [
            Organ(name="arm", shape=build.rod(*ends, 40.0, 44.0), hu=45.0, suv=0.6),
            Organ(name="humerus", shape=build.rod(*ends, 12.0), hu=500.0, suv=0.8),
        ]
    return tuple(organs)


def _chest(build: _Builder, rng: np.random.Generator) -> tuple[Organ, ...]:
    body = build.body
    gradient = np.float32(0.35)

    def parenchyma(at: Coordinates) -> Voxels:
        """Lung is denser towards the back, where the blood goes in a patient who lies supine."""
        return np.float32(body.lung_hu) + gradient * at[1]

    result = []
    for left, lung in enumerate(lungs(body)):
        result.append(Organ(name="lung", shape=lung, hu=parenchyma, suv=body.lung_suv))
        result += _vessels(lung, hilum(body, left=bool(left)), rng)
    return tuple(result)


def _vessels(lung: Column, root: Vector, rng: np.random.Generator) -> list[Organ]:
    """Vessels from the hilum towards the surface, each forking once; too thin to show in PET."""
    levels = np.asarray(lung.levels)
    result = []
    for _ in range(12):
        height = rng.uniform(levels[1, 0], levels[-2, 0])
        cx, cy, a, b = (float(np.interp(height, levels[:, 0], row)) for row in levels.T[1:])
        angle = rng.uniform(0, 2 * np.pi)
        tips = [
            (
                cx + 0.85 * a * float(np.cos(angle + turn)),
                cy + 0.85 * b * float(np.sin(angle + turn)),
                float(height + rng.normal(0, 10)),
            )
            for turn in (-0.25, 0.25)
        ]
        middle = np.asarray(root) * 0.5 + np.mean(tips, axis=0) * 0.5
        fork = (float(middle[0]), float(middle[1]), float(middle[2]))
        for start, end, thick, thin in (
            (root, fork, 4.0, 2.2),
            (fork, tips[0], 2.0, 0.8),
            (fork, tips[1], 2.0, 0.8),
        ):
            shape = Capsule(start, end, thick, thin)
            result.append(Organ(name="vessel", shape=shape, hu=40.0, suv=None))
    return result


def _mediastinum(build: _Builder) -> tuple[Organ, ...]:
    body = build.body
    blood = body.blood_suv
    column = build.column(
        (-150.0, 0.0, 12.0, 30.0, 60.0),
        (40.0, 0.0, 4.0, 30.0, 68.0),
        (100.0, 0.0, 6.0, 34.0, 56.0),
        (140.0, 0.0, 8.0, 40.0, 44.0),
    )
    arch = ((-10.0, -28.0, -10.0), (-8.0, -26.0, 40.0), (6.0, -6.0, 62.0), (20.0, 24.0, 60.0))
    aorta = (*arch, (24.0, 46.0, 36.0), (20.0, 44.0, -300.0))
    result = [
        Organ(name="mediastinum", shape=column, hu=-10.0, suv=1.0),
        Organ(
            name="heart", shape=build.ellipsoid((22, -26, -62), (56, 46, 52)), hu=40.0, suv=blood
        ),
        Organ(
            name="ventricle",
            shape=build.ellipsoid((46, -24, -70), (33, 31, 40)),
            hu=48.0,
            suv=body.myocardium_suv,
        ),
        Organ(
            name="cavity", shape=build.ellipsoid((44, -22, -66), (21, 19, 29)), hu=40.0, suv=blood
        ),
    ]
    result += [
        Organ(name="aorta", shape=build.rod(a, b, 13.0), hu=42.0, suv=blood)
        for a, b in pairwise(aorta)
    ]
    trunk = (8.0, -16.0, 14.0)
    for root in HILA:
        result.append(
            Organ(name="artery", shape=build.rod(trunk, root, 11.0, 7.0), hu=42.0, suv=blood)
        )
    carina = (0.0, 12.0, 34.0)
    airway = build.rod((0.0, 4.0, 280.0), carina, 8.5)
    result.append(Organ(name="trachea", shape=airway, hu=-980.0, suv=0.3))
    for x, y, z in HILA:
        bronchus = build.rod(carina, (x * 1.2, y + 8.0, z), 6.0, 4.5)
        result.append(Organ(name="bronchus", shape=bronchus, hu=-960.0, suv=0.5))
    return tuple(result)


def _abdomen(build: _Builder) -> tuple[Organ, ...]:
    body, up = build.body, build.body.breath_mm
    dome = build.ellipsoid((72, 2, -190 + up), (64, 78, 78))
    result = [
        Organ(name="left diaphragm", shape=dome, hu=20.0, suv=0.8),
        Organ(
            name="liver",
            shape=build.ellipsoid((-66, 0, -168 + up), (76, 84, 80)),
            hu=56.0,
            suv=body.liver_suv,
        ),
        Organ(
            name="left lobe",
            shape=build.ellipsoid((0, -46, -172 + up), (64, 36, 42)),
            hu=56.0,
            suv=body.liver_suv,
        ),
        Organ(
            name="stomach",
            shape=build.ellipsoid((66, -22, -170 + up), (40, 44, 42)),
            hu=25.0,
            suv=body.stomach_suv,
        ),
        Organ(
            name="gas",
            shape=build.ellipsoid((66, -44, -160 + up), (22, 14, 20)),
            hu=-950.0,
            suv=0.3,
        ),
        Organ(
            name="spleen",
            shape=build.ellipsoid((100, 40, -168 + up), (30, 38, 46)),
            hu=50.0,
            suv=body.spleen_suv,
        ),
    ]
    for side in (-1.0, 1.0):
        centre = (58.0 * side, 52.0, -236.0 + up)
        hollow = (50.0 * side, 50.0, -236.0 + up)
        cortex, pelvis = (
            build.ellipsoid(centre, (27, 25, 52)),
            build.ellipsoid(hollow, (12, 12, 26)),
        )
        result.append(Organ(name="kidney", shape=cortex, hu=32.0, suv=body.kidney_suv * 0.5))
        result.append(Organ(name="renal pelvis", shape=pelvis, hu=10.0, suv=body.kidney_suv))
    return tuple(result)


def _skeleton(build: _Builder) -> tuple[Organ, ...]:
    marrow = build.body.marrow_suv
    period = np.float32(2 * np.pi / 26.0)

    def vertebrae(at: Coordinates) -> Voxels:
        """Vertebral bodies, with a disc every 26 mm."""
        disc = np.float32(0.5) + np.float32(0.5) * np.cos(at[2] * period)
        density: Voxels = np.float32(320.0) - np.float32(240.0) * disc**12
        return density

    cage = build.column(
        (-170.0, 0.0, 2.0, 148.0, 88.0),
        (0.0, 0.0, 2.0, 145.0, 87.0),
        (60.0, 0.0, 2.0, 130.0, 78.0),
        (105.0, 0.0, 6.0, 105.0, 62.0),
        (125.0, 0.0, 10.0, 84.0, 48.0),
    )
    tall = (-420.0, 280.0)

    def rod(cx: float, cy: float, a: float, b: float, ends: tuple[float, float] = tall) -> Column:
        return build.column(*((z, cx, cy, a, b) for z in ends))

    return (
        Organ(name="rib", shape=Ribs(cage, 25.0, 0.35, 5.0), hu=420.0, suv=marrow * 0.8),
        Organ(name="spine", shape=rod(0, 60, 19, 16), hu=550.0, suv=marrow),
        Organ(name="vertebra", shape=rod(0, 60, 17, 14), hu=vertebrae, suv=marrow),
        Organ(name="arch", shape=rod(0, 82, 17, 13), hu=450.0, suv=marrow * 0.8),
        Organ(name="canal", shape=rod(0, 81, 9, 8), hu=20.0, suv=1.0),
        Organ(name="sternum", shape=rod(0, -84, 17, 6, (-50.0, 85.0)), hu=350.0, suv=marrow),
    )
