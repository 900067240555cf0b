import json
from dataclasses import replace

import numpy as np
import pytest

from inference.case import read, write
from inference.errors import CaseUnusable
from inference.findings import Reason
from inference.petct import GivenRegion, RegionSource
from inference.phantom import SCANNERS, draw, random_phantom, tumour_region


@pytest.fixture(scope="module")
def petct():
    phantom = random_phantom(3)
    low, high = np.asarray(phantom.tumour.centre_lps_mm) - 30, phantom.tumour.centre_lps_mm
    drawn = draw(phantom, SCANNERS["oblique"], box=(tuple(low), tuple(np.asarray(high) + 30)))
    given = GivenRegion(
        region=tumour_region(phantom, drawn.ct.grid),
        source=RegionSource.RTSTRUCT,
        name="GTV",
        series_instance_uid="2.25.7",
        sop_instance_uid="2.25.8",
    )
    warning = Reason(code="UPTAKE_TIME", meaning="uptake of 20 min")
    return replace(drawn, given=(given,), warnings=(warning,))


@pytest.fixture
def folder(petct, tmp_path):
    return write(petct, tmp_path / "case")


def test_what_is_written_is_what_is_read(petct, folder):
    again = read(folder)

    assert np.array_equal(again.pet.voxels, petct.pet.voxels)
    assert np.array_equal(again.ct.voxels, petct.ct.voxels)
    assert again.pet.grid == petct.pet.grid
    assert again.ct.grid == petct.ct.grid
    assert again.pet.quantity == petct.pet.quantity
    assert (again.pet_facts, again.ct_facts) == (petct.pet_facts, petct.ct_facts)
    assert again.patient == petct.patient
    assert again.warnings == petct.warnings
    (given,) = again.given
    assert np.array_equal(given.region.mask, petct.given[0].region.mask)
    assert given.source is RegionSource.RTSTRUCT
    assert given.name == "GTV"


def test_nothing_but_the_case_is_left_behind(folder):
    assert [entry.name for entry in folder.parent.iterdir()] == ["case"]
    assert sorted(entry.name for entry in folder.iterdir()) == ["arrays.npz", "case.json"]


def test_a_case_is_never_written_over_another(petct, folder):
    with pytest.raises(FileExistsError):
        write(petct, folder)


@pytest.mark.parametrize("name", ["case.json", "arrays.npz"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()

    with pytest.raises(CaseUnusable, match=name):
        read(folder)


@pytest.mark.parametrize("name", ["case.json", "arrays.npz"])
def test_a_broken_file_is_named(folder, name):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])

    with pytest.raises(CaseUnusable, match=name):
        read(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda facts: facts.update(schema=9), "schema 9"),
        (lambda facts: facts.update(patient_name="x"), "unknown key patient_name"),
        (lambda facts: facts["pet_grid"].update(shape=[1, 1, 1]), "do not fit the grid"),
        (lambda facts: facts["ct_grid"].update(spacing=[0, 1, 1]), "spacing must be positive"),
        (lambda facts: facts["given"].append(facts["given"][0]), "given_1"),
    ],
)
def test_facts_that_do_not_fit_are_refused(folder, change, told):
    facts = json.loads((folder / "case.json").read_text())
    change(facts)
    (folder / "case.json").write_text(json.dumps(facts))

    with pytest.raises(CaseUnusable, match=told):
        read(folder)


def test_a_pickled_array_is_refused(petct, folder):
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(folder / "arrays.npz", pet=objects, ct=petct.ct.voxels, allow_pickle=True)

    with pytest.raises(CaseUnusable, match=r"arrays\.npz"):
        read(folder)
