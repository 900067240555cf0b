import numpy as np
import pytest
import torch

from training.fit import Trainer
from training.images import Drawing, draw_images, save_images
from training.jobs import Job, train_all
from training.recipe import Model


@pytest.fixture(scope="module")
def jobs(tiny_inputs, tiny_recipe, tmp_path_factory):
    """The same images for a fusion and a PET network."""
    drawing = Drawing(
        scanners=("small",), inputs=tiny_inputs, augmentation=tiny_recipe.augmentation, variants=2
    )
    folder = tmp_path_factory.mktemp("drawn") / "images"
    save_images(draw_images(range(24), drawing), folder)
    trainer = Trainer(
        fit=tiny_recipe.fit, augmentation=tiny_recipe.augmentation, inputs=tiny_inputs, seed=4
    )
    return [
        Job(
            title=model.value,
            model=model,
            network=tiny_recipe.network,
            trainer=trainer,
            images=folder,
            labels=np.arange(24) % 3 == 0,
            training=np.arange(16),
            validation=np.arange(16, 24),
        )
        for model in (Model.FUSION, Model.PET)
    ]


@pytest.mark.slow
def test_networks_are_the_same_however_many_processes_train_them(jobs):
    told = {1: [], 2: []}

    alone, together = (
        train_all(jobs, processes=count, report=told[count].append) for count in (1, 2)
    )

    for first, second in zip(alone, together, strict=True):
        for name, value in first.state_dict().items():
            assert torch.equal(value, second.state_dict()[name]), name
    assert sorted(told[1]) == sorted(told[2])
    assert len(told[1]) == 4  # two epochs each
