"""A phantom that every family of scanners wrote comes back as it was drawn."""

from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, JPEGLSLossless

from inference.petct import RegionSource
from inference.phantom import SCANNERS, Phantom, Tumour, draw, tumour_region
from node.config import Selection
from node.dicom.acquire import Habit, Study, write
from node.dicom.series import choose
from node.dicom.volumes import load

TUMOUR = Tumour(centre_lps_mm=(-80.0, 5.0, 20.0), diameter_mm=30.0, suv=9.0)
PHANTOM = Phantom(seed=7, tumour=TUMOUR)
BOX = ((-120.0, -35.0, -20.0), (-40.0, 45.0, 60.0))
WHEN = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
REFERENCES = {
    Habit.SIEMENS: "SERIES_TIME",
    Habit.GE: "SERIES_TIME",
    Habit.PHILIPS: "VENDOR_FACTOR",
    Habit.GML: "NOT_NEEDED",
}


@cache
def drawn():
    return draw(PHANTOM, SCANNERS["small"], box=BOX)


def read(folder, habit, **options):
    study = Study(started_at=WHEN, shuffle_seed=3)
    paths = write(drawn(), folder, habit=habit, study=study, **options)
    selection = Selection()
    return load(
        choose(paths),
        contour_names=selection.contour_names,
        contour_codes=selection.contour_codes,
    )


@pytest.mark.parametrize("habit", list(Habit))
def test_suv_and_hu_come_back_on_the_same_grids(tmp_path, habit):
    petct = read(tmp_path, habit)
    step = drawn().pet.voxels.max() / 32767

    assert petct.pet.grid.is_close(drawn().pet.grid)
    assert petct.ct.grid.is_close(drawn().ct.grid)
    assert np.allclose(petct.pet.voxels, drawn().pet.voxels, atol=step)
    assert np.allclose(petct.ct.voxels, drawn().ct.voxels, atol=0.51)
    assert petct.pet_facts.decay_reference == REFERENCES[habit]
    assert petct.pet_facts.tracer == "FDG"
    assert petct.warnings == ()


@pytest.mark.parametrize(
    "syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, JPEGLSLossless]
)
def test_the_transfer_syntax_changes_nothing(tmp_path, syntax):
    petct = read(tmp_path, Habit.GE, transfer_syntax_uid=syntax)

    assert np.allclose(petct.ct.voxels, drawn().ct.voxels, atol=0.51)
    assert np.allclose(petct.pet.voxels, drawn().pet.voxels, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("modality", ["pet", "ct"])
def test_a_contour_along_voxel_edges_comes_back_voxel_for_voxel(tmp_path, modality):
    grid = getattr(drawn(), modality).grid
    region = tumour_region(PHANTOM, grid)
    petct = read(tmp_path, Habit.SIEMENS, include_contour=region)
    (given,) = petct.given

    assert given.source is RegionSource.RTSTRUCT
    assert given.region.grid is getattr(petct, modality).grid
    assert np.array_equal(given.region.mask, region.mask)
