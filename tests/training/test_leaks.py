"""No label of the test reaches what is fitted: shuffled labels give an AUROC around one half.

The whole pipeline of patients runs: tables, split, images, covariates and their selection,
networks, the epoch chosen in validation, calibration, cut-offs.
"""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.made_patients import patient, write_patients
from training.assembling import Definition, assemble
from training.calibrated import Scored, calibrated, share_seen
from training.learning import learned
from training.material import Resources
from training.partition import Part, SplitPlan
from training.patient_material import Patients, patient_material
from training.patients import write
from training.progress import Track
from training.recipe import AugmentationRecipe
from training.statistics import auroc_interval_logit, confusion

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("leaks")]
COUNT = 300
QUIET = Track(quiet=True)
PLAN = SplitPlan(seed=1, training=0.4, validation=0.2, test=0.4)
TRUTH = np.random.default_rng(5).random(COUNT) < 0.5
"""Who has N1: the tumours of these take up more, which is all that tells them apart."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Cases of 300 patients; the cache of their images lies beside."""
    folder = tmp_path_factory.mktemp("leaks")
    suv = np.where(TRUTH, 8.0, 5.0) + np.random.default_rng(6).normal(0, 1, COUNT)
    made = {f"P-{number:03d}": patient(number, suv=suv[number]) for number in range(COUNT)}
    write_patients(folder / "cases", made)
    return folder


@pytest.fixture(scope="module")
def recipe(tiny_patient_recipe):
    """One task, one network, and a clinical model of covariates chosen by their p."""
    recipe = tiny_patient_recipe
    return replace(
        recipe,
        tasks=recipe.tasks[:1],
        rivals=(),
        inputs=replace(recipe.inputs, spacing_mm=2.0, cube_side=32, crop_side=32),
        network=replace(recipe.network, widths=(8, 8, 16, 16), hidden=16, dropout=0.0),
        augmentation=AugmentationRecipe(
            variants=1, turn_probability=0, shift_mm=0, scale=(1, 1), pet_gain=0, ct_noise_hu=0
        ),
        fit=replace(recipe.fit, epochs=12, patience=12, learning_rate=0.005),
        clinical_p_max=0.3,
    )


def ground_of(folder, recipe, labels, name):
    """The material of the cohort whose table of outcomes says these labels."""
    table = folder / f"{name}.csv"
    rows = [f"P-{n:03d},{'pN1' if label else 'pN0'},cN0" for n, label in enumerate(labels)]
    table.write_text("\n".join(["patient,pn,cn", *rows]))
    cohort = assemble(folder / "cases", [table], Definition(name=name, split=PLAN), QUIET)
    (folder / name).mkdir()
    write(cohort, folder / name)
    where = Patients(cohort=folder / name, cases=folder / "cases")
    return patient_material(recipe, where, resources(folder), QUIET)


def resources(folder):
    return Resources(folder=folder / "cache")


def interval(scores, model):
    return auroc_interval_logit(scores.labels, scores.models[model])


def youden_at_the_cutoff(recipe, scores):
    """Sensitivity + specificity - 1 in the test, at the cut-off that training gave."""
    known, held_out, test = (
        Scored(labels=scores[part].labels, margins=scores[part].models["fusion"])
        for part in (Part.TRAINING, Part.VALIDATION, Part.TEST)
    )
    seen = share_seen(recipe.fit, known.labels)
    task = calibrated(recipe.tasks[0], known, held_out, seen=seen)
    told = np.asarray([task.calibration.probability(margin) for margin in test.margins])
    found = confusion(test.labels, told, task.cutoff)
    positives = found.true_positives + found.false_negatives
    negatives = found.true_negatives + found.false_positives
    return found.true_positives / positives - found.false_positives / negatives


def test_shuffled_labels_cannot_be_foretold(folder, recipe):
    shuffled = np.random.default_rng(8).permutation(TRUTH)

    (one,) = learned(
        recipe, ground_of(folder, recipe, shuffled, "shuffled"), resources(folder), QUIET
    )

    test = one.scores[Part.TEST]
    assert len(test.labels) == 120
    for model in ("fusion", "clinical"):
        found = interval(test, model)
        assert found.low < 0.5 < found.high
        assert found.high - found.low < 0.25  # narrow enough to tell something
    # A difference of two shares of 60 each has a standard error of 0.09.
    assert abs(youden_at_the_cutoff(recipe, one.scores)) < 0.2


def test_labels_that_the_images_show_are_foretold(folder, recipe):
    """The same pipeline has the power to find what is there."""
    (one,) = learned(recipe, ground_of(folder, recipe, TRUTH, "true"), resources(folder), QUIET)

    test = one.scores[Part.TEST]
    assert interval(test, "fusion").low > 0.8
    assert interval(test, "clinical").low > 0.8
    assert youden_at_the_cutoff(recipe, one.scores) > 0.5


def test_a_planted_leak_is_seen(folder, recipe):
    """Where the test's own shuffled labels are fitted, its AUROC tells: it is far above 0.5."""
    shuffled = np.random.default_rng(8).permutation(TRUTH)
    ground = ground_of(folder, recipe, shuffled, "planted")
    few = ground.validation
    leaking = replace(ground, training=few, validation=few, test=only(ground.pool, few))
    greedy = replace(
        recipe,
        network=replace(recipe.network, widths=(8, 16, 32, 32), hidden=32),
        fit=replace(recipe.fit, epochs=60, patience=60, focal_gamma=0, weight_decay=0),
        clinical_p_max=None,
    )

    (one,) = learned(greedy, leaking, resources(folder), QUIET)

    assert interval(one.scores[Part.TEST], "fusion").low > 0.6


def only(cohort, indices):
    """Some cases of a cohort."""
    images = replace(
        cohort.images,
        planes=cohort.images.planes[indices],
        moved=cohort.images.moved[indices],
        suv_max=cohort.images.suv_max[indices],
    )
    return replace(
        cohort,
        cases=tuple(cohort.cases[index] for index in indices),
        images=images,
        covariates=cohort.covariates[indices],
        labels=cohort.labels[indices],
        columns={},
    )
