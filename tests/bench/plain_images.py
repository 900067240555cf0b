"""Key image and maps, plainly made: what the node makes beyond Segmentation and report."""

from collections.abc import Sequence

import highdicom as hd
import numpy as np
import SimpleITK as sitk
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

SIDE = 1024
PANEL = 230
"""Pixels of a section; nine of them, and a projection beside."""
HALF_MM = 100.0
LEVEL, WIDTH = 40.0, 400.0
SUV_TOP = 10.0


def key_image(
    images: Sequence[Dataset],
    ct_and_pet: tuple[sitk.Image, sitk.Image],
    mask: np.ndarray,
    hottest: tuple[float, float, float],
    words: Sequence[str],
) -> Dataset:
    """CT, PET and fusion in three planes through the hottest point, a projection, the numbers.

    PET and mask lie on the grid of the CT.
    """
    ct, pet = ct_and_pet
    canvas = Image.new("RGB", (SIDE, SIDE))
    at = ct.TransformPhysicalPointToIndex(hottest)[::-1]
    hu, suv = (sitk.GetArrayViewFromImage(one) for one in (ct, pet))
    spacing = ct.GetSpacing()[::-1]
    for axis in range(3):
        steps = [step for number, step in enumerate(spacing) if number != axis]
        index = [slice(None)] * 3
        index[axis] = at[axis]
        rows, columns = (
            slice(max(int(place - HALF_MM / step), 0), int(place + HALF_MM / step))
            for place, step in zip(np.delete(at, axis), steps, strict=True)
        )
        grey = ((hu[tuple(index)][rows, columns] - LEVEL) / WIDTH + 0.5).clip(0, 1)
        heat = (suv[tuple(index)][rows, columns] / SUV_TOP).clip(0, 1)
        hot = np.stack([(3 * heat - n).clip(0, 1) for n in range(3)], axis=-1)
        share = 0.65 * np.sqrt(heat)[..., None]
        outline = _outline(mask[tuple(index)][rows, columns])
        for number, panel in enumerate(
            (_rgb(grey), _rgb(1 - heat), (1 - share) * _rgb(grey) + share * hot)
        ):
            panel[outline] = (0, 0.8, 1)
            place = (number * PANEL, axis * PANEL)
            canvas.paste(_picture(panel, (PANEL, PANEL), flipped=axis > 0), place)
    projected = _rgb(1 - (suv.max(axis=1) / SUV_TOP).clip(0, 1))
    tall = round(300 * spacing[0] * hu.shape[0] / (spacing[2] * hu.shape[2]))
    canvas.paste(_picture(projected, (300, tall), flipped=True), (3 * PANEL + 10, 0))
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(words):
        draw.text((16, 3 * PANEL + 16 + 24 * number), line, font_size=17)
    return hd.sc.SCImage.from_ref_dataset(
        ref_dataset=images[0],
        pixel_array=np.asarray(canvas),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        series_instance_uid=generate_uid(),
        series_number=903,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="plain",
    )


def parametric_map(
    images: Sequence[Dataset], pet: sitk.Image, cells: np.ndarray, field: sitk.Image
) -> Dataset:
    """Where a network looked, on all planes of the PET; ``field`` is the cube that it saw.

    Its one map stands for three planes: a voxel has the least of what it has on each.
    """
    flat = sitk.GetImageFromArray(cells.astype(np.float32))
    side = field.GetWidth()
    flat.SetSpacing([side / flat.GetWidth()] * 2)
    plane = sitk.GetArrayFromImage(sitk.Resample(flat, [side, side]))
    cube = np.minimum(np.minimum(plane[None], plane[:, None]), plane[:, :, None])
    shown = sitk.GetImageFromArray(cube / (cube.max() or 1.0))
    shown.CopyInformation(field)
    return hd.pm.ParametricMap(
        source_images=images,
        pixel_array=sitk.GetArrayFromImage(sitk.Resample(shown, pet)).astype(np.float32),
        series_instance_uid=generate_uid(),
        series_number=904,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="plain",
        manufacturer_model_name="plain",
        software_versions="1",
        device_serial_number="1",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            hd.pm.RealWorldValueMapping(
                lut_label="SALIENCY",
                lut_explanation="where the network looked",
                unit=codes.UCUM.NoUnits,
                value_range=(0.0, 1.0),
            )
        ],
        voi_lut_transformations=[hd.VOILUTTransformation(window_center=0.5, window_width=1.0)],
    )


def _rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)


def _outline(mask: np.ndarray) -> np.ndarray:
    region = sitk.GetImageFromArray(np.ascontiguousarray(mask))
    return sitk.GetArrayFromImage(sitk.LabelContour(region)) > 0


def _picture(panel: np.ndarray, size: tuple[int, int], *, flipped: bool) -> Image.Image:
    """Coronal and sagittal sections have the feet first."""
    return Image.fromarray((panel[:: -1 if flipped else 1] * 255).astype(np.uint8)).resize(size)
