"""What is written on the key image says the numbers, fits its place and names nobody."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.findings import Reason
from node.dicom.capture import text, words
from tests import made_study

PETCT = made_study.petct()


def said(lines) -> list[str]:
    return [line for line, _ in lines]


def test_every_measure_has_its_unit():
    """Numbers of the round tumour, to two decimals; diameters to one."""
    assert dict(words.measures(made_study.lesion())) == {
        "SUVmax": "18.12 g/ml",
        "SUVmean": "12.50 g/ml",
        "SUVpeak": "15.75 g/ml",
        "Metabolic volume": "20.00 ml",
        "TLG": "250.00 g",
        "Volume": "33.51 ml",
        "Diameter": "41.3 mm (axial 40.0 mm)",
        "Region": "left, pet-threshold",
    }


def test_a_peak_that_was_not_measured_is_a_dash():
    assert dict(words.measures(made_study.lesion(suv_peak=None)))["SUVpeak"] == "-"


def test_predictions_stand_with_their_cutoffs_below_the_risk():
    assert said(words.judgement(made_study.findings(made_study.lesion()))) == [
        "Risk of occult nodal metastasis: HIGH",
        "Occult N1 metastasis: 62.3 % HIGH",
        "(cut-off 50.0 %)",
        "Occult N2 metastasis: 12.5 % low",
        "(cut-off 40.0 %)",
    ]


@pytest.mark.parametrize(
    ("lesions", "lines"), [((made_study.lesion(),), ["No prediction"]), ((), [])]
)
def test_without_predictions_there_is_no_risk(lesions, lines):
    assert said(words.judgement(made_study.findings(*lesions, predictions=()))) == lines


def test_why_the_model_does_not_apply_comes_first_and_is_not_said_twice():
    reason = Reason(code="UPTAKE_LONG", meaning="uptake of 158 min, more than 90 min")
    other = Reason(code="SLICES_THICK", meaning="CT slices of 10 mm")
    lesions = [made_study.lesion(), made_study.lesion(label="focus-1")]

    findings = made_study.findings(
        *lesions, applicable=False, inapplicable=(reason,), warnings=(reason, other)
    )

    assert said(words.reservations(PETCT, findings)) == [
        "The model does not apply to this study:",
        "UPTAKE_LONG: uptake of 158 min, more than 90 min",
        "1 further lesion: see the report",
        "SLICES_THICK: CT slices of 10 mm",
    ]


def test_the_title_tells_the_tracer_where_it_is_known():
    unknown = replace(PETCT, pet_facts=replace(PETCT.pet_facts, tracer=""))

    assert words.title(PETCT, made_study.lesion()) == "FDG PET/CT analysis: primary lesion"
    assert words.title(unknown, None) == "PET/CT analysis: no lesion found"


@given(line=st.text(st.characters(min_codepoint=32, max_codepoint=126)), width=st.integers(20, 400))
def test_a_line_is_broken_without_loss_into_parts_that_fit(line, width):
    parts = text.broken(line, text.SMALL, width)

    assert "".join(parts).replace(" ", "") == line.replace(" ", "")
    assert all(text.font(text.SMALL).getlength(part) <= width for part in parts)
