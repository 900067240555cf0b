"""Two processes of torch's own launcher on one machine, over gloo."""

import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from inference.bundle import load
from inference.codec import encode
from training.distributed import World, joined
from training.errors import TrainingFailed
from training.recipe import Model

pytestmark = pytest.mark.xdist_group("distributed")  # one worker trains, for all of these

ROOT = Path(__file__).resolve().parents[2]

TRAIN = """
import sys
from pathlib import Path

import torch

from training.checkpoint import Keep
from training.distributed import joined
from training.fit import Examples, Trainer
from training.feeding import fitted_inputs
from training.images import open_images, unit_inputs
from training.networks import network_of
from training.recipe import Model, load

import numpy as np

torch.set_num_threads(1)
folder = Path(sys.argv[1])
recipe = load(folder / "recipe.yaml")
images = open_images(folder / "images")
labels = np.arange(len(images.planes)) % 3 == 0
examples = Examples(
    images=images, labels=labels, training=np.arange(22), validation=np.arange(22, 32)
)
with joined() as world:
    for model in (Model.FUSION, Model.EARLY_3D):
        for epochs in (1, recipe.fit.epochs):
            trainer = Trainer(
                fit=recipe.fit,
                augmentation=recipe.augmentation,
                inputs=fitted_inputs(images.planes, unit_inputs(recipe.inputs)),
                seed=5,
                world=world,
            )
            out = folder / f"of-{world.size}"
            told = []

            def report(epoch, loss, reached):
                told.append((loss, reached))
                if epochs == 1:
                    raise KeyboardInterrupt

            try:
                network = trainer.train(
                    lambda: network_of(model, recipe.network),
                    examples,
                    report=report,
                    keep=Keep(folder=out / f"{model}", identity="same"),
                )
            except KeyboardInterrupt:
                continue
            torch.save(
                {"weights": network.state_dict(), "told": told},
                folder / f"{model}-{world.rank}-of-{world.size}.pt",
            )
"""


def launched(processes, *command):
    """Run a command in each of some processes that torchrun starts, on a port that is free."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*launcher, "--nproc-per-node", str(processes), *map(str, command)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def trained(tiny_recipe, tmp_path_factory):
    """Networks trained by one process and by two, each stopped after an epoch and continued."""
    folder = tmp_path_factory.mktemp("world")
    recipe = replace(
        tiny_recipe,
        inputs=replace(tiny_recipe.inputs, cube_side=36, crop_side=32),
        network=replace(tiny_recipe.network, widths=(4, 4, 4, 4), dropout=0.0),
        fit=replace(tiny_recipe.fit, epochs=2, batch=7, ema_decay=0.5, learning_rate=0.001),
    )
    (folder / "recipe.yaml").write_text(yaml.safe_dump(encode(recipe)))
    rng = np.random.default_rng(1)
    (folder / "images").mkdir()
    arrays = {
        "planes": rng.normal(2, 1, size=(32, 2, 3, 32, 32)).astype(np.float16),
        "moved": rng.normal(2, 1, size=(32, 2, 2, 3, 32, 32)).astype(np.float16),
        "cubes": rng.normal(2, 1, size=(32, 2, 36, 36, 36)).astype(np.float16),
        "suv_max": np.ones(32),
    }
    for name, values in arrays.items():
        np.save(folder / "images" / f"{name}.npy", values)
    (folder / "train.py").write_text(TRAIN)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["train.py", str(folder)])
        runpy.run_path(str(folder / "train.py"))
    torch.set_num_threads(threads)
    (folder / "few.yaml").write_text(yaml.safe_dump(encode(few(recipe))))
    # A launch each: torch's second group of a process may meet the first one's addresses.
    done = launched(2, folder / "train.py", folder)
    assert done.returncode == 0, done.stderr
    done = launched(
        *(2, "-m", "training", "bundle", folder / "few.yaml", "--processes", "1"),
        *("--out", folder / "out", "--cache", folder / "cache", "--runs", folder / "runs"),
    )
    assert done.returncode == 0, done.stderr
    (folder / "told").write_text(done.stdout)
    return folder


def few(recipe):
    """A recipe of one task, two networks and one epoch."""
    return replace(
        recipe,
        cohort=replace(recipe.cohort, training=40, validation_share=0.3, test=24),
        tasks=recipe.tasks[:1],
        fit=replace(recipe.fit, epochs=1),
        rivals=(Model.LATE_3D,),
    )


def read(folder, name):
    return torch.load(folder / f"{name}.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("model", [Model.FUSION, Model.EARLY_3D])
def test_both_processes_end_with_the_same_weights_and_tell_the_same(trained, model):
    first, second = (read(trained, f"{model}-{rank}-of-2") for rank in (0, 1))

    assert first["told"] == second["told"]
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name


@pytest.mark.slow
@pytest.mark.parametrize("model", [Model.FUSION, Model.EARLY_3D])
def test_two_processes_end_where_one_with_the_same_batches_does(trained, model):
    """Batches of 7 and a rest of 1: shares of 3 and 4, and a case left out by both.

    Weights differ by rounding alone, which AdamW enlarges where gradients are nearly nought.
    """
    alone, together = (read(trained, f"{model}-0-of-{size}") for size in (1, 2))

    for (loss, _), (other, _) in zip(alone["told"], together["told"], strict=True):
        assert other == pytest.approx(loss, rel=1e-3)
    for name, value in alone["weights"].items():
        assert torch.allclose(value.float(), together["weights"][name].float(), atol=2e-3), name


@pytest.mark.slow
def test_only_the_leading_process_writes(trained):
    written = {path.name for path in (trained / "of-2" / "fusion").iterdir()}

    assert written == {"checkpoint.pt", "log.csv"}


@pytest.mark.slow
def test_the_command_that_two_processes_run_together_writes_one_bundle(trained):
    told = (trained / "told").read_text()

    assert told.count("sha256:") == 1
    assert load(trained / "out").digest in told
    assert "| occult_n1 | late fusion of cubes |" in told
    runs = {path.name for path in (trained / "runs").iterdir()}
    assert runs == {"occult_n1-fusion", "occult_n1-late-3d"}


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [5, 6, 7, 64])
def test_the_shares_of_all_processes_are_the_whole_batch(size, count):
    cases = np.arange(count)

    shares = [cases[World(rank=rank, size=size).share(count)] for rank in range(size)]

    assert np.array_equal(np.concatenate(shares), cases)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told():
    with pytest.raises(TrainingFailed, match="no GPU"), joined("cuda"):
        pass


def test_one_process_alone_gathers_its_own_and_keeps_its_network():
    network = nn.Linear(2, 2)

    assert World().gathered(3) == [3]
    assert World().led("mine") == "mine"
    assert World().parallel(network) is network
