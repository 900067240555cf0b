"""SUVbw from PET headers: what each vendor writes, and what is refused."""

import json
from datetime import timedelta

import pytest
from pydicom.dataset import Dataset

from node.dicom.attributes import FrameHeader
from node.dicom.pet import patient_facts, suv_rule
from node.dicom.philips import CountFactors, count_factors
from tests.node.dicom.minimal import code, radiopharmaceutical
from tests.node.dicom.pet_headers import (
    HALF_LIFE_S,
    NONE,
    TEN,
    factor,
    header,
    injected,
    refusal,
    warnings,
)

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
