"""The statistics of a training set, from their arithmetic to a study that is marked."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inference import onnx_engine
from inference.analyze import Model, analyze
from inference.bundle import default_path, load, save
from inference.lesion import LesionRules
from inference.phantom import SCANNERS, draw, random_phantom
from training.cohort import phantom_cohort, whole
from training.export import to_onnx
from training.familiar import features_of, fitted, learnt, limit_of, whitened
from training.feeding import fitted_inputs
from training.images import Drawing, draw_images
from training.networks import Fusion
from training.partition import Part

FEATURES = 5


def spread(seed, cases=200):
    """Features whose logarithms are Gaussian and correlated."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(cases, FEATURES)) @ rng.normal(size=(FEATURES, FEATURES))
    return np.exp(0.3 * mixed + 3)


def test_a_training_set_lies_as_far_from_itself_as_it_has_features():
    """Whitened by its own covariance, each feature adds 1 to the mean square, but for shrinkage."""
    known = fitted(spread(0, cases=5000))

    assert (known.distances(spread(0, cases=5000)) ** 2).mean() == pytest.approx(FEATURES, rel=0.02)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_distance_does_not_change_with_the_scale_of_a_feature(seed):
    """Its logarithm is only shifted, and covariance does not see that."""
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.uniform(-0.5, 0.5, FEATURES))
    training, unseen = spread(seed), spread(seed + 1, cases=20)

    before = fitted(training).distances(unseen)
    after = fitted(training * scale).distances(unseen * scale)

    assert after == pytest.approx(before, rel=1e-3)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_distance_does_not_change_with_an_affine_map_of_the_logarithms(seed):
    """Mahalanobis: x to Ax + b, mean to Am + b, covariance to ACA' leave it as it is."""
    rng = np.random.default_rng(seed)
    root, change = (np.eye(FEATURES) + 0.3 * rng.normal(size=(2, FEATURES, FEATURES)))[:]
    mean, shift, point = rng.normal(size=(3, FEATURES))
    covariance = root @ root.T + 0.1 * np.eye(FEATURES)
    change = change + 2 * np.eye(FEATURES)
    offset = np.full(FEATURES, 1e-9)

    before = whitened(offset, mean, covariance)
    after = whitened(offset, change @ mean + shift, change @ covariance @ change.T)

    told = [
        before.distances(np.exp(point)[None]),
        after.distances(np.exp(change @ point + shift)[None]),
    ]
    assert told[1] == pytest.approx(told[0], rel=1e-3)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_distance_is_that_of_numpys_inverse(seed):
    training, unseen = spread(seed), spread(seed + 1, cases=20)
    known = fitted(training)
    covariance = np.linalg.inv(known.whitening.T.astype(float) @ known.whitening)
    apart = np.log(unseen + known.offset) - known.mean

    expected = np.sqrt(np.einsum("ni,ij,nj->n", apart, np.linalg.inv(covariance), apart))

    assert known.distances(unseen) == pytest.approx(expected, rel=1e-3)


def test_a_feature_that_never_varied_has_a_spread_all_the_same():
    """One that was always 0 is 1 once: that is far, and a number."""
    training = spread(0)
    training[:, 2] = 0
    known = fitted(training)

    usual, odd = training[:1].copy(), training[:1].copy()
    odd[:, 2] = 1
    (near,), (far,) = known.distances(usual), known.distances(odd)

    assert near < 5
    assert 5 * near < far < np.inf


@pytest.mark.parametrize(
    ("count", "place", "beyond"),
    [(99, 99, 0.01), (199, 198, 0.01), (900, 892, 9 / 901), (98, 98, 1 / 99), (8, 8, 1 / 9)],
)
def test_a_limit_is_the_smallest_that_keeps_its_promise(count, place, beyond):
    """Of 99 the greatest: the next lies beyond it in 1 of 100 draws. Of fewer it cannot be less."""
    distances = np.random.default_rng(0).permutation(np.arange(1, count + 1))

    limit, expected = limit_of(distances, 0.99)

    assert limit == place
    assert expected == pytest.approx(beyond)


def test_a_limit_is_rounded_upwards():
    limit, _ = limit_of(np.array([1.00001, 2.00001]), 0.5)

    assert limit == pytest.approx(2.0001)


def test_so_many_lie_beyond_the_limit_as_is_promised():
    """1,000 limits, each of 199 distances and held against 50 others: 1.00 % expected."""
    rng = np.random.default_rng(0)
    beyond = []
    for _ in range(1000):
        limit, _ = limit_of(rng.lognormal(size=199), 0.99)
        beyond.append((rng.lognormal(size=50) > limit).mean())

    assert np.mean(beyond) == pytest.approx(0.01, abs=0.0015)


SEEDS = range(7_100_000, 7_100_090)


@pytest.fixture(scope="module")
def ground(tiny_recipe, tiny_inputs):
    """Phantoms of the small scanner, as the networks of the tiny recipe see them: 50, 30 and 10."""
    drawing = Drawing(
        scanners=("small",),
        inputs=tiny_inputs,
        augmentation=tiny_recipe.augmentation,
        variants=0,
    )
    images = draw_images(SEEDS, drawing)
    risks = [task.risk for task in tiny_recipe.tasks]
    cohort = phantom_cohort(risks, images, first=SEEDS.start, scanners=("small",))
    group = whole(cohort)
    parts = {
        Part.TRAINING: replace(group, indices=np.arange(50)),
        Part.VALIDATION: replace(group, indices=np.arange(50, 80)),
        Part.TEST: replace(group, indices=np.arange(80, 90)),
    }
    return parts, fitted_inputs(images.planes[:50], tiny_inputs)


@pytest.fixture(scope="module")
def network(tiny_recipe, ground):
    """One that nobody trained: its first layers respond to whatever images hold."""
    torch.manual_seed(0)
    return to_onnx(Fusion(tiny_recipe.network), ground[1])


@pytest.fixture(scope="module")
def model(network, ground, tmp_path_factory):
    """The shipped bundle's card with this network for each task, and what it knows."""
    parts, inputs = ground
    shipped = load(default_path()).card
    files, tasks = dict[str, bytes](), []
    for task in shipped.tasks:
        known = learnt(task.name, network, parts, inputs)
        files |= {task.onnx: network, known.familiarity.file: known.statistics}
        tasks.append(replace(task, familiarity=known.familiarity))
    card = replace(
        shipped,
        inputs=inputs,
        tasks=tuple(tasks),
        files=dict.fromkeys(files, ""),
        limits=replace(shipped.limits, lesion_suv_max=(0.5, 100.0)),
        parity=(),
    )
    bundle = save(tmp_path_factory.mktemp("made") / "bundle", card, files)
    engines = {
        task.name: onnx_engine.open_engine(bundle.onnx_path(task), threads=1)
        for task in bundle.tasks
    }
    return Model(bundle=bundle, engines=engines)


def test_what_is_learnt_stands_on_the_card(model, ground):
    parts, inputs = ground
    for task in model.bundle.tasks:
        network = model.bundle.onnx_path(task).read_bytes()
        known, limit = model.bundle.familiar[task.name], task.familiarity
        distances = {
            part: known.distances(features_of(network, group, inputs))
            for part, group in parts.items()
        }

        assert known.features == 32
        assert limit.cases == 30
        assert limit.share_beyond_expected == pytest.approx(1 / 31, abs=1e-6)
        assert limit.distance_max == pytest.approx(distances[Part.VALIDATION].max(), abs=2e-4)
        beyond = (distances[Part.TEST] > limit.distance_max).mean()
        assert limit.share_beyond_test == pytest.approx(beyond, abs=1e-6)


def analysed(model, petct):
    return analyze(petct, model=model, rules=LesionRules())


@pytest.fixture(scope="module")
def petct():
    return draw(random_phantom(7_200_003), SCANNERS["small"])


def with_factor(volume, factor):
    return replace(volume, voxels=volume.voxels * np.float32(factor))


def shifted(volume, hu):
    return replace(volume, voxels=volume.voxels + np.float32(hu))


def test_a_usual_study_is_not_marked_and_tells_its_distance(model, petct):
    findings = analysed(model, petct)

    assert findings.applicable
    assert all(0 < one.distance < one.distance_max for one in findings.predictions)


@pytest.mark.parametrize(
    "odd",
    [
        lambda petct: replace(petct, pet=with_factor(petct.pet, 4)),
        lambda petct: replace(petct, ct=shifted(petct.ct, 300)),
    ],
    ids=["four times the uptake", "air of -700 HU"],
)
def test_an_odd_study_is_marked_and_predicted_all_the_same(model, petct, odd):
    findings = analysed(model, odd(petct))

    assert not findings.applicable
    (reason,) = (one for one in findings.inapplicable if one.code == "UNLIKE_TRAINING")
    for one in findings.predictions:
        if not one.familiar:
            assert f"{one.task} by {one.distance:.1f}, at most" in reason.meaning
    assert len(findings.predictions) == 2


def test_a_bundle_from_before_there_were_statistics_serves_and_tells_no_distance(model, petct):
    tasks = tuple(replace(task, familiarity=None) for task in model.bundle.tasks)
    old = replace(model.bundle, card=replace(model.bundle.card, tasks=tasks), familiar={})

    findings = analysed(replace(model, bundle=old), petct)

    assert findings.applicable
    assert [one.distance for one in findings.predictions] == [None, None]
