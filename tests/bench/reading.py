"""Reading: files of one study into sorted, calibrated float volumes."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset

from inference.petct import PetCt
from inference.resample import volume_onto
from inference.volume import Volume
from node.config import Selection
from node.dicom import series, volumes
from node.dicom.rescale import AIR_HU
from tests.bench.measure import OURS, Measure, Plan, Sample, compare, interleave

SECTION = "Read"
PLANES = 300
"""Of each series."""
CT_SIDE, PET_SIDE = 512, 200
TOLERANCE = {"CT": 0.01, "PT": 1e-4}
"""HU; and the largest difference of SUV, relative to the highest SUV."""
Volumes = dict[str, np.ndarray]


def measure(paths: Sequence[Path], plan: Plan) -> list[Measure]:
    """Measure ours against pydicom and SimpleITK, once all have read the same numbers.

    Ours reads into the memory of the volumes before, as a worker does from its second study on.
    """
    ways: Mapping[str, Callable[[], Volumes]] = {
        OURS: lambda: _ours(paths),
        "pydicom, full read": lambda: _pydicom(paths),
        "SimpleITK series reader": lambda: _simpleitk(paths[0].parent),
    }
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # noqa: FBT003  has no keyword
    _assert_equal({name: way() for name, way in ways.items()}, _suv_factor(paths))
    subjects = {name: lambda way=way: _timed(way) for name, way in ways.items()}
    case = f"{PLANES} CT and {PLANES} PET images"
    return compare(SECTION, case, "s", interleave(subjects, plan))


def refined(petct: PetCt, planes: int = PLANES) -> PetCt:
    """Return the study on as many and as large planes as today's scanners send."""
    return replace(
        petct,
        ct=_resampled(petct.ct, (planes, CT_SIDE, CT_SIDE), fill=AIR_HU),
        pet=_resampled(petct.pet, (planes, PET_SIDE, PET_SIDE), fill=0.0),
    )


def _resampled(volume: Volume, shape: tuple[int, int, int], *, fill: float) -> Volume:
    extent = zip(volume.grid.shape, volume.grid.spacing, shape, strict=True)
    slices, rows, columns = (old * step / new for old, step, new in extent)
    grid = replace(volume.grid, shape=shape, spacing=(slices, rows, columns))
    return volume_onto(volume, grid, fill=fill)


def _timed(way: Callable[[], Volumes]) -> Sample:
    spent, started = time.process_time(), time.perf_counter()
    way()
    seconds = time.perf_counter() - started
    return Sample(value=seconds, cpu_ms=(time.process_time() - spent) * 1000)


def _ours(paths: Sequence[Path]) -> Volumes:
    """Choose and load: every header is judged, the PET comes out in SUVbw."""
    petct = volumes.load(
        series.choose(paths),
        contour_names=Selection().contour_names,
        contour_codes=Selection().contour_codes,
    )
    return {"CT": petct.ct.voxels, "PT": petct.pet.voxels}


def _pydicom(paths: Sequence[Path]) -> Volumes:
    """What most scripts do; the PET stays in Bq/ml."""
    datasets: dict[str, list[Dataset]] = {"CT": [], "PT": []}
    for path in paths:
        dataset = dcmread(path)
        datasets[dataset.Modality].append(dataset)
    stacks = {}
    for modality, slices in datasets.items():
        slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
        stacks[modality] = np.stack(
            [
                one.pixel_array.astype(np.float32) * np.float32(one.RescaleSlope)
                + np.float32(one.RescaleIntercept)
                for one in slices
            ]
        )
    return stacks


def _simpleitk(folder: Path) -> Volumes:
    """Let GDCM find, sort and rescale each series; the PET stays in Bq/ml."""
    stacks = {}
    reader = sitk.ImageSeriesReader()
    reader.SetOutputPixelType(sitk.sitkFloat32)
    for uid in reader.GetGDCMSeriesIDs(str(folder)):
        names = reader.GetGDCMSeriesFileNames(str(folder), uid)
        reader.SetFileNames(names)
        image = reader.Execute()
        stacks[_modality(names[0])] = sitk.GetArrayFromImage(image)
    return stacks


def _modality(path: str) -> str:
    return str(dcmread(path, specific_tags=["Modality"], stop_before_pixels=True).Modality)


def _suv_factor(paths: Sequence[Path]) -> float:
    """SUVbw for each Bq/ml, by hand: weight over the dose left at the start of the series."""
    header = next(
        dataset
        for dataset in (dcmread(path, stop_before_pixels=True) for path in paths)
        if dataset.Modality == "PT"
    )
    tracer = header.RadiopharmaceuticalInformationSequence[0]
    waited_s = _seconds(header.SeriesTime) - _seconds(tracer.RadiopharmaceuticalStartTime)
    left = float(tracer.RadionuclideTotalDose) * 2 ** (
        -waited_s / float(tracer.RadionuclideHalfLife)
    )
    return float(header.PatientWeight) * 1000 / left


def _seconds(time_of_day: str) -> float:
    text = str(time_of_day)
    return int(text[:2]) * 3600 + int(text[2:4]) * 60 + float(text[4:])


def _assert_equal(found: Mapping[str, Volumes], suv_factor: float) -> None:
    """Times count only where all have read the same."""
    ours = found[OURS]
    for name, its in found.items():
        ct = float(np.abs(its["CT"] - ours["CT"]).max())
        suv = its["PT"] if name == OURS else its["PT"] * suv_factor
        pet = float(np.abs(suv - ours["PT"]).max() / ours["PT"].max())
        if ct > TOLERANCE["CT"] or pet > TOLERANCE["PT"]:
            raise RuntimeError(f"{name} reads other numbers: {ct} HU, {pet:.1e} of the highest SUV")
