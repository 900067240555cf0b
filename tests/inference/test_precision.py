"""A network in fewer bits: the same answers but for rounding, and float32 where it matters."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from inference import torch_engine
from inference.bundle import default_path, load
from inference.errors import EngineUnavailable
from inference.precision import lowered, quantised, quantised_tensors

BITS = {"f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
ROUNDING = {"f16": 2**-10, "bf16": 2**-7}
"""The step between 1 and the next number."""
each_precision = pytest.mark.parametrize("precision", BITS)


@pytest.fixture(scope="module")
def shipped():
    bundle = load(default_path())
    return bundle.onnx_path(bundle.card.task("occult_n1"))


@pytest.fixture
def opened(tmp_path):
    """Opens a network that lies in bytes."""

    def open_bytes(data):
        path = tmp_path / "network.onnx"
        path.write_bytes(data)
        return torch_engine.open_engine(path, threads=1)

    return open_bytes


def example(count=3, side=48):
    rng = np.random.default_rng(5)
    return rng.normal(size=(2, count, 3, side, side)).astype(np.float32)


def types_of(model):
    """The type of every tensor, as shapes are inferred."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}


@each_precision
def test_logits_and_saliency_differ_by_rounding_alone(precision, shipped, opened):
    """20 layers deep, a relative error of some steps is what rounding leaves; more is a bug."""
    network = shipped.read_bytes()
    pet, ct = example()

    exact = opened(network).explained(pet, ct)
    rounded = opened(lowered(network, precision)).explained(pet, ct)

    for one, other in zip(exact, rounded, strict=True):
        if one is None:
            assert other is None
            continue
        difference = np.abs(one - other).max() / np.abs(one).max()
        assert 0 < difference < 50 * ROUNDING[precision]


@each_precision
def test_the_convolutions_of_the_way_forth_are_lowered_and_the_gradient_is_not(precision, shipped):
    model = onnx.load_from_string(lowered(shipped.read_bytes(), precision))
    onnx.checker.check_model(model)
    types = types_of(model)

    kinds = {
        kind: {
            types[name] for node in model.graph.node if node.op_type == kind for name in node.input
        }
        for kind in ("Conv", "ConvTranspose", "Gemm", "ReduceMean")
    }

    # The last convolution smooths the saliency, and 20 a stem lead to the logits.
    lowly = [n for n in model.graph.node if n.op_type == "Conv" and types[n.input[0]] != 1]
    assert len(lowly) == 40
    assert kinds["Conv"] == {BITS[precision], TensorProto.FLOAT}
    assert kinds["ConvTranspose"] == kinds["Gemm"] == {TensorProto.FLOAT}
    assert kinds["ReduceMean"] == {TensorProto.FLOAT, TensorProto.INT64}


@each_precision
def test_inputs_and_outputs_stay_float32(precision, shipped):
    before = onnx.load(str(shipped)).graph
    after = onnx.load_from_string(lowered(shipped.read_bytes(), precision)).graph

    values = {
        value.name: value.type.tensor_type.elem_type for value in (*after.input, *after.output)
    }
    assert {"pet", "ct", "logits", "saliency"} <= set(values)
    assert list(values) == [value.name for value in (*before.input, *before.output)]
    assert set(values.values()) == {TensorProto.FLOAT}


def test_float32_is_the_network_as_it_is(shipped):
    network = shipped.read_bytes()

    assert lowered(network, "f32") is network


def network_of(*nodes, weights=(), axes=None):
    """A network of one input and one output, both called as ours are."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1, 4, 4])
        for name in ("pet", "logits")
    ]
    constants = [numpy_helper.from_array(np.asarray(w, np.float32), name) for name, w in weights]
    if axes is not None:
        constants.append(numpy_helper.from_array(np.asarray(axes, np.int64), "axes"))
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    onnx.checker.check_model(model)
    return model.SerializeToString()


def test_a_norm_between_convolutions_keeps_float32():
    """Its mean and variance would overflow f16, or lose what they are there for."""
    data = network_of(
        helper.make_node("Conv", ["pet", "w"], ["a"]),
        helper.make_node("InstanceNormalization", ["a", "one", "zero"], ["b"]),
        helper.make_node("Conv", ["b", "w"], ["logits"]),
        weights=[("w", [[[[2.0]]]]), ("one", [1.0]), ("zero", [0.0])],
    )

    model = onnx.load_from_string(lowered(data, "f16"))
    types = types_of(model)

    (norm,) = (node for node in model.graph.node if node.op_type == "InstanceNormalization")
    assert {types[name] for name in (*norm.input, *norm.output)} == {TensorProto.FLOAT}
    assert [types[n.input[0]] for n in model.graph.node if n.op_type == "Conv"] == [10, 10]


def test_bf16_leaves_a_transposed_convolution_that_tensorrt_could_not_run():
    data = network_of(
        helper.make_node("ConvTranspose", ["pet", "w"], ["logits"]), weights=[("w", [[[[2.0]]]])]
    )

    assert "Cast" not in str(onnx.load_from_string(lowered(data, "bf16")))
    assert "Cast" in str(onnx.load_from_string(lowered(data, "f16")))


def test_a_tensor_that_two_convolutions_read_is_cast_once():
    data = network_of(
        helper.make_node("Conv", ["pet", "w"], ["a"]),
        helper.make_node("Conv", ["pet", "w"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["logits"]),
        weights=[("w", [[[[2.0]]]])],
    )

    graph = onnx.load_from_string(lowered(data, "f16")).graph

    assert [node.op_type for node in graph.node] == ["Cast", "Conv", "Conv", "Add", "Cast"]
    assert [tensor.name for tensor in graph.initializer] == ["w.f16"]


def test_a_weight_that_f16_cannot_hold_is_refused():
    """The greatest number in f16 is 65504."""
    data = network_of(
        helper.make_node("Conv", ["pet", "w"], ["logits"]), weights=[("w", [[[[65600.0]]]])]
    )

    with pytest.raises(EngineUnavailable, match="w holds a weight that f16 cannot hold"):
        lowered(data, "f16")
    assert lowered(data, "bf16")


def test_bytes_that_are_no_network_are_refused():
    with pytest.raises(EngineUnavailable, match="cannot read the network"):
        lowered(b"\x99not a network", "f16")


def test_int8_is_scale_times_the_nearest_of_255_steps(opened):
    """2.54 at most is 0.02 a step: 1.009 becomes 50 steps, 1.0; the weight -3 is -127 steps."""
    data = network_of(
        helper.make_node("Relu", ["pet"], ["a"]),
        helper.make_node("Conv", ["a", "w"], ["logits"]),
        weights=[("w", [[[[-3.0]]]])],
    )
    image = np.zeros((1, 1, 4, 4), np.float32)
    image[0, 0, 0, :3] = 1.009, 9.0, -1.0

    engine = opened(quantised(data, {"a": 2.54}))

    # What lies beyond the range is cut off there.
    expected = np.zeros_like(image)
    expected[0, 0, 0, :3] = -3.0, -7.62, 0.0
    assert np.allclose(engine.logits(image, image), expected, atol=1e-5)


def test_weights_have_a_scale_for_each_channel_that_comes_out():
    data = network_of(
        helper.make_node("Relu", ["pet"], ["a"]),
        helper.make_node("Conv", ["a", "w"], ["b"]),
        helper.make_node("ReduceSum", ["b", "axes"], ["logits"]),
        weights=[("w", [[[[0.5]]], [[[-127.0]]]])],
        axes=[1],
    )

    graph = onnx.load_from_string(quantised(data, {"a": 1.0})).graph

    found = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    assert np.allclose(found["w.scale"], [0.5 / 127, 1.0])
    assert np.allclose(found["a.scale"], 1 / 127)


def test_what_sees_the_images_and_what_only_the_saliency_needs_is_not_quantised(shipped):
    network = shipped.read_bytes()
    model = onnx.load_from_string(network)
    convolutions = {n.input[0] for n in model.graph.node if n.op_type == "Conv"}

    names = set(quantised_tensors(network))

    (smoothing,) = convolutions - names - {"pet", "ct"}
    assert smoothing in {n.output[0] for n in model.graph.node if n.op_type == "Add"}
    assert len(names) == 32


def test_int8_without_the_range_of_a_tensor_is_refused(shipped):
    with pytest.raises(EngineUnavailable, match="the card holds no range of max_pool2d"):
        quantised(shipped.read_bytes(), {})
