"""From a download of a public collection to a cohort: two programs, one table between them."""

import csv
from pathlib import Path

import pytest
import yaml

from node.cli import main as node
from tests.node.cli.collections import annotation, downloaded, petct
from training import assembling, patients
from training.__main__ import main as train
from training.assembling import load_definition
from training.labels import ClinicalN, LabelRules
from training.partition import Part

DEFINITIONS = Path(assembling.__file__).parent / "definitions"
STAGES = ("N0", "N0", "N1", "N1", "N2", "N2", "N3", "Not Collected")


@pytest.fixture
def download(tmp_path):
    """Eight patients, of whom the last has no weight, laid out as NSCLC Radiogenomics."""
    collection = tmp_path / "NSCLC Radiogenomics"
    rows = ["Case ID,Patient affiliation,Gender,Pathological N stage,Survival Status"]
    for number, stage in enumerate((*STAGES, "N0"), start=1):
        weight = {} if number <= len(STAGES) else {"PatientWeight": None}
        study = petct(f"1.2.{500 + number}", f"R01-{number:03d}", **weight)
        for ds in study:
            if ds.Modality == "PT":
                ds.RescaleSlope = number  # so that no two are the same study
        downloaded(collection, study)
        place = "Stanford" if number % 2 else "VA"
        rows.append(f"R01-{number:03d},{place},Male,{stage},Alive")
    clinical = tmp_path / "NSCLCR01Radiogenomic_DATA_LABELS.csv"
    clinical.write_text("\n".join(rows) + "\n")
    return collection, clinical


def test_a_download_becomes_a_cohort_whose_flow_adds_up(download, tmp_path, capsys):
    collection, clinical = download
    cases, cohort = tmp_path / "cases", tmp_path / "cohort"
    taken = ["--layout", "radiogenomics", "--table", str(clinical), "--out", str(cases)]
    assert node(["export", str(collection), *taken]) == 0
    definition = tmp_path / "definition.yaml"
    shipped = yaml.safe_load((DEFINITIONS / "radiogenomics.yaml").read_text())
    shipped["split"]["external_centres"] = ["VA"]
    definition.write_text(yaml.safe_dump(shipped))
    asked = ["--outcomes", str(cases / "outcomes.csv"), "--definition", str(definition)]
    capsys.readouterr()

    assert train(["cohort", str(cases), *asked, "--out", str(cohort), "--quiet"]) == 0

    told = capsys.readouterr().out
    assert "* 9 patients assessed" in told
    assert "  * 1 SUV_NO_WEIGHT" in told
    assert "  * 1 pN3" in told
    assert "  * 1 pathological N stage unknown (absent or NX)" in told
    found = patients.load(cohort)
    assert {one.patient for one in found.of(Part.EXTERNAL)} == {"R01-002", "R01-004", "R01-006"}
    assert len(found.members) == 6
    assert found.members[0].event is False


@pytest.mark.parametrize("path", sorted(DEFINITIONS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_definition_that_ships_loads(path):
    assert load_definition(path).split.seed == 1


def test_the_definition_with_every_key_holds_the_defaults():
    """So that its comments tell of what is done where a key is absent."""
    found = load_definition(DEFINITIONS / "clinic.yaml")

    assert found.labels == LabelRules()
    assert found.missing == assembling.outcomes.MISSING
    assert load_definition(DEFINITIONS / "radiogenomics.yaml").labels.clinical_n is (
        ClinicalN.ASSUMED
    )


def test_boxes_of_a_download_mark_the_tumour_of_the_case(tmp_path):
    collection = tmp_path / "Lung-PET-CT-Dx"
    downloaded(collection, petct("1.2.601", "Lung_Dx-A0001"))
    annotation(tmp_path / "Annotation" / "A0001", "1.2.601.3.3", (2, 4), (5, 6))
    out = tmp_path / "cases"
    arguments = ["--layout", "lung-pet-ct-dx", "--boxes", str(tmp_path / "Annotation")]

    assert node(["export", str(collection), *arguments, "--out", str(out)]) == 0

    with (out / "cases.csv").open(newline="") as file:
        assert [row["region"] for row in csv.DictReader(file)] == ["box"]
