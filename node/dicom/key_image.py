"""The key image as a Secondary Capture (PS3.3 A.8.1) that cites the images it shows."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from inference.findings import Findings, Lesion
from inference.geometry import Vector
from inference.petct import PetCt
from node.dicom.capture import Body, render, seen_box
from node.dicom.provenance import Provenance, finish
from node.dicom.secondary_capture import new_capture, set_picture, sources
from node.dicom.series import Choice, Plane
from node.instance import ResultKind, ResultObject

SERIES_NUMBER: Final = 9903
_SECTIONS: Final = "CT, PET and fusion in three planes through the hottest point of the lesion"
_SALIENCY: Final = "where the networks looked"
_PROJECTION: Final = "coronal maximum projection of the PET"
_PROJECTIONS: Final = "Axial, coronal and sagittal maximum projections of the PET"


def key_image(
    choice: Choice,
    petct: PetCt,
    findings: Findings,
    *,
    subject: Dataset,
    provenance: Provenance,
    body: Body | None = None,
) -> ResultObject:
    """Return the rendered findings as one colour image, in a series of its own.

    ``body`` is the part of the PET that is projected, if somebody has looked for it.
    """
    dataset = new_capture(
        SecondaryCaptureImageStorage,
        choice,
        subject,
        provenance,
        series_number=SERIES_NUMBER,
        role="SC",
        series_description="PET/CT analysis key image (research)",
    )
    set_picture(dataset, render(petct, findings, body))
    lesion = findings.primary or next(iter(findings.lesions), None)
    shown = [*choice.pet.planes] if lesion is None else [*_cut(choice, petct, lesion)]
    dataset.DerivationDescription = _derivation(findings)
    return finish(
        dataset,
        ResultKind.KEY_IMAGE,
        subject=subject,
        provenance=provenance,
        among=sources(shown),
    )


def _derivation(findings: Findings) -> str:
    if not findings.lesions:
        return _PROJECTIONS
    parts = [_SECTIONS, _PROJECTION, *([_SALIENCY] if findings.saliency else [])]
    return f"{', '.join(parts[:-1])} and {parts[-1]}, with outline and numbers"


def _cut(choice: Choice, petct: PetCt, lesion: Lesion) -> Sequence[Plane]:
    """Return the planes of the CT that the sections cut, and the whole PET, which is projected."""
    lowest, highest = seen_box(petct, lesion)
    first, last = _range(petct, lowest, highest)
    return [*choice.ct.planes[first : last + 1], *choice.pet.planes]


def _range(petct: PetCt, lowest: Vector, highest: Vector) -> tuple[int, int]:
    """Return the first and the last plane of the CT that a box in LPS mm meets, one at least."""
    sides = np.array([lowest, highest])
    corners = np.stack(np.meshgrid(*sides.T), axis=-1).reshape(-1, 3)
    along = petct.ct.grid.to_indices(corners)[:, 0]
    last = petct.ct.grid.shape[0] - 1
    first, end = np.clip(np.rint([along.min(), along.max()]), 0, last).astype(int)
    return int(first), int(end)
