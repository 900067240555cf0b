"""Single faults to plant in a map of where a network looked, and in the report that cites it."""

import numpy as np
from pydicom.sr.codedict import codes
from pydicom.uid import ImplicitVRLittleEndian

from node.dicom import codes as ours
from node.dicom import saliency_map
from node.dicom.lint import Rule
from node.dicom.provenance import Provenance
from tests.made_study import EQUIPMENT, WHEN
from tests.validators.planting import CT, Fault, adding_to

FAULTS: list[Fault] = []
fault = adding_to(FAULTS)
MAP, REPORT = "maps PM", "maps SR"
# Of occult_n2 in the set, whose key is "k".
OTHER_TASK = saliency_map.tracking_uid(
    Provenance(equipment=EQUIPMENT, key="k", when=WHEN), "occult_n2"
)


def frames(ds):
    return ds.PerFrameFunctionalGroupsSequence


def shared(ds):
    return ds.SharedFunctionalGroupsSequence[0]


def mapping(ds):
    return shared(ds).RealWorldValueMappingSequence[0]


def told(ds, code):
    """The item of the quantity's definition that has this name."""
    return next(
        item
        for item in mapping(ds).QuantityDefinitionSequence
        if item.ConceptNameCodeSequence[0].CodeValue == code.value
    )


def set_voxel(ds, value):
    """Gives the greatest voxel another number."""
    voxels = np.frombuffer(ds.FloatPixelData, "<f4").copy()
    voxels[voxels.argmax()] = value
    ds.FloatPixelData = voxels.tobytes()


@fault(MAP, what="The frame of reference is another", rule=Rule.GEOMETRY)
def foreign_frame_of_reference(ds):
    ds.FrameOfReferenceUID = "2.25.888"


@fault(MAP, what="All frames are shifted by a voxel", rule=Rule.GEOMETRY)
def shifted(ds):
    for frame in frames(ds):
        x, y, z = frame.PlanePositionSequence[0].ImagePositionPatient
        frame.PlanePositionSequence[0].ImagePositionPatient = [float(x) + 8, y, z]


@fault(MAP, what="The orientation is mirrored", rule=Rule.GEOMETRY)
def mirrored(ds):
    shared(ds).PlaneOrientationSequence[0].ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]


@fault(MAP, what="The pixel spacing is the CT's", rule=Rule.GEOMETRY)
def other_spacing(ds):
    shared(ds).PixelMeasuresSequence[0].PixelSpacing = ["4", "4"]


@fault(MAP, what="Rows and columns are exchanged for others", rule=Rule.GEOMETRY)
def other_size(ds):
    ds.Rows, ds.Columns = ds.Rows * 2, ds.Columns // 2


@fault(MAP, what="A frame derives from the next plane", rule=Rule.GEOMETRY)
def other_plane(ds):
    source = frames(ds)[0].DerivationImageSequence[0].SourceImageSequence[0]
    following = frames(ds)[1].DerivationImageSequence[0].SourceImageSequence[0]
    source.ReferencedSOPInstanceUID = following.ReferencedSOPInstanceUID


@fault(MAP, what="The frames run against the normal: dcmqi turns the map over", rule=Rule.VIEWER)
def frames_from_the_head(ds):
    ds.FloatPixelData = np.ascontiguousarray(ds.pixel_array[::-1]).tobytes()
    ds.PerFrameFunctionalGroupsSequence = frames(ds)[::-1]


@fault(MAP, what="Frames derive from no image", rule=Rule.VIEWER)
def no_derivation(ds):
    for frame in frames(ds):
        frame.DerivationImageSequence = []


@fault(MAP, what="No referenced series: OHIF does not show it", rule=Rule.VIEWER)
def no_referenced_series(ds):
    del ds.ReferencedSeriesSequence


@fault(MAP, what="The referenced series is the CT", rule=Rule.EVIDENCE)
def other_referenced_series(ds):
    ds.ReferencedSeriesSequence[0].SeriesInstanceUID = "2.25.1100"


@fault(MAP, what="A referenced instance has another class", rule=Rule.EVIDENCE)
def referenced_class_other(ds):
    ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPClassUID = CT


@fault(MAP, what="Its window is LINEAR: everything above 0 is white", rule=Rule.VIEWER)
def window_linear(ds):
    shared(ds).FrameVOILUTSequence[0].VOILUTFunction = "LINEAR"


@fault(MAP, what="It is in Implicit VR", rule=Rule.VIEWER)
def implicit(ds):
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    ds.walk(lambda _, element: element.value)


@fault(MAP, what="A voxel is not a number", rule=Rule.NUMBER)
def voxel_nan(ds):
    set_voxel(ds, np.nan)


@fault(MAP, what="A voxel is above 1", rule=Rule.NUMBER)
def voxel_above(ds):
    set_voxel(ds, 1.5)


@fault(MAP, what="A voxel is below 0", rule=Rule.NUMBER)
def voxel_below(ds):
    set_voxel(ds, -0.1)


@fault(MAP, what="Its numbers are said to be 100 times the voxels", rule=Rule.NUMBER)
def slope_other(ds):
    mapping(ds).RealWorldValueSlope = 100.0


@fault(MAP, what="The range of its numbers ends at 0.5", rule=Rule.NUMBER)
def range_other(ds):
    mapping(ds).DoubleFloatRealWorldValueLastValueMapped = 0.5


@fault(MAP, what="Its unit is per cent", rule=Rule.UNIT)
def unit_other(ds):
    (unit,) = mapping(ds).MeasurementUnitsCodeSequence
    unit.CodeValue, unit.CodeMeaning = "%", "Percent"


@fault(MAP, what="It is empty", rule=Rule.PIXELS)
def empty(ds):
    ds.FloatPixelData = bytes(len(ds.FloatPixelData))


@fault(MAP, what="Float Pixel Data is cut short", rule=Rule.PIXELS)
def pixels_cut(ds):
    ds.FloatPixelData = ds.FloatPixelData[:-400]


@fault(MAP, what="There is one frame more than is told", rule=Rule.PIXELS)
def frame_too_many(ds):
    ds.NumberOfFrames = ds.NumberOfFrames - 1


@fault(MAP, what="16 bits are said to be allocated", rule=Rule.PIXELS)
def sixteen_bits(ds):
    ds.BitsAllocated = 16


@fault(MAP, what="Frames have no index", rule=Rule.PIXELS)
def no_index(ds):
    for frame in frames(ds):
        del frame.FrameContentSequence[0].DimensionIndexValues


@fault(MAP, what="It does not say what it is a map of", rule=Rule.TEMPLATE)
def no_quantity(ds):
    mapping(ds).QuantityDefinitionSequence.remove(told(ds, codes.SCT.Quantity))


@fault(MAP, what="It has no mapping to numbers", rule=Rule.TEMPLATE)
def no_mapping(ds):
    del shared(ds).RealWorldValueMappingSequence


@fault(MAP, what="It does not say that it is for research", rule=Rule.TEMPLATE)
def comments_missing(ds):
    del ds.ImageComments


@fault(MAP, what="It is qualified as a product", rule=Rule.TEMPLATE)
def qualified(ds):
    ds.ContentQualification = "PRODUCT"


@fault(MAP, what="It does not say of which part of the body: dcmqi crashes", rule=Rule.TEMPLATE)
def no_anatomy(ds):
    del shared(ds).FrameAnatomySequence


@fault(MAP, what="The quantity is an invented code", rule=Rule.CODE)
def quantity_invented(ds):
    told(ds, codes.SCT.Quantity).ConceptCodeSequence[0].CodeValue = "130499"


@fault(MAP, what="Its private codes are of a scheme that is not declared", rule=Rule.CODE)
def scheme_undeclared(ds):
    del ds.CodingSchemeIdentificationSequence


@fault(MAP, what="It has no Tracking UID", rule=Rule.TRACKING)
def not_tracked(ds):
    mapping(ds).QuantityDefinitionSequence.remove(told(ds, codes.DCM.TrackingUniqueIdentifier))


@fault(MAP, what="It is tracked as the map of the other task", rule=Rule.TRACKING)
def tracked_as_another(ds):
    told(ds, codes.DCM.TrackingUniqueIdentifier).UID = OTHER_TASK


@fault(MAP, what="It does not say which prediction it explains", rule=Rule.TRACKING)
def nothing_explained(ds):
    mapping(ds).QuantityDefinitionSequence.remove(told(ds, ours.EXPLAINED))


@fault(MAP, what="It explains a prediction that the report does not hold", rule=Rule.TRACKING)
def another_explained(ds):
    code = told(ds, ours.EXPLAINED).ConceptCodeSequence[0]
    code.CodeValue, code.CodeMeaning = "PROB_N3", "Probability of occult N3 metastasis"


@fault(MAP, what="The algorithm's version is not the equipment's", rule=Rule.EQUIPMENT)
def algorithm_version_other(ds):
    told(ds, codes.DCM.AlgorithmVersion).TextValue = "0.0.9"


@fault(MAP, what="It has no Device UID of the algorithm", rule=Rule.EQUIPMENT)
def no_device(ds):
    del ds.ContributingEquipmentSequence


@fault(MAP, what="The Study Instance UID is foreign", rule=Rule.IDENTITY)
def foreign_study(ds):
    ds.StudyInstanceUID = "2.25.777"


@fault(MAP, what="It is in the series of the PET", rule=Rule.IDENTITY)
def series_of_the_pet(ds):
    ds.SeriesInstanceUID = "2.25.1200"


@fault(MAP, what="The content label is no code string", rule=Rule.VALUE)
def label_not_a_code_string(ds):
    ds.ContentLabel = "saliency-n1"


@fault(REPORT, what="A map is no evidence of the report", rule=Rule.EVIDENCE)
def map_is_no_evidence(ds):
    (study,) = ds.CurrentRequestedProcedureEvidenceSequence
    study.ReferencedSeriesSequence = [
        series
        for series in study.ReferencedSeriesSequence
        if series.ReferencedSOPSequence[0].ReferencedSOPClassUID != "1.2.840.10008.5.1.4.1.1.30"
    ]
