"""Single faults to plant in our own Segmentation and key image."""

from copy import deepcopy

from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from node.dicom.lint import Rule
from tests.validators.planting import CT, PET, Fault, adding_to

FAULTS: list[Fault] = []
fault = adding_to(FAULTS)


def frames(ds):
    return ds.PerFrameFunctionalGroupsSequence


def shared(ds):
    return ds.SharedFunctionalGroupsSequence[0]


@fault("SEG", what="It is FRACTIONAL: an endless spinner in OHIF", rule=Rule.VIEWER)
def fractional(ds):
    ds.SegmentationType = "FRACTIONAL"
    ds.SegmentationFractionalType = "OCCUPANCY"
    ds.MaximumFractionalValue = 1


@fault("SEG", what="It is said to be compressed", rule=Rule.VIEWER)
def compressed(ds):
    data = ds.PixelData
    ds.file_meta.TransferSyntaxUID = RLELossless
    ds["PixelData"].is_undefined_length = True
    ds.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0" + (
        len(data).to_bytes(4, "little") + data + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    )


@fault("SEG", what="It is in Implicit VR", rule=Rule.VIEWER)
def implicit(ds):
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    ds.walk(lambda _, element: element.value)


@fault("SEG", what="The frame of reference is another", rule=Rule.GEOMETRY)
def foreign_frame_of_reference(ds):
    ds.FrameOfReferenceUID = "2.25.888"


@fault("SEG", what="All frames are shifted by 7 mm", rule=Rule.GEOMETRY)
def shifted(ds):
    for frame in frames(ds):
        x, y, z = frame.PlanePositionSequence[0].ImagePositionPatient
        frame.PlanePositionSequence[0].ImagePositionPatient = [float(x) + 7, y, z]


@fault("SEG", what="One frame is shifted by half a millimetre", rule=Rule.GEOMETRY)
def one_frame_shifted(ds):
    x, y, z = frames(ds)[2].PlanePositionSequence[0].ImagePositionPatient
    frames(ds)[2].PlanePositionSequence[0].ImagePositionPatient = [x, y, float(z) + 0.5]


@fault("SEG", what="The frames are in reversed order", rule=Rule.GEOMETRY)
def reversed_frames(ds):
    positions = [deepcopy(frame.PlanePositionSequence) for frame in frames(ds)]
    for frame, position in zip(frames(ds), reversed(positions), strict=True):
        frame.PlanePositionSequence = position


@fault("SEG", what="The orientation is mirrored", rule=Rule.GEOMETRY)
def mirrored(ds):
    shared(ds).PlaneOrientationSequence[0].ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]


@fault("SEG", what="The pixel spacing is another", rule=Rule.GEOMETRY)
def other_spacing(ds):
    shared(ds).PixelMeasuresSequence[0].PixelSpacing = ["4", "5"]


@fault("SEG", what="Rows and columns are halved", rule=Rule.GEOMETRY)
def other_size(ds):
    ds.Rows, ds.Columns = ds.Rows // 2, ds.Columns // 2


@fault("SEG", what="A frame derives from the next plane", rule=Rule.GEOMETRY)
def other_plane(ds):
    source = frames(ds)[0].DerivationImageSequence[0].SourceImageSequence[0]
    following = frames(ds)[1].DerivationImageSequence[0].SourceImageSequence[0]
    source.ReferencedSOPInstanceUID = following.ReferencedSOPInstanceUID


@fault("SEG", what="Frames derive from no image", rule=Rule.VIEWER)
def no_derivation(ds):
    for frame in frames(ds):
        frame.DerivationImageSequence = []


@fault("SEG", what="No referenced series", rule=Rule.VIEWER)
def no_referenced_series(ds):
    del ds.ReferencedSeriesSequence


@fault("SEG", what="The referenced series is not the images'", rule=Rule.VIEWER)
def foreign_referenced_series(ds):
    ds.ReferencedSeriesSequence[0].SeriesInstanceUID = "2.25.555"


@fault("SEG", what="The referenced series is the PET", rule=Rule.EVIDENCE)
def other_referenced_series(ds):
    ds.ReferencedSeriesSequence[0].SeriesInstanceUID = "2.25.1200"


@fault("SEG", what="A source plane is not among the referenced instances", rule=Rule.EVIDENCE)
def referenced_instance_missing(ds):
    del ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]


@fault("SEG", what="A referenced instance has another class", rule=Rule.EVIDENCE)
def referenced_class_other(ds):
    item = ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    item.ReferencedSOPClassUID = PET


@fault("SEG", what="A segment has no Tracking UID", rule=Rule.TRACKING)
def segment_not_tracked(ds):
    del ds.SegmentSequence[0].TrackingUID


@fault("SEG", what="A segment's Tracking ID is not the report's", rule=Rule.TRACKING)
def tracking_id_other(ds):
    ds.SegmentSequence[0].TrackingID = "another"


@fault("SEG", what="A segment is another finding than in the report", rule=Rule.TRACKING)
def finding_other(ds):
    code = ds.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    code.CodeValue, code.CodeMeaning = "4147007", "Mass"


@fault("SEG", what="A segment has no colour", rule=Rule.VIEWER)
def no_colour(ds):
    del ds.SegmentSequence[0].RecommendedDisplayCIELabValue


@fault("SEG", what="A segment has no label", rule=Rule.TEMPLATE)
def no_label(ds):
    del ds.SegmentSequence[0].SegmentLabel


@fault("SEG", what="The property's category is missing", rule=Rule.TEMPLATE)
def no_category(ds):
    del ds.SegmentSequence[0].SegmentedPropertyCategoryCodeSequence


@fault("SEG", what="The property's type is an invented code", rule=Rule.CODE)
def property_invented(ds):
    ds.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue = "1234567"


@fault("SEG", what="An automatic segment names no algorithm", rule=Rule.EQUIPMENT)
def no_algorithm_name(ds):
    del ds.SegmentSequence[0].SegmentAlgorithmName


@fault("SEG", what="The algorithm's version is not the equipment's", rule=Rule.EQUIPMENT)
def segment_algorithm_version_other(ds):
    item = ds.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    item.AlgorithmVersion = "0.0.9"


@fault("SEG", what="The algorithm's family is missing", rule=Rule.EQUIPMENT)
def no_algorithm_family(ds):
    item = ds.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    del item.AlgorithmFamilyCodeSequence


@fault("SEG", what="Segments are numbered from 2", rule=Rule.PIXELS)
def numbered_from_two(ds):
    ds.SegmentSequence[0].SegmentNumber = 2


@fault("SEG", what="A frame belongs to a segment that is not there", rule=Rule.PIXELS)
def frame_of_no_segment(ds):
    item = deepcopy(ds.SegmentSequence[0])
    item.SegmentNumber, item.TrackingUID, item.TrackingID = 2, "2.25.99", "another 2"
    ds.SegmentSequence.append(item)


@fault("SEG", what="Two segments are tracked as one lesion", rule=Rule.TRACKING)
def tracked_twice(ds):
    item = deepcopy(ds.SegmentSequence[0])
    item.SegmentNumber = 2
    ds.SegmentSequence.append(item)


@fault("SEG", what="Its voxels are white where they should be black", rule=Rule.PIXELS)
def inverted(ds):
    ds.PhotometricInterpretation = "MONOCHROME1"


@fault("SEG", what="There is no plane orientation", rule=Rule.GEOMETRY)
def no_orientation(ds):
    del shared(ds).PlaneOrientationSequence


@fault("SEG", what="The last frame is empty", rule=Rule.PIXELS)
def empty_frame(ds):
    size = ds.Rows * ds.Columns // 8
    ds.PixelData = ds.PixelData[:-size] + bytes(size)


@fault("SEG", what="Pixel Data is cut short", rule=Rule.PIXELS)
def pixels_cut(ds):
    ds.PixelData = ds.PixelData[:-100]


@fault("SEG", what="There is one frame more than is told", rule=Rule.PIXELS)
def frame_too_many(ds):
    ds.NumberOfFrames = ds.NumberOfFrames - 1


@fault("SEG", what="Two frames of a segment lie at one place", rule=Rule.PIXELS)
def frame_doubled(ds):
    for keyword in ("PlanePositionSequence", "DerivationImageSequence", "FrameContentSequence"):
        setattr(frames(ds)[1], keyword, deepcopy(getattr(frames(ds)[0], keyword)))


@fault("SEG", what="Eight bits a voxel", rule=Rule.PIXELS)
def eight_bits(ds):
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7


@fault("SEG", what="Frames have no index", rule=Rule.PIXELS)
def no_index(ds):
    for frame in frames(ds):
        del frame.FrameContentSequence[0].DimensionIndexValues


@fault("SC", what="Pixel Data is cut short", rule=Rule.PIXELS)
def picture_cut(ds):
    ds.PixelData = ds.PixelData[:-1024]


@fault("SC", what="The picture is blank", rule=Rule.PIXELS)
def picture_blank(ds):
    ds.PixelData = bytes(len(ds.PixelData))


@fault("SC", what="The colours are said to be YBR_FULL", rule=Rule.PIXELS)
def other_colours(ds):
    ds.PhotometricInterpretation = "YBR_FULL"


@fault("SC", what="It does not say whether a patient is in the pixels", rule=Rule.TEMPLATE)
def burned_in_unsaid(ds):
    del ds.BurnedInAnnotation


@fault("SC", what="It does not say how it was made", rule=Rule.TEMPLATE)
def conversion_unsaid(ds):
    del ds.ConversionType


@fault("SC", what="It names no source image", rule=Rule.EVIDENCE)
def no_source_image(ds):
    del ds.SourceImageSequence


@fault("SC", what="It names an image under another class", rule=Rule.EVIDENCE)
def source_class_other(ds):
    ds.SourceImageSequence[-1].ReferencedSOPClassUID = CT


@fault("SC", what="It has no Device UID of the algorithm", rule=Rule.EQUIPMENT)
def picture_without_device(ds):
    del ds.ContributingEquipmentSequence
