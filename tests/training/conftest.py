"""Recipes and phantoms small enough to train on in seconds."""

from dataclasses import replace
from pathlib import Path

import pytest

from inference.card import Inputs
from training import recipe as recipes
from training.images import unit_inputs
from training.recipe import Model, Recipe

SHIPPED = Path(recipes.__file__).parent / "recipes" / "dlnms-phantom.yaml"


@pytest.fixture(scope="session")
def shipped_recipe_path() -> Path:
    """The recipe of the bundle that ships."""
    return SHIPPED


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    """The shipped recipe with few phantoms, coarse cubes, narrow networks and two epochs."""
    shipped = recipes.load(SHIPPED)
    return replace(
        shipped,
        cohort=replace(
            shipped.cohort, training=48, validation_share=0.17, test=40, scanners=("small",)
        ),
        inputs=replace(shipped.inputs, spacing_mm=3.0, cube_side=36, crop_side=32),
        network=replace(shipped.network, widths=(4, 4, 8, 8), hidden=8),
        augmentation=replace(shipped.augmentation, variants=2),
        fit=replace(shipped.fit, epochs=2, batch=16, warm_up_epochs=1),
    )


@pytest.fixture(scope="session")
def tiny_inputs(tiny_recipe: Recipe) -> Inputs:
    """The tiny recipe's inputs without normalisers."""
    return unit_inputs(tiny_recipe.inputs)


@pytest.fixture(scope="session")
def tiny_patient_recipe(tiny_recipe: Recipe) -> Recipe:
    """The recipe for patients as tiny as the one for phantoms, with all covariates."""
    return replace(
        recipes.load(SHIPPED.with_name("dlnms-patients.yaml")),
        inputs=tiny_recipe.inputs,
        network=tiny_recipe.network,
        augmentation=tiny_recipe.augmentation,
        fit=tiny_recipe.fit,
        rivals=(Model.PET,),
        clinical_p_max=None,
    )
