"""To which moment a PET is decay-corrected is told from its headers, or refused."""

from datetime import timedelta

import pytest

from node.dicom.pet import suv_rule
from tests.node.dicom.pet_headers import NONE, TEN, decayed, header, refusal


def bed(minutes, **changes):
    """One of several beds of two minutes each; the series began at eleven."""
    began = TEN + timedelta(hours=1) + timedelta(minutes=minutes)
    values = {
        "AcquisitionTime": began.strftime("%H%M%S.%f"),
        "ActualFrameDuration": 120000,
        "FrameReferenceTime": (minutes * 60 + 60 - 0.126) * 1000,
        **changes,
    }
    return header(**values)


AVERAGE_S = 60 - 0.126
"""When a frame of 120 s has its average: T/2 - ln(2)/half-life x T^2/24."""


def test_1_many_beds_of_one_series_share_the_series_time():
    beds = [bed(m, DecayFactor=decayed(m * 60 + AVERAGE_S)) for m in (0, 2, 4, 16)]
    rule = suv_rule(beds, NONE)

    assert rule.decay_reference == "SERIES_TIME"
    assert rule.factor == pytest.approx(70e3 / (350e6 / decayed(3600)), rel=1e-9)
    assert {reason.code for reason in rule.warnings} == set()


def test_1_decay_factor_tells_when_each_bed_is_corrected_to_its_own_start():
    beds = [bed(m, DecayFactor=decayed(AVERAGE_S)) for m in (0, 2, 16)]
    rule = suv_rule(beds, NONE)

    assert rule.decay_reference == "ACQUISITION_TIME"
    assert rule.factor is None
    assert rule.factors[2] / rule.factors[0] == pytest.approx(decayed(16 * 60), rel=1e-9)


def test_1_a_copy_with_a_late_series_time_is_told_by_decay_factor():
    """The series says 11:45, the beds began at 11:00, 11:02 ...: 2^(2700/6586) = +33 %."""
    beds = [bed(m, DecayFactor=decayed(m * 60 + AVERAGE_S), SeriesTime="114500") for m in (0, 2, 4)]
    rule = suv_rule(beds, NONE)

    assert rule.decay_reference == "FIRST_ACQUISITION"
    assert rule.factor == pytest.approx(70e3 / (350e6 / decayed(3600)), rel=1e-9)
    assert "DECAY_REFERENCE" in {reason.code for reason in rule.warnings}


def test_1_a_copy_with_a_late_series_time_is_told_by_frame_reference_time():
    beds = [bed(m, SeriesTime="114500") for m in (0, 2, 4)]
    rule = suv_rule(beds, NONE)

    assert rule.decay_reference == "FRAME_REFERENCE_TIME"
    assert rule.factor == pytest.approx(70e3 / (350e6 / decayed(3600)), rel=1e-5)


def test_1_a_reference_that_no_time_states_is_taken_from_decay_factor():
    """Corrected to 10:50, ten minutes before the first bed."""
    beds = [bed(m, DecayFactor=decayed(600 + m * 60 + AVERAGE_S)) for m in (0, 8, 16)]
    rule = suv_rule(beds, NONE)

    assert rule.decay_reference == "DECAY_FACTOR"
    assert rule.factor == pytest.approx(70e3 / (350e6 / decayed(3000)), rel=1e-5)


def test_1_decay_factors_that_agree_with_nothing_are_refused():
    beds = [bed(m, DecayFactor=decayed(5000 - m * 100)) for m in (0, 8, 16)]

    assert refusal(*beds) == "SUV_DECAY"


def test_1_where_series_and_acquisition_time_coincide_a_contrary_decay_factor_only_warns():
    alike = header(ActualFrameDuration=180000, DecayFactor=1.11163, FrameReferenceTime=916000.0)
    rule = suv_rule([alike], NONE)

    assert rule.decay_reference == "SERIES_TIME"
    assert "DECAY_UNSURE" in {reason.code for reason in rule.warnings}


def test_no_time_at_all_is_refused():
    assert refusal(header(SeriesTime=None, AcquisitionTime=None)) == "SUV_DECAY"


def test_a_pet_without_decay_correction_refers_to_the_middle_of_each_frame():
    beds = [bed(m, DecayCorrection="NONE", CorrectedImage=["ATTN"]) for m in (0, 10)]
    rule = suv_rule(beds, NONE)

    assert rule.decay_reference == "FRAME_AVERAGE"
    assert rule.factors[1] / rule.factors[0] == pytest.approx(decayed(600), rel=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {"DecayCorrection": "NONE", "CorrectedImage": ["ATTN", "DECY"]},
        {"DecayCorrection": "NONE", "CorrectedImage": ["ATTN"]},
        {"DecayCorrection": None},
        {"DecayCorrection": "SOMETIMES"},
    ],
    ids=["contradicted", "no frame duration", "absent", "unknown"],
)
def test_an_underivable_decay_correction_is_refused(changes):
    assert refusal(header(**changes)) == "SUV_DECAY"


def test_an_enhanced_pet_states_its_reference():
    ds = header(DecayCorrection=None, SeriesTime="235900")
    ds.DecayCorrected, ds.DecayCorrectionDateTime = "YES", "20260102110000"
    rule = suv_rule([ds], NONE)

    assert rule.decay_reference == "DECAY_CORRECTION_DATETIME"
    assert rule.factor == pytest.approx(70e3 / (350e6 / decayed(3600)), rel=1e-9)
