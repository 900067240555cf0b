"""From whole PET/CTs to a bundle that is served: a cohort of twelve patients, end to end."""

import csv
import json
import math
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import yaml
from rich.console import Console

from inference import case, onnx_engine
from inference.analyze import Model, analyze
from inference.bundle import load
from inference.codec import encode
from inference.lesion import LesionRules
from node.cli.process import process
from node.config import settings_from
from node.dicom import acquire
from training import patients, scores
from training import truth as truths
from training.__main__ import main
from training.build import build
from training.material import Resources
from training.partition import Part
from training.patient_material import Patients
from training.progress import Track
from training.recipe import load as load_recipe
from training.statistics.table import read
from training.truth import Site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("patients")]
FIRST = 9_000_007
"""Of these twelve phantoms six are N1 and six N2: two of each class in each part."""
SPLIT = {"seed": 1, "training": 0.34, "validation": 0.33, "test": 0.33}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("patients")


@pytest.fixture(scope="module")
def recipe_path(folder, tiny_patient_recipe):
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(encode(tiny_patient_recipe)))
    return path


@pytest.fixture(scope="module")
def cohort(folder, shipped_recipe_path):
    """Twelve whole phantoms as ``petct-train`` draws, labels and splits them."""
    shipped = truths.load_truth(
        shipped_recipe_path.parent.parent / "truths" / "phantom-centres.yaml"
    )
    n1, n2 = (
        replace(task, tumour=replace(task.tumour, intercept=intercept))
        for task, intercept in ((shipped.occult_n1, 9.0), (shipped.occult_n2, 0.0))
    )
    sites = tuple(
        Site(name=name, share=0.5, logit_shift=0.0, scanners=("feet-first",))
        for name in ("north", "south")
    )
    truth = replace(shipped, occult_n1=n1, occult_n2=n2, sites=sites)
    (folder / "truth.yaml").write_text(yaml.safe_dump(encode(truth)))
    (folder / "definition.yaml").write_text(yaml.safe_dump({"name": "twelve", "split": SPLIT}))
    cases = folder / "cases"
    drawing = ["--truth", str(folder / "truth.yaml"), "--seed", str(FIRST), "--n", "12"]
    drawing += ["--bayes-draws", "0", "--quiet"]
    assert main(["phantom-cohort", *drawing, "--out", str(cases)]) == 0
    rules = ["--outcomes", str(cases / "outcomes.csv"), "--definition"]
    rules += [str(folder / "definition.yaml"), "--quiet"]
    assert main(["cohort", str(cases), *rules, "--out", str(folder / "cohort")]) == 0
    return Patients(cohort=folder / "cohort", cases=cases)


@pytest.fixture(scope="module")
def made(folder, cohort, recipe_path):
    """The bundle, with its answers beside."""
    out = folder / "bundle"
    taken = ["--cohort", str(cohort.cohort), "--cases", str(cohort.cases)]
    kept = ["--answers", str(folder / "answers"), "--cache", str(folder / "cache")]
    asked = ["bundle", str(recipe_path), *taken, *kept, "--processes", "1", "--quiet"]
    assert main([*asked, "--out", str(out)]) == 0
    return load(out)


def test_parts_are_those_of_the_cohort_and_never_drawn_again(made, folder, cohort):
    sealed = patients.load(cohort.cohort)
    told = scores.read(folder / "answers")

    assert (told.source, told.cohort) == ("patients", "twelve")
    assert (told.cohort_digest, told.split_digest) == (sealed.digest, sealed.split_digest)
    assert told.bundle_digest == made.digest
    for part in (Part.TRAINING, Part.VALIDATION, Part.TEST):
        names = [one.patient for one in sealed.of(part)]
        assert made.card.training_set[f"patients_{part}"] == len(names) == 4
        for task, nodal in (("occult_n1", "N1"), ("occult_n2", "N2")):
            table = read(folder / "answers" / task / f"{part}.csv")
            assert list(table.cases) == names
            assert table.labels.tolist() == [one.nodal == nodal for one in sealed.of(part)]
            assert set(table.subgroups["centre"]) <= {"north", "south"}
            assert table.times is None  # nobody was followed


def test_a_synthetic_cohort_knows_the_best_possible_scores(made, folder, cohort):
    with (cohort.cases / "labels.csv").open(newline="") as file:
        chances = {row["case"]: float(row["occult_n2_risk"]) for row in csv.DictReader(file)}

    table = read(folder / "answers" / "occult_n2" / "test.csv")

    expected = [math.log(chances[name] / (1 - chances[name])) for name in table.cases]
    assert table.models["bayes"] == pytest.approx(expected)


def test_covariates_are_what_the_node_measures(made, folder, cohort):
    """Of the first patient, by the code that serves: the logs of what its findings would say."""
    name = "phantom-9000007"
    row = next(one for one in _covariates(folder) if one["case"] == name)
    petct = case.read(cohort.cases / name)
    lesion = _analyzed(petct, made).primary

    assert float(row["log_suv_max"]) == pytest.approx(math.log(lesion.suv_max))
    assert float(row["log_diameter"]) == pytest.approx(math.log(lesion.longest_diameter_mm))
    assert float(row["log_mtv_ml"]) == pytest.approx(math.log(lesion.mtv_ml))
    assert float(row["log_tlg_g"]) == pytest.approx(math.log(lesion.tlg_g))
    assert float(row["left"]) == (lesion.laterality == "left")
    assert float(row["age_years"]) == petct.patient.age_years
    assert float(row["male"]) == (petct.patient.sex == "M")


def test_serving_gives_a_patient_of_the_test_the_score_of_the_table(made, folder, cohort):
    """Planes are kept in half precision, so the margins differ a little."""
    for task in made.tasks:
        table = read(folder / "answers" / task.name / "test.csv")
        findings = _analyzed(case.read(cohort.cases / str(table.cases[0])), made)

        (served,) = (one for one in findings.predictions if one.task == task.name)

        expected = task.calibration.probability(table.models["fusion"][0])
        assert served.probability == pytest.approx(expected, abs=0.01)
        assert served.cutoff == task.cutoff


def test_a_bundle_refuses_its_own_patients_and_gives_its_test_the_same_scores(
    made, folder, cohort, tmp_path, capsys
):
    """Evaluated as served; planes are kept in half precision, so margins differ a little."""
    sealed = patients.load(cohort.cohort)
    asked = ["evaluate", str(made.folder), "--cohort", str(cohort.cohort)]
    asked += ["--cases", str(cohort.cases), "--processes", "1", "--replicates", "100", "--quiet"]

    assert main([*asked, "--out", str(tmp_path / "all")]) == 1
    assert "8 of 12 patients are of those that the bundle was fitted on" in capsys.readouterr().err
    assert main([*asked, "--parts", "test", "--out", str(tmp_path / "test")]) == 0

    told = scores.read(tmp_path / "test")
    assert (told.bundle_digest, told.cohort_digest) == (made.digest, sealed.digest)
    assert told.unseen.endswith("4 of its own test part.")
    for task in made.tasks:
        own = read(folder / "answers" / task.name / "test.csv")
        again = read(tmp_path / "test" / task.name / "external.csv")
        assert list(again.cases) == list(own.cases)
        assert again.labels.tolist() == own.labels.tolist()
        assert again.models["fusion"] == pytest.approx(own.models["fusion"], abs=0.05)


def test_the_node_serves_the_bundle(made, cohort, tmp_path):
    """DICOM in, findings and objects out, by the command as it stands."""
    petct = case.read(cohort.cases / "phantom-9000007")
    study = acquire.Study.of_phantom(FIRST, datetime(2026, 1, 2, 10, tzinfo=UTC))
    acquire.write(petct, tmp_path / "in", habit=acquire.Habit.SIEMENS, study=study)
    settings = settings_from({"model": {"bundle": str(made.folder)}})

    assert process(tmp_path / "in", tmp_path / "out", settings, Console(quiet=True)) == 0

    document = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert document["bundle"]["digest"] == made.digest
    assert [one["task"] for one in document["predictions"]] == ["occult_n1", "occult_n2"]
    assert (tmp_path / "out" / "sr.dcm").exists()


def test_a_killed_run_in_other_processes_ends_with_the_same_bundle(
    made, folder, cohort, recipe_path, tmp_path
):
    """Killed in the first network's second epoch, then in two processes from an empty cache."""
    recipe, runs = load_recipe(recipe_path), tmp_path / "runs"
    resources = Resources(folder=tmp_path / "cache", processes=2, runs=runs)
    with pytest.raises(_Killed):
        build(
            recipe,
            tmp_path / "killed",
            replace(resources, processes=1),
            _Killing(quiet=True),
            patients=cohort,
        )
    assert not (tmp_path / "killed").exists()
    assert (runs / "occult_n1-fusion" / "checkpoint.pt").exists()

    again = build(
        recipe,
        tmp_path / "again",
        resources,
        Track(quiet=True),
        patients=cohort,
        answers=tmp_path / "answers",
    )

    assert again.digest == made.digest
    for path in (folder / "answers").rglob("*.csv"):
        same = tmp_path / "answers" / path.relative_to(folder / "answers")
        assert same.read_bytes() == path.read_bytes()


class _Killed(Exception):
    pass


class _Killing(Track):
    """Ends a run when the first network has told of its first epoch."""

    @contextmanager
    def stage(self, title, steps):  # noqa: ARG002 - of a bar that is not shown
        def advance(told=""):
            if title == "training networks":
                raise _Killed

        yield advance


def _covariates(folder):
    with (folder / "answers" / "covariates.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _analyzed(petct, bundle):
    engines = {
        task.name: onnx_engine.open_engine(bundle.onnx_path(task), threads=1)
        for task in bundle.tasks
    }
    model = Model(bundle=bundle, engines=engines)
    return analyze(petct, model=model, rules=LesionRules())
