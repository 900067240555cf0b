"""What of ``make gpu`` a machine without a GPU can be asked: counts, rivals' numbers, words."""

import json
import sys

import numpy as np
import onnx
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from inference import gpu, onnx_engine
from inference.bundle import default_path, load
from inference.engine import Explained
from inference.errors import EngineUnavailable
from tests.bench import flops
from tests.bench import gpu as bench
from tests.bench.measure import OURS, Measure, Sample
from tests.bench.rivals import Network, channels_last
from tests.inference.fake_tensorrt import play, play_library


@pytest.fixture(scope="module")
def path():
    bundle = load(default_path())
    return bundle.onnx_path(bundle.tasks[0])


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(2, 3, 3, 48, 48)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 3])
def test_operations_are_those_that_torch_counts(path, images, batch):
    network = Network(path.read_bytes(), "cpu")

    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        network(*(torch.from_numpy(image[:batch]) for image in images))

    assert flops.of(path.read_bytes(), batch) == counted.get_total_flops()


def test_a_shape_that_is_not_known_is_no_count(path):
    model = onnx.load(str(path))
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "row"

    with pytest.raises(ValueError, match="is not known"):
        flops.of(model.SerializeToString(), 1)


def test_the_rivals_network_gives_onnx_runtimes_numbers_channels_last(path, images):
    network = Network(path.read_bytes(), "cpu")
    given = [channels_last(torch.from_numpy(image)) for image in images]

    with torch.inference_mode():
        told = dict(zip(network.outputs, network(*given), strict=True))

    found = Explained(**{name: output.numpy() for name, output in told.items()})
    expected = onnx_engine.open_engine(path, threads=1).explained(*images)
    assert given[0].is_contiguous(memory_format=torch.channels_last)
    assert max(bench.differences([found], [expected]).values()) < 1e-4


def test_torch_compiles_the_rivals_network_whole(path, images):
    network = torch.compile(Network(path.read_bytes(), "cpu"), backend="eager", fullgraph=True)

    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        logits, *_ = network(*(torch.from_numpy(image[:1]) for image in images))

    assert logits.shape == (1, 2)
    assert logits.dtype == torch.float32


def test_differences_are_shares_of_the_greatest_in_the_worst_network():
    def told(logit, feature):
        return Explained(logits=np.array([[logit, 4.0]]), features=np.array([[feature]]))

    found = bench.differences([told(1, 2), told(3, 2)], [told(2, 2), told(1, 1)])

    assert found == {"logits": 0.5, "features": 1.0}


def test_what_is_achieved_stands_beside_the_peak():
    findings = bench.Findings(peak=500.0)
    findings.measures += [
        Measure(
            section=bench.SECTION,
            case=f"all networks, batch 8, {way}",
            subject=OURS,
            unit="ms",
            samples=(Sample(value=2.0),),
        )
        for way in (bench.CALL, bench.ALONE)
    ]

    bench._achieved(findings, 8, 10**11)

    assert "petct-node, batch 8: 50.00 TFLOP/s, 10.00% of that" in bench.sentences(findings)
    assert len(findings.achieved) == 1


def test_without_a_gpu_that_is_said(monkeypatch, capsys, tmp_path):
    def none():
        raise EngineUnavailable("no usable GPU: the NVIDIA driver shows none")

    monkeypatch.setattr(gpu, "find", none)

    assert bench.main(["--out", str(tmp_path / "out")]) == 1
    assert "nothing was measured: no usable GPU" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.fixture
def played(monkeypatch):
    """A GPU and TensorRT that are played; nobody times them, and torch's rivals do not run."""
    cuda = play(monkeypatch)
    monkeypatch.setattr(bench, "RUNS", 1)
    monkeypatch.setattr(bench, "matrix_peak", lambda _: 400.0)

    def alone_ms(launches, stream):
        for launch in launches:
            launch()
        return float(len(launches))

    monkeypatch.setattr(bench, "alone_ms", alone_ms)
    return cuda


def test_every_batch_is_measured_compared_and_told(played, monkeypatch, capsys, tmp_path):
    """All but the times: which engines, of which plans, how far from ONNX Runtime, what file."""
    library = play_library(monkeypatch, "tensorrt", played)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)

    assert bench.main(["--quick", "--out", str(tmp_path)]) == 0

    told = json.loads((tmp_path / "gpu.json").read_text())
    assert {row["subject"] for row in told["measures"]} == {OURS, "tensorrt, a plan for this batch"}
    assert [row["case"] for row in told["measures"]][::2] == [
        f"all networks, batch {batch}, {way}"
        for batch in (1, 8)
        for way in (bench.CALL, bench.ALONE)
    ]
    assert told["gpu"]["name"] == "NVIDIA T4"
    assert told["gpu"]["tensorrt-rtx"] == "not installed"
    assert set(told["differences"]["petct-node, batch of 8"]) == {"logits", "saliency", "features"}
    assert max(told["differences"]["petct-node, batch of 8"].values()) < 0.05
    assert len(library.built_on) == 6  # the node's plans, and those for 1 and for 8, of two tasks
    assert "was not measured" in " ".join(told["notes"])  # torch, of which this one has no CUDA
    assert "speed: ours over its" in capsys.readouterr().out


def test_where_no_tensorrt_runs_that_is_said(played, monkeypatch, capsys, tmp_path):
    for module in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, module, None)

    assert bench.main(["--quick", "--out", str(tmp_path)]) == 1
    assert "extra petct-node[tensorrt]" in capsys.readouterr().out
