"""Every result object says the same of who made it (IHE AIR 6.5.3.1, table 6.5.3.1-1)."""

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import pytest
from pydicom import Dataset, dcmread

from inference.findings import Reason
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


# IHE AIR Rev 1.3, table 6.5.3.1-1: where a value stands, by the attribute that it must equal.
EQUALITY = {
    "Manufacturer": ({"121014"}, "AlgorithmSource"),
    "ManufacturerModelName": ({"121015", "111001"}, "AlgorithmName"),
    "SoftwareVersions": ({"111003"}, "AlgorithmVersion"),
    "DeviceUID": ({"121012"}, None),
}


def every_kind(made) -> dict[str, Dataset]:
    """One object of every kind, a negative report and a refusal among them."""
    earlier = results.Predecessor(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        sop_instance_uid="2.25.9",
        series_instance_uid="2.25.8",
        study_instance_uid=made_study.STUDY_UID,
    )
    superseding = {"hydratable": True, "supersede": "reject", "predecessors": (earlier,)}
    negative = replace(made, findings=made_study.findings(predictions=()))
    (refusal,) = results.refused(
        made.choice.ct.paths,
        [Reason(code="PET_MISSING", meaning="no PET")],
        equipment=made_study.EQUIPMENT,
        key="k",
        when=made_study.WHEN,
    )
    objects = {one.kind.value: one for one in made_study.analyzed(made, **superseding)}
    (objects["negative"],) = made_study.analyzed(negative, key_image=False)
    objects["refusal"] = refusal
    return {name: dcmread(io.BytesIO(one.part10)) for name, one in objects.items()}


def content_values(item: Dataset, names: set[str]) -> Iterator[str]:
    for child in item.get("ContentSequence", []):
        concepts = child.get("ConceptNameCodeSequence")
        if concepts and concepts[0].CodeValue in names:
            yield str(child.get("TextValue") or child.get("UID"))
        yield from content_values(child, names)


def algorithms(item: Dataset) -> Iterator[Dataset]:
    """Every item of an Algorithm Identification Macro, however deep."""
    for element in item:
        if element.VR == "SQ":
            for child in element.value:
                if "AlgorithmName" in child:
                    yield child
                yield from algorithms(child)


def test_equipment_observer_and_algorithm_say_the_same_in_every_kind_of_object(made):
    """The equality rule; the writing library's own item is no algorithm and is not compared."""
    compared = dict.fromkeys(EQUALITY, 0)
    for kind, ds in every_kind(made).items():
        ours, library = processing(ds)
        assert library.ManufacturerModelName == "highdicom", kind
        for attribute, (names, in_macro) in EQUALITY.items():
            said = [*content_values(ds, names)]
            if in_macro is not None:
                said += [str(item[in_macro].value) for item in algorithms(ds)]
            assert set(said) <= {str(ours[attribute].value)}, (kind, attribute)
            compared[attribute] += len(said)

    assert all(compared.values()), compared


def test_every_kind_of_object_names_the_same_device(made):
    objects = every_kind(made)

    assert set(objects) >= {"SR", "SEG", "SC", "SR-EDIT", "KOS", "negative", "refusal"}
    # A refusal comes before any bundle was run: it is the device without one.
    uids = {processing(ds)[0].DeviceUID for name, ds in objects.items() if name != "refusal"}
    assert len(uids) == 1
    for ds in objects.values():
        assert ds.InstanceCreatorUID == processing(ds)[0].DeviceUID
        assert all("DeviceUID" in item for item in processing(ds))


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
    first, second = (made_study.analyzed(made) for _ in range(2))

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
