from dataclasses import replace

import numpy as np
import pytest
import torch

from training.checkpoint import Keep
from training.errors import Diverged
from training.feeding import Feed, ahead, as_inputs, fitted_inputs, margins
from training.fit import Examples, Trainer
from training.images import Drawing, Images, draw_images
from training.networks import Fusion, Single, network_of
from training.optimisation import averaged, drawing_weights, optimiser_of, order_of, rate_at
from training.recipe import Model, Optimiser, Precision, Schedule
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


def test_gradients_are_shortened_only_where_they_are_longer(
    trainer, examples, tiny_recipe, tmp_path
):
    """A norm of 1e-3 binds at every step, one of 1e6 at none: the log tells."""
    shares = []
    for norm in (1e-3, 1e6):
        keep = Keep(folder=tmp_path / str(norm), identity="one")
        fit = replace(tiny_recipe.fit, epochs=1, gradient_norm=norm)
        replace(trainer, fit=fit).train(
            lambda: Single(tiny_recipe.network, "pet"), examples, report=silent, keep=keep
        )
        shares.append(keep.load()["rows"][0]["clipped_share"])

    assert shares == [1.0, 0.0]


def test_a_loss_that_is_no_number_stops_the_run(trainer, examples, tiny_recipe):
    fit = replace(tiny_recipe.fit, optimiser=Optimiser.SGD, learning_rate=1e30, gradient_norm=1e30)

    with pytest.raises(Diverged, match="epoch 0: the loss is nan at a learning rate of 1e"):
        replace(trainer, fit=fit).train(
            lambda: Single(tiny_recipe.network, "pet"), examples, report=silent
        )


def test_the_learning_rate_falls_in_steps_after_the_warm_up(tiny_recipe):
    """The published schedule: five epochs from a tenth, then a tenth every 30."""
    fit = replace(tiny_recipe.fit, schedule=Schedule.STEP, warm_up_epochs=5, epochs=220)

    rates = [rate_at(epoch, fit) for epoch in (0, 5, 34, 35, 64, 65)]

    assert rates == pytest.approx([0.1, 1, 1, 0.1, 0.1, 0.01])


def test_positive_cases_are_drawn_at_their_share():
    """One case in ten is positive; three quarters of those drawn are, within four SDs."""
    cases, labels = np.arange(4000), np.arange(4000) % 10 == 0

    order = order_of(cases, labels, 0.75, torch.Generator().manual_seed(0))

    assert len(order) == 4000
    assert labels[order].mean() == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / 4000) ** 0.5)


def test_without_a_share_each_case_is_drawn_once():
    cases = np.arange(10, 30)

    order = order_of(cases, np.arange(30) > 20, None, torch.Generator().manual_seed(0))

    assert sorted(order) == list(cases)
    assert list(order) != list(cases)


def test_averaged_weights_follow_at_their_decay(tiny_recipe):
    """Weights 0, 1, 1 at a decay of 0.75: the first is taken, then a quarter of what is missing."""
    network = torch.nn.Linear(1, 1, bias=False)
    average = averaged(network, replace(tiny_recipe.fit, ema_decay=0.75))
    for weight in (0.0, 1.0, 1.0):
        with torch.no_grad():
            network.weight.fill_(weight)
        average.update_parameters(network)

    assert float(average.module.weight.detach()) == pytest.approx(0.25 + 0.75 * 0.25)


def test_averaged_weights_are_the_ones_that_are_judged_and_kept(trainer, examples, tiny_recipe):
    """At a decay of nearly 1 the network stays what it was after its first step."""
    fit = replace(tiny_recipe.fit, epochs=3, ema_decay=1 - 1e-9)
    slow, plain = (
        replace(trainer, fit=each)
        .train(lambda: Single(tiny_recipe.network, "pet"), examples, report=silent)
        .state_dict()["head.dense.6.weight"]
        for each in (fit, replace(fit, ema_decay=0.0))
    )
    torch.manual_seed(trainer.seed)
    start = Single(tiny_recipe.network, "pet").state_dict()["head.dense.6.weight"]

    step = fit.learning_rate * 0.1  # AdamW's first one, in the first epoch of the warm-up
    assert float((slow - start).abs().max()) == pytest.approx(step, rel=0.02)
    assert float((plain - start).abs().max()) > 1.5 * step


def test_bfloat16_steps_differ_little_and_keep_weights_in_float32(trainer, examples, tiny_recipe):
    losses = {}
    for precision in Precision:
        fit = replace(tiny_recipe.fit, epochs=1, precision=precision)
        network = replace(trainer, fit=fit).train(
            lambda: Single(tiny_recipe.network, "pet"),
            examples,
            report=lambda _epoch, loss, _reached, key=precision: losses.update({key: loss}),
        )
        assert {value.dtype for value in network.parameters()} == {torch.float32}

    full, halved = losses[Precision.FLOAT32], losses[Precision.BFLOAT16]
    assert halved == pytest.approx(full, rel=0.2)
    assert halved != full


def test_batches_made_ahead_are_the_same_in_the_same_order(trainer, examples):
    def batches(wrapped):
        feed = Feed(
            images=examples.images,
            labels=examples.labels,
            inputs=trainer.inputs,
            augmentation=trainer.augmentation,
            volumetric=False,
        )
        made = feed.batches(examples.training, 8, torch.Generator().manual_seed(1))
        return [batch.pet for batch in wrapped(made)]

    for first, second in zip(batches(iter), batches(ahead), strict=True):
        assert torch.equal(first, second)


def test_an_error_while_a_batch_is_made_ahead_is_raised():
    def broken():
        yield 1
        raise OSError("the disk is gone")

    made = ahead(broken())

    assert next(made) == 1
    with pytest.raises(OSError, match="gone"):
        next(made)


def test_a_network_that_sees_cubes_learns_what_lies_beside_the_planes(tiny_recipe, tiny_inputs):
    """Positive cases have a bright corner, which no plane through the middle shows."""
    rng = np.random.default_rng(0)
    inputs = replace(tiny_inputs, cube_side=20, crop_side=16)
    labels = np.arange(64) % 2 == 0
    cubes = rng.normal(2, 0.3, size=(64, 2, 20, 20, 20)).astype(np.float16)
    for corner in np.ndindex(2, 2, 2):
        start = [4 + 8 * step for step in corner]
        where = tuple(slice(s, s + 4) for s in start)
        cubes[(labels, 0, *where)] += np.float16(3.0)
    middle = slice(2, 18)
    planes = np.stack(
        [
            cubes[:, :, 10, middle, middle],
            cubes[:, :, middle, 10, middle],
            cubes[:, :, middle, middle, 10],
        ],
        axis=2,
    )
    examples = Examples(
        images=Images(planes=planes, moved=planes[:, np.newaxis], suv_max=np.ones(64), cubes=cubes),
        labels=labels,
        training=np.arange(40),
        validation=np.arange(40, 64),
    )
    trainer = Trainer(
        fit=replace(tiny_recipe.fit, epochs=6, patience=6, learning_rate=0.01, batch=8),
        augmentation=replace(tiny_recipe.augmentation, turn_probability=0.0, shift_mm=0.0),
        inputs=fitted_inputs(planes, inputs),
        seed=1,
    )
    reached = {}
    for model in (Model.PET, Model.PET_3D):
        values = reached.setdefault(model, [])
        trainer.train(
            lambda model=model: network_of(model, tiny_recipe.network),
            examples,
            report=lambda _epoch, _loss, value, values=values: values.append(value),
        )

    assert max(reached[Model.PET_3D]) > 0.95
    assert max(reached[Model.PET]) < 0.9


def test_a_network_that_sees_cubes_needs_them(trainer, examples, tiny_recipe):
    with pytest.raises(ValueError, match="needs images drawn with them"):
        trainer.train(lambda: network_of(Model.CT_3D, tiny_recipe.network), examples, report=silent)
