"""A result object as a file that is small enough to be kept as an example."""

import io

from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless

from node.instance import ResultObject

_WORTH_IT = 500_000


def small(made: ResultObject) -> bytes:
    """Return the object's bytes; those of a large one compressed without loss.

    A picture becomes JPEG-LS, which viewers read; anything else is deflated (PS3.5 A.5).
    """
    if len(made.part10) < _WORTH_IT:
        return bytes(made.part10)
    dataset = dcmread(io.BytesIO(made.part10))
    if "PixelData" in dataset and dataset.BitsAllocated in (8, 16):
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
