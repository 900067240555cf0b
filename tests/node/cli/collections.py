"""Tiny studies laid out as collections are downloaded: folders, headers, tables, annotations."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from tests.node.dicom.minimal import ct_plane, pet_plane, save, series

FRAME_MM = 4.0
SECRET = ("Phantom^Secret", "19500102")
"""Name and birth date, which must never come out."""


def petct(root: str, patient_id: str, *, date: str = "20100102", **values: object) -> list[Dataset]:
    """A PET and a CT of 8 x 8 x 5 voxels; ``root`` begins every UID of the study."""
    images = [*series(pet_plane, f"{root}.2"), *series(ct_plane, f"{root}.3")]
    return of_patient(images, root, patient_id, date=date, **values)


def ct_alone(root: str, patient_id: str, *, date: str = "20100102") -> list[Dataset]:
    """A diagnostic CT in a study and a frame of reference of its own."""
    return of_patient(series(ct_plane, f"{root}.3"), root, patient_id, date=date)


def of_patient(
    images: list[Dataset], root: str, patient_id: str, *, date: str, **values: object
) -> list[Dataset]:
    for ds in images:
        ds.StudyInstanceUID, ds.FrameOfReferenceUID = f"{root}.1", f"{root}.9"
        ds.PatientID, ds.PatientAge, ds.PatientSex = patient_id, "093Y", "F"
        ds.PatientName, ds.PatientBirthDate = SECRET
        ds.StudyDate, ds.StudyTime = date, "100000"
        for keyword, value in values.items():
            setattr(ds, keyword, value)
    return images


def downloaded(collection: Path, images: list[Dataset], study: str = "PET CT-04711") -> Path:
    """Save images as the NBIA Data Retriever does and return the study's folder."""
    first = images[0]
    folder = collection / first.PatientID / f"01-02-2010-NA-{study}"
    for ds in images:
        number = "2.000000-PET-00001" if ds.Modality == "PT" else "3.000000-CT-00002"
        place = folder / number
        place.mkdir(parents=True, exist_ok=True)
        (path,) = save(place, [ds])
        path.rename(place / f"1-{int(ds.SOPInstanceUID.rsplit('.', 1)[1]):03d}.dcm")
    return folder


def annotation(
    folder: Path, uid: str, rows: tuple[int, int], columns: tuple[int, int], size: int = 8
) -> Path:
    """A Pascal VOC file of one box, as labelImg writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uid}.xml"
    path.write_text(
        f"<annotation><folder>A0001</folder><filename>{uid}.jpg</filename>"
        f"<size><width>{size}</width><height>{size}</height><depth>3</depth></size>"
        "<object><name>A</name><difficult>0</difficult><bndbox>"
        f"<xmin>{columns[0]}</xmin><ymin>{rows[0]}</ymin>"
        f"<xmax>{columns[1]}</xmax><ymax>{rows[1]}</ymax>"
        "</bndbox></object></annotation>"
    )
    return path


def everything_written(folder: Path) -> bytes:
    """Every byte below a folder and every name in it."""
    held = [b"".join((str(p.relative_to(folder)).encode(), b"\n")) for p in folder.rglob("*")]
    held += [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    for path in folder.rglob("*.npz"):
        with np.load(path) as arrays:
            held += [name.encode() for name in arrays]
    return b"".join(held)
