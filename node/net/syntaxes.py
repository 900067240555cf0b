"""Which objects the node takes, in which encodings."""

from pydicom import uid
from pynetdicom.presentation import PresentationContext, build_context

VERIFICATION = uid.UID("1.2.840.10008.1.1")
LABEL_MAP_SEGMENTATION = uid.UID("1.2.840.10008.5.1.4.1.1.66.7")  # PS3.3 A.51, 2024d

STORED = (
    # What is analysed.
    uid.CTImageStorage,
    uid.EnhancedCTImageStorage,
    uid.LegacyConvertedEnhancedCTImageStorage,
    uid.PositronEmissionTomographyImageStorage,
    uid.EnhancedPETImageStorage,
    uid.LegacyConvertedEnhancedPETImageStorage,
    # What may hold the contour of the tumour.
    uid.RTStructureSetStorage,
    uid.SegmentationStorage,
    LABEL_MAP_SEGMENTATION,
    uid.ComprehensiveSRStorage,
    uid.Comprehensive3DSRStorage,
    uid.EnhancedSRStorage,
    uid.BasicTextSRStorage,
    # What a PACS routes along with a study; it is kept and never analysed.
    uid.KeyObjectSelectionDocumentStorage,
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
    uid.ParametricMapStorage,
)

# Of the encodings that a peer offers for one object the first of these is taken: an uncompressed
# one, which is what nearly every peer has at hand, then those that lose nothing.
TRANSFER_SYNTAXES = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.JPEGLosslessSV1,
    uid.JPEGLossless,
    uid.RLELossless,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.JPEGLSNearLossless,
    uid.JPEG2000,
    uid.HTJ2K,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
)


def accepted() -> list[PresentationContext]:
    """Return the presentation contexts that the listener accepts."""
    storage = [build_context(one, list(TRANSFER_SYNTAXES)) for one in STORED]
    return [build_context(VERIFICATION), *storage]
