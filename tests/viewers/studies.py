"""The studies that are looked at: drawn, analysed by the node's own code, and put into a PACS."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
from pydicom import dcmread
from rich.console import Console
from scipy import ndimage

from inference.findings import Lesion
from inference.geometry import Grid
from inference.phantom import Phantom, draw, random_phantom, with_nodes
from inference.scanner import SCANNERS
from node import bootstrap
from node.analysis import Conclusion, Recipe
from node.cli.process import process_study
from node.config import settings_from
from node.dicom import acquire
from node.instance import ResultKind, ResultObject

WHEN = datetime(2026, 1, 2, 10, 15, tzinfo=UTC)
SEED = 3


@dataclass(frozen=True)
class Analyzed:
    """A study's images and what the node made of them."""

    study_instance_uid: str
    files: Sequence[Path]
    conclusion: Conclusion

    def result(self, kind: ResultKind) -> ResultObject:
        """The first result of a kind."""
        return next(one for one in self.conclusion.objects if one.kind is kind)

    @property
    def primary(self) -> Lesion:
        assert self.conclusion.findings is not None
        primary = self.conclusion.findings.primary
        assert primary is not None
        return primary

    @cached_property
    def slices(self) -> Mapping[str, int]:
        """The slice of the CT volume that each of its images became, by SOP Instance UID."""
        headers = [dcmread(file, stop_before_pixels=True) for file in self.files]
        return {
            str(ds.SOPInstanceUID): round(self._ct.to_indices(ds.ImagePositionPatient)[0])
            for ds in headers
            if ds.Modality == "CT"
        }

    @property
    def key_slice(self) -> int:
        """The slice of the CT in which the primary has the most voxels."""
        return int(self.primary.on_ct.mask.sum(axis=(1, 2)).argmax())

    @property
    def edge(self) -> np.ndarray:
        """The corners of the primary's voxels in that slice, in LPS and mm."""
        voxels = self.inside[self.inside[:, 0] == self.key_slice]
        corners = [[0, row, column] for row in (-0.5, 0.5) for column in (-0.5, 0.5)]
        return self.in_patient((voxels[:, None] + np.asarray(corners)).reshape(-1, 3))

    @property
    def inside(self) -> np.ndarray:
        """The indices of the primary's voxels on the CT."""
        return np.argwhere(self.primary.on_ct.mask)

    @property
    def outside(self) -> np.ndarray:
        """The indices of voxels two and three away from the primary, in its own slices."""
        mask = self.primary.on_ct.mask
        in_plane = ndimage.generate_binary_structure(3, 3)
        in_plane[[0, 2]] = False
        near, far = (ndimage.binary_dilation(mask, in_plane, iterations=n) for n in (1, 3))
        return np.argwhere(far & ~near)

    def in_patient(self, indices: np.ndarray) -> np.ndarray:
        """Where voxels of the CT lie, in LPS and mm."""
        return self._ct.to_patient(indices)

    def in_slices(self, point: Sequence[float]) -> float:
        """Which slice of the CT a point of the patient lies in, as a fraction."""
        return float(self._ct.to_indices(point)[0])

    @property
    def _ct(self) -> Grid:
        return self.primary.on_ct.grid


def recipe() -> Recipe:
    """What an installation analyses studies with that also wants axes to be edited."""
    return bootstrap.build_recipe(settings_from({"results": {"hydratable": True}}))


def positive(folder: Path, recipe: Recipe) -> Analyzed:
    """A tumour in the lung and one avid node of the mediastinum."""
    return _analyzed(with_nodes(random_phantom(SEED), n2=1), folder, recipe)


def oblique(folder: Path, recipe: Recipe) -> Analyzed:
    """The same patient, lying askew in the scanner: no axis of the images is one of the patient."""
    phantom = replace(random_phantom(SEED), seed=SEED + 3)
    return _analyzed(phantom, folder, recipe, scanner="oblique")


def negative(folder: Path, recipe: Recipe) -> Analyzed:
    """The same patient without a tumour."""
    return _analyzed(replace(random_phantom(SEED), seed=SEED + 1, tumour=None), folder, recipe)


def refused(folder: Path, recipe: Recipe) -> Analyzed:
    """A CT whose PET never came."""
    return _analyzed(replace(random_phantom(SEED), seed=SEED + 2), folder, recipe, ct_only=True)


def _analyzed(
    phantom: Phantom,
    folder: Path,
    recipe: Recipe,
    *,
    scanner: str = "small",
    ct_only: bool = False,
) -> Analyzed:
    petct = draw(phantom, SCANNERS[scanner])
    files = acquire.write(
        petct,
        folder,
        habit=acquire.Habit.SIEMENS,
        study=acquire.Study.of_phantom(phantom.seed, WHEN),
    )
    if ct_only:
        files = files[: petct.ct.grid.shape[0]]
    conclusion = process_study(petct.study_instance_uid, files, recipe, Console(quiet=True))
    return Analyzed(petct.study_instance_uid, files, conclusion)
