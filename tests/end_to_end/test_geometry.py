"""The lesion lies at one place in the patient, however table, scanner and files turn the images.

What is compared is read back from the finished objects, with highdicom's geometry and not ours: the
Segmentation's voxels and the maps' by the functional groups of their frames, the report's contour
by position, orientation and spacing of the image that it cites. The map of N1 is drawn around the
middle of the tumour, so that it is known where its numbers belong; that of N2 is the network's.
"""

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from inference import analyze as analysis
from inference.findings import Findings, Lesion, Saliency
from inference.geometry import Grid
from inference.petct import PetCt
from inference.phantom import draw, random_phantom
from inference.scanner import SCANNERS
from inference.volume import Quantity, Volume
from node import bootstrap
from node.analysis import StudyOnDisk, conclude
from node.config import Settings
from node.dicom import acquire
from node.instance import ResultKind, ResultObject

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("geometry")]

SEED = 3
STARTED_AT = datetime(2026, 1, 2, 10, 15, tzinfo=UTC)
MOVED_MM = (31.3, -17.9, 250.7)
HALF_VOXEL_MM = np.asarray((1.1, 1.1, 2.25))
"""Along x, y and z, of the CT that Segmentation and contour are drawn on: 2.2, 2.2 and 4.5 mm."""


SPREAD_MM = 12.0
"""Of the drawn map around the tumour."""
Change = Callable[[list[Dataset]], list[Dataset]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the finished objects put the primary tumour, in LPS mm."""

    in_segmentation: np.ndarray
    in_contour: np.ndarray
    segment_on_plane: np.ndarray
    """The middle of the segment's voxels on the plane of the contour."""
    volume_ml: float
    patient_position: str
    middle_of_map: np.ndarray
    """The centre of mass of the map that was drawn."""
    top_of_map: np.ndarray
    """The voxel where it is greatest."""
    half_voxel_of_map: np.ndarray
    """Half a voxel of the PET along x, y and z, the most that ``top_of_map`` may be off."""
    middles_of_networks: tuple[np.ndarray, ...]
    """The centres of mass of the maps that the networks gave."""


def same(files: list[Dataset]) -> list[Dataset]:
    return files


def moved(files):
    """As if the frame of reference had another origin: every plane lies elsewhere."""
    for ds in files:
        place = np.asarray(ds.ImagePositionPatient, float) + MOVED_MM
        ds.ImagePositionPatient = [f"{value:.6f}" for value in place]
    return files


def from_head_to_feet(files):
    """Instance numbers, file names and times run against the patient's axis."""
    numbers = [ds.InstanceNumber for ds in files]
    for ds, number in zip(files, reversed(numbers), strict=True):
        ds.InstanceNumber = number
    return files[::-1]


def pixels(ds):
    return ds.pixel_array.copy()


def across(ds):
    return np.asarray(ds.ImageOrientationPatient[:3], float) * float(ds.PixelSpacing[1])


def down(ds):
    return np.asarray(ds.ImageOrientationPatient[3:], float) * float(ds.PixelSpacing[0])


def upside_down(files):
    """Rows from the back to the front, as of who lies prone: the normal points to the feet."""
    for ds in files:
        stored, step = pixels(ds), down(ds)
        place = np.asarray(ds.ImagePositionPatient, float) + step * (ds.Rows - 1)
        along = [float(v) for v in ds.ImageOrientationPatient]
        ds.ImagePositionPatient = [f"{value:.6f}" for value in place]
        ds.ImageOrientationPatient = [*along[:3], *(-v for v in along[3:])]
        ds.PixelData = stored[::-1].tobytes()
    return files


def feet_first(files):
    """Columns from left to right, as of who lies with the feet first."""
    for ds in files:
        stored, step = pixels(ds), across(ds)
        place = np.asarray(ds.ImagePositionPatient, float) + step * (ds.Columns - 1)
        along = [float(v) for v in ds.ImageOrientationPatient]
        ds.ImagePositionPatient = [f"{value:.6f}" for value in place]
        ds.ImageOrientationPatient = [*(-v for v in along[:3]), *along[3:]]
        ds.PixelData = stored[:, ::-1].tobytes()
        ds.PatientPosition = "FFS"
    return files


def feet_first_prone_from_head(files):
    return from_head_to_feet(upside_down(feet_first(files)))


def drawn_around(primary: Lesion, pet: Grid) -> Saliency:
    """A map of N1 that falls off around the middle of the tumour, cut to a box."""
    at = np.rint(pet.to_indices(primary.centroid_lps_mm)).astype(int)
    start = np.maximum(at - 9, 0)
    box = pet.crop(start, np.minimum(at + 10, pet.shape))
    points = box.to_patient(np.moveaxis(np.indices(box.shape), 0, -1))
    apart = np.linalg.norm(points - np.asarray(primary.centroid_lps_mm), axis=-1)
    voxels = np.exp(-((apart / SPREAD_MM) ** 2)).astype(np.float32)
    return Saliency(
        task="occult_n1", on_pet=Volume(voxels=voxels, grid=box, quantity=Quantity.SALIENCY)
    )


@pytest.fixture(scope="module", autouse=True)
def drawn_maps():
    """The map of N1 is ours: everything else, and what comes of it, is the node's own doing."""

    def analyze(petct: PetCt, **how) -> Findings:
        found = analysis.analyze(petct, **how)
        others = [one for one in found.saliency if one.task != "occult_n1"]
        assert found.primary is not None
        return replace(found, saliency=(drawn_around(found.primary, petct.pet.grid), *others))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("node.analysis.analyze", analyze)
        yield


@pytest.fixture(scope="module")
def recipe():
    recipe = bootstrap.build_recipe(Settings())
    return replace(recipe, options=replace(recipe.options, key_image=False))


@pytest.fixture(scope="module")
def place_of(recipe, tmp_path_factory):
    """Draws the phantom on a scanner, changes the files, analyses them and reads the place back."""

    @cache
    def found(scanner: str, change: Change = same, grid: str = "CT") -> Place:
        folder: Path = tmp_path_factory.mktemp("geometry")
        petct = draw(random_phantom(SEED), SCANNERS[scanner])
        study = acquire.Study.of_phantom(SEED, STARTED_AT)
        drawn = acquire.write(petct, folder / "drawn", habit=acquire.Habit.SIEMENS, study=study)
        (folder / "sent").mkdir()
        paths = []
        for index, ds in enumerate(change([dcmread(path) for path in drawn])):
            paths.append(folder / "sent" / f"{index:04d}.dcm")
            ds.save_as(paths[-1], enforce_file_format=True)
        conclusion = conclude(
            StudyOnDisk(study_instance_uid=petct.study_instance_uid, paths=paths, key="geometry"),
            replace(recipe, options=replace(recipe.options, segmentation_grid=grid)),
            when=STARTED_AT,
            clock=time.perf_counter,
        )
        return read_back(conclusion.objects, paths)

    return found


@pytest.fixture(scope="module")
def straight(place_of):
    """The place on a scanner whose axes are the patient's."""
    return place_of("small")


def read_back(made: Sequence[ResultObject], paths: list[Path]) -> Place:
    objects = {one.kind: one.part10 for one in made}
    drawn, *networks = [
        hd.imread(io.BytesIO(one.part10)).get_volume()
        for one in made
        if one.kind is ResultKind.SALIENCY
    ]
    top = np.unravel_index(drawn.array.argmax(), drawn.array.shape)
    seg = hd.seg.segread(io.BytesIO(objects[ResultKind.SEGMENTATION]))
    volume = seg.get_volume(combine_segments=True, skip_overlap_checks=True)
    indices = np.argwhere(volume.array == 1)
    points = volume.map_indices_to_reference(indices)
    contour, image = contour_of(hd.sr.srread(io.BytesIO(objects[ResultKind.REPORT])), paths)
    on_plane = np.abs((points - contour.mean(axis=0)) @ normal(image)) < 0.01
    return Place(
        in_segmentation=points.mean(axis=0),
        in_contour=middle(contour),
        segment_on_plane=points[on_plane].mean(axis=0) if on_plane.any() else np.full(3, np.nan),
        volume_ml=len(points) * volume.voxel_volume / 1000,
        patient_position=str(image.get("PatientPosition")),
        middle_of_map=centre_of_mass(drawn),
        top_of_map=drawn.map_indices_to_reference(np.array([top]))[0],
        half_voxel_of_map=np.abs(drawn.affine[:3, :3]).sum(axis=1) / 2,
        middles_of_networks=tuple(centre_of_mass(one) for one in networks),
    )


def centre_of_mass(volume: hd.Volume) -> np.ndarray:
    """The middle of a map's numbers in LPS mm; between voxels where they are even on both sides."""
    indices = np.argwhere(volume.array > 0)
    points = volume.map_indices_to_reference(indices)
    return np.average(points, axis=0, weights=volume.array[tuple(indices.T)])


def contour_of(report, paths: list[Path]) -> tuple[np.ndarray, Dataset]:
    """The first contour in LPS mm, and the image that it lies on."""
    group = report.content.get_planar_roi_measurement_groups()[0]
    region = group.roi
    uid = region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    headers = (dcmread(path, stop_before_pixels=True) for path in paths)
    image = next(ds for ds in headers if uid == ds.SOPInstanceUID)
    transform = hd.spatial.ImageToReferenceTransformer.for_image(image)
    return transform(np.asarray(region.value)), image


def middle(contour: np.ndarray) -> np.ndarray:
    """The centroid of the area that a closed planar polygon encloses."""
    origin = contour[0]
    sides = contour - origin
    crosses = np.cross(sides[:-1], sides[1:])
    direction = crosses.sum(axis=0)
    areas = crosses @ direction
    return origin + ((sides[:-1] + sides[1:]) * areas[:, None]).sum(axis=0) / (3 * areas.sum())


def normal(image: Dataset) -> np.ndarray:
    along = np.asarray(image.ImageOrientationPatient, float)
    return np.cross(along[:3], along[3:])


def test_the_place_read_back_is_where_the_tumour_was_drawn(straight):
    drawn = random_phantom(SEED).tumour.centre_lps_mm

    assert np.all(np.abs(straight.in_segmentation - drawn) < HALF_VOXEL_MM)
    assert np.all(np.abs(straight.in_contour - drawn) < 2 * HALF_VOXEL_MM)
    assert np.all(np.abs(straight.middle_of_map - drawn) < HALF_VOXEL_MM)
    assert np.all(np.abs(straight.top_of_map - drawn) < 2 * straight.half_voxel_of_map)


@pytest.mark.parametrize(
    ("change", "by_mm"),
    [
        (moved, MOVED_MM),
        (from_head_to_feet, (0, 0, 0)),
        (upside_down, (0, 0, 0)),
        (feet_first, (0, 0, 0)),
        (feet_first_prone_from_head, (0, 0, 0)),
    ],
)
def test_the_same_voxels_told_otherwise_are_at_the_same_place(straight, place_of, change, by_mm):
    """Nothing is drawn anew, so that even a tenth of a millimetre would be an error."""
    place = place_of("small", change)

    assert np.abs(place.in_segmentation - straight.in_segmentation - by_mm).max() < 0.1
    assert np.abs(place.in_contour - straight.in_contour - by_mm).max() < 0.1
    assert place.volume_ml == pytest.approx(straight.volume_ml, rel=0.01)
    assert np.abs(place.middle_of_map - straight.middle_of_map - by_mm).max() < 0.1
    assert np.abs(place.top_of_map - straight.top_of_map - by_mm).max() < 0.1
    assert len(place.middles_of_networks) == len(straight.middles_of_networks)
    for one, other in zip(place.middles_of_networks, straight.middles_of_networks, strict=True):
        assert np.all(np.abs(one - other - by_mm) < straight.half_voxel_of_map)


@pytest.mark.parametrize("scanner", ["feet-first", "oblique"])
def test_another_scanner_finds_it_at_the_same_place_to_half_a_voxel(straight, place_of, scanner):
    """The phantom is sampled anew on turned grids of another spacing, with noise of its own."""
    place = place_of(scanner)

    assert np.all(np.abs(place.in_segmentation - straight.in_segmentation) < HALF_VOXEL_MM)
    assert np.all(np.abs(place.in_contour - straight.in_contour) < 2 * HALF_VOXEL_MM)
    assert place.volume_ml == pytest.approx(straight.volume_ml, rel=0.1)
    assert place.patient_position == SCANNERS[scanner].patient_position
    assert np.all(np.abs(place.middle_of_map - straight.middle_of_map) < HALF_VOXEL_MM)
    assert np.all(np.abs(place.top_of_map - place.middle_of_map) <= place.half_voxel_of_map)


def test_on_the_pet_it_lies_where_it_lies_on_the_ct(straight, place_of):
    place = place_of("small", same, "PET")

    assert np.all(np.abs(place.in_segmentation - straight.in_segmentation) < HALF_VOXEL_MM)


@pytest.mark.parametrize("scanner", ["small", "feet-first", "oblique"])
def test_contour_and_segment_coincide_on_their_plane(place_of, straight, scanner):
    """The polygon runs along the edges of the segment's voxels: their middles are one point."""
    place = straight if scanner == "small" else place_of(scanner)

    assert place.in_contour == pytest.approx(place.segment_on_plane, abs=0.05)
