"""Every result object says the same of who made it (IHE AIR 6.5.3.1, table 6.5.3.1-1)."""

import io
from dataclasses import replace
from datetime import datetime

import pytest
from pydicom import dcmread

from node.dicom import results
from node.dicom.provenance import Equipment, Provenance
from node.instance import ResultKind
from tests import made_study


def objects_of(made, **changes):
    arguments = {"equipment": made_study.EQUIPMENT, "key": "k", "when": made_study.WHEN}
    return {
        one.kind: dcmread(io.BytesIO(one.part10))
        for one in results.analyzed(
            made.choice,
            made.petct,
            made.findings,
            options=results.ResultOptions(),
            **{**arguments, **changes},
        )
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_study.study(tmp_path_factory.mktemp("provenance"))


@pytest.fixture(scope="module")
def objects(made):
    return objects_of(made)


def processing(ds):
    return [
        item
        for item in ds.ContributingEquipmentSequence
        if item.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    ]


def texts(ds):
    """All (code value, text or UID) of a report."""
    found = {}

    def walk(item):
        for child in item.get("ContentSequence", []):
            value = child.get("TextValue") or child.get("UID")
            found.setdefault(child.get("ConceptNameCodeSequence", [None])[0].CodeValue, value)
            walk(child) if child.ValueType == "CONTAINER" else None

    walk(ds)
    return found


def test_every_object_names_the_algorithm_as_processing_equipment(objects):
    for ds in objects.values():
        first = processing(ds)[0]
        assert first.Manufacturer == "petct-node project"
        assert first.ManufacturerModelName == "petct-node"
        assert first.SoftwareVersions == "0.1.0"


def test_every_processing_equipment_has_a_device_uid(objects):
    """The writing library lists itself, too, and does so without one."""
    for ds in objects.values():
        uids = [item.DeviceUID for item in processing(ds)]
        assert len(uids) == len(set(uids)) == 2


def test_report_segmentation_and_equipment_say_the_same(objects):
    equipment = processing(objects[ResultKind.REPORT])[0]
    told = texts(objects[ResultKind.REPORT])
    segment = objects[ResultKind.SEGMENTATION].SegmentSequence[0]
    algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]

    assert equipment.Manufacturer == told["121014"] == algorithm.AlgorithmSource
    assert (
        equipment.ManufacturerModelName
        == told["121015"]
        == told["111001"]
        == algorithm.AlgorithmName
    )
    assert equipment.SoftwareVersions == told["111003"] == algorithm.AlgorithmVersion
    assert equipment.DeviceUID == told["121012"]


def test_another_bundle_is_another_device(made):
    other = replace(made.findings.bundle, digest="sha256:" + "cd" * 32)

    uids = {
        processing(objects_of(replace(made, findings=findings))[ResultKind.REPORT])[0].DeviceUID
        for findings in (made.findings, replace(made.findings, bundle=other))
    }

    assert len(uids) == 2


def test_the_scanner_stays_acquisition_equipment(objects):
    for ds in objects.values():
        scanner = ds.ContributingEquipmentSequence[0]
        assert scanner.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Acquisition Equipment"
        assert scanner.Manufacturer == "Scanner maker"


def test_enhanced_general_equipment_is_complete(objects):
    """PS3.3 C.7.5.2: four attributes of Type 1; the serial number is what others forget."""
    for ds in objects.values():
        assert ds.Manufacturer == "petct-node project"
        assert ds.ManufacturerModelName == "petct-node"
        assert ds.DeviceSerialNumber == "42"
        assert ds.SoftwareVersions == "0.1.0"


def test_the_same_key_makes_the_same_bytes(made):
    first, second = (
        results.analyzed(
            made.choice,
            made.petct,
            made.findings,
            equipment=made_study.EQUIPMENT,
            key="k",
            when=made_study.WHEN,
            options=results.ResultOptions(),
        )
        for _ in range(2)
    )

    assert first == second


def test_another_key_makes_other_uids_and_a_later_time_does_not(made, objects):
    again = objects_of(made, when=made_study.WHEN.replace(year=2027))
    other = objects_of(made, key="other")

    for kind, ds in objects.items():
        assert again[kind].SOPInstanceUID == ds.SOPInstanceUID
        assert other[kind].SOPInstanceUID != ds.SOPInstanceUID
        assert other[kind].SeriesInstanceUID != ds.SeriesInstanceUID
        assert ds.SOPInstanceUID.startswith("2.25.")
        assert len(ds.SOPInstanceUID) <= 64


def test_times_are_told_in_the_zone_of_the_study(tmp_path):
    """05:06:07 UTC is 10:36:07 at +0530, the zone that the source states."""
    made = made_study.study(tmp_path, TimezoneOffsetFromUTC="+0530")

    for ds in objects_of(made).values():
        assert ds.TimezoneOffsetFromUTC == "+0530"
        assert ds.ContentTime == "103607"
        assert ds.ContentDate == ds.SeriesDate == ds.InstanceCreationDate == "20260304"


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="zone"):
        Provenance(
            equipment=made_study.EQUIPMENT,
            key="k",
            when=datetime(2026, 3, 4),  # noqa: DTZ001 - the naive time is what is refused
        )


@pytest.mark.parametrize("field", ["manufacturer", "software_version", "device_serial_number"])
def test_equipment_without_a_type_1_value_is_refused(field):
    values = {"manufacturer": "m", "software_version": "1", "device_serial_number": "1"}

    with pytest.raises(ValueError, match=field):
        Equipment(**{**values, field: ""})
