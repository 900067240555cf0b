"""Single faults to plant in what a report says of its origin, its patient and its form."""

from pydicom.sr.codedict import codes

from node.dicom import codes as ours
from node.dicom.lint import Rule
from node.dicom.provenance import Provenance
from tests.made_study import EQUIPMENT, WHEN
from tests.validators.planted_in_reports import evidence, first, items, without
from tests.validators.planting import Fault, adding_to, written

FAULTS: list[Fault] = []
fault = adding_to(FAULTS)


# Equipment: IHE AIR's rule of equality


@fault("SR", what="The observer's Device UID is another than the equipment's", rule=Rule.EQUIPMENT)
def observer_other(ds):
    first(ds, codes.DCM.DeviceObserverUID).UID = "2.25.77"


@fault("SR", what="The algorithm has another name than the equipment", rule=Rule.EQUIPMENT)
def algorithm_name_other(ds):
    first(ds, codes.DCM.AlgorithmName).TextValue = "another"


@fault("SR", what="The algorithm has another version than the equipment", rule=Rule.EQUIPMENT)
def algorithm_version_other(ds):
    first(ds, codes.DCM.AlgorithmVersion).TextValue = "0.0.9"


@fault("SR", what="The algorithm is not named", rule=Rule.EQUIPMENT)
def no_algorithm(ds):
    without(ds, codes.DCM.AlgorithmName)


@fault("SR", "SEG", what="A Processing Equipment has no Device UID", rule=Rule.EQUIPMENT)
def device_uid_missing(ds):
    del ds.ContributingEquipmentSequence[-1].DeviceUID


@fault("SR", what="No Contributing Equipment", rule=Rule.EQUIPMENT)
def no_contributing_equipment(ds):
    del ds.ContributingEquipmentSequence


@fault("SEG", what="The device's serial number is empty", rule=Rule.EQUIPMENT)
def no_serial_number(ds):
    ds.DeviceSerialNumber = ""


@fault("SEG", what="The software's version is missing", rule=Rule.EQUIPMENT)
def no_software_version(ds):
    del ds.SoftwareVersions


@fault("SR", what="The creator of the instance is another device", rule=Rule.EQUIPMENT)
def creator_other(ds):
    ds.InstanceCreatorUID = "2.25.77"


# The editable report and the rejection, which come with a next version


@fault("next SR-EDIT", what="OHIF does not know the tool: nothing to take over", rule=Rule.VIEWER)
def unknown_tool(ds):
    first(ds, codes.DCM.TrackingIdentifier).TextValue = "primary 1"


@fault("next SR-EDIT", what="OHIF does not know the spelling of Long axis", rule=Rule.VIEWER)
def spelt_otherwise(ds):
    first(ds, codes.SCT.LongAxis).ConceptNameCodeSequence[0].CodeMeaning = "Long axis"


@fault("next SR-EDIT", what="A number has no line", rule=Rule.VIEWER)
def no_line(ds):
    first(ds, codes.SCT.ShortAxis).ContentSequence = []


@fault("next SR-EDIT", what="A lesion has one axis", rule=Rule.VIEWER)
def one_axis(ds):
    without(ds, codes.SCT.ShortAxis)


@fault("next SR-EDIT", what="An axis is not as long as its line", rule=Rule.NUMBER)
def length_other(ds):
    first(ds, codes.SCT.LongAxis).MeasuredValueSequence[0].NumericValue = "12.3"


@fault("next SR-EDIT", what="The evidence lacks the first image of its series", rule=Rule.EVIDENCE)
def part_of_series(ds):
    del evidence(ds)[0].ReferencedSOPSequence[0]


@fault("next KOS", what="A rejection rejects the new report, not the old", rule=Rule.EVIDENCE)
def rejects_the_new(ds):
    new = str(Provenance(equipment=EQUIPMENT, key="k", when=WHEN).uid("instance SR"))
    old = next(item for item in items(ds) if "ReferencedSOPSequence" in item)
    for item in (evidence(ds)[0], old):
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = new


@fault("next KOS", what="A rejection rejects an image", rule=Rule.EVIDENCE)
def rejects_an_image(ds):
    evidence(ds)[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "2.25.1100.1"


@fault("next KOS", what="A rejection rejects nothing", rule=Rule.TEMPLATE)
def rejects_nothing(ds):
    ds.ContentSequence = [
        item for item in ds.ContentSequence if "ReferencedSOPSequence" not in item
    ]


@fault("next KOS", what="A rejection tells no observer", rule=Rule.TEMPLATE)
def rejection_without_observer(ds):
    without(ds, codes.DCM.DeviceObserverUID)


@fault("next KOS", what="A rejection has the title of any key images", rule=Rule.TEMPLATE)
def title_of_interest(ds):
    title = ds.ConceptNameCodeSequence[0]
    title.CodeValue, title.CodeMeaning = "113000", "Of Interest"


@fault("next KOS", what="A rejection is not identified as TID 2010", rule=Rule.TEMPLATE)
def rejection_without_template(ds):
    del ds.ContentTemplateSequence


@fault("next KOS", what="A rejection is of another patient", rule=Rule.IDENTITY)
def rejection_of_other_patient(ds):
    ds.PatientID = "P2"


# Patient and values


@fault("SR", "SEG", "SC", what="The Patient ID is another", rule=Rule.IDENTITY)
def other_patient(ds):
    ds.PatientID = "P2"


@fault("SR", what="The patient's name is another", rule=Rule.IDENTITY)
def other_name(ds):
    ds.PatientName = "Phantom^Square"


@fault("SEG", what="The patient's sex is missing", rule=Rule.IDENTITY)
def no_sex(ds):
    ds.PatientSex = ""


@fault("SR", what="The Accession Number is lost", rule=Rule.IDENTITY)
def no_accession_number(ds):
    ds.AccessionNumber = ""


@fault("SR", what="The series number is missing", rule=Rule.IDENTITY)
def no_series_number(ds):
    del ds.SeriesNumber


@fault("SR", what="It is in the series of the CT", rule=Rule.IDENTITY)
def series_of_the_source(ds):
    ds.SeriesInstanceUID = "2.25.1100"


@fault("SR", what="It is in the series of the Segmentation", rule=Rule.IDENTITY)
def series_of_the_segmentation(ds):
    ds.SeriesInstanceUID = Provenance(equipment=EQUIPMENT, key="k", when=WHEN).uid("series SEG")


@fault("SR", what="The SOP Instance UID is that of an image", rule=Rule.IDENTITY)
def uid_of_an_image(ds):
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25.1100.1"


@fault("SR", what="The SOP Instance UID is nobody's to give", rule=Rule.IDENTITY)
def uid_without_root(ds):
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"


@fault("SEG", what="File Meta Information is that of another instance", rule=Rule.IDENTITY)
def other_file_meta(ds):
    uid = ds.SOPInstanceUID.encode()
    return written(ds).replace(uid, uid[:-1] + b"5" if uid[-1:] != b"5" else uid[:-1] + b"6", 1)


@fault("SR", what="The character set is not that of the bytes", rule=Rule.IDENTITY)
def other_character_set(ds):
    ds.SpecificCharacterSet = "ISO_IR 100"


@fault("SR", what="The modality is OT", rule=Rule.IDENTITY)
def other_modality(ds):
    ds.Modality = "OT"


@fault("SR", what="A UID has a component with a leading zero", rule=Rule.VALUE)
def uid_with_leading_zero(ds):
    first(ds, codes.DCM.TrackingUniqueIdentifier).UID = "2.25.031"


@fault("SEG", what="A UID has 65 characters", rule=Rule.VALUE)
def uid_too_long(ds):
    ds.SegmentSequence[0].TrackingUID = "2.25." + "1" * 60


@fault("SR", what="A code value has more than 16 characters", rule=Rule.VALUE)
def code_too_long(ds):
    first(ds, ours.WARNING).ConceptCodeSequence[0].CodeValue = "UPTAKE_MUCH_TOO_LONG"


@fault("SEG", what="A segment's label has more than 64 characters", rule=Rule.VALUE)
def label_too_long(ds):
    ds.SegmentSequence[0].SegmentLabel = "primary " * 9


@fault("SR", what="A date is written with dashes", rule=Rule.VALUE)
def date_with_dashes(ds):
    ds.ContentDate = "2026-03-04"


@fault("SR", what="A text is not in the character set that is told", rule=Rule.VALUE)
def not_unicode(ds):
    return written(ds).replace(b"highest", "h\u00f6chste".encode("latin-1"))


@fault("SR", "SEG", "SC", what="The file ends after two thirds of its bytes", rule=Rule.UNREADABLE)
def cut_short(ds):
    whole = written(ds)
    return whole[: len(whole) // 3 * 2]


@fault("SR", what="The file lacks its last ten bytes", rule=Rule.UNREADABLE)
def end_cut(ds):
    return written(ds)[:-10]


@fault("SR", what="The file has no preamble", rule=Rule.UNREADABLE)
def no_preamble(ds):
    return written(ds)[132:]
