"""A cohort of another hospital: balls whose uptake tells the answers, as cases and a table."""

from dataclasses import replace

import numpy as np

from inference import case
from inference.volume import Region
from tests.training.made_patients import patient
from training import patients
from training.assembling import Definition, assemble
from training.partition import SplitPlan
from training.progress import Track

SUVS = {"N1": (14, 12, 7, 9.5), "N2": (6, 11, 13, 10), "N0": (3, 4, 5, 7.5, 8.5, 10.5)}
"""Of those with a prediction. N1 against all others: 10 + 9 + 4 + 6 of 40 pairs are in order."""
TEST_ALONE = SplitPlan(seed=1, training=0.0, validation=0.0, test=1.0)


def still(number, suv, **changes):
    """A patient without noise, so that the greatest SUV is that of the ball."""
    made = patient(number, suv=suv, **changes)
    ball = np.asarray(patient(number, suv=suv).given[0].region.mask)
    voxels = np.where(ball, suv, 0.5).astype(np.float32)
    return replace(made, pet=replace(made.pet, voxels=voxels))


def halved(petct):
    """Only the lower planes, up to the middle of the ball: the networks would see half of it."""
    grid = replace(petct.pet.grid, shape=(10, 20, 20))
    (given,) = petct.given
    region = Region(mask=given.region.mask[:10], grid=grid)
    return replace(
        petct,
        pet=replace(petct.pet, voxels=petct.pet.voxels[:10], grid=grid),
        ct=replace(petct.ct, voxels=petct.ct.voxels[:10], grid=grid),
        given=(replace(given, region=region),),
    )


def everybody():
    """Each patient's case with stage and centre, which take turns within a class."""
    made = {}
    for stage, suvs in SUVS.items():
        for place, suv in enumerate(suvs):
            number = len(made)
            made[f"P-{number:02d}"] = still(number, suv), stage, ("north", "south")[place % 2]
    late = made["P-00"][0]
    facts = replace(late.pet_facts, uptake_min=200.0)
    made["P-00"] = replace(late, pet_facts=facts), "N1", "north"
    made["P-cold"] = still(50, 0.4, drawn=False), "N0", "north"
    made["P-half"] = halved(still(51, 9.0)), "N2", "south"
    return made


def cohort_of(folder, made, *, plan=TEST_ALONE):
    """Case folders, a table of outcomes and the cohort of both; P-none has no case."""
    for name, (petct, _, _) in made.items():
        case.write(petct, folder / "cases" / name)
    lines = [f"{name},p{stage},cN0,{centre}" for name, (_, stage, centre) in made.items()]
    table = folder / "outcomes.csv"
    table.write_text("\n".join(["patient,pn,cn,centre", *lines, "P-none,pN0,cN0,north"]))
    (folder / "cohort").mkdir()
    definition = Definition(name="elsewhere", split=plan)
    sealed = assemble(folder / "cases", [table], definition, Track(quiet=True))
    patients.write(sealed, folder / "cohort")
    return sealed
