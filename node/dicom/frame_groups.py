"""The functional groups of frames that differ in their plane alone, encoded without data sets."""

import struct
from collections.abc import Sequence

from pydicom.dataset import Dataset

from node.dicom.derived import decimal
from node.dicom.encoding import Elements, as_pydicom, image_reference, joined, sequence, value
from node.dicom.series import Plane


def per_frame(one: Dataset, planes: Sequence[Plane]) -> Elements:
    """Return the Per-frame Functional Groups Sequence of planes.

    ``one`` is the item of one frame with one source image. Every frame has the same groups but for
    its Dimension Index Value, counted from 1, its position, and the instance and frame it cites.
    """
    groups = as_pydicom(one)
    derivation = as_pydicom(one.DerivationImageSequence[0])
    image = as_pydicom(one.DerivationImageSequence[0].SourceImageSequence[0])
    items = []
    for number, plane in enumerate(planes, 1):
        image |= image_reference(plane)
        derivation |= sequence("SourceImageSequence", [joined(image)])
        groups |= sequence("DerivationImageSequence", [joined(derivation)])
        index = value("DimensionIndexValues", struct.pack("<L", number))
        groups |= sequence("FrameContentSequence", [joined(index)])
        place = "\\".join(map(decimal, plane.position)).encode()
        position = value("ImagePositionPatient", place)
        groups |= sequence("PlanePositionSequence", [joined(position)])
        items.append(joined(groups))
    return sequence("PerFrameFunctionalGroupsSequence", items)
