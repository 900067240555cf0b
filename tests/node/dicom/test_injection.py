"""When the tracer was given is told from its headers, or refused."""

import pytest

from node.dicom.pet import suv_rule
from tests.node.dicom.pet_headers import NONE, decayed, factor, header, injected, refusal, warnings


def test_5_an_injection_before_midnight_belongs_to_the_day_before():
    late = injected(RadiopharmaceuticalStartTime="233000")
    ds = header(
        SeriesTime="003000", AcquisitionTime="003000", RadiopharmaceuticalInformationSequence=late
    )

    assert factor(ds) == pytest.approx(70e3 / (350e6 / decayed(3600)), rel=1e-9)
    assert suv_rule([ds], NONE).uptake_min == pytest.approx(60)


@pytest.mark.parametrize("stated", ["20260102100030", "20260102100030.00+0100"])
def test_5_date_and_time_of_the_injection_are_preferred(stated):
    """The time is written to the minute."""
    item = injected(RadiopharmaceuticalStartDateTime=stated, RadiopharmaceuticalStartTime="1000")
    ds = header(RadiopharmaceuticalInformationSequence=item)

    assert suv_rule([ds], NONE).uptake_min == pytest.approx(59.5)


@pytest.mark.parametrize(
    ("date_time", "time"),
    [("20260102100000", "0815"), ("20260102080000", "100000"), ("20260102100101", "100000")],
)
@pytest.mark.parametrize("zone", ["", "+0200"])
def test_two_times_of_injection_more_than_a_minute_apart_are_refused(date_time, time, zone):
    item = injected(RadiopharmaceuticalStartDateTime=date_time, RadiopharmaceuticalStartTime=time)
    ds = header(RadiopharmaceuticalInformationSequence=item, TimezoneOffsetFromUTC=zone)

    assert refusal(ds) == "SUV_CONTRADICTS"


def test_two_times_of_injection_that_their_zones_explain_are_told():
    """08:00 in UTC is ten o'clock at the scanner, an hour before the scan."""
    item = injected(
        RadiopharmaceuticalStartDateTime="20260102080000+0000",
        RadiopharmaceuticalStartTime="080000",
    )
    ds = header(RadiopharmaceuticalInformationSequence=item, TimezoneOffsetFromUTC="+0200")

    assert suv_rule([ds], NONE).uptake_min == pytest.approx(60)
    assert warnings(ds) == {"INJECTION_ZONE"}


def test_5_zones_are_reckoned_with_where_both_are_stated():
    item = injected(RadiopharmaceuticalStartDateTime="20260102080000+0000")
    ds = header(RadiopharmaceuticalInformationSequence=item, TimezoneOffsetFromUTC="+0200")

    assert suv_rule([ds], NONE).uptake_min == pytest.approx(60)


def test_5_a_date_that_de_identification_left_behind_is_set_aside_with_a_warning():
    item = injected(RadiopharmaceuticalStartDateTime="20190524100000")
    ds = header(RadiopharmaceuticalInformationSequence=item)

    assert factor(ds) == pytest.approx(factor(header()), rel=1e-12)
    assert warnings(ds) == {"INJECTION_DATE"}


def test_5_removed_dates_leave_the_times():
    ds = header(SeriesDate="", AcquisitionDate="")

    assert factor(ds) == pytest.approx(factor(header()), rel=1e-12)


def test_5_dates_shifted_apart_are_told():
    assert warnings(header(AcquisitionDate="20240615")) == {"DATES_SHIFTED"}


@pytest.mark.parametrize(
    "given_at", ["110500", "010000"], ids=["after the scan", "ten hours before"]
)
def test_an_impossible_injection_time_is_refused(given_at):
    item = injected(RadiopharmaceuticalStartTime=given_at)

    assert refusal(header(RadiopharmaceuticalInformationSequence=item)) == "SUV_NO_TIME"


def test_an_absent_injection_time_is_refused():
    item = injected(RadiopharmaceuticalStartTime=None)

    assert refusal(header(RadiopharmaceuticalInformationSequence=item)) == "SUV_NO_TIME"


@pytest.mark.parametrize(
    ("given_at", "told"),
    [("105900", {"UPTAKE_SHORT"}), ("100000", set()), ("081000", {"UPTAKE_LONG"})],
)
def test_6_an_unusual_uptake_time_is_told(given_at, told):
    item = injected(RadiopharmaceuticalStartTime=given_at)

    assert warnings(header(RadiopharmaceuticalInformationSequence=item)) == told
