"""``petct-train statistics`` as a user types it."""

import csv
import json

import numpy as np
import pytest
from scipy.special import expit

from training.__main__ import main
from training.statistics.discrimination import auroc_difference, auroc_interval_logit
from training.statistics.operating_point import youden_cutoff
from training.statistics.table import read
from training.statistics.values import UnusableScores
from training.statistics_command import plain

HEADER = (
    "case,label,patient,fusion,pet,subgroup:sex,time,event,treatment,"
    "reader:senior/a,reader:junior/b,pet:glcm,ct:entropy"
)


def write(path, seed, *, cases_a_patient=1, header=HEADER):
    """A table of 160 cases; the model ``fusion`` is good, ``pet`` less so."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(160):
        label = int(number < 40)
        new, old = rng.normal() + 2 * label, rng.normal() + label
        death, end = rng.exponential(6 / (1 + 2 * label)), rng.uniform(1, 8)
        rows.append(
            {
                "case": f"c{number}",
                "label": label,
                "patient": f"p{number // cases_a_patient}",
                "fusion": expit(2 * new - 3),
                "pet": expit(old - 1.5),
                "subgroup:sex": "fm"[number % 2],
                "time": round(min(death, end), 3),
                "event": int(death <= end),
                "treatment": "lobectomy" if rng.random() < 0.5 else "sublobar",
                "reader:senior/a": int(rng.random() < 0.2 + 0.5 * label),
                "reader:junior/b": int(rng.random() < 0.3 + 0.3 * label),
                "pet:glcm": new + rng.normal(),
                "ct:entropy": "" if number == 5 else rng.normal(),
            }
        )
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, header.split(","), extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    return path


def run(*arguments):
    return main(["statistics", *map(str, arguments), "--replicates", "200"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("tables")
    for seed, name in enumerate(("test", "training", "validation")):
        write(made / f"{name}.csv", seed)
    return made


@pytest.fixture(scope="module")
def told(folder):
    """All answers of the test table, as JSON."""
    out = folder / "out.json"
    arguments = [folder / "test.csv", "--training", folder / "training.csv"]
    arguments += ["--validation", folder / "validation.csv", "--seen-prevalence", "0.5"]
    arguments += ["--categories", "0.1", "0.3", "--times", "1", "3", "--out", out]
    assert run(*arguments) == 0
    return json.loads(out.read_text())


def test_numbers_are_those_of_the_functions(told, folder):
    table = read(folder / "test.csv")
    new, old = table.models["fusion"], table.models["pet"]
    interval = auroc_interval_logit(table.labels, new)
    difference = auroc_difference(table.labels, new, old)

    assert (told["cases"], told["patients"], told["positives"]) == (160, 160, 40)
    assert told["reference"] == "fusion"
    assert told["models"]["fusion"]["auroc"] == plain(interval)
    assert told["comparisons"]["pet"]["auroc"] == plain(difference)
    assert told["intervals"] == {"confidence": 0.95, "replicates": 200, "seed": 0}


def test_cut_offs_are_those_of_the_training_table(told, folder):
    training = read(folder / "training.csv")

    cutoff = youden_cutoff(training.labels, training.models["pet"])

    assert told["models"]["pet"]["at_cutoff"]["cutoff"] == pytest.approx(cutoff, rel=1e-5)
    assert set(told["models"]["pet"]["at_cutoff"]) >= {"sensitivity", "ppv", "youden", "counts"}


def test_all_that_the_table_has_columns_for_is_answered(told):
    assert set(told["comparisons"]["pet"]) == {
        "auroc",
        "auroc_q",
        "average_precision",
        "idi",
        "nri_continuous",
        "nri",
    }
    assert set(told["subgroups"]["sex"]["parts"]) == {"f", "m"}
    assert set(told["readers"]["each"]) == {"senior/a", "junior/b"}
    assert set(told["readers"]["groups"]) == {"senior", "junior"}
    assert set(told["readers"]["kappa"]) == {"senior/a / junior/b"}
    assert told["features"]["pet"][0]["feature"] == "glcm"
    assert told["features"]["ct"][0]["cases"] == 159
    assert set(told["survival"]["curves"]) == {"low", "high"}
    assert set(told["survival"]["by_treatment"]["high"]["curves"]) == {"lobectomy", "sublobar"}
    assert 0 < told["survival"]["interaction"]["p"] < 1
    assert told["recalibration"]["fusion"]["method"] in {"prior shift", "platt", "isotonic"}
    assert told["conformal"]["fusion"]["observed"]["of_positives"] > 0.7
    low, high = told["conformal"]["fusion"]["spread_of_positives"]
    assert low < 0.9 < high
    assert told["models"]["fusion"]["calibration"]["slope"]["value"] > 0
    assert len(told["models"]["fusion"]["decision_curve"]) == 10


def test_the_same_question_has_the_same_answer(folder, capsys):
    assert run(folder / "test.csv", "--cutoff", "fusion=0.4") == 0
    first = capsys.readouterr().out
    assert run(folder / "test.csv", "--cutoff", "fusion=0.4") == 0

    assert capsys.readouterr().out == first


def test_a_patients_cases_widen_the_intervals_and_have_no_survival(folder, tmp_path, capsys):
    several = write(tmp_path / "several.csv", 0, cases_a_patient=4)

    assert run(several, "--cutoff", "fusion=0.4") == 0

    told = json.loads(capsys.readouterr().out)
    assert told["patients"] == 40
    assert "one case a patient" in told["survival"]["reason"]
    assert told["readers"]["each"]["senior/a"]["sensitivity_p"] is None


def test_two_columns_are_enough(tmp_path, capsys):
    table = write(tmp_path / "small.csv", 3, header="case,label,fusion")

    assert run(table) == 0

    told = json.loads(capsys.readouterr().out)
    assert set(told["models"]["fusion"]) >= {"auroc", "average_precision", "calibration", "brier"}
    assert "at_cutoff" not in told["models"]["fusion"]
    assert not {"subgroups", "readers", "features", "survival"} & set(told)


def test_a_treatment_that_is_not_known_is_left_out(tmp_path, capsys):
    """Cases 0 to 9 have none: they count among their risk group, not among its treatments."""
    table = write(tmp_path / "table.csv", 4)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[:10]:
        row["treatment"] = ""
    with table.open("w", newline="") as file:
        again = csv.DictWriter(file, rows[0])
        again.writeheader()
        again.writerows(rows)

    assert run(table, "--cutoff", "fusion=0.4") == 0

    told = json.loads(capsys.readouterr().out)["survival"]
    by_treatment = [group["curves"] for group in told["by_treatment"].values()]
    assert sum(one["cases"] for one in told["curves"].values()) == 160
    assert sum(one["cases"] for group in by_treatment for one in group.values()) == 150
    assert all(set(group) == {"lobectomy", "sublobar"} for group in by_treatment)


def test_margins_are_no_probabilities(tmp_path, capsys):
    table = tmp_path / "margins.csv"
    rows = [f"{n},{n % 2},{n % 2 * 2 + n % 7},{n % 5 - 2}" for n in range(60)]
    table.write_text("\n".join(["case,label,new,old", *rows]))

    assert run(table) == 0

    told = json.loads(capsys.readouterr().out)
    assert "not probabilities" in told["models"]["new"]["calibration"]["reason"]
    assert "not probabilities" in told["comparisons"]["old"]["reclassification"]["reason"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--reference", "ct"], "there is no model ct; models are"),
        (["--cutoff", "fusion"], "MODEL=SCORE, got fusion"),
        (["--cutoff", "ct=0.5"], "there is no model ct"),
        (["--categories", "0.3", "0.1"], "thresholds must ascend"),
        (["--validation", "SMALL"], "there is no model pet"),
    ],
)
def test_what_cannot_be_answered_ends_with_one_line(arguments, reason, folder, tmp_path, capsys):
    small = write(tmp_path / "small.csv", 3, header="case,label,fusion")
    arguments = [str(small) if one == "SMALL" else one for one in arguments]

    assert run(folder / "test.csv", *arguments) == 1

    assert reason in capsys.readouterr().err


def test_risk_groups_need_a_cut_off(folder, capsys):
    assert run(folder / "test.csv") == 0

    assert "need cut-offs of ['fusion']" in capsys.readouterr().out


def test_nothing_is_written_over(folder, tmp_path, capsys):
    out = tmp_path / "there.json"
    out.write_text("mine")

    assert run(folder / "test.csv", "--out", out) == 1
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("case,score\n1,2", "no column label"),
        ("label,score\n1,2", "no column case"),
        ("case,label\n1,0", "no column is a model"),
        ("case,label,a\n", "there is no case"),
        ("case,label,a\n1,0,\x00caf\xe9", "not a CSV file in UTF-8"),
        ("case,label,a,a\n1,0,1,1", "column stands there twice"),
        ("case,label,a\n1,0,1\n1,1,2", "case stands there twice"),
        ("case,label,a\n1,0\n2,1,2", "longer or shorter"),
        ("case,label,a\n1,0,1,9\n2,1,2", "longer or shorter"),
        ("case,label,a\n1,yes,1", "case 1, column label: 0 or 1 is needed, got 'yes'"),
        ("case,label,a\n1,0,", "case 1, column a: a number is needed, got ''"),
        ("case,label,a\n1,0,nan", "case 1, column a: a number is needed, got 'nan'"),
        ("case,label,a\n1,0,high", "case 1, column a: could not convert"),
        ("case,label,a,pet:b\n1,0,1,x", "case 1, column pet:b: could not convert"),
    ],
)
def test_a_table_is_refused_with_its_column_and_case(tmp_path, text, reason):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="latin-1")

    with pytest.raises(UnusableScores, match=reason):
        read(path)


def test_models_may_be_called_pet_and_ct(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("case,label,pet,ct,pet:pet,subgroup\n1,0,1,2,3,a\n2,1,2,3,,b")

    table = read(path)

    assert list(table.models) == ["pet", "ct"]
    assert list(table.features["pet"]) == ["pet"]
    assert np.isnan(table.features["pet"]["pet"][1])
    assert table.subgroups["subgroup"].tolist() == ["a", "b"]
    assert table.patients.tolist() == [0, 1]
