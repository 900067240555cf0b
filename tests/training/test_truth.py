"""Cohorts of phantoms whose truth is known: sites, clinical covariates, and their best AUROC."""

import csv
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from inference import case
from inference.codec import encode
from inference.phantom import random_phantom
from training import recipe as recipes
from training import truth as truths
from training.__main__ import main
from training.bayes import best_auroc
from training.cohort import is_central, labels_of, risk_of
from training.labels import NodalClass
from training.outcomes import CohortUnusable
from training.recipe import Risk
from training.truth import Site, drawn, load_truth

SHIPPED = Path(truths.__file__).parent / "truths" / "phantom-centres.yaml"
KNOWN = {
    1_000_000: (2.7645013698385542e-05, 8.098209440301244e-06, False, False),
    1_000_001: (0.16956124987931814, 0.6892912691036108, False, True),
    1_000_002: (0.036746190741432476, 0.02822044335172413, True, False),
    1_000_019: (0.9720273001122819, 0.9298015270526369, True, True),
}
"""Of each seed: risk of N1 and N2, then both labels."""


@pytest.fixture(scope="module")
def truth():
    return load_truth(SHIPPED)


@pytest.fixture(scope="module")
def phantoms():
    return [random_phantom(seed) for seed in range(800)]


def logit(p):
    return math.log(p / (1 - p))


def chance_n2(phantom, truth):
    return drawn(phantom, truth).chances[1]


def test_risks_and_labels_are_what_they_were_before_phantoms_had_sites():
    """Those of four seeds by the first recipe, written down then."""
    risks = [
        Risk(
            intercept=-3.6,
            uptake=1.4,
            heterogeneity=2.4,
            solidity=3.2,
            spiculation=1.0,
            texture=0.8,
            size=0.6,
        ),
        Risk(
            intercept=-4.2,
            uptake=2.0,
            heterogeneity=1.4,
            solidity=2.8,
            spiculation=0.6,
            texture=2.0,
            size=0.8,
        ),
    ]
    for seed, known in KNOWN.items():
        found = [risk_of(random_phantom(seed), risk) for risk in risks]
        assert found == pytest.approx(known[:2], rel=1e-12)
        assert tuple(labels_of(seed, found).tolist()) == known[2:]


def test_each_clinical_covariate_moves_the_logit_by_its_weight_for_one_sd(truth):
    """A site without a shift; age of one SD above the mean; a man instead of a woman is two SD."""
    plain = replace(truth, sites=(replace(truth.sites[0], share=1.0, logit_shift=0.0),))
    phantom = random_phantom(3)
    weights = plain.occult_n2.clinical

    def with_patient(**changes):
        return replace(phantom, patient=replace(phantom.patient, **changes))

    def moved(**changes):
        middle = with_patient(age_years=65.0, sex="F")
        other = replace(middle, patient=replace(middle.patient, **changes))
        return logit(chance_n2(other, plain)) - logit(chance_n2(middle, plain))

    assert moved(age_years=65 + math.sqrt(140)) == pytest.approx(weights.age)
    assert moved(sex="M") == pytest.approx(2 * weights.male)


def test_centrality_moves_the_logit_by_its_weight_for_one_sd(truth, phantoms):
    """0.35 of the tumours are central, so that central and peripheral lie 1 / 0.477 SD apart."""
    flat = replace(
        truth.occult_n2,
        tumour=replace(
            truth.occult_n2.tumour,
            **dict.fromkeys(recipes.weights(truth.occult_n2.tumour), 0.0),
        ),
        clinical=replace(truth.occult_n2.clinical, age=0.0, male=0.0),
    )
    one = replace(truth, occult_n2=flat, sites=(replace(truth.sites[0], share=1.0),))
    logits = {is_central(p): logit(chance_n2(p, one)) for p in phantoms[:40]}

    apart = logits[True] - logits[False]
    assert apart == pytest.approx(flat.clinical.centrality / math.sqrt(0.35 * 0.65))


def test_sites_have_their_shares_scanners_and_prevalence(truth, phantoms):
    made = [drawn(phantom, truth) for phantom in phantoms]
    counts = Counter(one.site.name for one in made)

    for site in truth.sites:
        here = [one for one in made if one.site is site]
        assert counts[site.name] / len(made) == pytest.approx(site.share, abs=0.06)
        assert {one.scanner for one in here} == set(site.scanners)
    positive = {
        site.name: sum(one.nodal is not NodalClass.N0 for one in made if one.site is site)
        / counts[site.name]
        for site in truth.sites
    }
    assert positive["county"] < positive["university"] < positive["referral"]


def test_classes_come_true_as_often_as_their_chances_say(truth, phantoms):
    made = [drawn(phantom, truth) for phantom in phantoms]

    for nodal, place in ((NodalClass.N1, 0), (NodalClass.N2, 1)):
        told = sum(one.chances[place] for one in made) / len(made)
        assert sum(one.nodal is nodal for one in made) / len(made) == pytest.approx(told, abs=0.04)
    assert all(sum(one.chances) < 1 for one in made)


def test_knowing_the_site_and_the_patient_is_worth_something(truth, phantoms):
    """Of the best AUROC, images alone would reach less: nothing shows age, sex or centre."""
    known = best_auroc([chance_n2(phantom, truth) for phantom in phantoms])

    assert 0.75 < known.auroc < 0.95
    assert known.standard_error < 0.02


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t["sites"].pop(), "shares of sites must be positive and add up to 1"),
        (lambda t: t["sites"][0].update(scanners=["none"]), "scanners are some of"),
        (lambda t: t["sites"][0].update(name="county"), "two sites have one name"),
        (lambda t: t["occult_n1"]["clinical"].pop("age"), r"missing key occult_n1\.clinical\.age"),
    ],
    ids=["shares", "scanners", "names", "keys"],
)
def test_a_truth_that_makes_no_sense_is_refused(truth, tmp_path, change, told):
    value = encode(truth)
    change(value)
    path = tmp_path / "truth.yaml"
    path.write_text(yaml.safe_dump(value))

    with pytest.raises(CohortUnusable, match=told):
        load_truth(path)


def test_no_phantoms_are_no_cohort(tmp_path, capsys):
    assert main(["phantom-cohort", "--seed", "1", "--n", "0", "--out", str(tmp_path / "c")]) == 1
    assert "--n must be 1 or more" in capsys.readouterr().err


def test_the_command_makes_a_cohort_that_the_cohort_command_takes(truth, tmp_path, capsys):
    """Two phantoms of one site on the smallest scanner, from drawing to split."""
    small = replace(
        truth,
        sites=(Site(name="only", share=1.0, logit_shift=1.5, scanners=("small",)),),
    )
    told = tmp_path / "truth.yaml"
    told.write_text(yaml.safe_dump(encode(small)))
    out = tmp_path / "cases"
    arguments = ["--truth", str(told), "--seed", "7", "--n", "2", "--bayes-draws", "40"]

    assert main(["phantom-cohort", *arguments, "--out", str(out), "--quiet"]) == 0

    assert "occult_n2: the best possible AUROC is 0." in capsys.readouterr().out
    held = json.loads((out / "truth.json").read_text())
    assert held["truth"] == encode(small)
    assert held["bayes"]["occult_n1"]["draws"] == 40
    labels = list(csv.DictReader((out / "labels.csv").read_text().splitlines()))
    outcomes = list(csv.DictReader((out / "outcomes.csv").read_text().splitlines()))
    for row, outcome in zip(labels, outcomes, strict=True):
        assert outcome["patient"] == row["case"]
        assert (row["occult_n2"] == "1") == (outcome["pn"] == "pN2")
    assert case.read(out / "phantom-8").pet_facts.model_name == "Phantom Small"

    definition = tmp_path / "definition.yaml"
    definition.write_text("name: phantoms\nsplit: {seed: 1}\n")
    arguments = [str(out), "--outcomes", str(out / "outcomes.csv"), "--definition", str(definition)]
    assert main(["cohort", *arguments, "--out", str(tmp_path / "cohort"), "--quiet"]) == 0
    assert "**2 patients in the cohort**" in capsys.readouterr().out
