"""Reports as other systems write them, and studies that they come with."""

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from node.dicom.contours import Wanted
from node.dicom.series import choose
from node.dicom.volumes import load
from tests.node.dicom.minimal import CT, FRAME, STUDY, code, save

WANTED = Wanted(
    names=("GTV", "primary", "lesion"), codes=("SCT:86049000", "SCT:108369006", "SCT:27925004")
)
LUNG = code("39607008", "SCT", "Lung")


def loaded(folder, study_uid, datasets, wanted=WANTED):
    for ds in datasets:
        ds.StudyInstanceUID = study_uid
    choice = choose(save(folder, datasets))
    return load(choice, contour_names=wanted.names, contour_codes=wanted.codes)


def told(petct):
    return [reason.code for reason in petct.warnings if reason.code.startswith("CONTOUR")]


def item(kind, name, **values):
    ds = Dataset()
    ds.ValueType, ds.ConceptNameCodeSequence = kind, [code(name, "DCM", "concept")]
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def scoord(kind, points, image="1.2.3.3.3", frame=None):
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, image
    if frame is not None:
        reference.ReferencedFrameNumber = frame
    source = item("IMAGE", "121324", ReferencedSOPSequence=[reference])
    data = [float(v) for point in points for v in point]
    return item("SCOORD", "111030", GraphicType=kind, GraphicData=data, ContentSequence=[source])


def scoord3d(kind, points, frame_uid=FRAME):
    data = [float(v) for point in points for v in point]
    return item(
        "SCOORD3D",
        "121231",
        GraphicType=kind,
        GraphicData=data,
        ReferencedFrameOfReferenceUID=frame_uid,
    )


def group(name, *children, uid=None, site=LUNG):
    content = [item("TEXT", "112039", TextValue=name)]
    if uid:
        content.append(item("UIDREF", "112040", UID=uid))
    if site:
        place = item("CODE", "0", ConceptCodeSequence=[site])
        place.ConceptNameCodeSequence = [code("363698007", "SCT", "Finding Site")]
        content.append(place)
    return item("CONTAINER", "125007", ContentSequence=[*content, *children])


def report(*groups, observer="121006", uid="1.2.5"):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.34", uid
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = STUDY, f"{uid}.9", "SR"
    ds.Manufacturer, ds.ManufacturerModelName = "Maker", "Reader"
    who = item("CODE", "121005", ConceptCodeSequence=[code(observer, "DCM", "observer")])
    ds.ContentSequence = [who, item("CONTAINER", "126010", ContentSequence=list(groups))]
    return ds


SQUARE = [(2, 1), (5, 1), (5, 3), (2, 3), (2, 1)]
"""Round the pixels of columns 2 to 4 and rows 1 and 2."""
