"""What an operator is told of back ends and plans."""

import io
import sys

import pytest
from rich.console import Console

from inference.bundle import default_path
from inference.codec import digest
from inference.errors import EngineUnavailable
from inference.plans import Making, Plans
from inference.tensorrt_builder import load
from node.cli import engines
from node.config import settings_from


def settings_of(tmp_path, **model):
    return settings_from({"model": {"plans": str(tmp_path / "plans"), **model}})


def told(run, *given):
    out = io.StringIO()
    status = run(*given, Console(file=out, width=200))
    return status, out.getvalue()


def test_without_plans_and_records_that_is_what_is_said(tmp_path):
    status, said = told(engines.show, settings_of(tmp_path, threads=3))

    assert status == 0
    assert "bundle: dlnms-phantom" in said
    assert "threads of one inference on the CPU: 3" in said
    assert "no plans in" in said


def test_a_plan_is_told_by_the_task_whose_network_it_is(tmp_path):
    making = Making(
        library="tensorrt",
        library_version="11.4.0",
        network=digest((default_path() / "occult_n2.onnx").read_bytes()),
        precision="f16",
        gpu="NVIDIA L4",
        compute_capability="8.9",
        driver="570.86.15",
        calibration="",
        batch=(1, 1, 8),
    )
    Plans(tmp_path / "plans").keep(making, b"a plan", tensors=(), build_s=31.4)

    _, said = told(engines.show, settings_of(tmp_path))

    assert (
        f"plan {making.key[:12]}: occult_n2 in f16 for tensorrt 11.4.0, GPU NVIDIA L4, "
        "driver 570.86.15, batch 1-1-8, built in 31.4 s"
    ) in said


def test_a_library_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)

    status, said = told(engines.build, settings_of(tmp_path), "tensorrt-rtx")

    assert status == 1
    assert "extra petct-node[tensorrt-rtx]" in said


def test_fewer_bits_than_the_card_allows_are_refused_before_anything_is_built(tmp_path):
    status, said = told(engines.build, settings_of(tmp_path, precision="int8"), "tensorrt-rtx")

    assert status == 1
    assert "may not run in int8 on tensorrt-rtx: its card has no record of parity" in said
    assert not (tmp_path / "plans").exists()


@pytest.mark.tensorrt
@pytest.mark.parametrize(("asked", "built"), [("auto", "f16"), ("f32", "f32")])
def test_plans_are_built_without_a_gpu_in_what_the_card_allows(tmp_path, asked, built):
    try:
        load("tensorrt-rtx")
    except EngineUnavailable as error:
        pytest.skip(str(error))

    settings = settings_of(tmp_path, precision=asked)

    status, said = told(engines.build, settings, "tensorrt-rtx")
    _, shown = told(engines.show, settings)

    assert status == 0
    assert "plans of tensorrt-rtx for occult_n1, occult_n2" in said
    assert shown.count(f"in {built} for tensorrt-rtx") == 2
