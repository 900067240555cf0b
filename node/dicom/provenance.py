"""Who made a result object: its UIDs, its equipment and its algorithm, told the same everywhere."""

import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

import highdicom as hd
from highdicom.sr import AlgorithmIdentification, DeviceObserverIdentifyingAttributes
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID
from pydicom.valuerep import DT

from inference.findings import Findings
from node.dicom.encoding import Elements, Part, in_one, put_among
from node.dicom.sequences import certain
from node.implementation import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    MODEL_NAME,
)
from node.instance import ResultKind, ResultObject

_NAMESPACE: Final = uuid.UUID("6b2f6f0e-7d0b-5c1e-9a55-0c1f4a7f2d10")
RESEARCH_USE: Final = "Research use only - not for clinical decisions"


@dataclass(frozen=True, kw_only=True)
class Equipment:
    """The device that we are, as PS3.3 C.7.5.1 and C.7.5.2 (Enhanced General Equipment) ask it."""

    manufacturer: str
    model_name: str = MODEL_NAME
    software_version: str
    device_serial_number: str
    institution: str = ""

    def __post_init__(self) -> None:
        for name in ("manufacturer", "model_name", "software_version", "device_serial_number"):
            value = getattr(self, name)
            if not 0 < len(value) <= 64 or "\\" in value:
                raise ValueError(f"{name} must have 1 to 64 characters, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """One run of one device; ``key`` names study, instances and bundle, and fixes all UIDs."""

    equipment: Equipment
    key: str
    when: datetime
    bundle_digest: str = ""
    algorithm_parameters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.when.tzinfo is None:
            raise ValueError("the time of a result must be aware of its zone")

    def uid(self, role: str) -> str:
        """Return the UID of ``role`` in this run: the same key and role, the same UID."""
        return derived_uid(self.key, role)

    @property
    def device_uid(self) -> str:
        """Identifies device, software version and bundle together (IHE AIR 6.5.3.1)."""
        device = self.equipment
        return derived_uid(
            device.manufacturer,
            device.model_name,
            device.device_serial_number,
            device.software_version,
            self.bundle_digest,
        )


def derived_uid(*parts: str) -> str:
    """Return the UID of a name-based UUID (PS3.5 B.2); equal parts give equal UIDs."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(10).join(parts)).int}"


def of_findings(
    findings: Findings, *, equipment: Equipment, key: str, when: datetime
) -> Provenance:
    """Return the provenance of a run that came to findings, with its algorithm's parameters."""
    bundle = findings.bundle
    return Provenance(
        equipment=equipment,
        key=key,
        when=when,
        bundle_digest=bundle.digest,
        algorithm_parameters=(
            f"bundle={bundle.name} {bundle.version}",
            f"digest={bundle.digest}",
            f"engine={findings.engine}",
            f"device={findings.device}",
            f"precision={findings.precision}",
        ),
    )


def device_observer(provenance: Provenance) -> DeviceObserverIdentifyingAttributes:
    """Return TID 1004, equal to the Contributing Equipment where IHE AIR asks it."""
    device = provenance.equipment
    return DeviceObserverIdentifyingAttributes(
        uid=provenance.device_uid,
        name=device.model_name,
        manufacturer_name=device.manufacturer,
        model_name=device.model_name,
        serial_number=device.device_serial_number,
    )


def algorithm_template(provenance: Provenance) -> AlgorithmIdentification:
    """Return TID 4019: name and version are the device's, the parameters name the bundle."""
    return AlgorithmIdentification(
        name=provenance.equipment.model_name,
        version=provenance.equipment.software_version,
        parameters=provenance.algorithm_parameters or None,
    )


def algorithm_sequence(provenance: Provenance) -> hd.AlgorithmIdentificationSequence:
    """Return the Algorithm Identification Macro (PS3.3 10.16) that says the same as TID 4019."""
    sequence = hd.AlgorithmIdentificationSequence(
        name=provenance.equipment.model_name,
        family=codes.DCM.ArtificialIntelligence,
        version=provenance.equipment.software_version,
        source=provenance.equipment.manufacturer,
    )
    if provenance.algorithm_parameters:
        sequence[0].AlgorithmParameters = "; ".join(provenance.algorithm_parameters)
    return sequence


@dataclass(frozen=True, kw_only=True, eq=False)
class Begun:
    """An object that is encoded but for its end."""

    kind: ResultKind
    dataset: Dataset
    parts: Sequence[Part]

    def ended(self, tail: Sequence[Part] = ()) -> ResultObject:
        """Return the object; ``tail`` comes after all of its elements."""
        return ResultObject(
            kind=self.kind,
            sop_class_uid=str(self.dataset.SOPClassUID),
            sop_instance_uid=str(self.dataset.SOPInstanceUID),
            series_instance_uid=str(self.dataset.SeriesInstanceUID),
            study_instance_uid=str(self.dataset.StudyInstanceUID),
            transfer_syntax_uid=str(self.dataset.file_meta.TransferSyntaxUID),
            part10=in_one((*self.parts, *tail)),
        )


def finish(
    dataset: Dataset,
    kind: ResultKind,
    *,
    subject: Dataset,
    provenance: Provenance,
    among: Elements = MappingProxyType({}),
) -> ResultObject:
    """Give a built object its equipment, its times and our name, and encode it (PS3.10).

    ``subject`` is what the source images tell of patient and study (``source.subject``).
    highdicom takes times from the clock and lists itself without a Device UID; both are replaced,
    so that the same run gives the same bytes and every Processing Equipment has its UID. What is
    encoded already comes in ``among`` the elements of ``dataset``, by its tags.
    """
    return begin(dataset, kind, subject=subject, provenance=provenance, among=among).ended()


def begin(
    dataset: Dataset,
    kind: ResultKind,
    *,
    subject: Dataset,
    provenance: Provenance,
    among: Elements = MappingProxyType({}),
) -> Begun:
    """Do the same to an object whose last elements are still to come."""
    _set_equipment(dataset, subject, provenance)
    _set_times(dataset, subject, provenance.when)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    sequences = certain(dataset)
    for tag in sequences:
        del dataset[tag]
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    parts = tuple(put_among(buffer.getbuffer(), {**sequences, **among}))
    return Begun(kind=kind, dataset=dataset, parts=parts)


def _set_equipment(dataset: Dataset, subject: Dataset, provenance: Provenance) -> None:
    device = provenance.equipment
    dataset.Manufacturer = device.manufacturer
    dataset.ManufacturerModelName = device.model_name
    dataset.DeviceSerialNumber = device.device_serial_number
    dataset.SoftwareVersions = device.software_version
    dataset.InstanceCreatorUID = provenance.device_uid
    if device.institution:
        dataset.InstitutionName = device.institution
    dataset.ContributingEquipmentSequence = [
        *_acquisition_equipment(subject),
        *_processing_equipment(provenance),
    ]


def _acquisition_equipment(subject: Dataset) -> list[Dataset]:
    """Return the scanner's item, or nothing where the source does not name its manufacturer."""
    if not subject.get("Manufacturer"):
        return []
    return [
        hd.ContributingEquipment(
            manufacturer=subject.Manufacturer,
            purpose_of_reference=codes.DCM.AcquisitionEquipment,
            manufacturer_model_name=subject.get("ManufacturerModelName"),
            software_versions=subject.get("SoftwareVersions"),
            device_serial_number=subject.get("DeviceSerialNumber"),
            institution_name=subject.get("InstitutionName"),
            station_name=subject.get("StationName"),
            contribution_description="Acquisition of the source images",
        )
    ]


def _processing_equipment(provenance: Provenance) -> list[Dataset]:
    """Return the items of IHE AIR 6.5.3.1: the algorithm, and the library that wrote the object."""
    device = provenance.equipment
    stamp = provenance.when.strftime("%Y%m%d%H%M%S%z")
    algorithm = hd.ContributingEquipment(
        manufacturer=device.manufacturer,
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=device.model_name,
        software_versions=device.software_version,
        device_serial_number=device.device_serial_number,
        institution_name=device.institution or None,
        contribution_description="Algorithm that made these results",
    )
    algorithm.DeviceUID = provenance.device_uid
    library = hd.ContributingEquipment.for_highdicom()
    library.DeviceUID = derived_uid("highdicom", hd.__version__)
    for item in (algorithm, library):
        item.ContributionDateTime = DT(stamp)
    return [algorithm, library]


def _set_times(dataset: Dataset, subject: Dataset, when: datetime) -> None:
    """Write the time of the result in the zone of the study where it tells one, else in ours.

    Without the source's zone none is written, since it would hold for Study Time, too.
    """
    offset = str(subject.get("TimezoneOffsetFromUTC") or "")
    local = when.astimezone(datetime.strptime(offset, "%z").tzinfo if offset else None)
    for keyword in ("InstanceCreationDate", "SeriesDate", "ContentDate"):
        setattr(dataset, keyword, local.strftime("%Y%m%d"))
    for keyword in ("InstanceCreationTime", "SeriesTime", "ContentTime"):
        setattr(dataset, keyword, local.strftime("%H%M%S"))
    if offset:
        dataset.TimezoneOffsetFromUTC = offset
