"""Small patients that take milliseconds: a ball in a block of lung, drawn around."""

from pathlib import Path

import numpy as np

from inference import case
from inference.geometry import axial_grid
from inference.petct import CtFacts, GivenRegion, PatientFacts, PetCt, PetFacts, RegionSource
from inference.volume import Quantity, Region, Volume

SIDE = 20
SPACING_MM = 4.0


def patient(number: int, *, suv: float, radius_mm: float = 12.0, drawn: bool = True) -> PetCt:
    """A ball of that uptake; ``number`` decides its place, the noise, the age and the sex."""
    rng = np.random.default_rng([number, 77])
    uid = f"2.25.{number + 1}"
    grid = axial_grid(
        shape=(SIDE,) * 3,
        spacing=(SPACING_MM,) * 3,
        centre=tuple(rng.uniform(-40, 40, 3).tolist()),
        frame_of_reference_uid=f"{uid}.9",
    )
    middle = np.asarray(grid.centre) + rng.uniform(-6, 6, 3)
    points = grid.to_patient(np.moveaxis(np.indices(grid.shape), 0, -1))
    ball = np.linalg.norm(points - middle, axis=-1) <= radius_mm
    pet = np.where(ball, suv, 0.5) + rng.normal(0, 1, grid.shape)
    ct = np.where(ball, 30.0, -820.0) + rng.normal(0, 120, grid.shape)
    given = GivenRegion(
        region=Region(mask=ball, grid=grid),
        source=RegionSource.SEG,
        name="GTV",
        series_instance_uid=f"{uid}.4",
        sop_instance_uid=f"{uid}.4.1",
    )
    return PetCt(
        study_instance_uid=uid,
        pet=Volume(voxels=pet.astype(np.float32), grid=grid, quantity=Quantity.SUVBW),
        ct=Volume(voxels=ct.astype(np.float32), grid=grid, quantity=Quantity.HU),
        pet_facts=PetFacts(
            series_instance_uid=f"{uid}.2",
            units="BQML",
            suvbw_factor=1.0,
            decay_reference="START",
            uptake_min=60.0,
            tracer="FDG",
            manufacturer="Maker",
            model_name=f"Scanner {number % 2}",
        ),
        ct_facts=CtFacts(series_instance_uid=f"{uid}.3"),
        patient=PatientFacts(
            age_years=float(rng.integers(45, 86)), sex="FM"[int(rng.integers(2))], weight_kg=70.0
        ),
        given=(given,) if drawn else (),
    )


def write_patients(folder: Path, made: dict[str, PetCt]) -> Path:
    """Write case folders under these names."""
    for name, petct in made.items():
        case.write(petct, folder / name)
    return folder
