"""Runs the operators of an ONNX network with torch: what the other engines are compared with."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from inference.engine import OUTPUTS, Explained
from inference.errors import EngineUnavailable
from inference.volume import Voxels

try:
    import onnx
    import torch
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no types
    from onnx import numpy_helper
    from torch.nn import functional
except ImportError:
    onnx = torch = None  # open_engine says so, with what to install


Tensor: TypeAlias = Any  # torch.Tensor, and torch may not be there
Proto: TypeAlias = Any  # a message of onnx, which may not be there either
Attributes: TypeAlias = dict[str, Any]


class Operators:
    """What an ONNX graph of convolutions, poolings and dense layers calculates, node after node.

    ``constants`` holds its weights, on the CPU, by name; ``outputs`` the names of what it tells.
    """

    def __init__(self, graph: Proto) -> None:
        """Raise ``EngineUnavailable`` for an operator that is not known here."""
        self._nodes = [_Node(node) for node in graph.node]
        self.constants: dict[str, Tensor] = {one.name: _tensor(one) for one in graph.initializer}
        told = {output.name for output in graph.output}
        self.outputs = [name for name in OUTPUTS if name in told]

    def run(self, constants: Mapping[str, Tensor], pet: Tensor, ct: Tensor) -> list[Tensor]:
        """Return the outputs in float32: under autocast some are bfloat16, unknown to NumPy."""
        known = {**constants, "pet": pet, "ct": ct}
        for node in self._nodes:
            known[node.output] = node.run([known[name] if name else None for name in node.inputs])
        return [known[name].float() for name in self.outputs]


class TorchEngine:
    """A network's operators, one torch call for each."""

    name = "torch"
    precision = "f32"

    def __init__(self, graph: Proto, device: str) -> None:
        self._operators = Operators(graph)
        self._constants = {name: one.to(device) for name, one in self._operators.constants.items()}
        self._device = device

    @property
    def device(self) -> str:
        """``CPU``, or the GPU as its vendor names it."""
        return torch.cuda.get_device_name() if self._device == "cuda" else "CPU"

    def logits(self, pet: Voxels, ct: Voxels) -> Voxels:
        """Map ``(n, channel, row, column)`` PET and CT inputs to ``(n, 2)`` logits."""
        return self.explained(pet, ct).logits

    def explained(self, pet: Voxels, ct: Voxels) -> Explained:
        """Return every output that the network has, from one run of it."""
        with torch.inference_mode():
            given = (torch.from_numpy(image).to(self._device) for image in (pet, ct))
            told = self._operators.run(self._constants, *given)
            found = (output.cpu().numpy() for output in told)
            return Explained(**dict(zip(self._operators.outputs, found, strict=True)))


def open_engine(onnx_path: Path, *, threads: int, device: str = "cpu") -> TorchEngine:
    """Read the network; ``device`` is ``cpu`` or ``cuda``, ``threads`` 0 leaves torch's setting.

    ``EngineUnavailable`` where torch or onnx is not installed, the file is no ONNX network, or it
    holds an operator that is not known here. The number of threads holds for the whole process.
    """
    if torch is None:
        raise EngineUnavailable("torch or onnx is not installed (extra petct-node[train])")
    if device == "cuda" and not torch.cuda.is_available():
        raise EngineUnavailable("torch finds no CUDA device")
    try:
        graph = onnx.load(str(onnx_path)).graph
    except (OSError, ValueError, DecodeError) as error:
        raise EngineUnavailable(f"torch cannot open {onnx_path}: {error}") from error
    if threads:
        torch.set_num_threads(threads)
    return TorchEngine(graph, device)


class _Node:
    """One operator with its attributes, ready to be applied to its inputs."""

    def __init__(self, node: Proto) -> None:
        if node.op_type not in _OPERATORS:
            raise EngineUnavailable(f"the torch engine does not know the operator {node.op_type}")
        self.inputs: Sequence[str] = list(node.input)
        (self.output,) = node.output
        self._operator = _OPERATORS[node.op_type]
        self._attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}

    def run(self, inputs: Sequence[Tensor]) -> Tensor:
        """Apply the operator."""
        return self._operator(inputs, self._attributes)


def _conv(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    data, weight, *bias = inputs
    return functional.conv2d(
        data,
        weight,
        bias[0] if bias else None,
        stride=tuple(attributes.get("strides", (1, 1))),
        padding=_symmetric(attributes),
        dilation=tuple(attributes.get("dilations", (1, 1))),
        groups=attributes.get("group", 1),
    )


def _conv_transpose(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    data, weight, *bias = inputs
    return functional.conv_transpose2d(
        data,
        weight,
        bias[0] if bias else None,
        stride=tuple(attributes.get("strides", (1, 1))),
        padding=_symmetric(attributes),
        output_padding=tuple(attributes.get("output_padding", (0, 0))),
        groups=attributes.get("group", 1),
        dilation=tuple(attributes.get("dilations", (1, 1))),
    )


def _max_pool(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    return functional.max_pool2d(
        inputs[0],
        tuple(attributes["kernel_shape"]),
        stride=tuple(attributes.get("strides", (1, 1))),
        padding=_symmetric(attributes),
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
    )


def _symmetric(attributes: Attributes) -> tuple[int, int]:
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    if (top, left) != (bottom, right):
        raise EngineUnavailable(f"the torch engine needs symmetric pads, got {attributes['pads']}")
    return top, left


def _gemm(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    left, right, *bias = inputs
    left = left.T if attributes.get("transA", 0) else left
    right = right.T if attributes.get("transB", 0) else right
    product = attributes.get("alpha", 1.0) * (left @ right)
    return product + attributes.get("beta", 1.0) * bias[0] if bias else product


def _batch_norm(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    data, scale, bias, mean, variance = inputs
    epsilon = attributes.get("epsilon", 1e-5)
    return functional.batch_norm(data, mean, variance, scale, bias, eps=epsilon)


def _reduce(kind: str) -> Callable[[Sequence[Tensor], Attributes], Tensor]:
    def reduce(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
        axes = inputs[1].tolist() if len(inputs) > 1 else list(attributes["axes"])
        return getattr(torch, kind)(
            inputs[0], dim=axes, keepdim=bool(attributes.get("keepdims", 1))
        )

    return reduce


def _reshape(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    data, shape = inputs
    if attributes.get("allowzero", 0):
        return data.reshape(shape.tolist())
    return data.reshape([size or data.shape[i] for i, size in enumerate(shape.tolist())])


def _slice(inputs: Sequence[Tensor], _: Attributes) -> Tensor:
    data, starts, ends, axes, steps = inputs
    cut = [slice(None)] * data.ndim
    for axis, *bounds in zip(*(part.tolist() for part in (axes, starts, ends, steps)), strict=True):
        cut[axis] = slice(*bounds)
    return data[tuple(cut)]


def _pad(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    """Pad with zeros; torch counts the sides from the last axis backwards."""
    if attributes.get("mode", b"constant") != b"constant" or len(inputs) > 2:
        raise EngineUnavailable("the torch engine pads with zeros alone")
    data, sides = inputs[0], inputs[1].tolist()
    axes = range(data.ndim - 1, -1, -1)
    return functional.pad(data, [sides[axis + end] for axis in axes for end in (0, data.ndim)])


def _squeeze(inputs: Sequence[Tensor], _: Attributes) -> Tensor:
    data, axes = inputs
    return data.squeeze(tuple(axes.tolist()))


def _unsqueeze(inputs: Sequence[Tensor], _: Attributes) -> Tensor:
    data, axes = inputs[0], inputs[1].tolist()
    for axis in sorted(axes):
        data = data.unsqueeze(axis)
    return data


def _cast(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    if attributes["to"] not in _CASTS:
        raise EngineUnavailable("the torch engine casts to floating point alone")
    return inputs[0].to(getattr(torch, _CASTS[attributes["to"]]))


def _constant(_: Sequence[Tensor], attributes: Attributes) -> Tensor:
    return _tensor(attributes["value"])


def _tensor(constant: Proto) -> Tensor:
    values = numpy_helper.to_array(constant).copy()
    if constant.data_type == onnx.TensorProto.BFLOAT16:  # NumPy itself has no such type
        return torch.from_numpy(values.view("int16")).view(torch.bfloat16)
    return torch.from_numpy(values)


def _quantise(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    data, scale, zero = inputs
    scale = _along(scale, attributes, data.ndim)
    return torch.clamp(torch.round(data / scale), -128, 127).to(zero.dtype)


def _dequantise(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    data, scale, _zero = inputs
    return data.float() * _along(scale, attributes, data.ndim)


def _along(scale: Tensor, attributes: Attributes, axes: int) -> Tensor:
    """Lay one scale for each channel along its axis; a single one holds for all."""
    if not scale.ndim:
        return scale
    axis = attributes.get("axis", 1)
    return scale.reshape([-1 if number == axis else 1 for number in range(axes)])


_CASTS = {1: "float32", 10: "float16", 16: "bfloat16"}
"""TensorProto.DataType of ONNX, and what torch calls it."""


_OPERATORS: dict[str, Callable[[Sequence[Tensor], Attributes], Tensor]] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Concat": lambda inputs, attributes: torch.cat(list(inputs), dim=attributes["axis"]),
    "Constant": _constant,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DequantizeLinear": _dequantise,
    "Div": lambda inputs, _: inputs[0] / inputs[1],
    "Equal": lambda inputs, _: inputs[0] == inputs[1],
    "Flatten": lambda inputs, attributes: inputs[0].flatten(attributes.get("axis", 1)),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda inputs, _: inputs[0].mean(dim=(2, 3), keepdim=True),
    "GlobalMaxPool": lambda inputs, _: inputs[0].amax(dim=(2, 3), keepdim=True),
    "Identity": lambda inputs, _: inputs[0],
    "MatMul": lambda inputs, _: inputs[0] @ inputs[1],
    "MaxPool": _max_pool,
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "Pad": _pad,
    "QuantizeLinear": _quantise,
    "ReduceMax": _reduce("amax"),
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "Relu": lambda inputs, _: functional.relu(inputs[0]),
    "Reshape": _reshape,
    "Sign": lambda inputs, _: torch.sign(inputs[0]),
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
}
