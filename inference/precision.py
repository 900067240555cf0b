"""Rewrites a network so that its convolutions run in fewer bits, and nothing else does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from inference.engine import BF16, F16, F32, INT8, LOGITS
from inference.errors import EngineUnavailable

try:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no types
    from onnx import TensorProto, helper, numpy_helper
except ImportError:
    onnx = None  # lowered says so, with what to install

LOWERED = frozenset(
    {"Add", "AveragePool", "Concat", "Conv", "ConvTranspose", "LeakyRelu", "MaxPool", "Relu"}
)
"""What gains by fewer bits. Norms, means, dense layers and all else keep float32."""
UNKNOWN_IN = {BF16: frozenset({"ConvTranspose"})}
"""Operators without a kernel in TensorRT."""

INT8_MOST = 127

Proto: TypeAlias = Any  # a message of onnx, which may not be there


def lowered(network: bytes, precision: str) -> bytes:
    """Return the ONNX network with its convolutions in ``f16`` or ``bf16``; ``f32``: as it is.

    Only what leads to the logits is lowered: the saliency is a gradient, whose numbers are too
    small for f16, and stays in float32. Inputs and outputs stay float32. ``EngineUnavailable``
    where onnx is not installed, the bytes are no network, or a weight is too large for f16.
    """
    if precision == F32:
        return network
    model = _read(network, precision)
    _Rewriting(model.graph, precision).run()
    rewritten: bytes = model.SerializeToString(deterministic=True)
    return rewritten


def quantised(network: bytes, ranges: Mapping[str, float]) -> bytes:
    """Return the ONNX network with its convolutions in int8, by Q/DQ; all else stays float32.

    ``ranges`` holds the greatest magnitude of each tensor of ``quantised_tensors``, as calibrated.
    Scales are symmetric, those of weights one for each output channel; what would go beyond a range
    is cut off. ``EngineUnavailable`` where a range is missing or the bytes are no network.
    """
    model, chosen = _convolutions(network)
    written = _Quantising(model.graph, ranges)
    for place, node in enumerate(model.graph.node):
        written.add(node, quantise=place in chosen)
    written.finish()
    rewritten: bytes = model.SerializeToString(deterministic=True)
    return rewritten


def quantised_tensors(network: bytes) -> tuple[str, ...]:
    """Return the names of the tensors that ``quantised`` needs the range of, in their order."""
    model, chosen = _convolutions(network)
    return tuple(dict.fromkeys(model.graph.node[place].input[0] for place in sorted(chosen)))


def _convolutions(network: bytes) -> tuple[Proto, set[int]]:
    """Return the graph, and the places of the convolutions that can do with 8 bits.

    Those that see the images themselves are none of them: 256 steps are too few for HU.
    """
    model = _read(network, INT8)
    graph = model.graph
    images = {value.name for value in graph.input}
    way = _leading_to(LOGITS, graph.node)
    chosen = {
        place
        for place, node in enumerate(graph.node)
        if node.op_type == "Conv" and way.issuperset(node.output) and node.input[0] not in images
    }
    return model, chosen


class _Quantising:
    """The new graph as it grows, and the pairs of Q and DQ that are there already."""

    def __init__(self, graph: Proto, ranges: Mapping[str, float]) -> None:
        self._graph = graph
        self._ranges = ranges
        self._weights = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self._nodes: list[Proto] = []
        self._constants: list[Proto] = []
        self._known: set[str] = set()

    def add(self, node: Proto, *, quantise: bool) -> None:
        node = _copied(node)
        if quantise:
            data, weight, *bias = node.input
            self._pair(data, self._scale(data))
            values = self._weights[weight]
            self._pair(weight, np.abs(values).reshape(len(values), -1).max(axis=1) / INT8_MOST)
            node.ClearField("input")
            node.input.extend([f"{data}.{INT8}", f"{weight}.{INT8}", *bias])
        self._nodes.append(node)

    def finish(self) -> None:
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        self._graph.initializer.extend(self._constants)

    def _scale(self, name: str) -> Any:  # noqa: ANN401  a number of NumPy
        if name not in self._ranges:
            raise EngineUnavailable(f"the card holds no range of {name}, which int8 needs")
        return np.float32(self._ranges[name] / INT8_MOST)

    def _pair(self, name: str, scale: Any) -> None:  # noqa: ANN401  a number or an array of NumPy
        if f"{name}.{INT8}" in self._known:
            return
        self._known.add(f"{name}.{INT8}")
        scale = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)
        zero = np.zeros(scale.shape, np.int8)
        given = [f"{name}.scale", f"{name}.zero"]
        for constant, values in zip(given, (scale, zero), strict=True):
            self._constants.append(numpy_helper.from_array(values, constant))
        axis = {"axis": 0} if scale.ndim else {}
        q, dq = f"{name}.q", f"{name}.{INT8}"
        for kind, source, into in (("QuantizeLinear", name, q), ("DequantizeLinear", q, dq)):
            self._nodes.append(
                helper.make_node(kind, [source, *given], [into], name=f"{kind}_{name}", **axis)
            )


def _read(network: bytes, precision: str) -> Proto:
    if onnx is None:
        raise EngineUnavailable(f"{precision} needs the package onnx to rewrite the network")
    try:
        return onnx.shape_inference.infer_shapes(onnx.load_from_string(network))
    except (DecodeError, ValueError) as error:
        raise EngineUnavailable(f"cannot read the network: {error}") from error


@dataclass(kw_only=True)
class _Written:
    """The new graph as it grows."""

    nodes: list[Proto] = field(default_factory=list)
    constants: dict[str, Proto] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)


class _Rewriting:
    def __init__(self, graph: Proto, precision: str) -> None:
        self._graph = graph
        self._precision = precision
        self._type = TensorProto.FLOAT16 if precision == F16 else TensorProto.BFLOAT16
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._lowered = self._chosen()
        self._written = _Written()

    def run(self) -> None:
        needed = self._needed_in_full()
        for place, node in enumerate(self._graph.node):
            if place in self._lowered:
                self._lower(node, needed)
            else:
                self._written.nodes.append(node)
        nodes = [_copied(node) for node in self._written.nodes]
        used = {name for node in nodes for name in node.input}
        kept = [tensor for name, tensor in self._constants.items() if name in used]
        kept = [_copied(tensor) for tensor in (*kept, *self._written.constants.values())]
        for part, content in (("node", nodes), ("initializer", kept), ("value_info", [])):
            del getattr(self._graph, part)[:]
            getattr(self._graph, part).extend(content)

    def _chosen(self) -> set[int]:
        """Return the places of the nodes to lower: known operators on the way to the logits."""
        kinds = LOWERED - UNKNOWN_IN.get(self._precision, frozenset())
        floats = _floats(self._graph)
        way = _leading_to(LOGITS, self._graph.node)
        return {
            place
            for place, node in enumerate(self._graph.node)
            if node.op_type in kinds
            and way.issuperset(node.output)
            and floats.issuperset(name for name in (*node.input, *node.output) if name)
        }

    def _needed_in_full(self) -> set[str]:
        others = (node for place, node in enumerate(self._graph.node) if place not in self._lowered)
        return {name for node in others for name in node.input} | {
            output.name for output in self._graph.output
        }

    def _lower(self, node: Proto, needed: set[str]) -> None:
        inputs = [self._low(name) for name in node.input]
        outputs = [self._named(name) for name in node.output]
        low = _copied(node)
        low.ClearField("input")
        low.ClearField("output")
        low.input.extend(inputs)
        low.output.extend(outputs)
        self._written.nodes.append(low)
        self._written.known.update(outputs)
        for name in node.output:
            if name in needed:
                self._cast(self._named(name), name, TensorProto.FLOAT)

    def _low(self, name: str) -> str:
        """Return the name of a tensor's copy in few bits, which is made when first asked for."""
        if not name:
            return name
        low = self._named(name)
        if low not in self._written.known:
            if name in self._constants:
                self._written.constants[low] = self._rounded(self._constants[name], low)
            else:
                self._cast(name, low, self._type)
            self._written.known.add(low)
        return low

    def _cast(self, name: str, into: str, kind: int) -> None:
        self._written.nodes.append(
            helper.make_node("Cast", [name], [into], name=f"cast_{into}", to=kind)
        )

    def _named(self, name: str) -> str:
        return f"{name}.{self._precision}"

    def _rounded(self, tensor: Proto, name: str) -> Proto:
        values = numpy_helper.to_array(tensor)
        if self._precision == F16 and np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            raise EngineUnavailable(f"{tensor.name} holds a weight that f16 cannot hold")
        kind = helper.tensor_dtype_to_np_dtype(self._type)
        return numpy_helper.from_array(values.astype(kind), name)


def _copied(part: Proto) -> Proto:
    copy = type(part)()
    copy.CopyFrom(part)
    return copy


def _floats(graph: Proto) -> set[str]:
    """Return the names of all float32 tensors."""
    named = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        named[value.name] = value.type.tensor_type.elem_type
    return _of_type(named, TensorProto.FLOAT)


def _of_type(named: Mapping[str, int], kind: int) -> set[str]:
    return {name for name, found in named.items() if found == kind}


def _leading_to(output: str, nodes: Sequence[Proto]) -> set[str]:
    """Return the names of all tensors that ``output`` is made of, itself included."""
    found = {output}
    for node in reversed(nodes):  # sorted: from the end, each node comes before what it needs
        if found.intersection(node.output):
            found.update(node.input)
    return found
