from dataclasses import replace

import numpy as np
import pytest

from inference import phantom
from inference.phantom import SCANNERS, draw, random_phantom
from inference.preprocess import cubes, planes
from training.images import Drawing, draw_images, draw_surroundings, open_images, save_images
from training.material import DRAWN_BY


@pytest.fixture(scope="module")
def drawing(tiny_inputs, tiny_recipe):
    return Drawing(
        scanners=("small", "wide"),
        inputs=tiny_inputs,
        augmentation=tiny_recipe.augmentation,
        variants=3,
    )


def test_a_cropped_drawing_gives_the_cube_of_the_whole_one(tiny_inputs):
    """But for the noise, which is drawn anew for each box."""
    phantom = random_phantom(12)
    quiet = replace(SCANNERS["small"], pet_noise=0.0, ct_noise_hu=0.0)
    centre = phantom.tumour.centre_lps_mm
    cropped = cubes(draw_surroundings(phantom, ["small"], tiny_inputs), centre, tiny_inputs)
    whole = cubes(draw(phantom, quiet), centre, tiny_inputs)

    assert np.abs(cropped.ct - whole.ct).max() < 6 * 15
    assert np.abs((cropped.ct - whole.ct).mean()) < 2
    assert np.corrcoef(cropped.pet.ravel(), whole.pet.ravel())[0, 1] > 0.98


def test_images_are_the_same_however_many_processes_draw_them(drawing):
    one, two = (draw_images(range(4), drawing, processes=n) for n in (1, 2))

    assert np.array_equal(one.planes, two.planes)
    assert np.array_equal(one.moved, two.moved)
    assert np.array_equal(one.suv_max, two.suv_max)


def test_the_unmoved_planes_are_those_that_serving_sees(drawing, tiny_inputs):
    phantom = random_phantom(1)
    petct = draw_surroundings(phantom, drawing.scanners, tiny_inputs)
    cut = cubes(petct, phantom.tumour.centre_lps_mm, tiny_inputs)

    images = draw_images(range(1, 2), drawing)

    assert np.array_equal(images.planes[0, 0], planes(cut.pet, tiny_inputs).astype(np.float16))
    assert np.array_equal(images.planes[0, 1], planes(cut.ct, tiny_inputs).astype(np.float16))
    assert images.suv_max[0] > 1


def test_each_variant_is_another_view_of_the_same_case(drawing):
    images = draw_images(range(1), drawing)

    first, second, third = images.moved[0]
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)
    # SUV at the middle of the tumour stays that of the tumour.
    middle = images.moved.shape[-1] // 2
    assert np.all(images.moved[0, :, 0, :, middle, middle] > 1)


def test_without_variants_nothing_is_moved(drawing):
    assert draw_images(range(1), replace(drawing, variants=0)).moved.size == 0


def test_cubes_are_kept_where_a_network_sees_them_and_hold_the_planes(
    tiny_inputs, tiny_recipe, tmp_path
):
    drawing = Drawing(
        scanners=("small",),
        inputs=tiny_inputs,
        augmentation=tiny_recipe.augmentation,
        variants=0,
        volumetric=True,
    )
    save_images(draw_images(range(2), drawing), tmp_path / "images")

    images = open_images(tmp_path / "images")

    assert images.cubes is not None
    for case in range(2):
        for modality in range(2):
            expected = planes(images.cubes[case, modality], tiny_inputs)
            assert np.array_equal(images.planes[case, modality], expected)


def test_a_drawing_is_kept_under_the_code_of_all_that_draws():
    """Else a changed phantom would be trained on as it was; grids and volumes only hold values."""
    used = {getattr(value, "__module__", "") for value in vars(phantom).values()}
    drawing = {name for name in used if name.startswith("inference.")}
    values = {"inference.geometry", "inference.petct", "inference.volume"}

    assert "inference.tumour" in drawing
    assert drawing - values <= {module.__name__ for module in DRAWN_BY}
