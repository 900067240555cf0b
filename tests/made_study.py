"""A small PET/CT study with one round tumour, on disk and as values, for tests of results."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from inference.findings import BundleIdentity, Findings, Lesion, Prediction, Reason, Saliency
from inference.geometry import Grid, axial_grid
from inference.petct import CtFacts, PetCt, PetFacts
from inference.volume import Quantity, Region, Volume
from node.dicom import results
from node.dicom.provenance import Equipment
from node.dicom.series import Choice, ImageSeries, Plane
from node.instance import ResultObject

STUDY_UID = "2.25.1001"
FRAME_UID = "2.25.1002"
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
PET_CLASS = "1.2.840.10008.5.1.4.1.1.128"
WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
EQUIPMENT = Equipment(
    manufacturer="petct-node project", software_version="0.1.0", device_serial_number="42"
)
# In the left lung: LPS x points to the patient's left.
CENTRE = (60.0, 10.0, 5.0)
RADIUS_MM = 20.0
CT_GRID = axial_grid(shape=(20, 80, 80), spacing=(5, 4, 4), frame_of_reference_uid=FRAME_UID)
PET_GRID = axial_grid(shape=(20, 40, 40), spacing=(5, 8, 8), frame_of_reference_uid=FRAME_UID)


@dataclass(frozen=True, kw_only=True)
class MadeStudy:
    """What the analysis of a study hands to the results."""

    choice: Choice
    petct: PetCt
    findings: Findings


def ball(grid: Grid, centre=CENTRE, radius_mm: float = RADIUS_MM) -> Region:
    """All voxels whose centre lies within the radius."""
    points = grid.to_patient(np.moveaxis(np.indices(grid.shape), 0, -1))
    return Region(mask=np.linalg.norm(points - np.asarray(centre), axis=-1) <= radius_mm, grid=grid)


def lesion(ct: Grid = CT_GRID, pet: Grid = PET_GRID, **changes) -> Lesion:
    """A round primary tumour with easy numbers: 12.5 g/ml on average in 20 ml are 250 g."""
    values = {
        "label": "primary",
        "source": "pet-threshold",
        "on_pet": ball(pet),
        "on_ct": ball(ct),
        "suv_max": 18.123456,
        "suv_mean": 12.5,
        "suv_peak": 15.75,
        "mtv_ml": 20.0,
        "tlg_g": 250.0,
        "volume_ml": 33.51032,
        "longest_axial_diameter_mm": 40.04,
        "longest_diameter_mm": 41.26,
        "centroid_lps_mm": CENTRE,
        "suv_max_lps_mm": CENTRE,
        "laterality": "left",
        "site": "thorax",
        "explanation": "It has the highest uptake inside the lungs.",
    }
    return Lesion(**{**values, **changes})


def saliency(task: str = "occult_n1", *, pet: Grid = PET_GRID, centre=CENTRE) -> Saliency:
    """Greatest at the voxel nearest to ``centre``, in a box that leaves a margin of the PET."""
    start = (pet.shape[0] // 4, pet.shape[1] // 4, pet.shape[2] // 8)
    box = pet.crop(start, [size - first // 2 for size, first in zip(pet.shape, start, strict=True)])
    points = box.to_patient(np.moveaxis(np.indices(box.shape), 0, -1))
    apart = np.linalg.norm(points - np.asarray(centre), axis=-1)
    voxels = np.exp(-((apart / RADIUS_MM) ** 2)).astype(np.float32)
    voxels /= voxels.max()
    return Saliency(task=task, on_pet=Volume(voxels=voxels, grid=box, quantity=Quantity.SALIENCY))


def with_saliency(made: MadeStudy) -> MadeStudy:
    """The same study; N1 looks at the tumour's middle, N2 two centimetres to the right of it."""
    x, y, z = CENTRE
    maps = (saliency(), saliency("occult_n2", centre=(x - 20, y, z)))
    return replace(made, findings=replace(made.findings, saliency=maps))


def between_voxels() -> Lesion:
    """The tumour as if it were so small that it held the centre of no voxel of the CT."""
    return lesion(on_ct=Region(mask=np.zeros(CT_GRID.shape, bool), grid=CT_GRID))


def findings(*lesions: Lesion, **changes) -> Findings:
    """N1 above its cut-off, N2 below."""
    values = {
        "lesions": lesions,
        "predictions": (
            Prediction(task="occult_n1", probability=0.6234, cutoff=0.5),
            Prediction(task="occult_n2", probability=0.125, cutoff=0.4),
        ),
        "applicable": True,
        "inapplicable": (),
        "bundle": BundleIdentity(
            name="demonstration",
            version="1.0",
            digest="sha256:" + "ab" * 32,
            training_data="Trained on 500 synthetic phantoms; not for clinical use.",
        ),
        "engine": "openvino",
        "warnings": (Reason(code="UPTAKE_LONG", meaning="uptake of 158 min, more than 90 min"),),
    }
    return Findings(**{**values, **changes})


def petct(ct: Grid = CT_GRID, pet: Grid = PET_GRID) -> PetCt:
    """A body with two lungs and the tumour in the left one."""
    return PetCt(
        study_instance_uid=STUDY_UID,
        ct=Volume(voxels=_drawn(ct, (-1000, 40, -850, 50)), grid=ct, quantity=Quantity.HU),
        pet=Volume(voxels=_drawn(pet, (0, 1, 0.5, 18)), grid=pet, quantity=Quantity.SUVBW),
        pet_facts=PetFacts(
            series_instance_uid="2.25.1200",
            units="BQML",
            suvbw_factor=0.0004,
            decay_reference="SERIES_TIME",
            uptake_min=158.0,
            tracer="FDG",
        ),
        ct_facts=CtFacts(series_instance_uid="2.25.1100"),
    )


def _drawn(grid: Grid, values: Sequence[float]) -> np.ndarray:
    outside, body, lung, tumour = values
    x, y, _ = np.moveaxis(grid.to_patient(np.moveaxis(np.indices(grid.shape), 0, -1)), -1, 0)
    voxels = np.full(grid.shape, outside, dtype=np.float32)
    voxels[(x / 150) ** 2 + (y / 110) ** 2 < 1] = body
    for side in (-65, 65):
        voxels[((x - side) / 50) ** 2 + (y / 80) ** 2 < 1] = lung
    voxels[ball(grid).mask] = tumour
    return voxels


def study(folder: Path, **header) -> MadeStudy:
    """Write the study's files into ``folder``; ``header`` changes their patient and study."""
    data = petct()
    ct = _write(folder, "CT", "2.25.1100", CT_CLASS, data.ct, header)
    pet = _write(folder, "PT", "2.25.1200", PET_CLASS, data.pet, header)
    choice = Choice(
        study_instance_uid=STUDY_UID, pet=pet, ct=ct, documents=(), explanation=("the only PET",)
    )
    return MadeStudy(choice=choice, petct=data, findings=findings(lesion()))


def analyzed(made: MadeStudy, **options) -> tuple[ResultObject, ...]:
    """Every result object of the study; ``options`` are those of ``ResultOptions``."""
    return results.analyzed(
        made.choice,
        made.petct,
        made.findings,
        equipment=EQUIPMENT,
        key="k",
        when=WHEN,
        options=results.ResultOptions(**options),
    )


def multiframe(made: MadeStudy) -> MadeStudy:
    """The same study, CT and PET as one Enhanced instance each, whose frames run from the head."""
    choice = replace(
        made.choice,
        ct=_in_one_instance(made.choice.ct, "1.2.840.10008.5.1.4.1.1.2.1", "2.25.1101"),
        pet=_in_one_instance(made.choice.pet, "1.2.840.10008.5.1.4.1.1.130", "2.25.1201"),
    )
    return replace(made, choice=choice)


def _in_one_instance(series: ImageSeries, sop_class_uid: str, uid: str) -> ImageSeries:
    count = len(series.planes)
    planes = tuple(
        replace(plane, sop_class_uid=sop_class_uid, sop_instance_uid=uid, frame=count - index)
        for index, plane in enumerate(series.planes)
    )
    return replace(series, planes=planes)


def _write(
    folder: Path, modality: str, series_uid: str, sop_class: str, volume: Volume, header: dict
) -> ImageSeries:
    planes = []
    for index in range(volume.grid.shape[0]):
        position = tuple(float(v) for v in volume.grid.to_patient((index, 0, 0)))
        ds = _image(volume.grid, modality, series_uid, sop_class, index)
        ds.ImagePositionPatient = list(position)
        ds.PixelData = np.zeros(volume.grid.shape[1:], dtype="<i2").tobytes()
        for keyword, value in header.items():
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)
        path = folder / modality / f"{index:03d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        ds.save_as(path, enforce_file_format=True)
        planes.append(
            Plane(
                path=path,
                sop_class_uid=sop_class,
                sop_instance_uid=ds.SOPInstanceUID,
                frame=None,
                position=position,
            )
        )
    return ImageSeries(
        study_instance_uid=STUDY_UID,
        series_instance_uid=series_uid,
        modality=modality,
        frame_of_reference_uid=FRAME_UID,
        description=modality,
        planes=tuple(planes),
    )


def _image(grid: Grid, modality: str, series_uid: str, sop_class: str, index: int) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.SOPInstanceUID = f"{series_uid}.{index + 1}"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = STUDY_UID, series_uid, modality
    ds.PatientName, ds.PatientID = "Phantom^Round", "P1"
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = "19600101", "F", "066Y"
    ds.PatientWeight, ds.PatientSize = "70", "1.7"
    ds.StudyDate, ds.StudyTime, ds.StudyID = "20260304", "040000", "S1"
    ds.AccessionNumber, ds.ReferringPhysicianName = "A1", ""
    ds.StudyDescription = "PET/CT thorax"
    ds.SeriesNumber, ds.InstanceNumber = 2, index + 1
    ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20260304"
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "040100"
    ds.Manufacturer, ds.ManufacturerModelName = "Scanner maker", "Scanner"
    ds.PatientPosition, ds.FrameOfReferenceUID = "HFS", FRAME_UID
    ds.PositionReferenceIndicator = ""
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness = [grid.spacing[1], grid.spacing[2]], grid.spacing[0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = grid.shape[1:]
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 1
    ds.RescaleIntercept, ds.RescaleSlope = 0, 1
    return ds
