"""Rewrites a network so that its convolutions run in half the bits, and nothing else does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from inference.engine import BF16, F16, F32, LOGITS
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

Proto: TypeAlias = Any  # a message of onnx, which may not be there


def lowered(network: bytes, precision: str) -> bytes:
    """Return the ONNX network with its convolutions in ``f16`` or ``bf16``; ``f32``: as it is.

    Only what leads to the logits is lowered: the saliency is a gradient, whose numbers are too
    small for f16, and stays in float32. Inputs and outputs stay float32. ``EngineUnavailable``
    where onnx is not installed, the bytes are no network, or a weight is too large for f16.
    """
    if precision == F32:
        return network
    if onnx is None:
        raise EngineUnavailable(f"{precision} needs the package onnx to rewrite the network")
    try:
        model = onnx.shape_inference.infer_shapes(onnx.load_from_string(network))
    except (DecodeError, ValueError) as error:
        raise EngineUnavailable(f"cannot read the network: {error}") from error
    _Rewriting(model.graph, precision).run()
    rewritten: bytes = model.SerializeToString(deterministic=True)
    return rewritten


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
