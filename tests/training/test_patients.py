"""A cohort from case folders and tables: who is in, who is out and why, sealed and verified."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import yaml

from inference import case
from inference.codec import encode
from inference.phantom import draw, random_phantom
from inference.scanner import SCANNERS
from training import patients
from training.__main__ import main
from training.assembling import STEPS, assemble, load_definition
from training.consort import screens
from training.labels import ClinicalN, Exclusion, LabelRules, NodalClass, StageN3, classify, labels
from training.outcomes import CohortUnusable, N, Outcome, Stage
from training.partition import Part
from training.progress import Track

QUIET = Track(quiet=True)
TABLE = """\
patient,pn,cn,centre,age_years,smoking
P-00,pN0,cN0,north,61,never
P-01,pN1,cN0,north,62,former
P-02,pN2,cN0,north,63,never
P-03,pN0,cN0,south,64,current
P-04,pN1,cN0,south,65,
P-05,pN2,cN0,south,66,never
P-06,pN0,cN0,east,67,never
P-07,pN3,cN0,north,68,never
P-08,pN1,cN1,north,69,never
P-09,NX,cN0,north,70,never
P-10,pN0,cN0,north,71,never
P-11,pN0,,south,72,never
P-13,pN0,cN0,north,73,never
"""
DEFINITION = {
    "name": "made-up",
    "split": {
        "seed": 1,
        "training": 0.5,
        "validation": 0.0,
        "test": 0.5,
        "external_centres": ["east"],
    },
}


def outcome(pn=N.N0, cn=N.N0, *, after_therapy=False):
    return Outcome(
        patient="P",
        source="t.csv:2",
        pn=Stage(n=pn, after_therapy=after_therapy),
        cn=Stage(n=cn),
        covariates={},
    )


@pytest.fixture(scope="module")
def petct():
    """A corner of a phantom: a case in every respect but its size."""
    grid = SCANNERS["small"].ct_grid("1.2")
    start = grid.to_patient((10, 20, 20))
    end = grid.to_patient((14, 28, 28))
    low, high = (tuple(map(float, f(start, end))) for f in (min_of, max_of))
    return draw(random_phantom(1), SCANNERS["small"], box=(low, high))


def min_of(a, b):
    return [min(pair) for pair in zip(a, b, strict=True)]


def max_of(a, b):
    return [max(pair) for pair in zip(a, b, strict=True)]


@pytest.fixture
def given(tmp_path, petct):
    """Cases of P-00 to P-12 but P-10, which an export refused; a table; a definition."""
    folder = tmp_path / "cases"
    folder.mkdir()
    for number in (*range(10), 11, 12):
        write_case(folder / f"P-{number:02d}", petct, number)
    (folder / "cases.csv").write_text("patient,reason\nP-10,SUV_NO_WEIGHT\nP-00,\n")
    (folder / ".P-14.part").mkdir()  # as an export that was killed leaves it
    (folder / ".P-14.part" / "case.json").write_text("{}")
    table = tmp_path / "outcomes.csv"
    table.write_text(TABLE)
    definition = tmp_path / "definition.yaml"
    definition.write_text(yaml.safe_dump(DEFINITION))
    return folder, table, definition


def write_case(folder, petct, number):
    voxels = petct.pet.voxels + number
    own = replace(petct, study_instance_uid=f"2.25.{number}", pet=replace(petct.pet, voxels=voxels))
    case.write(own, folder)


@pytest.fixture
def cohort(given):
    folder, table, definition = given
    return assemble(folder, [table], load_definition(definition), QUIET)


def test_occult_is_what_pathology_finds_and_nobody_saw():
    rules = LabelRules()

    assert classify(outcome(N.N0), rules) is NodalClass.N0
    assert labels(NodalClass.N1) == {"occult_n1": True, "occult_n2": False}
    assert labels(NodalClass.N2) == {"occult_n1": False, "occult_n2": True}
    assert classify(outcome(N.N1, N.N1), rules) is Exclusion.NODES_SEEN
    assert classify(outcome(N.N1, None), rules) is Exclusion.NO_CN
    assert classify(outcome(None), rules) is Exclusion.NO_PN
    assert classify(outcome(N.N0, after_therapy=True), rules) is Exclusion.INDUCTION
    assert classify(outcome(N.N3), rules) is Exclusion.N3


def test_rules_may_be_wider_where_the_definition_says_so():
    wide = LabelRules(clinical_n=ClinicalN.ASSUMED, n3=StageN3.AS_N2)

    assert classify(outcome(N.N3, None), wide) is NodalClass.N2
    assert classify(outcome(N.N1, N.N2), wide) is Exclusion.NODES_SEEN


def test_everybody_who_was_assessed_is_in_the_cohort_or_left_out_for_one_reason(cohort):
    assert [one.patient for one in cohort.members] == [f"P-0{n}" for n in range(7)]
    assert {one.patient: one.why for one in cohort.left_out} == {
        "P-07": "pN3",
        "P-08": "clinical N stage above N0: a metastasis would not be occult",
        "P-09": "pathological N stage unknown (absent or NX)",
        "P-10": "SUV_NO_WEIGHT",
        "P-11": "clinical N stage unknown",
        "P-12": "in no table",
        "P-13": "no case folder",
    }


def test_the_flow_counts_down_to_the_members(cohort):
    """14 assessed; 1 in no table, 2 without images, 4 by label: 7 are left."""
    found = screens(cohort, STEPS)

    assert [(screen.came, screen.passed) for screen in found] == [(14, 13), (13, 11), (11, 7)]


def test_external_centres_lie_wholly_outside(cohort):
    assert [one.patient for one in cohort.of(Part.EXTERNAL)] == ["P-06"]
    assert {one.centre for one in cohort.members if one.part is not Part.EXTERNAL} == {
        "north",
        "south",
    }
    inside = Counter((one.nodal, one.part) for one in cohort.members if one.centre != "east")
    assert set(inside.values()) == {1}  # two of each class, one for training and one for the test


def test_what_the_table_does_not_say_is_taken_from_the_headers(cohort, petct):
    first = cohort.members[0]

    assert first.covariates["age_years"] == "61"
    assert first.covariates["sex"] == petct.patient.sex
    assert first.covariates["pet_scanner"] == "Phantom Small"  # the maker's name is in it
    assert "smoking" not in cohort.members[4].covariates


def test_a_cohort_survives_the_disk(cohort, tmp_path):
    patients.write(cohort, tmp_path)

    assert patients.load(tmp_path) == cohort
    assert patients.load(tmp_path, split_digest=cohort.split_digest) == cohort
    with pytest.raises(CohortUnusable, match="its split is"):
        patients.load(tmp_path, split_digest="sha256:0")


def altered(cohort, folder, change):
    path = patients.write(cohort, folder)
    value = json.loads(path.read_text())
    change(value["cohort"])
    path.write_text(json.dumps(value))
    return folder


def move(cohort):
    """Make the first patient who was trained on one to test on."""
    member = next(one for one in cohort["members"] if one["part"] == "training")
    member["part"] = "test"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (move, "the split is not the plan's"),
        (lambda c: c["members"].append(c["members"][0]), "is there twice"),
        (lambda c: c["members"][0].update(covariates={}), "a digest does not fit"),
        (lambda c: c["left_out"].pop(), "a digest does not fit"),
        (lambda c: c.update(schema=2), "schema 2, this software reads 1"),
        (lambda c: c.update(surname="x"), "unknown key cohort.surname"),
    ],
    ids=["moved", "doubled", "emptied", "shortened", "newer", "added"],
)
def test_a_cohort_that_was_changed_does_not_load(cohort, tmp_path, change, told):
    with pytest.raises(CohortUnusable, match=told):
        patients.load(altered(cohort, tmp_path, change))


def test_a_cohort_of_before_pets_had_digests_stays_what_it_was(cohort, tmp_path):
    older = replace(cohort, members=tuple(replace(one, pet_digest="") for one in cohort.members))
    (tmp_path / "older").mkdir()

    path = patients.write(older, tmp_path / "older")

    assert "pet_digest" not in path.read_text(encoding="utf-8")
    assert patients.load(tmp_path / "older") == older
    assert older.members[0].marks == (older.members[0].case_digest,)


def test_a_case_that_was_changed_is_told(cohort, given):
    folder, _, _ = given
    assert patients.verified_case(cohort, "P-00", folder) == folder / "P-00"

    (folder / "P-00" / "case.json").write_text("{}")

    with pytest.raises(CohortUnusable, match="changed after the cohort was made"):
        patients.verified_case(cohort, "P-00", folder)


def test_one_study_under_two_names_is_refused(given, petct):
    folder, table, definition = given
    write_case(folder / "P-13", petct, 3)

    with pytest.raises(CohortUnusable, match="the cases 'P-03' and 'P-13' are one study"):
        assemble(folder, [table], load_definition(definition), QUIET)


def test_a_case_that_does_not_load_is_left_out(given):
    folder, table, definition = given
    (folder / "P-00" / "arrays.npz").write_bytes(b"")

    found = assemble(folder, [table], load_definition(definition), QUIET)

    assert {one.why for one in found.left_out if one.patient == "P-00"} == {
        "the case folder does not load"
    }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"external_centres": ["west"]}, "nobody is of 'west'; centres: east, north, south"),
        ({"training": 0.9}, "must not be negative and add up to 1"),
        ({"sead": 1}, r"unknown key split\.sead"),
    ],
)
def test_a_definition_that_cannot_be_used_is_refused(given, change, told):
    folder, table, definition = given
    split = {**DEFINITION["split"], **change}
    definition.write_text(yaml.safe_dump({**DEFINITION, "split": split}))

    with pytest.raises(CohortUnusable, match=told):
        assemble(folder, [table], load_definition(definition), QUIET)


def test_external_validation_needs_to_know_every_centre(given):
    folder, table, definition = given
    table.write_text(TABLE.replace("P-03,pN0,cN0,south", "P-03,pN0,cN0,"))

    with pytest.raises(CohortUnusable, match=r"outcomes\.csv:5: no centre"):
        assemble(folder, [table], load_definition(definition), QUIET)


def test_what_an_export_left_must_be_told_in_its_columns(given):
    folder, table, definition = given
    (folder / "cases.csv").write_text("case,why\nP-10,SUV_NO_WEIGHT\n")

    with pytest.raises(CohortUnusable, match=r"cases\.csv:2: the columns are patient and reason"):
        assemble(folder, [table], load_definition(definition), QUIET)


def test_a_cohort_is_never_written_over_another(given, tmp_path, capsys):
    folder, table, definition = given
    arguments = [str(folder), "--outcomes", str(table), "--definition", str(definition)]

    assert main(["cohort", *arguments, "--out", str(tmp_path), "--quiet"]) == 1
    assert "is there already" in capsys.readouterr().err


def test_tables_of_one_name_are_refused(given, tmp_path):
    folder, table, definition = given
    with pytest.raises(CohortUnusable, match="two tables have one file name"):
        assemble(folder, [table, table], load_definition(definition), QUIET)


def test_the_command_writes_a_cohort_and_its_report(given, tmp_path, capsys):
    folder, table, definition = given
    out = tmp_path / "cohort"
    arguments = [str(folder), "--outcomes", str(table), "--definition", str(definition)]

    assert main(["cohort", *arguments, "--out", str(out), "--quiet"]) == 0

    told = capsys.readouterr().out
    assert told == (out / "report.md").read_text()
    assert "* 14 patients assessed\n* 1 left out: no line in the tables of outcomes" in told
    assert "| east | external | 1 | 1 | 0 | 0 |" in told
    assert "| smoking | 0 (0%) | 1 (33%) | 0 (0%) |" in told  # P-04 is in the test
    assert patients.load(out).digest in told
    assert main(["cohort-show", str(out)]) == 0
    assert capsys.readouterr().out == told


def test_a_patient_who_is_there_twice_ends_the_command_with_the_line(given, tmp_path, capsys):
    folder, table, definition = given
    table.write_text(TABLE + "P-02,pN0,cN0,north,50,never\n")
    arguments = [str(folder), "--outcomes", str(table), "--definition", str(definition)]

    assert main(["cohort", *arguments, "--out", str(tmp_path / "cohort"), "--quiet"]) == 1
    assert "outcomes.csv:15: the patient 'P-02' is there already" in capsys.readouterr().err
    assert not (tmp_path / "cohort").exists()


def test_the_digest_changes_with_anything_and_the_splits_with_parts_alone(cohort):
    other = replace(cohort, name="another")

    assert other.digest != cohort.digest
    assert other.split_digest == cohort.split_digest
    assert encode(other) != encode(cohort)
