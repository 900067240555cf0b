"""SUVbw from PET headers: what each vendor writes, and what is refused."""

import json
from datetime import datetime, timedelta

import pytest
from pydicom.dataset import Dataset

from node.dicom.attributes import FrameHeader
from node.dicom.pet import patient_facts, suv_rule
from node.dicom.philips import CountFactors, count_factors
from node.errors import UnusableStudy
from tests.node.dicom.minimal import code, pet_plane, radiopharmaceutical

NONE = CountFactors(suvbw=None, activity=None)
HALF_LIFE_S = 6586.2
TEN = datetime(2026, 1, 2, 10)  # noqa: DTZ001  (DICOM's local time)
VENDORS = [
    "PHILIPS_BQML",
    "PHILIPS_CNTS_AND_BQML_SUV",
    "PHILIPS_CNTS_AND_SUV",
    "SIEMENS",
    "GE_MEDICAL_AND_BQML",
    "BQML_AC_DT_lessThan_S_DT_SIEMENS",
    "CPS_AND_BQML_AC_DT_-_S_DT",
    "RADIOPHARM_DATETIME_UNDEFINED",
]


def header(**changes):
    """A plane's header; None removes an attribute, ``injection_...`` changes the injection."""
    ds = pet_plane()
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def injected(**changes):
    return [radiopharmaceutical(**changes)]


def factor(*headers, factors=NONE):
    return suv_rule(headers, factors).factor


def refusal(*headers, factors=NONE):
    with pytest.raises(UnusableStudy) as raised:
        suv_rule(headers, factors)
    return raised.value.reason.code


def warnings(*headers):
    return {reason.code for reason in suv_rule(headers, NONE).warnings}


def from_vendor(instance):
    """A plane's headers as a data set, built from the published extract."""
    ds = Dataset()
    item = radiopharmaceutical(RadiopharmaceuticalStartTime=None)
    for keyword, value in instance.items():
        if keyword == "PhilipsPETPrivateGroup":
            block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
            for element, name in (
                (0x00, "SUVScaleFactor"),
                (0x09, "ActivityConcentrationScaleFactor"),
            ):
                if name in value:
                    block.add_new(element, "DS", value[name].strip())
        elif keyword.startswith("Radi"):
            setattr(item, keyword, value)
        else:
            setattr(ds, keyword, value)
    ds.RadiopharmaceuticalInformationSequence = [item]
    return ds


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_factor_of_a_real_series_is_what_others_computed(test_data, vendor):
    folder = test_data / "calculate-suv-vendor-headers"
    expected = json.loads((folder / "expected_suvbw.json").read_text())
    instances = json.loads((folder / f"{vendor}-instances.json").read_text())
    headers = [from_vendor(instance) for instance in instances]

    rule = suv_rule(headers, count_factors(headers[0]))

    assert rule.factor is not None
    assert rule.factor == pytest.approx(
        expected["expected_suvbw"][vendor], abs=expected["tolerance_abs"]
    )


def test_the_reference_of_each_real_series_is_named(test_data):
    folder = test_data / "calculate-suv-vendor-headers"
    kinds = {}
    for vendor in VENDORS:
        headers = [
            from_vendor(i) for i in json.loads((folder / f"{vendor}-instances.json").read_text())
        ]
        kinds[vendor] = suv_rule(headers, count_factors(headers[0])).decay_reference

    assert kinds == {
        "PHILIPS_BQML": "SERIES_TIME",
        "PHILIPS_CNTS_AND_BQML_SUV": "VENDOR_FACTOR",
        "PHILIPS_CNTS_AND_SUV": "VENDOR_FACTOR",
        "SIEMENS": "SERIES_TIME",
        "GE_MEDICAL_AND_BQML": "SERIES_TIME",
        "BQML_AC_DT_lessThan_S_DT_SIEMENS": "SERIES_TIME",
        "CPS_AND_BQML_AC_DT_-_S_DT": "FIRST_ACQUISITION",
        "RADIOPHARM_DATETIME_UNDEFINED": "SERIES_TIME",
    }


def test_one_half_life_after_injection_half_the_dose_is_left():
    """70 kg and 350 MBq: 70e3 g / 175e6 Bq = 0.4 mg/Bq."""
    at = (TEN + timedelta(seconds=HALF_LIFE_S)).strftime("%H%M%S.%f")
    start = header(SeriesTime=at, AcquisitionTime=at)

    assert factor(start) == pytest.approx(4e-4, rel=1e-9)


def test_administration_needs_no_times():
    """70e3 g / 350e6 Bq."""
    ds = header(DecayCorrection="ADMIN", SeriesTime=None, AcquisitionTime=None)

    assert factor(ds) == pytest.approx(2e-4, rel=1e-12)


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


def decayed(seconds):
    return 2 ** (seconds / HALF_LIFE_S)


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


def test_4_counts_without_private_factors_are_refused():
    assert refusal(header(Units="CNTS")) == "SUV_UNITS"


def test_4_counts_with_the_suv_factor_need_neither_weight_nor_dose():
    ds = header(Units="CNTS", PatientWeight=None, RadiopharmaceuticalInformationSequence=None)

    assert factor(ds, factors=CountFactors(suvbw=0.000551, activity=1.6)) == 0.000551


def test_4_counts_with_the_activity_factor_alone_become_activity():
    admin = header(Units="CNTS", DecayCorrection="ADMIN")

    assert factor(admin, factors=CountFactors(suvbw=None, activity=1.6)) == pytest.approx(3.2e-4)


def test_4_private_factors_beside_activity_are_ignored():
    admin = header(DecayCorrection="ADMIN")

    assert factor(admin, factors=CountFactors(suvbw=9.0, activity=9.0)) == pytest.approx(2e-4)


@pytest.mark.parametrize("block", [0x10, 0x11, 0xE0])
def test_4_private_factors_are_found_by_their_creator_in_any_block(block):
    ds = Dataset()
    ds.add_new((0x7053, block), "LO", "Philips PET Private Group")
    ds.add_new((0x7053, block * 0x100), "DS", "0.000728")
    ds.add_new((0x7053, block * 0x100 + 9), "UN", b"1.602563 ")

    assert count_factors(ds) == CountFactors(suvbw=0.000728, activity=1.602563)


def test_4_factors_of_another_creator_or_of_zero_are_none():
    other = Dataset()
    other.add_new((0x7053, 0x10), "LO", "Somebody Else")
    other.add_new((0x7053, 0x1000), "DS", "0.5")
    zero = Dataset()
    zero.add_new((0x7053, 0x10), "LO", "Philips PET Private Group")
    zero.add_new((0x7053, 0x1000), "DS", "0")

    assert count_factors(other) == NONE
    assert count_factors(zero) == NONE


def test_4_stored_suv_has_factor_one_without_weight_or_dose():
    ds = header(Units="GML", PatientWeight=None, RadiopharmaceuticalInformationSequence=None)

    assert factor(ds) == 1
    assert factor(header(Units="GML", SUVType="BW")) == 1


@pytest.mark.parametrize("kind", ["LBM", "BSA", "IBW", "LBMJAMES128"])
def test_4_a_stored_suv_by_another_measure_is_refused(kind):
    assert refusal(header(Units="GML", SUVType=kind)) == "SUV_NOT_BW"


@pytest.mark.parametrize("units", ["PROPCNTS", "CM2ML", "NONE", "UMOLML", ""])
def test_other_units_are_refused(units):
    assert refusal(header(Units=units)) == "SUV_UNITS"


def test_planes_of_different_units_are_refused():
    assert refusal(header(), header(Units="GML")) == "SUV_CONTRADICTS"


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


@pytest.mark.parametrize(
    "changes",
    [
        {"PatientWeight": 80},
        {"PatientWeight": None},
        {"DecayCorrection": "ADMIN"},
        {"RadiopharmaceuticalInformationSequence": injected(RadionuclideTotalDose=175e6)},
        {"RadiopharmaceuticalInformationSequence": injected(RadionuclideHalfLife=6588)},
        {"RadiopharmaceuticalInformationSequence": injected(RadiopharmaceuticalStartTime="0955")},
        {"RadiopharmaceuticalInformationSequence": None},
    ],
    ids=["weight", "no weight", "decay correction", "dose", "half-life", "injection", "none"],
)
def test_one_plane_that_contradicts_the_others_is_refused(changes):
    assert refusal(header(), header(), header(**changes)) == "SUV_CONTRADICTS"


def test_a_second_injection_is_refused():
    both = [radiopharmaceutical(), radiopharmaceutical(RadionuclideTotalDose=100e6)]

    assert refusal(header(RadiopharmaceuticalInformationSequence=both)) == "SUV_CONTRADICTS"


@pytest.mark.parametrize("correction", ["START", "ADMIN"])
def test_a_decay_correction_that_is_not_listed_is_refused(correction):
    ds = header(DecayCorrection=correction, CorrectedImage=["ATTN", "SCAT"])

    assert refusal(ds) == "SUV_CONTRADICTS"
    assert suv_rule([header(DecayCorrection=correction, CorrectedImage=None)], NONE).factor


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


@pytest.mark.parametrize("weight", [None, 0, 0.07, 70000])
def test_an_absent_or_implausible_weight_is_refused(weight):
    assert refusal(header(PatientWeight=weight)) == "SUV_NO_WEIGHT"


@pytest.mark.parametrize("dose", [None, 0, 350, 9.5, 350e9])
def test_an_absent_or_implausible_dose_is_refused(dose):
    item = injected(RadionuclideTotalDose=dose)

    assert refusal(header(RadiopharmaceuticalInformationSequence=item)) == "SUV_NO_DOSE"


def test_an_absent_half_life_is_that_of_the_coded_radionuclide():
    ds = header(RadiopharmaceuticalInformationSequence=injected(RadionuclideHalfLife=None))

    assert factor(ds) == pytest.approx(factor(header()), rel=1e-12)
    assert warnings(ds) == {"HALF_LIFE_SET"}


@pytest.mark.parametrize("half_life", [1223.4, 109.77, 4062.6])
def test_a_half_life_of_something_else_is_refused(half_life):
    item = injected(RadionuclideHalfLife=half_life)

    assert refusal(header(RadiopharmaceuticalInformationSequence=item)) == "SUV_HALF_LIFE"


def test_9_a_real_world_value_map_wrong_by_a_thousand_changes_nothing():
    mapped = Dataset()
    mapped.RealWorldValueSlope, mapped.RealWorldValueIntercept = 0.2, 0.0
    mapped.MeasurementUnitsCodeSequence = [code("g/ml", "UCUM", "SUV")]
    ds = header()
    ds.RealWorldValueMappingSequence = [mapped]

    assert factor(ds) == factor(header())


def test_9_a_map_names_the_units_of_an_enhanced_pet_only_where_its_slope_is_the_rescale_slope():
    mapped = Dataset()
    mapped.RealWorldValueSlope = 1.0
    mapped.MeasurementUnitsCodeSequence = [code("Bq/ml", "UCUM", "Becquerels/milliliter")]
    ds = header(Units=None)
    ds.RealWorldValueMappingSequence = [mapped]

    assert suv_rule([ds], NONE).units == "BQML"
    mapped.RealWorldValueSlope = 1000.0
    assert refusal(ds) == "SUV_UNITS"


def test_10_elements_that_raise_when_read_are_never_touched():
    class Raising(Dataset):
        """A data set with a private element like those that some vendors write."""

        def __iter__(self):
            raise AssertionError("iterated a whole data set")

    ds = Raising()
    ds.update(header())
    ds.add_new((0x0009, 0x1010), "OB", b"\xff")

    assert suv_rule([FrameHeader((ds,))], count_factors(ds)).factor == factor(header())


def test_covariates_are_read_where_they_are_possible():
    full = patient_facts(header(PatientAge="059Y", PatientSex="M", PatientSize=1.63))
    empty = patient_facts(header(PatientWeight=0, PatientSize=163, PatientSex="x"))

    assert (full.age_years, full.sex, full.weight_kg, full.height_m) == (59, "M", 70, 1.63)
    assert (empty.age_years, empty.sex, empty.weight_kg, empty.height_m) == (None,) * 4
    assert patient_facts(header(PatientAge="006M")).age_years == 0.5
    born = header(PatientBirthDate="19600102", StudyDate="20260102")
    assert patient_facts(born).age_years == 66.0
