import onnx
import pytest
import torch

from training.explain import by_autograd
from training.export import ExportDiffers, to_onnx
from training.networks import Fusion


@pytest.fixture(scope="module")
def exported(tiny_recipe, tiny_inputs):
    torch.manual_seed(0)
    return to_onnx(Fusion(tiny_recipe.network), tiny_inputs)


def test_a_network_takes_pet_and_ct_of_any_batch_and_gives_all_that_engines_know(exported):
    graph = onnx.load_from_string(exported).graph

    assert [value.name for value in graph.input] == ["pet", "ct"]
    assert [value.name for value in graph.output] == ["logits", "saliency", "features"]
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param


def test_a_network_is_plain_onnx_of_opset_18_with_its_weights_inside(exported):
    model = onnx.load_from_string(exported)

    assert [(domain.domain, domain.version) for domain in model.opset_import] == [("", 18)]
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_no_path_of_the_machine_is_left_in_the_file(exported):
    assert b"site-packages" not in exported
    assert b"networks.py" not in exported


def test_a_network_that_does_not_survive_the_export_is_refused(tiny_recipe, tiny_inputs):
    """A batch norm of nothing but infinities gives logits that are no numbers."""
    network = Fusion(tiny_recipe.network)
    with torch.no_grad():
        network.head.dense[0].running_mean.fill_(float("inf"))

    with pytest.raises(ExportDiffers, match="logits differ"):
        to_onnx(network, tiny_inputs)


def test_a_network_whose_saliency_does_not_survive_the_export_is_refused(
    tiny_recipe, tiny_inputs, monkeypatch
):
    """The logits survive; the map that autograd gives is made to be something else."""
    monkeypatch.setattr(
        "training.export.by_autograd",
        lambda *given: [part + index for index, part in enumerate(by_autograd(*given))],
    )

    with pytest.raises(ExportDiffers, match="saliency differ by 1"):
        to_onnx(Fusion(tiny_recipe.network), tiny_inputs)
