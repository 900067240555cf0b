"""Whether a Secondary Capture is a picture that every viewer shows, of images that it names."""

from collections.abc import Iterator

import numpy as np

from node.dicom.lint.faults import Found, Rule
from node.dicom.lint.images import Source
from node.dicom.lint.items import Item, numbers, whole

_FORM = {
    "SamplesPerPixel": 3,
    "PhotometricInterpretation": "RGB",
    "PlanarConfiguration": 0,
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
    "PixelRepresentation": 0,
}
_FRAME_TIME = bytes.fromhex("18006310")  # an Attribute Tag: (0018,1063) in Little Endian
_PRESENT = ("ConversionType", "ImageType", "BurnedInAnnotation")


def wrong_capture(dataset: Item, source: Source) -> Iterator[Found]:
    """Yield what keeps a picture from being shown, or from being traced to its images."""
    for keyword, value in _FORM.items():
        if dataset.get(keyword) != value:
            yield Rule.PIXELS, f"{keyword} is not {value}"
    for keyword in _PRESENT:
        if not dataset.get(keyword):
            yield Rule.TEMPLATE, f"{keyword} is empty"
    yield from _wrong_pixels(dataset)
    yield from _not_played(dataset)
    cited = {
        item.get("ReferencedSOPInstanceUID"): item.get("ReferencedSOPClassUID")
        for item in dataset.get("SourceImageSequence", [])
    }
    known = source.classes
    if not cited:
        yield Rule.EVIDENCE, "it names no source image"
    elif any(known.get(str(uid)) != sop_class for uid, sop_class in cited.items()):
        yield Rule.EVIDENCE, "it names an image that the study does not hold, or its class wrongly"


def _not_played(dataset: Item) -> Iterator[Found]:
    """Yield what keeps the frames of a picture from being played (C.7.6.5, C.7.6.6)."""
    if "NumberOfFrames" not in dataset:
        return
    if not any(time > 0 for time in numbers(dataset, "FrameTime")):
        yield Rule.PIXELS, "it does not say how long each frame is shown"
    if dataset.get("FrameIncrementPointer") != _FRAME_TIME:
        yield Rule.PIXELS, "it does not say that its frames follow each other in time"


def _wrong_pixels(dataset: Item) -> Iterator[Found]:
    pixels = np.frombuffer(dataset.get("PixelData") or b"", dtype=np.uint8)
    frames = whole(dataset, "NumberOfFrames") or 1
    size = int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0) * 3 * frames
    if not size or len(pixels) != size + size % 2:
        yield Rule.PIXELS, "Pixel Data does not fit rows and columns"
    elif (pixels == pixels[0]).all():
        yield Rule.PIXELS, "the picture is blank"
