"""What a network has to calculate, by its own shapes."""

from math import prod

import onnx


def of(network: bytes, batch: int) -> int:
    """Return the floating point operations of all convolutions and products, two a multiplication.

    ``ValueError`` where the shape of one is not known for that batch.
    """
    model = onnx.load_from_string(network)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del model.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        shapes[value.name] = tuple(one.dim_value for one in value.type.tensor_type.shape.dim)
    return 2 * sum(_multiplications(node, shapes) for node in graph.node)


def _multiplications(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    if node.op_type in {"Conv", "ConvTranspose"}:
        # Each place of the image that the weight is laid on, times one such weight.
        image = node.output[0] if node.op_type == "Conv" else node.input[0]
        places = _known(node, image, shapes)
        return places * prod(_shape(node, node.input[1], shapes)[1:])
    if node.op_type in {"Gemm", "MatMul"}:
        across = any(one.name == "transA" and one.i for one in node.attribute)
        left = _shape(node, node.input[0], shapes)
        return _known(node, node.output[0], shapes) * left[-2 if across else -1]
    return 0


def _known(node: onnx.NodeProto, name: str, shapes: dict[str, tuple[int, ...]]) -> int:
    return prod(_shape(node, name, shapes))


def _shape(node: onnx.NodeProto, name: str, shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    shape = shapes.get(name, ())
    if not shape or not all(shape):
        raise ValueError(f"the shape of {name} is not known, which {node.op_type} needs")
    return shape
