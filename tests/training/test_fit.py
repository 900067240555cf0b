from dataclasses import replace

import numpy as np
import pytest
import torch

from training.feeding import as_inputs, fitted_inputs, margins
from training.fit import Examples, Trainer
from training.images import Drawing, Images, draw_images
from training.networks import Fusion, Single
from training.optimisation import drawing_weights, optimiser_of, rate_at
from training.recipe import Optimiser
from training.statistics import auroc


@pytest.fixture(scope="module")
def examples(tiny_inputs, tiny_recipe):
    drawing = Drawing(
        scanners=("small",), inputs=tiny_inputs, augmentation=tiny_recipe.augmentation, variants=2
    )
    images = draw_images(range(40), drawing)
    labels = np.arange(40) % 4 == 0
    return Examples(
        images=images, labels=labels, training=np.arange(28), validation=np.arange(28, 40)
    )


@pytest.fixture(scope="module")
def trainer(tiny_recipe, tiny_inputs, examples):
    return Trainer(
        fit=tiny_recipe.fit,
        augmentation=tiny_recipe.augmentation,
        inputs=fitted_inputs(examples.images.planes, tiny_inputs),
        seed=5,
    )


def silent(epoch, loss, reached):
    """Reports nothing."""


def test_two_runs_give_identical_weights_and_leave_the_global_random_state_alone(
    trainer, examples, tiny_recipe
):
    before = torch.random.get_rng_state()

    first, second = (
        trainer.train(lambda: Fusion(tiny_recipe.network), examples, report=silent)
        for _ in range(2)
    )

    assert torch.equal(torch.random.get_rng_state(), before)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_another_seed_gives_other_weights(trainer, examples, tiny_recipe):
    def head(seed):
        network = replace(trainer, seed=seed).train(
            lambda: Single(tiny_recipe.network, "pet"), examples, report=silent
        )
        return network.state_dict()["head.dense.2.weight"]

    assert not torch.equal(head(1), head(2))


def test_the_epoch_that_was_best_in_validation_is_kept_and_training_stops_without_gain(
    trainer, examples, tiny_recipe
):
    patient = replace(trainer, fit=replace(tiny_recipe.fit, epochs=12, patience=2))
    reached = []

    network = patient.train(
        lambda: Single(tiny_recipe.network, "ct"),
        examples,
        report=lambda _epoch, _loss, value: reached.append(value),
    )

    scores = margins(network, examples.images.planes[examples.validation], trainer.inputs)
    best = int(np.argmax(reached))
    assert auroc(examples.labels[examples.validation], scores) == reached[best]
    assert len(reached) in (12, best + 3)


def test_a_network_learns_what_only_one_modality_shows(tiny_recipe, tiny_inputs):
    """Positive cases are brighter in PET: the PET network sees it, the CT network cannot."""
    rng = np.random.default_rng(0)
    crop = tiny_inputs.crop_side
    labels = np.arange(96) % 2 == 0
    planes = rng.normal(2, 0.3, size=(96, 2, 3, crop, crop)).astype(np.float16)
    planes[labels, 0] += np.float16(1.0)
    examples = Examples(
        images=Images(planes=planes, moved=planes[:, np.newaxis], suv_max=np.ones(96)),
        labels=labels,
        training=np.arange(64),
        validation=np.arange(64, 96),
    )
    trainer = Trainer(
        fit=replace(tiny_recipe.fit, epochs=15, patience=15, learning_rate=0.01),
        augmentation=tiny_recipe.augmentation,
        inputs=fitted_inputs(planes, tiny_inputs),
        seed=1,
    )
    reached = {}
    for modality in ("pet", "ct"):
        values = reached.setdefault(modality, [])
        trainer.train(
            lambda modality=modality: Single(tiny_recipe.network, modality),
            examples,
            report=lambda _epoch, _loss, value, values=values: values.append(value),
        )

    assert max(reached["pet"]) > 0.95
    assert max(reached["ct"]) < 0.85


def test_the_learning_rate_warms_up_and_falls_along_a_cosine(tiny_recipe):
    """Three epochs from a tenth, then half a cosine over the other 20: half way at 13."""
    fit = replace(tiny_recipe.fit, epochs=23, warm_up_epochs=3)

    assert rate_at(0, fit) == pytest.approx(0.1)
    assert rate_at(1, fit) == pytest.approx(0.4)
    assert rate_at(3, fit) == pytest.approx(1.0)
    assert rate_at(13, fit) == pytest.approx(0.5)
    assert 0 < rate_at(22, fit) < 0.01


@pytest.mark.parametrize(
    ("choice", "kind"), [(Optimiser.SGD, torch.optim.SGD), (Optimiser.ADAMW, torch.optim.AdamW)]
)
def test_the_recipe_chooses_the_optimiser_and_its_rate(tiny_recipe, choice, kind):
    fit = replace(tiny_recipe.fit, optimiser=choice, learning_rate=0.25, weight_decay=0.5)

    found = optimiser_of(torch.nn.Linear(2, 2), fit)

    assert type(found) is kind
    assert found.param_groups[0]["lr"] == 0.25
    assert found.param_groups[0]["weight_decay"] == 0.5


def test_both_classes_are_drawn_equally_often():
    labels = np.array([True, False, False, False])

    weights = drawing_weights(labels, 0.5)

    assert weights[0] == weights[1:].sum()


def test_one_class_alone_cannot_be_trained_on():
    with pytest.raises(ValueError, match="both classes"):
        drawing_weights(np.zeros(4, dtype=bool), 0.5)


def test_normalisers_make_the_training_planes_mean_0_and_sd_1(examples, tiny_inputs):
    planes = examples.images.planes
    inputs = fitted_inputs(planes, tiny_inputs)

    pet, ct = as_inputs(torch.from_numpy(planes).float(), inputs)

    for values in (pet, ct):
        assert float(values.mean()) == pytest.approx(0.0, abs=1e-3)
        assert float(values.std()) == pytest.approx(1.0, abs=1e-3)


def test_a_step_is_never_longer_than_the_clipped_gradient(trainer, examples, tiny_recipe):
    """Without momentum and decay, one step of one batch moves by at most rate times norm."""
    fit = replace(
        tiny_recipe.fit,
        optimiser=Optimiser.SGD,
        epochs=1,
        batch=64,
        momentum=0.0,
        weight_decay=0.0,
        warm_up_epochs=0,
        gradient_norm=1e-3,
        learning_rate=1.0,
    )
    start = {}

    def build():
        network = Single(tiny_recipe.network, "pet")
        start.update({name: value.detach().clone() for name, value in network.named_parameters()})
        return network

    after = replace(trainer, fit=fit).train(build, examples, report=silent)

    moved = sum(float(((v.detach() - start[n]) ** 2).sum()) for n, v in after.named_parameters())
    assert 0 < moved**0.5 <= 1.001e-3
