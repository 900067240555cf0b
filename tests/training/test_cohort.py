import math
from dataclasses import replace

import numpy as np
import pytest

from inference.anatomy import hilum
from inference.petct import PatientFacts
from inference.phantom import Tumour, random_phantom
from training.cohort import (
    COVARIATES,
    covariates_of,
    labels_of,
    phantom_cohort,
    risk_of,
    split,
)
from training.images import Images
from training.statistics import auroc

MEAN_TUMOUR = Tumour(
    centre_lps_mm=(-70.0, 0.0, 0.0),
    diameter_mm=28.0,
    suv=8.0,
    heterogeneity=0.5,
    solidity=0.85,
    spiculation=0.5,
    texture=0.5,
)
MEAN = replace(random_phantom(0), tumour=MEAN_TUMOUR, patient=PatientFacts(age_years=65, sex="M"))


def carrying(tumour):
    """Somebody of 65 years with this tumour."""
    return replace(MEAN, tumour=tumour)


def of_tumour_alone(risk):
    return replace(risk, centrality=0.0, age=0.0, male=0.0, sites={})


def test_a_tumour_of_mean_traits_has_the_risk_of_the_intercept(tiny_recipe):
    risk = of_tumour_alone(tiny_recipe.tasks[0].risk)

    assert risk_of(MEAN, risk) == pytest.approx(1 / (1 + math.exp(-risk.intercept)))


def test_each_trait_moves_the_logit_by_its_weight_for_one_sd(tiny_recipe):
    """The SD of an even spread from 0 to 1 is 1 / sqrt 12; that of the log of SUV is 0.45."""
    risk = of_tumour_alone(tiny_recipe.tasks[0].risk)
    textured = replace(MEAN_TUMOUR, texture=0.5 + 1 / math.sqrt(12))
    avid = replace(MEAN_TUMOUR, suv=8.0 * math.exp(0.45))

    def logit(tumour):
        p = risk_of(carrying(tumour), risk)
        return math.log(p / (1 - p))

    assert logit(textured) - risk.intercept == pytest.approx(risk.texture)
    assert logit(avid) - risk.intercept == pytest.approx(risk.uptake)


def test_age_sex_place_and_site_move_the_logit_too(tiny_recipe):
    """A man of 12 years (one SD) above the mean, at the hilum (35 % are), on a centre's scanner."""
    risk = replace(
        of_tumour_alone(tiny_recipe.tasks[0].risk),
        age=-0.3,
        male=0.1,
        centrality=0.5,
        sites={"classic": 0.7},
    )
    sd_years = math.sqrt((41**2 - 1) / 12)
    older = replace(MEAN, patient=replace(MEAN.patient, age_years=65 + sd_years))
    x, y, z = hilum(MEAN.body, left=False)
    central = replace(MEAN, tumour=replace(MEAN_TUMOUR, centre_lps_mm=(x, y, z)))
    apart = replace(MEAN, tumour=replace(MEAN_TUMOUR, centre_lps_mm=(x, y, z + 60)))

    def logit(phantom, scanner="small"):
        p = risk_of(phantom, risk, scanner)
        return math.log(p / (1 - p))

    assert logit(older) - logit(MEAN) == pytest.approx(-0.3)
    assert logit(MEAN, "classic") - logit(MEAN) == pytest.approx(0.7)
    assert logit(central) - logit(apart) == pytest.approx(0.5 / math.sqrt(0.35 * 0.65))
    woman = replace(MEAN, patient=replace(MEAN.patient, sex="F"))
    assert logit(MEAN) - logit(woman) == pytest.approx(0.2)


def test_risks_of_random_phantoms_have_a_realistic_prevalence_and_both_modalities_count(
    tiny_recipe,
):
    phantoms = [random_phantom(seed) for seed in range(2000)]
    for task in tiny_recipe.tasks:
        risks = np.array([risk_of(phantom, task.risk) for phantom in phantoms])
        labels = np.random.default_rng(0).random(2000) < risks
        no_pet = replace(task.risk, uptake=0.0, heterogeneity=0.0)
        no_ct = replace(task.risk, solidity=0.0, spiculation=0.0, texture=0.0)

        assert 0.15 < risks.mean() < 0.32
        best = auroc(labels, risks)
        for blind in (no_pet, no_ct):
            reached = auroc(labels, np.array([risk_of(phantom, blind) for phantom in phantoms]))
            assert reached < best - 0.05


def test_labels_come_true_as_often_as_their_risk_says():
    labels = np.array([labels_of(seed, (0.1, 0.7)) for seed in range(3000)])

    assert labels.mean(axis=0) == pytest.approx([0.1, 0.7], abs=0.03)


def test_covariates_are_what_a_reader_knows():
    phantom = random_phantom(4)

    found = dict(zip(COVARIATES, covariates_of(phantom, math.e), strict=True))

    assert found["age_years"] == phantom.patient.age_years
    assert found["left"] == float(phantom.tumour.centre_lps_mm[0] > 0)
    assert found["log_diameter"] == pytest.approx(math.log(phantom.tumour.diameter_mm))
    assert found["log_suv_max"] == pytest.approx(1.0)


def test_a_cohort_keeps_labels_and_covariates_in_the_order_of_the_seeds(tiny_recipe):
    risks = [task.risk for task in tiny_recipe.tasks]
    images = Images(
        planes=np.zeros((3, 2, 3, 1, 1), np.float16),
        moved=np.zeros((3, 0, 2, 3, 1, 1), np.float16),
        suv_max=np.array([2.0, 3.0, 4.0]),
    )

    cohort = phantom_cohort(risks, images, first=50)

    assert np.allclose(np.exp(cohort.covariates[:, 5]), [2, 3, 4])
    assert cohort.labels.shape == cohort.risks.shape == (3, 2)
    assert np.array_equal(cohort.labels[2], labels_of(52, cohort.risks[2]))
    assert cohort.risks[1, 1] == risk_of(random_phantom(51), risks[1])


def test_the_split_shares_each_combination_of_labels_and_loses_no_case():
    """100 cases: 40 with neither, 20 with N1 alone, 20 with N2 alone, 20 with both."""
    labels = np.repeat([[0, 0], [0, 0], [1, 0], [0, 1], [1, 1]], 20, axis=0).astype(bool)

    training, validation = split(labels, 0.2, np.random.default_rng(0))

    assert sorted([*training, *validation]) == list(range(100))
    assert [int(labels[validation][:, i].sum()) for i in (0, 1)] == [8, 8]
    assert int((labels[validation].sum(axis=1) == 2).sum()) == 4
