import logging
from dataclasses import replace

import pytest
import torch
from monai.networks.nets import resnet18

from training.errors import PretrainedUnusable
from training.networks import cube_encoder, encoder, network_of
from training.pretrained import load_encoder, load_encoders
from training.recipe import Model, PretrainedRecipe, Shortcut

WIDTHS = (4, 4, 8, 8)


@pytest.fixture
def network(tiny_recipe):
    return replace(tiny_recipe.network, widths=WIDTHS)


def by_torchvisions_names(weights):
    """An encoder's weights as a file of torchvision or MedicalNet names them."""
    names = {"stem.0.": "conv1.", "stem.1.": "bn1."}
    names |= {f"stages.{index}.": f"layer{index + 1}." for index in range(4)}
    renamed = {}
    for name, value in weights.items():
        own = next(start for start in names if name.startswith(start))
        renamed[names[own] + name.removeprefix(own)] = value
    return renamed


def saved(path, held):
    torch.save(held, path)
    return path


def assert_same(encoder, expected):
    for name, value in encoder.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, expected[name]), name


def test_imagenets_names_are_understood_and_its_classifier_is_left(tmp_path):
    torch.manual_seed(1)
    given, taking = encoder(WIDTHS), encoder(WIDTHS)
    held = by_torchvisions_names(given.state_dict()) | {"fc.weight": torch.ones(1000, 8)}

    match = load_encoder(
        taking, saved(tmp_path / "resnet18.pth", held), modality="pet", share_min=1.0
    )

    assert_same(taking, given.state_dict())
    assert match.share == 1.0
    assert match.missing == ()
    assert match.unused == ("fc.weight",)


def test_torchvisions_and_monais_resnet18_have_the_same_names_as_an_encoder_of_full_width():
    """122 tensors, and 11.18 million numbers without the classifier."""
    wanted = by_torchvisions_names(encoder((64, 128, 256, 512)).state_dict())
    known = resnet18(
        spatial_dims=2, n_input_channels=3, feed_forward=False, bias_downsample=False
    ).state_dict()

    assert {name: value.shape for name, value in wanted.items()} == {
        name: value.shape for name, value in known.items()
    }
    numbers = {k: v for k, v in wanted.items() if "running" not in k and "num_" not in k}
    assert sum(value.numel() for value in numbers.values()) == 11_176_512


def test_medicalnets_file_is_unwrapped_and_fits_an_encoder_with_padded_shortcuts(tmp_path):
    torch.manual_seed(1)
    given, taking = (cube_encoder(WIDTHS, shortcut=Shortcut.PADDING) for _ in range(2))
    held = {f"module.{k}": v for k, v in by_torchvisions_names(given.state_dict()).items()}
    held["module.conv_seg.0.weight"] = torch.ones(2)
    path = saved(tmp_path / "resnet_18_23dataset.pth", {"state_dict": held})

    match = load_encoder(taking, path, modality="ct", share_min=1.0)

    assert_same(taking, given.state_dict())
    assert match.unused == ("conv_seg.0.weight",)


def test_what_a_file_has_not_is_reported_and_less_than_the_share_is_refused(tmp_path):
    """The three shortcuts that narrow are 15 of 100 tensors: 0.85 are there."""
    given = cube_encoder((4, 8, 16, 32), shortcut=Shortcut.PADDING).state_dict()
    path = saved(tmp_path / "medicalnet.pth", by_torchvisions_names(given))
    taking = cube_encoder((4, 8, 16, 32))

    match = load_encoder(taking, path, modality="pet", share_min=0.8)

    assert match.share == pytest.approx(0.85)
    assert len(match.missing) == 15
    assert all("downsample" in name for name in match.missing)
    before = {name: value.clone() for name, value in taking.state_dict().items()}
    with pytest.raises(PretrainedUnusable, match=r"85\.0 % of the pet.*stages\.1\.0\.downsample"):
        load_encoder(taking, path, modality="pet", share_min=0.9)
    assert_same(taking, before)


def test_a_file_without_the_great_layers_is_refused_though_most_names_are_there(tmp_path):
    """Without the last stage's four convolutions 96 of 100 tensors, but 28.9 % of the numbers.

    They have 32 * 9 * (16 + 3 * 32) = 32 256 of 45 372, running means and variances included.
    """
    given = by_torchvisions_names(encoder((4, 8, 16, 32)).state_dict())
    held = {
        name: value
        for name, value in given.items()
        if not (name.startswith("layer4") and "conv" in name)
    }

    with pytest.raises(PretrainedUnusable, match=r"28\.9 %"):
        load_encoder(
            encoder((4, 8, 16, 32)),
            saved(tmp_path / "small.pth", held),
            modality="ct",
            share_min=0.9,
        )


def test_weights_of_another_shape_count_as_missing(tmp_path):
    path = saved(tmp_path / "colour.pth", by_torchvisions_names(encoder(WIDTHS).state_dict()))

    match = load_encoder(encoder(WIDTHS, channels=6), path, modality="joint", share_min=0.5)

    assert match.missing == ("stem.0.weight",)


@pytest.mark.parametrize("model", [Model.FUSION, Model.LATE, Model.PET])
def test_an_encoder_trained_here_is_found_under_its_modality(tmp_path, network, model):
    torch.manual_seed(1)
    given = network_of(model, network).state_dict()
    path = saved(tmp_path / "own.pt", {"weights": given, "rows": []})
    taking = encoder(WIDTHS)

    load_encoder(taking, path, modality="pet", share_min=1.0)

    kept = {"fusion": "pet_encoder.", "late": "pet.encoder.", "pet": "encoder."}[model]
    assert_same(taking, {name: given.get(kept + name) for name in taking.state_dict()})


def test_the_recipe_names_a_file_for_each_encoder(tmp_path, network, caplog):
    torch.manual_seed(1)
    pet, ct = encoder(WIDTHS), encoder(WIDTHS)
    recipe = replace(
        network,
        pretrained=PretrainedRecipe(
            pet=str(saved(tmp_path / "pet.pth", by_torchvisions_names(pet.state_dict()))),
            ct=str(saved(tmp_path / "ct.pth", by_torchvisions_names(ct.state_dict()))),
        ),
    )

    with caplog.at_level(logging.INFO):
        fusion, late = (
            load_encoders(network_of(model, recipe), recipe) for model in (Model.FUSION, Model.LATE)
        )
        load_encoders(network_of(Model.EARLY, recipe), recipe)
        load_encoders(network_of(Model.FUSION_3D, recipe), recipe)

    assert_same(fusion.pet_encoder, pet.state_dict())
    assert_same(fusion.ct_encoder, ct.state_dict())
    assert_same(late.pet.encoder, pet.state_dict())
    assert_same(late.ct.encoder, ct.state_dict())
    assert len(caplog.records) == 4  # early fusion and cubes have files of their own, or none


@pytest.mark.parametrize("held", [[1, 2], {"epoch": 3}])
def test_a_file_without_weights_is_refused(tmp_path, held):
    with pytest.raises(PretrainedUnusable, match="holds no weights"):
        load_encoder(encoder(WIDTHS), saved(tmp_path / "x.pt", held), modality="pet", share_min=0.9)


@pytest.mark.parametrize("data", [None, b"", b"\x80\x02cos\nsystem\n."])
def test_a_file_that_is_absent_or_code_is_refused(tmp_path, data):
    path = tmp_path / "x.pt"
    if data is not None:
        path.write_bytes(data)

    with pytest.raises(PretrainedUnusable, match=r"x\.pt cannot be read"):
        load_encoder(encoder(WIDTHS), path, modality="pet", share_min=0.9)
