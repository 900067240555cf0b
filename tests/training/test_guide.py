"""The commands of docs/training.md run as they stand there, on made-up data laid out alike."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import training
from inference.bundle import load
from inference.codec import encode
from node.cli import main as node
from tests.node.cli.collections import annotation, downloaded, petct
from tests.node.dicom.drawn_regions import frame_of, segment_item, segmentation
from tests.training.made_bundle import made_bundle
from tests.training.made_elsewhere import cohort_of, everybody
from training.__main__ import main as train
from training.__main__ import parser

SHIPPED = Path(training.__file__).parent
GUIDE = SHIPPED.parent / "docs" / "training.md"
COUNT = 48
"""Sixteen patients of each class, so that each third has five: as many as cross-validation asks."""
THIRDS = {"seed": 1, "training": 0.34, "validation": 0.33, "test": 0.33}
RADIOGENOMICS = (
    "Case ID,Patient affiliation,Age at Histological Diagnosis,Gender,Smoking status,"
    "Pathological T stage,Pathological N stage,Pathological M stage,Histology ,Survival Status,"
    "Time to Death (days)"
)
LUNG_DX = (
    "No.;NewPatientID;Sex;Age;weight (kg);T-Stage;N-Stage;"
    "\N{FULLWIDTH LATIN CAPITAL LETTER M}-Stage;Histopathological grading;Smoking History"
)


def blocks(heading):
    """The commands of a section's first block, in its paragraphs; comments and breaks are gone."""
    section = GUIDE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    text = re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)[0].replace("\\\n", " ")
    return [
        [re.sub(r"\s+#.*$", "", line) for line in paragraph.splitlines()]
        for paragraph in text.split("\n\n")
    ]


def every_command():
    """All commands of the guide that ``petct-train`` runs."""
    text = "\n".join(
        re.findall(r"```sh\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    )
    lines = [line.split("  #")[0].strip() for line in text.replace("\\\n", " ").splitlines()]
    return list(dict.fromkeys(line for line in lines if line.startswith("petct-train")))


def run(commands):
    for command in commands:
        program, *arguments = shlex.split(command)
        assert {"petct-node": node, "petct-train": train}[program](arguments) == 0, command


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_patient_recipe):
    """Where the commands run: the recipe is a tiny one, the definitions split into thirds."""
    monkeypatch.chdir(tmp_path)
    for definition in (SHIPPED / "definitions").glob("*.yaml"):
        told = yaml.safe_load(definition.read_text(encoding="utf-8"))
        copy = tmp_path / "training" / "definitions" / definition.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(yaml.safe_dump({**told, "split": THIRDS}))
    recipe = tmp_path / "training" / "recipes" / "dlnms-patients.yaml"
    recipe.parent.mkdir()
    one_task = replace(tiny_patient_recipe, tasks=tiny_patient_recipe.tasks[:1], rivals=())
    recipe.write_text(yaml.safe_dump(encode(one_task)))
    (tmp_path / "my-config.yaml").write_text("model: {bundle: BUNDLE, engine: onnxruntime}\n")
    return tmp_path


def study(root, patient_id, seed):
    """A tiny PET/CT whose voxels are its own."""
    rng = np.random.default_rng(seed)
    images = petct(root, patient_id)
    for ds in images:
        ds.PixelData = rng.integers(40, 120, (8, 8)).astype(np.int16).tobytes()
        if ds.Modality == "PT":
            ds.RescaleSlope = 100
    return images


def segmented(folder, root, patient_id):
    segment = segmentation(
        "BINARY", [segment_item(1, "Neoplasm")], [frame_of(1, (5, 6), (5, 5))], [4.0], segments=[1]
    )
    segment.StudyInstanceUID, segment.PatientID = f"{root}.1", patient_id
    segment.FrameOfReferenceUID = f"{root}.9"
    segment.SOPInstanceUID = segment.file_meta.MediaStorageSOPInstanceUID = f"{root}.6"
    segment.SeriesInstanceUID = f"{root}.6.9"
    segment.ReferencedSeriesSequence[0].SeriesInstanceUID = f"{root}.2"
    referenced = segment.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    referenced.ReferencedSOPInstanceUID = f"{root}.2.1"
    place = folder / "1000.000000-3D Slicer segmentation result-67652"
    place.mkdir()
    segment.save_as(place / "1-1.dcm", enforce_file_format=True)


@pytest.mark.slow
def test_from_the_download_of_radiogenomics_to_a_served_bundle(place, capsys):
    collection = place / "NSCLC Radiogenomics"
    lines = [RADIOGENOMICS]
    for number in range(COUNT):
        name, root = f"R01-{number:03d}", f"1.2.{1000 + number}"
        folder = downloaded(collection, study(root, name, number))
        segmented(folder, root, name)
        age, sex = 50 + number, ("Male", "Female")[number // 3 % 2]
        stage = f"T1b,N{number % 3},M0,Adenocarcinoma"
        lines.append(f"{name},Stanford,{age},{sex},Former,{stage},Dead,{900 + number}")
    exporting, _ = blocks("From a TCIA download to a cohort")
    (place / shlex.split(exporting[0])[6]).write_text("\n".join(lines))
    (place / "STUDY").symlink_to(collection / "R01-000")
    (serving,) = blocks("From a cohort to a served bundle")

    run([*exporting, *serving])

    bundle = load(place / "BUNDLE")
    assert bundle.card.training_set["patients_test"] in (15, 16)
    assert bundle.digest in capsys.readouterr().out
    findings = json.loads((place / "FINDINGS" / "findings.json").read_text())
    assert findings["bundle"]["digest"] == bundle.digest
    judged = json.loads((place / "occult-n1.json").read_text())
    on_card = {(row.task, row.model): row.auroc for row in bundle.card.performance}
    told = judged["models"]["fusion"]["auroc"]["value"]
    assert round(told, 4) == on_card["occult_n1", "fusion"]


@pytest.mark.slow
def test_from_the_download_of_lung_pet_ct_dx_to_a_cohort(place, capsys):
    lines = [LUNG_DX]
    for number in range(6):
        name, root = f"A{number:04d}", f"1.2.{2000 + number}"
        downloaded(place / "Lung-PET-CT-Dx", study(root, f"Lung_Dx-{name}", number))
        annotation(place / "Annotation" / name, f"{root}.3.2", (2, 4), (5, 6))
        lines.append(f"{number};{name};F;{50 + number};52,5;1c;{number % 3};0;G2;0")
    _, exporting = blocks("From a TCIA download to a cohort")
    (place / shlex.split(exporting[0])[8]).write_text("\n".join(lines))

    run(exporting)

    assert "**6 patients in the cohort**" in capsys.readouterr().out


@pytest.mark.slow
def test_from_a_folder_of_ones_own_to_a_cohort(place, capsys):
    """The key is any 32 bytes and more; the node's own store is tested with the node."""
    lines = ["patient,pn,cn,centre"]
    for number in range(6):
        downloaded(place / "STUDIES", study(f"1.2.{3000 + number}", f"47{number}/x", number))
        lines.append(f"47{number}/x,pN{number % 3},cN0,north")
    (place / "clinical.csv").write_text("\n".join(lines))
    (making,) = blocks("A cohort of your own")
    (place / "key").write_bytes(b"0123456789abcdef" * 4)
    assert making[0].startswith("openssl rand -hex 32 > key")
    (store,) = (line for line in making if "--layout store" in line)

    run([line for line in making[1:] if line != store])

    assert "**6 patients in the cohort**" in capsys.readouterr().out


@pytest.mark.slow
def test_from_a_bundle_of_others_to_the_page_of_its_evaluation(place, capsys):
    """Uptake tells N1 and N2 apart in part; their AUROC is counted in the tests of evaluation."""
    made_bundle(place / "BUNDLE")
    cohort_of(place, everybody())
    (place / "cases").rename(place / "CASES")
    (place / "cohort").rename(place / "COHORT")
    (commands,) = blocks("A bundle on patients of your own")

    run(commands)

    assert "* **16 patients evaluated**" in capsys.readouterr().out
    assert "evaluated on the cohort elsewhere" in (place / "evaluation.html").read_text()


@pytest.mark.parametrize("command", every_command())
def test_every_command_of_the_guide_has_options_that_exist(command):
    assert callable(parser().parse_args(shlex.split(command)[1:]).run)
