"""Fuzzing in short: what is kept is borne again, and each target gets a few new inputs."""

import re
import subprocess
import sys
import warnings
from itertools import islice

import pytest
from pynetdicom import fsm

from node.dicom import headers
from node.net import deadline
from tests.bench.process import ROOT
from tests.fuzz import corpus, run
from tests.fuzz.__main__ import claims
from tests.fuzz.run import Outcome
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

BY_NAME = {target.name: target for target in TARGETS}
KEPT = list(corpus.kept())
SIZE_MOST = 20_000
# So many inputs as make test can bear; python -m tests.fuzz gives a million.
FEW = {
    "pdus": 150,
    "lean": 500,
    "listener": 20,
    "identify": 600,
    "scan": 300,
    "pet": 20,
    "ct": 20,
    "enhanced": 15,
    "documents": 25,
    "intake": 60,
    "decoders": 60,
}
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _as_the_node_runs():
    """What libraries say of damaged bytes is no error of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def planted(target: Target, count: int, folder) -> list[str]:
    """What the target raises within so many inputs."""
    found = []
    with target.open(folder) as bear:
        for content in islice(target.inputs(0), count):
            try:
                bear(content)
            except Exception as error:  # noqa: BLE001  which is what is looked for
                found.append(repr(error))
    return found


def test_the_shares_of_the_targets_add_up_to_one():
    assert sum(target.share for target in TARGETS) == pytest.approx(1)
    assert FEW.keys() == BY_NAME.keys()


@pytest.mark.parametrize("name", BY_NAME)
def test_seeds_and_what_is_kept_and_some_new_ones_are_borne(name, tmp_path):
    target = BY_NAME[name]
    known = [one.content for one in KEPT if one.target == name]
    units = 0
    with target.open(tmp_path) as bear:
        for content in (*target.seeds().values(), *known, *islice(target.inputs(0), FEW[name])):
            units += bear(content)

    assert units >= FEW[name]


def test_the_same_seed_gives_the_same_inputs():
    for target in TARGETS:
        one, same, other = (list(islice(target.inputs(seed), 5)) for seed in (3, 3, 4))
        assert one == same != other


def test_what_is_kept_is_small_and_says_why():
    assert {one.target for one in KEPT} <= BY_NAME.keys()
    assert all(len(one.content) <= SIZE_MOST and one.why for one in KEPT)


def test_an_association_that_is_left_open_is_found(tmp_path, monkeypatch):
    """With pynetdicom's own state machine: what it was before it was ours."""

    def plain(association):
        association.dul.state_machine = fsm.StateMachine(association.dul)

    monkeypatch.setattr(deadline, "replace_state_machine", plain)

    assert planted(BY_NAME["pdus"], 100, tmp_path) != []


def test_an_exception_that_is_not_documented_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(headers, "UNREADABLE", (EOFError,))

    assert any("NotUnderstood" not in one for one in planted(BY_NAME["identify"], 300, tmp_path))


def test_an_input_that_ends_the_process_or_never_returns_is_noted_and_passed_over(
    tmp_path, monkeypatch
):
    """A child that dies at its second input, and one that stands still."""
    child = tmp_path / "child.py"
    child.write_text(
        "import os, sys, time, pathlib\n"
        "at = sys.argv.index\n"
        "progress = pathlib.Path(sys.argv[at('--progress') + 1])\n"
        "start = int(sys.argv[at('--start') + 1])\n"
        "if start == 0:\n"
        "    progress.write_bytes((1).to_bytes(8, 'little') * 2)\n"
        "    os.abort()\n"
        "if start == 2:\n"
        "    time.sleep(600)\n"
        "progress.write_bytes((9).to_bytes(8, 'little') * 2)\n"
        'print(\'{"findings": {}, "slowest_s": 1, "peak_mib": 2}\')\n'
    )
    monkeypatch.setattr(run, "CHILD", [str(child)])
    monkeypatch.setattr(run, "HANG_S", 1)

    outcome = run.run(BY_NAME["identify"], count=9, seed=0, seconds=60, folder=tmp_path)

    assert list(outcome.ended) == ["SIGABRT, input 1", "nothing for 1 s, input 2"]
    assert (outcome.units, outcome.peak_mib) == (9, 2)
    inputs = list(islice(BY_NAME["identify"].inputs(0), 3))
    assert [bytes.fromhex(one) for one in outcome.ended.values()] == inputs[1:]


@pytest.mark.parametrize(
    "change",
    [
        {"raised": {"ValueError at x.py:1": "00"}},
        {"ended": {"SIGSEGV, input 3": "00"}},
        {"peak_mib": 4096},
        {"slowest_s": 99.0},
        {"units": 0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_line_holds_only_where_nothing_was_found(change):
    sound = {"target": "identify", "units": 10, "peak_mib": 100, "slowest_s": 0.1}

    assert [one.holds for one in claims([Outcome(**sound)])] == [True, True]
    assert not all(one.holds for one in claims([Outcome(**{**sound, **change})]))


def test_coverage_guides_to_what_no_seed_reaches():
    """The child that libFuzzer ends comes back with 0, and has kept some of what it made."""
    pytest.importorskip("atheris")
    command = [sys.executable, "-m", "tests.fuzz.guided", "identify", "--runs", "50"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr[-2000:]
    assert re.search(r"new_units_added: +[1-9]", ran.stderr)
