"""The functional groups of frames that differ in little but their plane, without data sets."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from node.dicom.derived import decimal
from node.dicom.encoding import Elements, as_pydicom, image_reference, joined, sequence, value
from node.dicom.series import Plane


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One frame: where it lies, and what else it has that others have not."""

    plane: Plane
    index: tuple[int, ...]
    """Its Dimension Index Values."""
    groups: Elements = field(default_factory=dict)


def per_frame(one: Dataset, frames: Iterable[Frame]) -> Elements:
    """Return the Per-frame Functional Groups Sequence.

    ``one`` is the item of one frame with one source image. Every frame has the same groups but for
    its Dimension Index Values, its position, the instance and frame it cites, and its own.
    """
    groups = as_pydicom(one)
    derivation = as_pydicom(one.DerivationImageSequence[0])
    image = as_pydicom(one.DerivationImageSequence[0].SourceImageSequence[0])
    items = []
    for frame in frames:
        image |= image_reference(frame.plane)
        derivation |= sequence("SourceImageSequence", [joined(image)])
        groups |= sequence("DerivationImageSequence", [joined(derivation)])
        index = value("DimensionIndexValues", struct.pack(f"<{len(frame.index)}L", *frame.index))
        groups |= sequence("FrameContentSequence", [joined(index)])
        place = "\\".join(map(decimal, frame.plane.position)).encode()
        position = value("ImagePositionPatient", place)
        groups |= sequence("PlanePositionSequence", [joined(position)])
        items.append(joined({**groups, **frame.groups}))
    return sequence("PerFrameFunctionalGroupsSequence", items)
