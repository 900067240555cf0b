import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from inference import onnx_engine, openvino_engine, torch_engine
from inference.bundle import default_path, load
from inference.errors import EngineUnavailable
from training.explain import by_autograd
from training.export import to_onnx
from training.images import unit_inputs
from training.networks import Fusion
from training.recipe import InputsRecipe, NetworkRecipe

ENGINES = {"openvino": openvino_engine, "onnxruntime": onnx_engine, "torch": torch_engine}
every_engine = pytest.mark.parametrize("back_end", ENGINES.values(), ids=ENGINES.keys())


def outputs(engine, pet, ct):
    """What the network gives in one run, without what it lacks."""
    return [found for found in engine.explained(pet, ct) if found is not None]


def inputs(count, side, seed=0):
    rng = np.random.default_rng(seed)
    pet = rng.normal(size=(count, 3, side, side)).astype(np.float32)
    return pet, rng.normal(size=pet.shape).astype(np.float32)


@pytest.fixture(scope="module")
def random_network(tmp_path_factory):
    """A network nobody trained, with batch norms that are not the identity, and its ONNX."""
    torch.manual_seed(3)
    network = Fusion(NetworkRecipe(widths=(4, 8, 8, 16), hidden=8, dropout=0.25))
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
    recipe = InputsRecipe(
        spacing_mm=2.0, cube_side=40, crop_side=32, pet_clip=(0.0, 20.0), ct_clip=(-1000.0, 400.0)
    )
    path = tmp_path_factory.mktemp("network") / "random.onnx"
    path.write_bytes(to_onnx(network, unit_inputs(recipe)))
    return network.eval(), path


@every_engine
def test_an_engine_gives_the_logits_of_the_torch_network(back_end, random_network):
    network, path = random_network
    pet, ct = inputs(5, 32)

    found = back_end.open_engine(path, threads=1).logits(pet, ct)

    with torch.inference_mode():
        expected = network(torch.from_numpy(pet), torch.from_numpy(ct))[0].numpy()
    assert found.dtype == np.float32
    assert np.abs(expected).max() > 0.1
    assert np.abs(found - expected).max() < 1e-4


@every_engine
def test_an_engine_gives_logits_and_saliency_of_the_torch_network_in_one_run(
    back_end, random_network
):
    network, path = random_network
    pet, ct = inputs(5, 32)
    engine = back_end.open_engine(path, threads=1)

    logits, saliency, _ = engine.explained(pet, ct)

    _, expected, _ = by_autograd(network, torch.from_numpy(pet), torch.from_numpy(ct))
    assert saliency.shape == (5, 16, 16)
    assert saliency.dtype == np.float32
    assert expected.max() > 0.01
    assert np.abs(saliency - expected.numpy()).max() < 1e-5
    assert np.abs(logits - engine.logits(pet, ct)).max() < 1e-6


@every_engine
def test_features_are_mean_and_maximum_of_the_maps_of_the_first_layers(back_end, random_network):
    """Of PET and CT, 4 maps of the stem and 4 of the first stage: 32 numbers."""
    network, path = random_network
    pet, ct = inputs(5, 32)

    features = back_end.open_engine(path, threads=1).explained(pet, ct).features

    expected = []
    with torch.inference_mode():
        for image, encoder in ((pet, network.pet_encoder), (ct, network.ct_encoder)):
            stem = encoder.stem[:3](torch.from_numpy(image))
            early = encoder.stages[0](encoder.stem[3](stem))
            for maps in (stem.numpy(), early.numpy()):
                expected += [maps.mean(axis=(2, 3)), maps.max(axis=(2, 3))]
    assert features.shape == (5, 32)
    assert features.dtype == np.float32
    assert features.min() >= 0
    assert np.abs(features - np.concatenate(expected, axis=1)).max() < 1e-5


@every_engine
def test_a_network_without_those_outputs_has_no_saliency_and_no_features(
    back_end, random_network, tmp_path
):
    """As the networks of bundles made before these were."""
    network, path = random_network
    model = onnx.load(str(path))
    kept = onnx.utils.Extractor(model).extract_model(["pet", "ct"], ["logits"])
    onnx.save(kept, str(tmp_path / "old.onnx"))
    pet, ct = inputs(2, 32)

    logits, saliency, features = back_end.open_engine(tmp_path / "old.onnx", threads=1).explained(
        pet, ct
    )

    assert saliency is None
    assert features is None
    assert "ConvTranspose" not in {node.op_type for node in kept.graph.node}
    with torch.inference_mode():
        expected = network(torch.from_numpy(pet), torch.from_numpy(ct))[0].numpy()
    assert np.abs(logits - expected).max() < 1e-4


@every_engine
def test_a_batch_gives_what_its_cases_give_one_by_one(back_end, random_network):
    _, path = random_network
    engine = back_end.open_engine(path, threads=1)
    pet, ct = inputs(4, 32)

    together = engine.explained(pet, ct)
    alone = [engine.explained(pet[i : i + 1], ct[i : i + 1]) for i in range(4)]

    for whole, *parts in zip(together, *alone, strict=True):
        assert np.abs(whole - np.concatenate(parts)).max() < 1e-5


@pytest.mark.parametrize("name", ["occult_n1", "occult_n2"])
def test_all_engines_agree_on_the_shipped_networks(name):
    bundle = load(default_path())
    path = bundle.onnx_path(bundle.card.task(name))
    pet, ct = inputs(3, bundle.card.inputs.crop_side)

    first, *others = (
        outputs(back_end.open_engine(path, threads=1), pet, ct) for back_end in ENGINES.values()
    )

    for reference, *found in zip(first, *others, strict=True):
        assert np.abs(reference).max() > 0.05
        for other in found:
            assert np.abs(reference - other).max() < 1e-4


@every_engine
def test_a_later_run_does_not_change_an_earlier_answer(back_end, random_network):
    engine = back_end.open_engine(random_network[1], threads=1)
    first = engine.explained(*inputs(1, 32, seed=1))
    kept = [part.copy() for part in first]

    engine.explained(*inputs(1, 32, seed=2))

    for part, copied in zip(first, kept, strict=True):
        assert np.array_equal(part, copied)


@every_engine
def test_an_engine_names_itself_and_its_device(back_end, random_network):
    engine = back_end.open_engine(random_network[1], threads=1)

    assert ENGINES[engine.name] is back_end
    assert engine.device == "CPU"


@every_engine
def test_a_file_that_is_no_network_is_refused(back_end, tmp_path):
    path = tmp_path / "garbage.onnx"
    path.write_bytes(b"\x99not a network")

    with pytest.raises(EngineUnavailable, match=r"garbage\.onnx"):
        back_end.open_engine(path, threads=1)


@every_engine
def test_a_file_that_is_missing_is_refused(back_end, tmp_path):
    with pytest.raises(EngineUnavailable, match=r"nowhere\.onnx"):
        back_end.open_engine(tmp_path / "nowhere.onnx", threads=1)


@pytest.mark.parametrize(
    ("back_end", "package"),
    [(openvino_engine, "openvino"), (onnx_engine, "onnxruntime"), (torch_engine, "torch")],
)
def test_a_package_that_is_not_installed_is_named(back_end, package, monkeypatch, tmp_path):
    monkeypatch.setattr(back_end, package, None)

    with pytest.raises(EngineUnavailable, match=package):
        back_end.open_engine(tmp_path / "any.onnx", threads=1)


def test_the_torch_engine_names_an_operator_that_it_does_not_know(tmp_path):
    node = helper.make_node("Einsum", ["pet", "ct"], ["logits"], equation="ij,jk->ik")
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("pet", "ct")]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    path = tmp_path / "einsum.onnx"
    onnx.save(helper.make_model(helper.make_graph([node], "g", values, [logits])), str(path))

    with pytest.raises(EngineUnavailable, match="Einsum"):
        torch_engine.open_engine(path, threads=1)


@pytest.mark.parametrize(
    ("operator", "attributes", "named"),
    [
        ("Pad", {"mode": "edge"}, "pads with zeros alone"),
        ("Cast", {"to": TensorProto.INT32}, "casts to floating point alone"),
    ],
)
def test_the_torch_engine_names_a_use_of_an_operator_that_it_does_not_know(
    tmp_path, operator, attributes, named
):
    node = helper.make_node(
        operator, ["pet", *["ct"] * (operator == "Pad")], ["logits"], **attributes
    )
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("pet", "ct")]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    path = tmp_path / "odd.onnx"
    onnx.save(helper.make_model(helper.make_graph([node], "g", values, [logits])), str(path))

    with pytest.raises(EngineUnavailable, match=named):
        torch_engine.open_engine(path, threads=1).logits(*inputs(1, 8))
