"""``petct-train evaluate --cohort``: a bundle on patients of others, by numbers told by hand.

The networks' margin is the greatest SUV that they see, less 8; strictly above it is called.
"""

import csv
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from inference import bundle as bundles
from inference import case
from inference.codec import digest
from tests.training.made_bundle import made_bundle
from tests.training.made_elsewhere import SUVS, cohort_of, everybody
from tests.training.reported import Parsed
from training import known, patients
from training.__main__ import main
from training.material import Origin
from training.partition import Part, SplitPlan
from training.scores import read

pytestmark = pytest.mark.xdist_group("external")  # one worker makes the cohort, for all of these

HALVES = SplitPlan(seed=1, training=0.5, validation=0.0, test=0.5)


def evaluated(folder, bundle, out, *more):
    """Run the command as a user does."""
    asked = ["--cohort", str(folder / "cohort"), "--cases", str(folder / "cases")]
    asked += ["--out", str(out), "--processes", "1", "--replicates", "200", "--quiet", *more]
    return main(["evaluate", str(bundle), *asked])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("external")
    cohort_of(place, everybody())
    return place


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return made_bundle(tmp_path_factory.mktemp("bundle") / "suv")


@pytest.fixture(scope="module")
def answers(folder, bundle):
    out = folder / "answers"
    assert evaluated(folder, bundle.folder, out) == 0
    return out


@pytest.fixture(scope="module")
def numbers(answers):
    return json.loads((answers / "evaluation.json").read_text())["tasks"]


def lines_of(answers):
    with (answers / "patients.csv").open(newline="") as file:
        return {row["patient"]: row for row in csv.DictReader(file)}


def test_every_patient_has_the_answers_that_serving_gives(answers):
    """Probability 1 / (1 + exp(8 - SUV)), high above 0.5; the card's sets part at 0.2 and 0.8."""
    told = lines_of(answers)

    for number, suv in enumerate(SUVS["N1"] + SUVS["N2"] + SUVS["N0"]):
        row = told[f"P-{number:02d}"]
        probability = 1 / (1 + math.exp(8 - suv))
        assert float(row["occult_n1_margin"]) == pytest.approx(suv - 8, abs=1e-3)
        assert float(row["occult_n1_probability"]) == pytest.approx(probability, abs=1e-3)
        assert row["occult_n1_cutoff"] == "0.5"
        assert row["occult_n1_high"] == str(int(suv > 8))
        assert row["risk"] == ("low", "high")[suv > 8]
        expected = "both" if abs(suv - 8) < math.log(4) else ("negative", "positive")[suv > 8]
        assert row["occult_n1_possible"] == expected
        assert row["occult_n1_label"] == str(int(number < 4))
        assert row["occult_n2_label"] == str(int(4 <= number < 8))


def test_discrimination_and_calls_are_those_that_are_counted_by_hand(numbers):
    """N1: 29 of 40 pairs in order, above 8 are 14, 12 and 9.5. N2: 3 + 8 + 9 + 7 of 40."""
    n1, n2 = (numbers[task]["models"]["fusion"] for task in ("occult_n1", "occult_n2"))

    assert n1["auroc"]["value"] == pytest.approx(29 / 40)
    assert n2["auroc"]["value"] == pytest.approx(27 / 40)
    assert list(n1["at_cutoff"]["counts"].values()) == [3, 1, 5, 5]
    assert n1["at_cutoff"]["sensitivity"]["value"] == 3 / 4
    assert n1["at_cutoff"]["specificity"]["value"] == 1 / 2
    # Clopper and Pearson of 5 of 10, as printed in any table.
    assert n1["at_cutoff"]["specificity"]["low"] == pytest.approx(0.1871, abs=1e-4)
    assert n1["at_cutoff"]["specificity"]["high"] == pytest.approx(0.8129, abs=1e-4)


def test_calibration_is_judged_as_the_bundle_has_it(numbers):
    """Observed to expected: 4 positives to the sum of the 14 probabilities; nothing is fitted."""
    suvs = np.asarray(SUVS["N1"] + SUVS["N2"] + SUVS["N0"])
    expected = 4 / np.sum(1 / (1 + np.exp(8 - suvs)))

    fit = numbers["occult_n1"]["models"]["fusion"]["calibration"]

    assert fit["observed_to_expected"] == pytest.approx(expected, abs=1e-3)
    assert fit["slope"]["low"] < fit["slope"]["value"] < 1  # margins that spread too far
    assert fit["intercept"]["value"] < 0  # told too often


def test_centres_are_judged_one_by_one(answers, numbers):
    """North, N1: 14 and 7 against 6, 13, 3, 5, 8.5: 5 + 3 of 10 pairs."""
    north = numbers["occult_n1"]["subgroups"]["centre"]["parts"]["north"]

    assert (north["cases"], north["positives"]) == (7, 2)
    assert north["auroc"]["value"] == pytest.approx(8 / 10)
    assert list(north["counts"].values()) == [1, 1, 2, 3]
    told = (answers / "evaluation.md").read_text()
    assert "| north | 2 of 7 (28.6 %) | 0.800 (" in told
    assert "| south | 2 of 7 (28.6 %) |" in told


def test_nobody_is_left_out_in_silence(answers, folder):
    """One has no lesion, one is withheld, one is marked, and one never had a case."""
    told, lines = read(answers), lines_of(answers)

    assert told.cases == {"external": 14}
    assert told.without_lesion == {"external": ("P-cold",)}
    assert told.withheld == {"external": ("P-half",)}
    assert told.marked == {"UPTAKE_TIME": 1}
    assert lines["P-cold"]["reasons"] == "NO_LESION"
    assert "CUBE_OUTSIDE" in lines["P-half"]["reasons"]
    assert lines["P-00"]["reasons"] == "UPTAKE_TIME"
    assert [lines[name]["predicted"] for name in ("P-00", "P-cold", "P-half")] == ["1", "0", "0"]
    assert lines["P-half"]["occult_n1_probability"] == lines["P-half"]["risk"] == ""
    report = (answers / "evaluation.md").read_text()
    for line in (
        "* 17 patients assessed",
        "  * 1 no case folder",
        "* **16 patients evaluated**",
        "  * 1 in whom no lesion is found: P-cold",
        "  * 1 whose prediction the card withholds: P-half",
        "  * 14 with a prediction",
        "    * 1 marked UPTAKE_TIME",
    ):
        assert f"{line}\n" in report
    assert "The bundle does not tell whose cases it was fitted on" in report


def test_marked_studies_are_judged_apart_from_covered_ones(numbers):
    """Without the marked 14: 9 + 4 + 6 of 30 pairs."""
    groups = numbers["occult_n1"]["subgroups"]["card"]["parts"]

    assert groups["covered"]["auroc"]["value"] == pytest.approx(19 / 30)
    assert groups["marked"]["cases"] == 1


def test_the_report_holds_the_answers_against_the_card(answers):
    """The card: AUROC 0.9 (0.8 to 1.0), 36 of 40 and 48 of 60; these: 0.725, 3 of 4 and 5 of 10."""
    told = (answers / "evaluation.md").read_text().replace("\N{MINUS SIGN}", "-")

    assert "| positive | 40 (40.0 %) | 4 (28.6 %) | -0.114 | 0.561 |" in told
    assert "| AUROC | 0.900 (0.800 to 1.000) | 0.725 (" in told
    assert "| sensitivity | 0.900 (0.763 to 0.972) | 0.750 (0.194 to 0.994) | -0.150 | " in told
    assert "| specificity | 0.800 (0.677 to 0.892) | 0.500 (0.187 to 0.813) | -0.300 | " in told
    assert "| sets held the truth, positives | 0.950 |" in told


def test_the_page_of_the_answers_tells_of_the_evaluation(answers, bundle, folder, capsys):
    page = folder / "report.html"
    asked = ["--answers", str(answers), "--cohort", str(folder / "cohort"), "--out", str(page)]

    assert main(["report", str(bundle.folder), *asked, "--replicates", "200", "--quiet"]) == 0

    found = Parsed(page.read_text(encoding="utf-8"))
    assert found.errors == []
    assert "The bundle was evaluated on the cohort elsewhere" in found.text
    assert "No lesion was found in 1 patient of external." in found.text
    assert "withholds the prediction of 1 patient" in found.text
    against, centres = found.tables("task-1-external")
    assert against["AUROC"]["its own test set"] == "0.900 (0.800 to 1.000)"
    assert centres["north"]["AUROC"].startswith("0.800 (")
    (calls,) = found.tables("task-1-cutoff")
    assert calls["PET/CT fusion (the bundle)"]["TP"] == "3"
    (items,) = found.tables("tripod")
    assert items["4"]["answered in"].endswith("evaluation")
    (cases,) = found.tables("task-1-cases")
    assert set(cases) >= {"P-00", "P-01", "P-02", "P-03"}  # the positive ones, with eight others
    assert len(cases) == 12


def test_a_study_unlike_the_training_set_is_marked_with_its_distance(tmp_path, folder):
    """The networks that ship, with a limit of 5: balls in a block of lung lie beyond it."""
    shipped = bundles.load(bundles.default_path())
    wide = replace(shipped.card.limits, lung_volume_min_ml=0.0, lesion_in_thorax=False)
    files = {name: (shipped.folder / name).read_bytes() for name in shipped.card.files}
    tasks = tuple(
        replace(task, familiarity=replace(task.familiarity, distance_max=5.0))
        for task in shipped.card.tasks
    )
    limits = replace(wide, cube_inside_share_withhold=0.1)
    card = replace(shipped.card, limits=limits, tasks=tasks, parity=())
    bundles.save(tmp_path / "bundle", card, files)

    assert evaluated(folder, tmp_path / "bundle", tmp_path / "out") == 0

    row = lines_of(tmp_path / "out")["P-01"]
    assert "UNLIKE_TRAINING" in row["reasons"].split()
    assert float(row["occult_n1_distance"]) > float(row["occult_n1_distance_max"]) == 5.0
    assert "made of phantoms" in read(tmp_path / "out").unseen


def refused(capsys):
    return capsys.readouterr().err


def with_marks(folder, cohort, **parts):
    """A bundle that was made of a cohort with these marks."""
    origin = Origin(source="patients", name="own", split_digest=cohort.split_digest, marks=parts)
    return made_bundle(folder, files={known.FILE: known.packed(origin)})


def test_patients_that_the_bundle_was_fitted_on_are_refused_by_name(folder, tmp_path, capsys):
    sealed = patients.load(folder / "cohort")
    one, other = sealed.members[1], sealed.members[5]
    own = with_marks(
        tmp_path / "bundle",
        sealed,
        training=(one.case_digest,),
        validation=(other.pet_digest,),  # the same voxels, whatever the folder is called
    )

    assert evaluated(folder, own.folder, tmp_path / "out") == 1

    told = refused(capsys)
    assert f"2 of 16 patients are of those that the bundle was fitted on ({one.patient}, " in told
    assert other.patient in told
    assert not (tmp_path / "out").exists()


def test_patients_of_the_bundles_own_test_are_told(folder, tmp_path):
    sealed = patients.load(folder / "cohort")
    own = with_marks(tmp_path / "bundle", sealed, test=sealed.members[1].marks)

    assert evaluated(folder, own.folder, tmp_path / "out") == 0

    assert read(tmp_path / "out").unseen.endswith("fitted on; 1 of its own test part.")


def test_parts_that_a_bundle_did_not_see_can_be_taken_alone(tmp_path, capsys):
    """Its own cohort: all of it is refused, the test part is not."""
    sealed = cohort_of(tmp_path, everybody(), plan=HALVES)
    own = with_marks(tmp_path / "bundle", sealed, **known.marks_of(sealed))

    assert evaluated(tmp_path, own.folder, tmp_path / "all") == 1
    assert "take only --parts that it did not see" in refused(capsys)
    assert evaluated(tmp_path, own.folder, tmp_path / "out", "--parts", "test") == 0

    assert set(lines_of(tmp_path / "out")) == {one.patient for one in sealed.of(Part.TEST)}
    assert (
        "* **8 patients evaluated**, those of the cohort's part test\n" in capsys.readouterr().out
    )


def test_a_task_whose_patients_are_left_alike_says_so_and_stops_no_other(tmp_path, bundle):
    """Two are N1, and the prediction of one of them is withheld."""
    made = everybody()
    made["P-half"] = (made["P-half"][0], "N1", "south")
    few = {name: made[name] for name in ("P-00", "P-half", "P-04", "P-05", "P-08", "P-09")}
    cohort_of(tmp_path, few)

    assert evaluated(tmp_path, bundle.folder, tmp_path / "out") == 0

    told = (tmp_path / "out" / "evaluation.md").read_text()
    assert "It cannot be judged: two patients of each class are needed to draw from." in told
    assert "## Meaning of occult_n2" in told
    numbers = json.loads((tmp_path / "out" / "evaluation.json").read_text())["tasks"]
    assert numbers["occult_n1"]["reason"].startswith("two patients of each class")
    assert numbers["occult_n2"]["models"]["fusion"]["auroc"]["value"] == pytest.approx(
        4 / 6, abs=1e-5
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ("occult_n1", "survival")}, "a cohort has no labels of 'survival'"),
        ({"side": 20}, "does not take the inputs of its card"),
        ({"to": 13.5}, "cases/P-00: occult_n1.onnx gave logits nan and 5.9999"),
        ({"files": {known.FILE: b"{}"}}, "patients.json: missing key cohort"),
    ],
)
def test_a_bundle_that_does_not_fit_is_refused(folder, tmp_path, capsys, changes, message):
    made_bundle(tmp_path / "bundle", **changes)

    assert evaluated(folder, tmp_path / "bundle", tmp_path / "out") == 1
    assert message in refused(capsys)
    assert not (tmp_path / "out").exists()


def test_a_cohort_of_one_class_is_refused(tmp_path, bundle, capsys):
    made = {name: (one, "N0", centre) for name, (one, _, centre) in everybody().items()}
    cohort_of(tmp_path, made)

    assert evaluated(tmp_path, bundle.folder, tmp_path / "out") == 1
    assert "cohort elsewhere: 0 of 16 cases are positive for occult_n1" in refused(capsys)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda place: (place / "arrays.npz").unlink(), "the case was changed after"),
        (lambda place: place.rename(place.with_name("elsewhere")), "is not there"),
    ],
)
def test_a_case_that_is_not_what_it_was_is_refused(tmp_path, bundle, capsys, spoil, message):
    cohort_of(tmp_path, everybody())
    spoil(tmp_path / "cases" / "P-03")

    assert evaluated(tmp_path, bundle.folder, tmp_path / "out") == 1
    told = refused(capsys)
    assert message in told
    assert "P-03" in told


def test_a_cohort_whose_predictions_are_all_withheld_is_refused(folder, tmp_path, capsys):
    made_bundle(tmp_path / "bundle")
    strict = bundles.load(bundles.default_path())

    assert evaluated(folder, strict.folder, tmp_path / "out") == 1
    assert "predicts nothing of any patient: " in refused(capsys)


def test_a_cohort_that_states_no_centres_says_so(tmp_path, bundle):
    made = {name: (one, stage, "") for name, (one, stage, _) in everybody().items()}
    cohort_of(tmp_path, made)

    assert evaluated(tmp_path, bundle.folder, tmp_path / "out") == 0

    told = (tmp_path / "out" / "evaluation.md").read_text()
    assert told.count("The cohort states no centres.") == 2


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda table: table.unlink(), "there is no table of the evaluation"),
        (
            lambda table: table.write_text(table.read_text().replace("fusion", "pet")),
            "an evaluation is of fusion alone; models are ['pet']",
        ),
    ],
)
def test_answers_of_an_evaluation_that_were_changed_are_refused(
    answers, bundle, tmp_path, capsys, spoil, message
):
    shutil.copytree(answers, tmp_path / "answers")
    spoil(tmp_path / "answers" / "occult_n2" / "external.csv")
    asked = ["--answers", str(tmp_path / "answers"), "--out", str(tmp_path / "page.html")]

    assert main(["report", str(bundle.folder), *asked, "--quiet"]) == 1
    assert message in refused(capsys)


def test_a_folder_is_never_written_over(folder, bundle, tmp_path, capsys):
    assert evaluated(folder, bundle.folder, tmp_path) == 1
    assert "is there already" in refused(capsys)


def test_a_cohort_needs_its_cases_and_a_place_for_the_answers(bundle, folder, capsys):
    assert main(["evaluate", str(bundle.folder), "--cohort", str(folder / "cohort")]) == 1
    assert "needs --cohort, --cases and --out" in refused(capsys)


def test_a_recipe_that_draws_phantoms_has_no_rules_for_patients(
    folder, bundle, tmp_path, shipped_recipe_path, capsys
):
    recipe = ["--recipe", str(shipped_recipe_path)]

    assert evaluated(folder, bundle.folder, tmp_path / "out", *recipe) == 1
    assert "draws phantoms and is not for patients" in refused(capsys)
    recipe = ["--recipe", str(shipped_recipe_path.with_name("dlnms-patients.yaml"))]
    assert evaluated(folder, bundle.folder, tmp_path / "out", *recipe) == 0


def test_the_marks_of_a_cohort_are_digests_of_cases_and_voxels(folder):
    sealed = patients.load(folder / "cohort")
    petct = case.read(folder / "cases" / "P-01")
    (one,) = (member for member in sealed.members if member.patient == "P-01")

    marks = known.marks_of(sealed)

    assert one.pet_digest == digest(petct.pet.voxels.tobytes())
    assert set(marks) == {"test"}
    assert set(one.marks) < set(marks["test"])
    assert len(marks["test"]) == 2 * len(sealed.members)
