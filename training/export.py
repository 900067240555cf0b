"""Writes a network as one ONNX file, held against the network before it is given out."""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from inference.card import PLANES, Inputs
from inference.engine import OUTPUTS
from training.explain import Explained, by_autograd
from training.networks import Fusion

OPSET = 18
TOLERANCE = 1e-4
"""Greatest difference in a number of any output between torch and ONNX Runtime."""


class ExportDiffers(Exception):
    """The exported network does not give what the one that was trained gives."""


def to_onnx(network: Fusion, inputs: Inputs) -> bytes:
    """Return the network as ONNX: inputs ``pet`` and ``ct``, and the outputs that engines know.

    The batch is free, the weights lie inside, and the auxiliary heads are left out. Raises
    ``ExportDiffers`` where ONNX Runtime's outputs differ by more than ``TOLERANCE`` from torch's:
    from logits and features of the network itself, and from the saliency that autograd gives.
    """
    explained = Explained(network).eval()
    generator = torch.Generator().manual_seed(0)
    shape = (2, len(PLANES), inputs.crop_side, inputs.crop_side)
    example = (torch.randn(shape, generator=generator), torch.randn(shape, generator=generator))
    batch = torch.export.Dim("batch", min=1, max=4096)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The exporter warns of its own deprecated internals, none of which we choose.
        warnings.simplefilter("ignore")
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            explained,
            example,
            str(path),
            input_names=["pet", "ct"],
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            dynamic_shapes={"pet": {0: batch}, "ct": {0: batch}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        data = _bare(path.read_bytes())
    _check(network, data, example)
    return data


def _bare(data: bytes) -> bytes:
    """Drop the stack traces that the exporter leaves behind: paths of the machine it ran on."""
    model = onnx.load_from_string(data)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    for part in (*graph.input, *graph.output):
        del part.metadata_props[:]
    bare: bytes = model.SerializeToString(deterministic=True)
    return bare


def _check(network: Fusion, data: bytes, example: tuple[torch.Tensor, torch.Tensor]) -> None:
    # Batch norms must not learn from the example, and both runs must see the same dropout: none.
    expected = by_autograd(network.eval(), *example)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    pet, ct = (tensor.numpy() for tensor in example)
    found = session.run(list(OUTPUTS), {"pet": pet, "ct": ct})
    for name, wanted, given in zip(OUTPUTS, expected, found, strict=True):
        difference = float(np.abs(given - wanted.numpy()).max())
        if not difference <= TOLERANCE:
            raise ExportDiffers(f"{name} differ by {difference:.2g}, more than {TOLERANCE:g}")
