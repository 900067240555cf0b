"""Writes a PetCt as the CT and PT series, and the contour, that a scanner's site would send."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from inference.petct import PetCt
from inference.volume import Region
from node.dicom.acquired_pet import calibration, pet_series
from node.dicom.acquisition import (
    Habit,
    Study,
    date,
    decimal,
    equipment,
    image_plane,
    instance,
    patient_position,
    pixels,
    time,
)
from node.dicom.structure_set import structure_set

__all__ = ["Habit", "Study", "write"]


def write(
    petct: PetCt,
    folder: Path,
    *,
    habit: Habit,
    study: Study,
    transfer_syntax_uid: str = ExplicitVRLittleEndian,
    include_contour: Region | None = None,
) -> tuple[Path, ...]:
    """Write one file a slice into ``folder`` and return the files, CT before PT before RTSTRUCT.

    Pixel data are compressed where ``transfer_syntax_uid`` says so; it must be lossless and one
    that pydicom can encode. ``include_contour`` lies on the lattice of the CT or of the PET.
    Another lattice, or a patient without a weight, is refused with ValueError and nothing written.
    """
    known = calibration(petct, habit, study)
    contours = (
        ()
        if include_contour is None
        else (structure_set(petct, study, include_contour, name="GTV"),)
    )
    folder.mkdir(parents=True, exist_ok=True)
    images = petct.ct.grid.shape[0] + petct.pet.grid.shape[0]
    syntax = UID(transfer_syntax_uid)
    numbers = np.arange(1, images + 1)
    if study.shuffle_seed is not None:
        numbers = np.random.default_rng(study.shuffle_seed).permutation(numbers)
    native = ExplicitVRLittleEndian if syntax.is_encapsulated else syntax
    series = chain(_ct_series(petct, study, native), pet_series(petct, known, study, native))
    paths = []
    for number, ds in zip(numbers.tolist(), series, strict=True):
        ds.InstanceNumber = number
        if syntax.is_encapsulated:
            ds.compress(syntax, generate_instance_uid=False)
        paths.append(_save(ds, folder / f"IM{number:06d}.dcm"))
    paths += [_save(ds, folder / "RS000001.dcm") for ds in contours]
    return tuple(paths)


def _save(ds: Dataset, path: Path) -> Path:
    ds.save_as(path, enforce_file_format=True)
    return path


def _ct_series(petct: PetCt, study: Study, transfer_syntax_uid: UID) -> Iterator[Dataset]:
    """Yield the CT, which the PET/CT took three minutes before the first bed."""
    begun = study.started_at - timedelta(minutes=3)
    grid, facts = petct.ct.grid, petct.ct_facts
    for index, plane in enumerate(petct.ct.voxels):
        ds = instance(
            petct,
            study,
            sop_class_uid=CTImageStorage,
            series_instance_uid=facts.series_instance_uid,
            index=index,
        )
        ds.file_meta.TransferSyntaxUID = transfer_syntax_uid
        equipment(ds, petct)
        image_plane(ds, grid, index)
        ds.PatientPosition = patient_position(grid)
        ds.Modality = "CT"
        ds.SeriesNumber = 2
        ds.SeriesDescription = "CT AC thorax"
        ds.SeriesDate, ds.SeriesTime = date(begun), time(begun)
        ds.AcquisitionDate, ds.AcquisitionTime = date(begun), time(begun)
        ds.ContentDate, ds.ContentTime = date(begun), time(begun)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.AcquisitionNumber = 1
        ds.KVP = "120"
        ds.ConvolutionKernel = facts.convolution_kernel or "STANDARD"
        if facts.slice_thickness_mm is not None:
            ds.SliceThickness = decimal(facts.slice_thickness_mm)
        if facts.contrast:
            ds.ContrastBolusAgent = "Iodinated contrast"
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
        ds.WindowCenter, ds.WindowWidth = "40", "400"
        pixels(ds, np.clip(np.rint(plane) + 1024, 0, 4095).astype(np.uint16), bits_stored=12)
        yield ds
