import json
import threading
from dataclasses import replace

import pytest

from inference.codec import digest
from inference.plans import Making, Plans, Tensor

MAKING = Making(
    library="tensorrt",
    library_version="11.4.0",
    network=digest(b"a network"),
    precision="f16",
    gpu="NVIDIA L4",
    compute_capability="8.9",
    driver="570.86.15",
    calibration="",
    batch=(1, 1, 8),
)
PET = Tensor(name="pet", type="FLOAT", shape=(-1, 3, 48, 48))


@pytest.fixture
def plans(tmp_path):
    return Plans(tmp_path / "plans")


@pytest.fixture
def kept(plans):
    """One plan that is kept, and its sidecar."""
    return plans.keep(MAKING, b"a plan", tensors=(PET,), build_s=1.5)


@pytest.mark.usefixtures("kept")
def test_a_plan_is_found_by_its_making(plans):
    assert plans.find(MAKING) == b"a plan"


@pytest.mark.parametrize(
    "other",
    [
        {"library": "tensorrt-rtx"},
        {"library_version": "11.4.1"},
        {"network": digest(b"another network")},
        {"precision": "f32"},
        {"gpu": "NVIDIA A10"},
        {"compute_capability": "8.6"},
        {"driver": "580.1"},
        {"calibration": digest(b"ranges")},
        {"batch": (1, 2, 8)},
    ],
    ids=lambda other: next(iter(other)),
)
@pytest.mark.usefixtures("kept")
def test_a_plan_of_any_other_making_is_not_used(plans, other):
    assert plans.find(replace(MAKING, **other)) is None


def test_the_sidecar_tells_what_the_plan_is(kept, plans, tmp_path):
    document = json.loads((tmp_path / "plans" / f"{MAKING.key}.json").read_text())

    assert document["making"]["gpu"] == "NVIDIA L4"
    assert document["plan"] == digest(b"a plan")
    assert document["tensors"] == [{"name": "pet", "type": "FLOAT", "shape": [-1, 3, 48, 48]}]
    assert plans.held() == (kept,)


def altered(old, new):
    return lambda path: path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        ("plan", lambda path: path.write_bytes(b"b plan")),
        ("plan", lambda path: path.write_bytes(b"a pla")),
        ("plan", lambda path: path.unlink()),
        ("json", lambda path: path.unlink()),
        ("json", lambda path: path.write_text(path.read_text()[:-20])),
        ("json", lambda path: path.write_bytes(b"\xff")),
        ("json", altered("L4", "L40")),
        ("json", altered('"schema": 1', '"schema": 2')),
    ],
    ids=["flipped", "cut", "gone", "no sidecar", "half", "not text", "altered", "newer"],
)
@pytest.mark.usefixtures("kept")
def test_a_damaged_plan_is_as_good_as_none(plans, tmp_path, suffix, damage):
    damage(tmp_path / "plans" / f"{MAKING.key}.{suffix}")

    assert plans.find(MAKING) is None
    assert plans.held() == ()


@pytest.mark.usefixtures("kept")
def test_a_plan_that_is_kept_again_replaces_the_damaged_one(plans, tmp_path):
    (tmp_path / "plans" / f"{MAKING.key}.plan").write_bytes(b"damaged")

    plans.keep(MAKING, b"another build", tensors=(PET,), build_s=2)

    assert plans.find(MAKING) == b"another build"


def test_two_that_need_the_same_plan_build_it_once(plans):
    built = []

    def need():
        with plans.building(MAKING):
            if plans.find(MAKING) is None:
                built.append(threading.get_ident())
                plans.keep(MAKING, b"a plan", tensors=(), build_s=0)

    threads = [threading.Thread(target=need) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(built) == 1


def test_what_was_timed_is_kept_by_making(plans):
    plans.keep_cache("timing", MAKING, b"timings")

    assert plans.read_cache("timing", MAKING) == b"timings"
    assert plans.read_cache("timing", replace(MAKING, driver="580.1")) == b""


def test_what_was_timed_and_cannot_be_kept_is_only_warned_of(tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")

    Plans(tmp_path / "file").keep_cache("timing", MAKING, b"timings")

    assert "cannot keep" in caplog.text


def test_a_folder_that_is_not_there_holds_no_plans(plans):
    assert plans.held() == ()
    assert plans.find(MAKING) is None
