"""The commands of ``petct-train`` as a user types them."""

import csv

import numpy as np
import pytest
import yaml

from inference import case, onnx_engine
from inference.bundle import default_path, load
from inference.codec import encode
from training import scores
from training.__main__ import main
from training.evaluate import engine_margins
from training.statistics import auroc
from training.statistics.table import read

pytestmark = pytest.mark.xdist_group("command")  # one worker trains, for all of these


@pytest.fixture(scope="module")
def recipe_path(tiny_recipe, tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(encode(tiny_recipe)))
    return path


@pytest.fixture(scope="module")
def made(recipe_path, tmp_path_factory):
    """The bundle of the tiny recipe."""
    out = tmp_path_factory.mktemp("made") / "tiny"
    told = ["--answers", str(out.with_name("answers")), "--processes", "1", "--quiet"]
    assert main(["bundle", str(recipe_path), "--out", str(out), *told]) == 0
    return out


@pytest.mark.slow
def test_the_bundle_command_writes_a_bundle_that_loads(made, tiny_recipe):
    bundle = load(made)

    assert [task.name for task in bundle.tasks] == ["occult_n1", "occult_n2"]
    assert {row.model for row in bundle.card.performance} == {
        "fusion",
        "pet",
        "ct",
        "clinical",
        "bayes",
    }
    assert all(row.low <= row.auroc <= row.high for row in bundle.card.performance)
    assert bundle.card.training_set["phantoms_test"] == tiny_recipe.cohort.test
    assert bundle.card.limits == tiny_recipe.limits


@pytest.mark.slow
def test_a_bundle_knows_what_its_training_set_looks_like(made):
    """With so few of validation the limit is the farthest of them: 1 of n + 1 lies beyond it."""
    bundle = load(made)
    cases = int(bundle.card.training_set["phantoms_validation"])

    for task in bundle.tasks:
        limit = task.familiarity
        assert (limit.file, limit.cases) == (f"{task.name}.npz", cases)
        assert limit.share_beyond_expected == pytest.approx(1 / (cases + 1), abs=1e-6)
        assert 0 <= limit.share_beyond_test <= 1
        assert bundle.familiar[task.name].features == 32
        assert set(task.files) <= set(bundle.card.files)


@pytest.mark.slow
def test_the_answers_are_tables_that_the_statistics_read(made, tiny_recipe):
    """Of each part; the card's AUROC of the fusion network is that of its column in the test."""
    folder = made.with_name("answers")
    told, bundle = scores.read(folder), load(made)

    assert (told.source, told.bundle_digest) == ("phantoms", bundle.digest)
    assert told.cases == {"training": 40, "validation": 8, "test": 40}
    on_card = {(row.task, row.model): row for row in bundle.card.performance}
    for task in told.tasks:
        for part, count in told.cases.items():
            table = read(folder / task / f"{part}.csv")
            assert list(table.models) == list(told.models)
            assert len(table.cases) == count
            assert int(table.labels.sum()) == told.positives[task][part]
            assert set(table.subgroups) == {"sex", "size", "scanner"}
        for model, margins in table.models.items():
            row = on_card[task, model]
            assert round(auroc(table.labels, margins), 4) == row.auroc
            assert row.cases == len(margins)
    first = tiny_recipe.cohort.test_first_seed
    assert list(table.cases) == [f"phantom-{first + n}" for n in range(40)]


@pytest.mark.slow
def test_the_cases_of_the_answers_give_their_margins_to_the_engine(made):
    """What the report shows is what the network saw: ONNX Runtime gives the same margins."""
    folder, bundle = made.with_name("answers"), load(made)
    for task in bundle.tasks:
        table = read(folder / task.name / "test.csv")
        with np.load(folder / task.name / "cases.npz", allow_pickle=False) as held:
            cases = dict(held)

        engine = onnx_engine.open_engine(bundle.onnx_path(task), threads=1)
        seen = engine_margins(engine, cases["planes"], bundle.card.inputs)

        assert np.allclose(seen, cases["margin"], atol=1e-4)
        assert list(cases["case"]) == list(table.cases[cases["index"]])
        positive = cases["kind"] == "positive-right"
        assert cases["margin"][positive].max() == table.models["fusion"][table.labels].max()


@pytest.mark.slow
def test_evaluating_gives_the_auroc_on_the_card(made, recipe_path, capsys):
    status = main(
        [
            "evaluate",
            str(made),
            "--recipe",
            str(recipe_path),
            "--processes",
            "1",
            "--quiet",
        ]
    )

    told = capsys.readouterr().out
    assert status == 0
    for row in load(made).card.performance:
        if row.model in ("fusion", "bayes"):
            assert f"{row.cases} ({row.positives}) | {row.auroc:.3f}" in told


@pytest.mark.slow
def test_the_shipped_bundle_tells_new_phantoms_apart(capsys):
    """Its first 80 test phantoms, drawn again; the card has the AUROC of all of them."""
    assert main(["evaluate", str(default_path()), "--n", "80", "--processes", "1", "--quiet"]) == 0

    lines = [line for line in capsys.readouterr().out.splitlines() if "fusion (" in line]
    assert len(lines) == 2
    assert all(float(line.split("|")[4].split("(")[0]) > 0.8 for line in lines)


def test_a_bundle_is_never_written_over_another(recipe_path, tmp_path, capsys):
    assert main(["bundle", str(recipe_path), "--out", str(tmp_path), "--quiet"]) == 1
    assert "is there already" in capsys.readouterr().err


def test_too_few_phantoms_to_judge_by_are_refused_in_words(capsys):
    arguments = [str(default_path()), "--n", "2", "--processes", "1", "--quiet"]

    assert main(["evaluate", *arguments]) == 1
    assert "two of each class are needed" in capsys.readouterr().err


def test_show_prints_what_the_card_says_of_the_bundles_worth(capsys):
    assert main(["show", str(default_path())]) == 0

    told = capsys.readouterr().out
    assert load(default_path()).digest in told
    assert "Research use only" in told
    assert "Bayes (best possible)" in told


def test_a_bundle_that_does_not_load_ends_with_one_line(tmp_path, capsys):
    assert main(["show", str(tmp_path)]) == 1
    assert "card.json" in capsys.readouterr().err


def test_a_phantom_cohort_is_case_folders_and_a_table(tmp_path, capsys):
    out = tmp_path / "cohort"
    assert (
        main(
            [
                "phantom-cohort",
                "--seed",
                "7",
                "--n",
                "2",
                "--bayes-draws",
                "50",
                "--out",
                str(out),
                "--quiet",
            ]
        )
        == 0
    )

    rows = list(csv.DictReader((out / "labels.csv").read_text().splitlines()))
    assert [row["case"] for row in rows] == ["phantom-7", "phantom-8"]
    assert {row["occult_n1"] for row in rows} <= {"0", "1"}
    assert 0 < float(rows[0]["occult_n2_risk"]) < 1
    assert case.read(out / "phantom-7").pet_facts.tracer == "FDG"


@pytest.mark.parametrize(
    "command", [[], ["bundle"], ["evaluate"], ["phantom-cohort"], ["show"], ["statistics"]]
)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])

    assert stopped.value.code == 0
    assert "usage: petct-train" in capsys.readouterr().out
