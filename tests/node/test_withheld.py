"""Results that fail the lint are not sent; the study shows why."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydicom import dcmread

from node import analysis, bootstrap
from node.analysis import StudyOnDisk, conclude
from node.config import Settings
from node.instance import ResultKind

WHEN = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def recipe():
    return bootstrap.build_recipe(Settings())


def ended(recipe, files):
    study_uid = str(dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
    study = StudyOnDisk(study_instance_uid=study_uid, paths=files, key="k")
    return conclude(study, recipe, when=WHEN, clock=lambda: 0.0)


def for_another_patient(made):
    """The object as it would be, had it been made for another patient."""
    dataset = dcmread(io.BytesIO(made.part10))
    dataset.PatientID = "another"
    dataset.save_as(buffer := io.BytesIO(), enforce_file_format=True)
    return replace(made, part10=buffer.getvalue())


@pytest.fixture
def mixed_up(monkeypatch):
    """Makes results as ever, but the key image, or the refusal, for another patient."""

    def mix_up(name):
        make = getattr(analysis.results, name)

        def mixed(*args, **kwargs):
            *others, last = make(*args, **kwargs)
            return (*others, for_another_patient(last))

        monkeypatch.setattr(analysis.results, name, mixed)

    return mix_up


def test_results_without_a_fault_are_sent(recipe, phantom_files):
    conclusion = ended(recipe, phantom_files)

    assert not conclusion.refused
    kinds = sorted(one.kind.value for one in conclusion.objects)
    assert kinds == ["PM", "PM", "SC", "SEG", "SR"]


def test_one_fault_keeps_all_results_back_and_the_report_says_why(recipe, phantom_files, mixed_up):
    mixed_up("analyzed")

    conclusion = ended(recipe, phantom_files)

    assert [reason.code for reason in conclusion.reasons] == ["LINT_IDENTITY"]
    assert conclusion.document["outcome"] == "refused"
    (report,) = conclusion.objects
    assert report.kind is ResultKind.REPORT
    assert b"LINT_IDENTITY" in report.part10
    assert b"another" not in report.part10


def test_a_refusal_with_a_fault_is_not_sent_either(recipe, phantom_files, mixed_up):
    mixed_up("refused")
    only_pet = [
        file for file in phantom_files if dcmread(file, stop_before_pixels=True).Modality == "PT"
    ]

    conclusion = ended(recipe, only_pet)

    assert [reason.code for reason in conclusion.reasons] == ["CT_MISSING", "LINT_IDENTITY"]
    assert conclusion.objects == ()


def test_every_fault_is_logged_without_the_patient(recipe, phantom_files, mixed_up, caplog):
    mixed_up("analyzed")

    ended(recipe, phantom_files)

    (record,) = [one for one in caplog.records if one.levelname == "ERROR"]
    assert record.getMessage() == "LINT_IDENTITY in a result: PatientID differs from the images'"
    assert record.study.startswith("2.25.")
