"""A study with its results, its report, and a report that refuses one."""

import io

import pytest
from pydicom import dcmread

from inference.findings import Reason
from node.dicom import results
from tests import made_study
from tests.node.dicom.sr.reports import report_of


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_study.study(tmp_path_factory.mktemp("sr"))


@pytest.fixture(scope="module")
def report(made):
    return report_of(made)


@pytest.fixture(scope="module")
def refusal(made):
    (one,) = results.refused(
        made.choice.ct.paths,
        [Reason(code="NO_PET", meaning="the study holds no PET series")],
        equipment=made_study.EQUIPMENT,
        key="k",
        when=made_study.WHEN,
    )
    return dcmread(io.BytesIO(one.part10))
