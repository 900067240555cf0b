"""Collections as they are downloaded become case folders, without anybody's name."""

import csv

import numpy as np
import pytest
import yaml

from inference import case
from inference.petct import RegionSource
from node.cli import layout, main
from node.cli.pseudonym import pseudonyms
from node.config import ConfigError
from node.instance import Arrival
from tests.node.cli.collections import (
    SECRET,
    annotation,
    ct_alone,
    downloaded,
    everything_written,
    petct,
)
from tests.node.dicom.drawn_regions import frame_of, segment_item, segmentation
from tests.node.dicom.minimal import save

KEY = b"0123456789abcdef0123456789abcdeX\n"
"""With it, names are in the reverse order of the IDs of ``clinic``."""
RADIOGENOMICS = """\
Case ID,Patient affiliation,Age at Histological Diagnosis,Weight (lbs),Gender,Smoking status,\
Pathological T stage,Pathological N stage,Pathological M stage,Histology ,Survival Status,\
Date of Death,Time to Death (days),CT Date
R01-001,Stanford,34,Not Collected,Male,Former,T2a,N1,M0,Adenocarcinoma,Dead,1/2/1995,872,1/1/1990
R01-002,VA,92,150,Female,Current,T1b,Not Collected,M0,Adenocarcinoma,Alive,,,1/1/1990
R01-003,VA,70,150,Female,Current,T1b,N0,M0,Adenocarcinoma,Alive,,,1/1/1990
"""
LUNG_DX = """\
No.;NewPatientID;Sex;Age;weight (kg);T-Stage;N-Stage;\N{FULLWIDTH LATIN CAPITAL LETTER M}-Stage;\
Histopathological grading;Smoking History
1;A0001;F;49;52,5;1c;2;0;G2;0
2;A0002;M;65;70;2a;0;0;G3;1
"""


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(KEY)
    return path


def export(*arguments):
    return main(["export", *map(str, arguments)])


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def radiogenomics(tmp_path):
    """R01-001 with a segment on its PET/CT, R01-002 with a CT alone, R01-004 without a weight."""
    collection = tmp_path / "manifest-1" / "NSCLC Radiogenomics"
    images = petct("1.2.101", "R01-001")
    study = downloaded(collection, images)
    downloaded(collection, ct_alone("1.2.111", "R01-001", date="20091230"), "CT CHEST-1")
    segment = segmentation(
        "BINARY", [segment_item(1, "Neoplasm")], [frame_of(1, (5, 6))], [4.0], segments=[1]
    )
    segment.StudyInstanceUID, segment.PatientID = "1.2.101.1", "R01-001"
    segment.FrameOfReferenceUID = "1.2.101.9"
    segment.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.101.2"
    referenced = segment.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    referenced.ReferencedSOPInstanceUID = "1.2.101.2.1"
    place = study / "1000.000000-3D Slicer segmentation result-67652"
    place.mkdir()
    segment.save_as(place / "1-1.dcm", enforce_file_format=True)
    downloaded(collection, ct_alone("1.2.102", "R01-002"))
    downloaded(collection, petct("1.2.104", "R01-004", PatientWeight=None))
    (collection.parent / "metadata.csv").write_text("Series UID,Collection\n")
    (collection / "LICENSE").write_text("text")
    clinical = tmp_path / "labels.csv"
    clinical.write_text(RADIOGENOMICS)
    return collection, clinical


def test_radiogenomics_becomes_cases_and_a_table_of_outcomes(radiogenomics, tmp_path, capsys):
    collection, clinical = radiogenomics
    out = tmp_path / "out"

    status = export(collection, "--layout", "radiogenomics", "--table", clinical, "--out", out)

    assert status == 0
    assert "1 of 3 patients have a case folder" in capsys.readouterr().out
    found = case.read(out / "R01-001")
    (given,) = found.given
    assert (given.source, np.argwhere(given.region.mask).tolist()) == (
        RegionSource.SEG,
        [[1, 5, 6]],
    )
    assert {
        row["patient"]: (row["reason"], row["studies"]) for row in table(out / "cases.csv")
    } == {
        "R01-001": ("", "2"),
        "R01-002": ("PET_MISSING", "1"),
        "R01-004": ("SUV_NO_WEIGHT", "1"),
    }


def test_the_table_keeps_what_the_layout_names_and_nothing_else(radiogenomics, tmp_path):
    collection, clinical = radiogenomics
    out = tmp_path / "out"
    export(collection, "--layout", "radiogenomics", "--table", clinical, "--out", out)

    first, second, _ = table(out / "outcomes.csv")

    assert first == {
        "patient": "R01-001",
        "pn": "N1",
        "pt": "T2a",
        "pm": "M0",
        "centre": "Stanford",
        "age_years": "34",
        "sex": "M",
        "smoking": "Former",
        "histology": "Adenocarcinoma",
        "event": "Dead",
        "followup_days": "872",
    }
    assert (second["pn"], second["age_years"]) == ("Not Collected", "90")
    assert b"1995" not in (out / "outcomes.csv").read_bytes()


def test_lung_pet_ct_dx_becomes_cases_with_the_boxes_as_marks(tmp_path):
    collection = tmp_path / "Lung-PET-CT-Dx"
    downloaded(collection, petct("1.2.201", "Lung_Dx-A0001"))
    downloaded(collection, petct("1.2.202", "Lung_Dx-A0002"))
    boxes = tmp_path / "Annotation"
    annotation(boxes / "A0001", "1.2.201.3.2", (2, 4), (5, 6))
    annotation(boxes / "A0001", "1.2.201.3.3", (2, 4), (5, 6))
    annotation(boxes / "A0001", "1.2.999.3", (2, 4), (5, 6))
    (boxes / "A0001" / "notes.xml").write_text("<a/>")
    clinical = tmp_path / "statistics.csv"
    clinical.write_text(LUNG_DX)
    out = tmp_path / "out"
    arguments = ["--layout", "lung-pet-ct-dx", "--boxes", boxes, "--table", clinical]

    assert export(collection, *arguments, "--out", out) == 0

    (given,) = case.read(out / "Lung_Dx-A0001").given
    assert given.marks_only
    assert given.region.mask.sum() == 2 * 3 * 2
    assert given.origin == "a reader boxed it on 2 images"
    assert case.read(out / "Lung_Dx-A0002").given == ()
    assert [row["region"] for row in table(out / "cases.csv")] == ["box", ""]
    assert [(row["patient"], row["pn"], row["pm"]) for row in table(out / "outcomes.csv")] == [
        ("Lung_Dx-A0001", "2", "0"),
        ("Lung_Dx-A0002", "0", "0"),
    ]
    assert table(out / "outcomes.csv")[0]["weight_kg"] == "52.5"


@pytest.fixture
def clinic(tmp_path):
    """Patients of a clinic, with their own IDs and whatever folders."""
    folder = tmp_path / "clinic"
    downloaded(folder, petct("1.2.301", "4711/80"))
    downloaded(folder, petct("1.2.302", "4712"))
    clinical = tmp_path / "clinical.csv"
    clinical.write_text(
        "patient,name,born,pn,cn,centre,age_years\n"
        f"4711/80,{SECRET[0]},{SECRET[1]},pN1,cN0,north,93.4\n"
        f"4712,{SECRET[0]},{SECRET[1]},pN0,cN0,north,61\n"
    )
    return folder, clinical


def test_nothing_that_names_a_patient_comes_out_of_a_clinic(clinic, key, tmp_path, capsys):
    """Neither name, birth date, Patient ID, study date nor any UID of the PACS."""
    folder, clinical = clinic
    out = tmp_path / "out"

    status = export(folder, "--layout", "plain", "--key", key, "--table", clinical, "--out", out)

    assert status == 0
    written, said = everything_written(out), capsys.readouterr().out
    for secret in (*SECRET, "4711", "4712", "20100102", "1.2.301", "1.2.302", "clinic"):
        assert secret.encode() not in written
        assert secret not in said
    rows = table(out / "cases.csv")
    names = [row["patient"] for row in rows]
    assert names == [row["patient"] for row in table(out / "outcomes.csv")]
    assert names == sorted(names)  # the order of Patient IDs would tell whose is whose
    found = case.read(out / rows[0]["patient"])
    assert found.patient.age_years == 90  # 93 in the headers
    assert found.study_instance_uid.startswith("2.25.")
    assert found.pet.grid.frame_of_reference_uid == found.ct.grid.frame_of_reference_uid


def test_the_same_key_gives_the_same_names_and_another_key_others(clinic, key, tmp_path):
    folder, _ = clinic
    other = tmp_path / "other"
    other.write_bytes(KEY[::-1])
    for name, used in (("a", key), ("b", key), ("c", other)):
        assert export(folder, "--layout", "plain", "--key", used, "--out", tmp_path / name) == 0

    a, b, c = ({row["patient"] for row in table(tmp_path / n / "cases.csv")} for n in "abc")

    assert a == b
    assert not a & c
    patient = min(a)
    assert (tmp_path / "a" / patient / "case.json").read_bytes() == (
        tmp_path / "b" / patient / "case.json"
    ).read_bytes()


def test_pseudonyms_may_be_chosen(clinic, key, tmp_path):
    folder, clinical = clinic
    chosen = tmp_path / "chosen.csv"
    chosen.write_text("patient;pseudonym\n4711/80;NORTH-1\n")
    out = tmp_path / "out"
    arguments = ["--key", key, "--pseudonyms", chosen, "--table", clinical, "--out", out]

    assert export(folder, "--layout", "plain", *arguments) == 0

    assert case.read(out / "NORTH-1").study_instance_uid.startswith("2.25.")
    assert sum(row["patient"] == "NORTH-1" for row in table(out / "outcomes.csv")) == 1


def test_the_earliest_usable_study_is_the_one(tmp_path, key):
    """Of three studies the first is a CT alone and the second has no weight."""
    folder = tmp_path / "clinic"
    downloaded(folder, ct_alone("1.2.301", "4711", date="20090101"), "a")
    downloaded(folder, petct("1.2.302", "4711", date="20100101", PatientWeight=None), "b")
    downloaded(folder, petct("1.2.303", "4711", date="20110101", PatientAge="061Y"), "c")
    downloaded(folder, petct("1.2.304", "4711", date="20120101", PatientAge="062Y"), "d")
    out = tmp_path / "out"

    assert export(folder, "--layout", "plain", "--key", key, "--out", out) == 0

    (row,) = table(out / "cases.csv")
    assert row["studies"] == "4"
    assert case.read(out / row["patient"]).patient.age_years == 61


def test_all_studies_of_the_store_are_exported(intake, database_url, key, tmp_path):
    """Two patients with a PET/CT each and one with a CT alone, as peers sent them."""
    sent = [*petct("1.2.401", "4711/80"), *ct_alone("1.2.402", "4712"), *petct("1.2.403", "4713")]
    for ds, path in zip(sent, save(tmp_path, sent), strict=True):
        intake.receive(
            Arrival(
                part10=path.read_bytes(),
                sop_class_uid=ds.SOPClassUID,
                sop_instance_uid=ds.SOPInstanceUID,
                transfer_syntax_uid=ds.file_meta.TransferSyntaxUID,
                calling_ae_title="PACS",
                peer="10.0.0.5:104",
                association="a",
            )
        )
    config = tmp_path / "config.yaml"
    own = {"store": {"root": str(tmp_path / "store")}, "database": {"url": database_url}}
    config.write_text(yaml.safe_dump(own))
    out = tmp_path / "out"

    assert export("--layout", "store", "--key", key, "--out", out, "--config", config) == 0

    reasons = sorted(row["reason"] for row in table(out / "cases.csv"))
    assert reasons == ["", "", "PET_MISSING"]
    assert len(list(out.glob("*/case.json"))) == 2
    assert export("1.2.3", "--layout", "store", "--key", key, "--out", out) == 2


def test_an_export_that_was_stopped_goes_on(clinic, key, tmp_path):
    folder, _ = clinic
    out = tmp_path / "out"
    arguments = [folder, "--layout", "plain", "--key", key, "--out", out]
    export(*arguments)
    kept = sorted(path.name for path in out.iterdir() if path.is_dir())
    before = (out / kept[0] / "case.json").stat().st_mtime_ns

    assert export(*arguments) == 0

    assert (out / kept[0] / "case.json").stat().st_mtime_ns == before
    assert {row["notes"] for row in table(out / "cases.csv")} == {"EXPORTED_BEFORE"}


def test_one_id_of_two_issuers_is_nobodys_case(tmp_path, key):
    folder = tmp_path / "clinic"
    downloaded(folder, petct("1.2.301", "4711", IssuerOfPatientID="north"), "a")
    downloaded(folder, petct("1.2.302", "4711", IssuerOfPatientID="south"), "b")
    downloaded(folder, petct("1.2.303", ""), "c")
    out = tmp_path / "out"

    assert export(folder, "--layout", "plain", "--key", key, "--out", out) == 1

    (row,) = table(out / "cases.csv")
    assert row["reason"] == "PATIENT_DIFFERS"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--layout", "plain"], "give a --key"),
        (["--layout", "elsewhere"], "is no file and none of the layouts"),
        (["--layout", "lung-pet-ct-dx"], "--boxes belong to a layout with boxes"),
        (["--layout", "radiogenomics", "--boxes", "."], "--boxes belong to a layout with boxes"),
    ],
    ids=["no key", "no layout", "no boxes", "boxes"],
)
def test_what_is_asked_for_wrongly_is_told(clinic, tmp_path, capsys, arguments, told):
    folder, _ = clinic

    assert export(folder, *arguments, "--out", tmp_path / "out") == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_patient_id_that_cannot_name_a_folder_needs_a_key(clinic, tmp_path, capsys):
    folder, _ = clinic

    assert export(folder, "--layout", "radiogenomics", "--out", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "cannot name a folder: give a key" in told
    assert "4711" not in told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("patient,name\n1,a\n", ":1: the columns are patient and pseudonym"),
        ("patient,pseudonym\n1,../up\n", ":2: a pseudonym has 1 to 64 of"),
        ("patient,pseudonym\n1,a\n2,a\n", ":3: the patient is absent, or one of the two"),
        ("patient,pseudonym\n1,a\n1,b\n", ":3: the patient is absent, or one of the two"),
    ],
    ids=["columns", "path", "name twice", "patient twice"],
)
def test_a_table_of_pseudonyms_that_cannot_be_used_is_refused(tmp_path, key, content, told):
    path = tmp_path / "chosen.csv"
    path.write_text(content)

    with pytest.raises(ConfigError, match=told):
        pseudonyms(key, path)


def test_a_short_key_is_refused(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"secret")

    with pytest.raises(ConfigError, match="32 bytes or more"):
        pseudonyms(path, None)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("patient,pn\nA-1,N0\nA-1,N1\n", "clinical.csv:3: the patient is there already, at line 2"),
        ("patient,pn\n,N0\n", "clinical.csv:2: no patient"),
        ("case,pn\nA-1,N0\n", "clinical.csv:1: no column 'patient'"),
    ],
    ids=["twice", "nobody", "no column"],
)
def test_a_clinical_table_is_refused_by_its_line_and_never_by_its_patient(
    clinic, key, tmp_path, capsys, content, told
):
    folder, clinical = clinic
    clinical.write_text(content)
    arguments = ["--layout", "plain", "--key", key, "--table", clinical, "--out", tmp_path / "out"]

    assert export(folder, *arguments) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "A-1" not in said
    assert list((tmp_path / "out").glob("p-*")) == []  # told before hours of exporting


@pytest.mark.parametrize("name", layout.names())
def test_every_layout_loads(name):
    assert layout.load(name).table is not None


def test_a_layout_of_ones_own_is_a_file(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("deidentified: true\ntable: {patient: ID, columns: {pn: N}}\n")
    assert layout.load(str(path)).table.columns == {"pn": "N"}

    path.write_text("deidentifed: true\n")
    with pytest.raises(ConfigError, match="deidentifed"):
        layout.load(str(path))
    path.write_text("table: [")
    with pytest.raises(ConfigError, match="not YAML"):
        layout.load(str(path))
