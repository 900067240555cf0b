"""Which back end runs, in how many bits and threads, by the settings and the bundle's card."""

import json
from dataclasses import replace

import onnx
import pytest
from onnx import numpy_helper

from inference import bundle as bundles
from inference.card import Parity
from inference.engine import BF16, F16, F32
from inference.errors import EngineUnavailable, NoDriver
from inference.gpu import Gpu
from inference.openvino_engine import precisions
from node import engines
from node.config import settings_from


def record(task, engine, precision, **changed):
    told = {"auroc_f32": 0.89, "auroc": 0.889, "probability_difference_max": 0.004}
    return Parity(
        task=task,
        engine=engine,
        precision=precision,
        cases=900,
        positives=200,
        sides_changed=1,
        **(told | changed),
    )


@pytest.fixture(scope="module")
def shipped():
    return bundles.load(bundles.default_path())


@pytest.fixture
def bundle_with(shipped, tmp_path):
    """Writes the shipped networks with a card that holds records; gives the settings for it."""

    def write(*records, **model):
        folder = tmp_path / "bundle"
        networks = {name: (shipped.folder / name).read_bytes() for name in shipped.card.files}
        bundles.save(folder, replace(shipped.card, parity=records), networks)
        return settings_from({"model": {"bundle": str(folder), "threads": 1, **model}})

    return write


def both(engine, precision, **changed):
    return [record(task, engine, precision, **changed) for task in ("occult_n1", "occult_n2")]


def test_auto_runs_openvino_in_float32_here(shipped):
    opened = engines.build_model(settings_from({"model": {"threads": 1}}))

    assert opened.engines.keys() == {"occult_n1", "occult_n2"}
    assert {e.precision for e in opened.engines.values()} == {F32}
    assert opened.bundle.digest == shipped.digest


def test_a_card_without_records_is_spelt_without_them(shipped, tmp_path):
    """As before there were any: old bundles keep the digest that results name."""
    contents = {name: (shipped.folder / name).read_bytes() for name in shipped.card.files}

    bare = bundles.save(tmp_path / "bare", replace(shipped.card, parity=()), contents)

    assert "parity" not in json.loads((tmp_path / "bare" / "card.json").read_text())
    assert bare.digest != shipped.digest


def test_a_record_changes_the_digest_and_is_read_again(bundle_with, shipped):
    settings = bundle_with(*both("openvino", BF16))

    bundle = engines.load_bundle(settings)

    assert bundle.digest != shipped.digest
    assert bundle.card.parity == tuple(both("openvino", BF16))


@pytest.mark.skipif(BF16 not in precisions(), reason="this CPU has no bfloat16 units")
def test_bf16_on_a_cpu_is_run_where_the_card_allows_it_and_it_is_asked_for(bundle_with):
    settings = bundle_with(*both("openvino", BF16), engine="openvino", precision="bf16")

    opened = engines.build_model(settings)

    assert {e.precision for e in opened.engines.values()} == {BF16}


def test_a_cpu_never_takes_bf16_by_itself(bundle_with):
    settings = bundle_with(*both("openvino", BF16))

    assert engines.precision_of(settings, engines.load_bundle(settings), "openvino") == F32


@pytest.mark.parametrize("kind", ["tensorrt", "tensorrt-rtx"])
def test_a_gpu_takes_f16_by_itself_where_the_card_allows_it(bundle_with, kind):
    settings = bundle_with(*both("torch", F16))

    assert engines.precision_of(settings, engines.load_bundle(settings), kind) == F16


@pytest.mark.parametrize(
    "records",
    [
        [],
        [record("occult_n1", "torch", F16)],
        both("openvino", F16),
        both("torch", BF16),
        both("torch", F16, auroc=0.88),
        both("torch", F16, probability_difference_max=0.02),
    ],
    ids=["none", "one task", "another engine", "other bits", "AUROC lost", "probability moved"],
)
def test_a_gpu_runs_in_float32_where_the_card_does_not_allow_f16(bundle_with, records):
    settings = bundle_with(*records)

    assert engines.precision_of(settings, engines.load_bundle(settings), "tensorrt") == F32


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime", "torch", "tensorrt"])
def test_fewer_bits_than_the_card_allows_are_refused(bundle_with, kind):
    settings = bundle_with(engine=kind, precision="bf16")

    with pytest.raises(EngineUnavailable, match=f"may not run in bf16 on {kind}: its card"):
        engines.build_model(settings)


@pytest.mark.parametrize("precision", ["f16", "bf16"])
def test_torch_runs_in_float32_alone_whatever_its_records_allow_tensorrt(bundle_with, precision):
    settings = bundle_with(*both("torch", precision), engine="torch", precision=precision)

    with pytest.raises(EngineUnavailable, match=f"may not run in {precision} on torch"):
        engines.build_model(settings)


def test_a_gpu_that_is_asked_for_and_not_there_stops_the_start():
    with pytest.raises(EngineUnavailable, match="no usable GPU"):
        engines.build_model(settings_from({"model": {"engine": "tensorrt", "devices": [7]}}))


def test_threads_are_shared_out_among_the_workers(monkeypatch):
    monkeypatch.setattr(engines, "usable_cpus", lambda: 8)

    def threads(processes, **model):
        settings = settings_from({"workers": {"processes": processes}, "model": model})
        return engines.threads_of(settings)

    assert [threads(n) for n in (0, 1, 2, 3, 16)] == [8, 8, 4, 2, 1]
    assert threads(2, threads=6) == 6


def test_workers_take_the_gpus_in_turn():
    settings = settings_from({"model": {"devices": [0, 2, 3]}})

    taken = [engines.for_worker(settings, number).model.devices for number in range(4)]

    assert taken == [(0,), (2,), (3,), (0,)]


@pytest.mark.parametrize(
    ("error", "warned"),
    [
        (EngineUnavailable("no usable GPU 3: the NVIDIA driver shows 1"), True),
        (NoDriver("no usable GPU: the NVIDIA driver's libcuda.so.1 is not here"), False),
    ],
    ids=["gone", "never there"],
)
def test_a_gpu_that_auto_does_not_find_is_warned_of_where_there_is_a_driver(
    monkeypatch, caplog, error, warned
):
    def at(_):
        raise error

    monkeypatch.setattr(engines.gpu, "at", at)

    opened = engines.build_model(settings_from({"model": {"threads": 1}}))

    assert {engine.name for engine in opened.engines.values()} == {"openvino"}
    assert (str(error) in caplog.text) is warned


@pytest.mark.parametrize(("kind", "for_gpus"), [("tensorrt", [2, 0]), ("tensorrt-rtx", [None])])
def test_plans_are_built_for_every_gpu_of_the_workers(monkeypatch, tmp_path, kind, for_gpus):
    def at(ordinal):
        return Gpu(ordinal=ordinal, name="NVIDIA L4", compute_capability="8.9", driver="570.86.15")

    asked = []
    monkeypatch.setattr(engines.gpu, "at", at)
    monkeypatch.setattr(engines, "plan_of", lambda request, _: asked.append(request.gpu))
    settings = settings_from({"model": {"devices": [2, 0, 2], "plans": str(tmp_path)}})

    assert engines.build_plans(settings, kind) == ("occult_n1", "occult_n2")
    assert asked == 2 * [None if ordinal is None else at(ordinal) for ordinal in for_gpus]


def test_a_network_that_gives_no_number_is_not_taken(shipped, tmp_path):
    """Its weights are damaged, and the card was written over them."""
    folder = tmp_path / "bundle"
    networks = {}
    for name in shipped.card.files:
        networks[name] = (shipped.folder / name).read_bytes()
        if not name.endswith(".onnx"):
            continue
        model = onnx.load_from_string(networks[name])
        for tensor in model.graph.initializer:
            if tensor.name == "head.second.bias":
                nan = numpy_helper.to_array(tensor) * float("nan")
                tensor.CopyFrom(numpy_helper.from_array(nan, tensor.name))
        networks[name] = model.SerializeToString()
    bundles.save(folder, shipped.card, networks)

    with pytest.raises(EngineUnavailable, match="gives what is no number"):
        engines.build_model(settings_from({"model": {"bundle": str(folder), "threads": 1}}))
