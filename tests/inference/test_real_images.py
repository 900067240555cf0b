"""On real CT, lungs are found where there are some; on real PET, a contour is measured."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from inference.geometry import Grid
from inference.lesion import LesionRules, locate
from inference.petct import CtFacts, GivenRegion, PetCt, PetFacts, RegionSource
from inference.thorax import find_thorax
from inference.volume import Quantity, Region, Volume


def read(folder: Path, modality: str, quantity: Quantity) -> Volume:
    """Read the axial slices of one modality in a folder, feet to head."""
    found = [
        pydicom.dcmread(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix != ".txt" and path.is_file()
    ]
    slices = [image for image in found if image.Modality == modality]
    slices.sort(key=lambda image: image.ImagePositionPatient[2])
    first, last = slices[0], slices[-1]
    step = (last.ImagePositionPatient[2] - first.ImagePositionPatient[2]) / (len(slices) - 1)
    voxels = np.stack(
        [i.pixel_array * float(i.RescaleSlope) + float(i.RescaleIntercept) for i in slices]
    )
    grid = Grid(
        shape=voxels.shape,
        spacing=(float(step), *(float(s) for s in first.PixelSpacing)),
        origin=tuple(float(p) for p in first.ImagePositionPatient),
        direction=((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
        frame_of_reference_uid=str(first.FrameOfReferenceUID),
    )
    return Volume(voxels=voxels.astype(np.float32), grid=grid, quantity=quantity)


def test_a_slab_of_chest_shows_both_lungs(test_data):
    """LIDC-IDRI-0314: 32 mm through the hila; two lungs of about 100 cm2, 115 mm apart."""
    thorax = find_thorax(
        read(test_data / "lidc-idri-0314-chest-ct-subset" / "ct", "CT", Quantity.HU)
    )

    assert thorax.left_lung.volume_ml == pytest.approx(320, rel=0.15)
    assert thorax.right_lung.volume_ml == pytest.approx(300, rel=0.15)
    left, right = (
        np.asarray(side.grid.to_patient(np.argwhere(side.mask).mean(axis=0)))
        for side in (thorax.left_lung, thorax.right_lung)
    )
    assert left[0] - right[0] == pytest.approx(115, abs=15)


def test_an_abdomen_shows_no_lungs(test_data):
    ct = read(test_data / "totalsegmentator-mct-ct20", "CT", Quantity.HU)

    assert find_thorax(ct).lung_volume_ml == 0


@pytest.mark.parametrize("name", ["STS_001", "STS_002", "STS_025"])
def test_a_crop_of_a_limb_has_no_lungs_but_a_drawn_mass_in_it_is_measured(test_data, name):
    """The drawn region is a box of 5 voxels a side round the hottest voxel of the crop's middle."""
    folder = test_data / "ibsi-sts-petct-gml" / name
    pet = read(folder, "PT", Quantity.SUVBW)
    ct = read(folder, "CT", Quantity.HU)
    inner = pet.voxels[8:-8, 8:-8, 8:-8]
    hottest = np.asarray(np.unravel_index(int(inner.argmax()), inner.shape)) + 8
    mask = np.zeros(pet.grid.shape, bool)
    mask[tuple(slice(i - 2, i + 3) for i in hottest)] = True
    petct = PetCt(
        study_instance_uid="2.25.3",
        pet=pet,
        ct=ct,
        pet_facts=PetFacts(
            series_instance_uid="2.25.4",
            units="GML",
            suvbw_factor=1.0,
            decay_reference="ADMINISTRATION",
            uptake_min=None,
            tracer="FDG",
        ),
        ct_facts=CtFacts(series_instance_uid="2.25.5"),
        given=(
            GivenRegion(
                region=Region(mask=mask, grid=pet.grid),
                source=RegionSource.RTSTRUCT,
                name="GTV",
                series_instance_uid="2.25.6",
                sop_instance_uid="2.25.7",
            ),
        ),
    )

    assert find_thorax(ct).lung_volume_ml == 0
    (primary,) = locate(petct, LesionRules())
    assert primary.suv_max == pytest.approx(float(inner.max()))
    assert primary.suv_peak is not None
    assert primary.suv_mean < primary.suv_peak * 1.3 < primary.suv_max * 1.3
    assert primary.on_ct.volume_ml == pytest.approx(primary.volume_ml, rel=0.05)
    assert primary.laterality is None
