"""Plans built by the real library; test_tensorrt_gpu.py asks what it does on a GPU."""

import json
import logging
import subprocess
import sys
from dataclasses import replace

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from inference import gpu
from inference.bundle import default_path, load
from inference.codec import digest
from inference.errors import EngineUnavailable
from inference.gpu import Gpu
from inference.plans import ANY, Plans
from inference.precision import quantised_tensors
from inference.tensorrt_builder import Request, making_of, plan_of
from inference.tensorrt_builder import load as load_library
from training.export import to_onnx
from training.networks import Fusion
from training.recipe import NetworkRecipe

RTX = "tensorrt-rtx"
L4 = Gpu(ordinal=0, name="NVIDIA L4", compute_capability="8.9", driver="570.86.15")


@pytest.fixture(scope="module")
def library():
    try:
        return load_library(RTX)
    except EngineUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def networks():
    bundle = load(default_path())
    return [bundle.onnx_path(task).read_bytes() for task in bundle.tasks]


@pytest.fixture
def plans(tmp_path):
    return Plans(tmp_path / "plans")


@pytest.fixture
def request_of(networks):
    return Request(kind=RTX, network=networks[0], precision="f32", gpu=None)


def sidecar(tmp_path):
    (path,) = (tmp_path / "plans").glob("*.json")
    return json.loads(path.read_text())


@pytest.mark.tensorrt
@pytest.mark.parametrize("task", [0, 1])
@pytest.mark.parametrize("precision", ["f32", "f16", "bf16"])
def test_the_shipped_networks_become_plans(library, networks, plans, tmp_path, task, precision):
    request = Request(kind=RTX, network=networks[task], precision=precision, gpu=None)

    plan = plan_of(request, plans)

    told = sidecar(tmp_path)
    assert told["plan"] == digest(plan)
    assert told["making"] == {
        "library": RTX,
        "library_version": library.__version__,
        "network": digest(networks[task]),
        "precision": precision,
        "gpu": ANY,
        "compute_capability": ANY,
        "driver": ANY,
        "calibration": "",
        "batch": [1, 1, 8],
    }
    tensors = [
        {"name": "pet", "type": "FLOAT", "shape": [-1, 3, 48, 48]},
        {"name": "ct", "type": "FLOAT", "shape": [-1, 3, 48, 48]},
        {"name": "logits", "type": "FLOAT", "shape": [-1, 2]},
        {"name": "saliency", "type": "FLOAT", "shape": [-1, 24, 24]},
        {"name": "features", "type": "FLOAT", "shape": [-1, 128]},
    ]
    outputs = [output.name for output in onnx.load_from_string(networks[task]).graph.output]
    assert told["tensors"] == tensors[: 2 + len(outputs)]
    assert outputs == [tensor["name"] for tensor in tensors[2 : 2 + len(outputs)]]


@pytest.mark.tensorrt
@pytest.mark.parametrize("precision", ["f32", "f16", "bf16"])
@pytest.mark.usefixtures("library")
def test_a_plan_gives_features_where_its_network_does(precision, plans, tmp_path):
    """A network that nobody trained: 4 maps of each stem and first stage, mean and maximum."""
    torch.manual_seed(0)
    narrow = NetworkRecipe(widths=(4, 4, 8, 8), hidden=8, dropout=0.0)
    network = to_onnx(Fusion(narrow), load(default_path()).card.inputs)

    plan_of(Request(kind=RTX, network=network, precision=precision, gpu=None), plans)

    *_, last = sidecar(tmp_path)["tensors"]
    assert last == {"name": "features", "type": "FLOAT", "shape": [-1, 32]}


@pytest.mark.tensorrt
@pytest.mark.usefixtures("library")
def test_a_plan_in_int8_is_built_with_the_ranges_of_the_card(networks, plans, tmp_path):
    ranges = dict.fromkeys(quantised_tensors(networks[0]), 4.0)
    request = Request(kind=RTX, network=networks[0], precision="int8", gpu=None, ranges=ranges)

    plan = plan_of(request, plans)

    told = sidecar(tmp_path)
    assert told["plan"] == digest(plan)
    assert told["making"]["calibration"].startswith("sha256:")
    assert {tensor["type"] for tensor in told["tensors"]} == {"FLOAT"}


@pytest.mark.tensorrt
@pytest.mark.usefixtures("library")
def test_a_plan_that_is_there_is_not_built_again(request_of, plans, caplog):
    caplog.set_level(logging.INFO)

    assert plan_of(request_of, plans) == plan_of(request_of, plans)
    assert [r.message[:12] for r in caplog.records if "built a plan" in r.message] == [
        "built a plan"
    ]


@pytest.mark.tensorrt
@pytest.mark.usefixtures("library")
def test_a_damaged_plan_is_built_anew(request_of, plans, tmp_path, caplog):
    plan_of(request_of, plans)
    (path,) = (tmp_path / "plans").glob("*.plan")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])

    plan = plan_of(request_of, plans)

    assert sidecar(tmp_path)["plan"] == digest(plan)
    assert path.read_bytes() == plan
    assert "not as its sidecar has it" in caplog.text


@pytest.mark.tensorrt
@pytest.mark.usefixtures("library")
def test_a_network_that_the_parser_does_not_know_is_refused_with_its_words(plans):
    node = helper.make_node("Unheard", ["pet"], ["logits"], domain="of.nobody")
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 2]) for n in ("pet", "logits")
    ]
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("of.nobody", 1)]
    model = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:]), opset_imports=sets
    )
    request = Request(kind=RTX, network=model.SerializeToString(), precision="f32", gpu=None)

    with pytest.raises(EngineUnavailable, match=r"cannot read the network: .*Unheard"):
        plan_of(request, plans)
    assert plans.held() == ()


@pytest.mark.tensorrt
@pytest.mark.usefixtures("library")
def test_bytes_that_are_no_network_are_refused(plans):
    request = Request(kind=RTX, network=b"\x99not a network", precision="f32", gpu=None)

    with pytest.raises(EngineUnavailable, match="cannot read the network"):
        plan_of(request, plans)


@pytest.mark.tensorrt
@pytest.mark.usefixtures("library")
def test_a_network_that_cannot_be_built_is_refused_with_what_the_library_said(plans):
    """A transposed convolution in bf16 has no kernel: what inference.precision keeps in float32."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.BFLOAT16, ["batch", 1, 8, 8])
        for name in ("pet", "logits")
    ]
    node = helper.make_node("ConvTranspose", ["pet", "w"], ["logits"])
    weight = helper.make_tensor("w", TensorProto.BFLOAT16, [1, 1, 1, 1], [2.0])
    model = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:], [weight]),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    onnx.checker.check_model(model)
    request = Request(kind=RTX, network=model.SerializeToString(), precision="f32", gpu=None)

    with pytest.raises(EngineUnavailable, match=r"cannot build the network: .*deconv"):
        plan_of(request, plans)


@pytest.mark.tensorrt
def test_a_plan_of_tensorrt_rtx_is_for_any_gpu_and_one_of_tensorrt_for_its_own(library, request_of):
    """The first is finished on the GPU at its first run; the second was timed there."""
    portable = making_of(replace(request_of, gpu=L4), library)
    own = making_of(replace(request_of, kind="tensorrt", gpu=L4), library)

    assert (portable.gpu, portable.compute_capability, portable.driver) == (ANY, ANY, ANY)
    assert (own.gpu, own.compute_capability, own.driver) == ("NVIDIA L4", "8.9", "570.86.15")


@pytest.mark.tensorrt
def test_the_library_has_what_the_engine_calls(library):
    """Not that it works: that needs a GPU."""
    called = {
        "Runtime": ["deserialize_cuda_engine"],
        "ICudaEngine": [
            "create_execution_context",
            "create_runtime_config",
            "get_tensor_name",
            "get_tensor_profile_shape",
            "num_io_tensors",
        ],
        "IExecutionContext": [
            "execute_async_v3",
            "get_tensor_shape",
            "set_input_shape",
            "set_tensor_address",
        ],
        "IRuntimeConfig": [
            "create_runtime_cache",
            "cuda_graph_strategy",
            "dynamic_shapes_kernel_specialization_strategy",
            "set_runtime_cache",
        ],
        "IRuntimeCache": ["deserialize", "serialize"],
        "CudaGraphStrategy": ["WHOLE_GRAPH_CAPTURE"],
        "DynamicShapesKernelSpecializationStrategy": ["EAGER"],
    }
    assert [
        f"{kind}.{name}"
        for kind, names in called.items()
        for name in names
        if not hasattr(getattr(library, kind), name)
    ] == []


def without_a_gpu():
    try:
        gpu.find()
    except EngineUnavailable:
        return True
    return False


@pytest.mark.skipif(not without_a_gpu(), reason="there is a GPU")
@pytest.mark.parametrize("kind", ["tensorrt", RTX])
def test_without_a_gpu_an_engine_is_refused_in_words_and_the_process_lives(kind, tmp_path):
    """Asked in a process of its own: a runtime that is touched without a GPU ends it."""
    script = (
        "from inference import tensorrt_engine; from inference.plans import Plans\n"
        "from inference.bundle import default_path; from pathlib import Path\n"
        "from inference.errors import EngineUnavailable\n"
        "try:\n"
        f"    tensorrt_engine.open_engine(default_path() / 'occult_n1.onnx', kind={kind!r},\n"
        f"        precision='f32', plans=Plans(Path({str(tmp_path)!r})))\n"
        "except EngineUnavailable as error:\n"
        "    print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("no usable GPU: the NVIDIA driver's libcuda.so.1 is not here")


def test_a_library_that_is_not_installed_is_named_with_its_extra(monkeypatch, request_of, plans):
    monkeypatch.setitem(sys.modules, "tensorrt", None)

    with pytest.raises(EngineUnavailable, match=r"extra petct-node\[tensorrt\]"):
        plan_of(replace(request_of, kind="tensorrt"), plans)
