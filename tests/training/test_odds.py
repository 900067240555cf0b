import csv
import math

import numpy as np
import pytest
from statsmodels.api import Logit, add_constant

from training.__main__ import main
from training.clinical import clinical_model as model_of_bundle
from training.odds import NoOdds, clinical_model, fit


def two_by_two(exposed_sick, exposed_well, other_sick, other_well):
    """A covariate of noughts and ones, and labels, with these counts."""
    counts = [exposed_sick, exposed_well, other_sick, other_well]
    exposed = np.repeat([1.0, 1.0, 0.0, 0.0], counts)
    sick = np.repeat([True, False, True, False], counts)
    return exposed, sick


def test_the_odds_ratio_of_a_table_is_that_of_its_cross_products():
    """30 * 60 / (20 * 10) = 9; Woolf's interval: ln 9 +- 1.96 sqrt(1/30 + 1/20 + 1/10 + 1/60)."""
    exposed, sick = two_by_two(30, 20, 10, 60)

    term = fit({"exposed": exposed}, sick).terms[0]

    reach = 1.959964 * math.sqrt(1 / 30 + 1 / 20 + 1 / 10 + 1 / 60)
    assert term.odds_ratio.value == pytest.approx(9.0)
    assert term.odds_ratio.low == pytest.approx(9 * math.exp(-reach), rel=1e-6)
    assert term.odds_ratio.high == pytest.approx(9 * math.exp(reach), rel=1e-6)
    assert not term.penalised


def test_an_empty_cell_gives_firths_odds_ratio_as_if_each_cell_had_half_a_case_more():
    """12.5 * 20.5 / (0.5 * 8.5) = 60.29; the likeliest odds ratio is infinite."""
    exposed, sick = two_by_two(12, 0, 8, 20)

    model = fit({"exposed": exposed}, sick)

    term = model.terms[0]
    assert model.penalised
    assert term.penalised
    assert term.odds_ratio.value == pytest.approx(12.5 * 20.5 / (0.5 * 8.5), rel=1e-6)
    assert 1 < term.odds_ratio.low < term.odds_ratio.value < term.odds_ratio.high
    assert term.p < 0.001


def test_firths_interval_ends_where_the_penalised_likelihood_has_fallen_by_1_92():
    """For a 2 x 2 table it is the likelihood of the table with half a case more in each cell."""
    exposed, sick = two_by_two(12, 0, 8, 20)

    low = math.log(fit({"exposed": exposed}, sick).terms[0].odds_ratio.low)

    def profile(log_odds_ratio):
        base = np.linspace(-6, 6, 120_001)
        return max(cell(base + log_odds_ratio, 12.5, 0.5) + cell(base, 8.5, 20.5))

    def cell(logit, sick, well):
        return sick * logit - (sick + well) * np.logaddexp(0, logit)

    best = profile(math.log(12.5 * 20.5 / (0.5 * 8.5)))
    assert best - profile(low) == pytest.approx(1.920729, abs=1e-4)


def test_many_covariates_agree_with_statsmodels_in_their_own_units():
    rng = np.random.default_rng(1)
    age, suv = rng.normal(65, 10, 300), rng.lognormal(2, 0.5, 300)
    sick = rng.random(300) < 1 / (1 + np.exp(-(0.03 * (age - 65) + 0.2 * (suv - 8))))

    model = fit({"age": age, "suv": suv}, sick)

    expected = Logit(sick.astype(float), add_constant(np.column_stack([age, suv]))).fit(disp=0)
    assert model.coefficients == pytest.approx(expected.params, rel=1e-6)
    for term, weight, (low, high), p in zip(
        model.terms,
        expected.params[1:],
        expected.conf_int()[1:],
        expected.pvalues[1:],
        strict=True,
    ):
        assert term.odds_ratio.value == pytest.approx(math.exp(weight), rel=1e-6)
        assert term.odds_ratio.low == pytest.approx(math.exp(low), rel=1e-5)
        assert term.odds_ratio.high == pytest.approx(math.exp(high), rel=1e-5)
        assert term.p == pytest.approx(p, rel=1e-4)
    assert model.margins({"age": age, "suv": suv}) == pytest.approx(
        expected.predict(which="linear"), abs=1e-6
    )


def test_only_what_stands_out_alone_enters_together():
    rng = np.random.default_rng(2)
    strong, noise = rng.normal(size=200), rng.normal(size=200)
    sick = strong + rng.logistic(size=200) > 0

    model = clinical_model({"strong": strong, "noise": noise}, sick, p_max=0.1)

    assert [term.name for term in model.univariable] == ["strong", "noise"]
    alone = {term.name: term.p for term in model.univariable}
    assert alone["strong"] < 0.1 <= alone["noise"]
    assert [term.name for term in model.multivariable.terms] == ["strong"]


def test_nothing_that_stands_out_is_told():
    rng = np.random.default_rng(0)

    with pytest.raises(NoOdds, match=r"no covariate has a univariable p below 1e-05: noise 0\.\d"):
        clinical_model({"noise": rng.normal(size=50)}, np.arange(50) % 2 == 0, p_max=1e-5)


def test_a_number_that_parts_the_classes_perfectly_has_a_finite_odds_ratio():
    values = np.arange(20.0)

    model = fit({"size": values}, values >= 10)

    assert model.penalised
    assert 1 < model.terms[0].odds_ratio.value < math.inf
    assert np.array_equal(model.margins({"size": values}) > 0, values >= 10)


def test_cases_that_miss_a_covariate_are_left_out_and_counted():
    exposed, sick = two_by_two(30, 20, 10, 60)
    more = np.concatenate([exposed, [math.nan] * 5])

    model = fit({"exposed": more}, np.concatenate([sick, [True] * 5]))

    assert model.cases == 120
    assert model.terms[0].odds_ratio.value == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("covariates", "labels", "told"),
    [
        ({"male": np.ones(10)}, np.arange(10) < 5, "male is 1 in all 10 cases"),
        ({"age": np.arange(10.0)}, np.zeros(10, bool), "0 are positive"),
        (
            {"age": np.arange(10.0), "years": np.arange(10.0) * 2 + 1},
            np.arange(10) % 2 == 0,
            "age and years cannot be told apart",
        ),
    ],
)
def test_what_cannot_be_fitted_is_named(covariates, labels, told):
    with pytest.raises(NoOdds, match=told):
        fit(covariates, labels)


def test_the_clinical_row_of_a_bundle_comes_from_the_chosen_covariates():
    """Only the last of the six covariates decides; the margin follows it alone."""
    rng = np.random.default_rng(4)
    known, unseen = rng.normal(size=(400, 6)), rng.normal(size=(50, 6))
    labels = 2 * known[:, 5] + rng.logistic(size=400) > 0

    margins = model_of_bundle(known, labels, p_max=0.001)(unseen)
    all_of_them = model_of_bundle(known, labels)(unseen)

    assert np.array_equal(np.argsort(margins), np.argsort(unseen[:, 5]))
    assert not np.array_equal(np.argsort(all_of_them), np.argsort(unseen[:, 5]))


@pytest.fixture
def table(tmp_path):
    """The 2 x 2 table above as a file, with ages of which some are missing."""
    exposed, sick = two_by_two(30, 20, 10, 60)
    path = tmp_path / "cases.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["exposed", "age", "sick"])
        for index, (value, label) in enumerate(zip(exposed, sick, strict=True)):
            rows.writerow([int(value), "" if index % 10 == 0 else index % 7, int(label)])
    return path


def test_the_command_prints_odds_ratios_alone_and_together(table, capsys):
    command = ["odds", str(table), "--label", "sick", "--covariates", "exposed", "age"]

    assert main(command) == 0

    told = capsys.readouterr().out
    assert "| exposed | 9 (3.75 to 21.6) |" in told
    assert told.splitlines()[3].startswith("| age |")
    assert told.splitlines()[3].endswith("| | |")
    assert "120 cases, 40 positive; together: 120." in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("age,sick", "years,sick"), "there is no column age"),
        (("1,1,1", "1,old,1"), "row 3: age must be a number, got 'old'"),
        (("1,1,1", "1,1,2"), "sick must be 0 or 1 in every row"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(table, capsys, change, told):
    table.write_text(table.read_text().replace(*change, 1))

    assert main(["odds", str(table), "--label", "sick", "--covariates", "exposed", "age"]) == 1
    assert told in " ".join(capsys.readouterr().err.split())
