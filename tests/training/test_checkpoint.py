"""A run that is killed goes on as if nothing had happened."""

import csv
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from training.checkpoint import Keep, identity_of
from training.errors import CheckpointUnusable
from training.feeding import fitted_inputs
from training.fit import Examples, Trainer
from training.images import Images, open_images, save_images
from training.jobs import Job, train_all
from training.networks import network_of
from training.recipe import Model, Precision, Schedule

EPOCHS = 4


class Killed(Exception):
    """Stands for the end of the process right after an epoch."""


@pytest.fixture(scope="module")
def inputs(tiny_inputs):
    """Maps are one cell at the end, not before: oneDNN's bfloat16 cannot repeat itself there."""
    return replace(tiny_inputs, cube_side=36, crop_side=32)


@pytest.fixture(scope="module")
def images(inputs):
    """Noise as planes and as cubes; nothing is to be learnt from it."""
    rng = np.random.default_rng(3)
    crop, side = inputs.crop_side, inputs.cube_side
    return Images(
        planes=rng.normal(2, 1, size=(24, 2, 3, crop, crop)).astype(np.float16),
        moved=rng.normal(2, 1, size=(24, 2, 2, 3, crop, crop)).astype(np.float16),
        suv_max=np.ones(24),
        cubes=rng.normal(2, 1, size=(24, 2, side, side, side)).astype(np.float16),
    )


@pytest.fixture(scope="module")
def examples(images):
    return Examples(
        images=images,
        labels=np.arange(24) % 3 == 0,
        training=np.arange(16),
        validation=np.arange(16, 24),
    )


@pytest.fixture(scope="module")
def network(tiny_recipe):
    """The tiny network, with dropout, so that the global random state matters."""
    return replace(tiny_recipe.network, widths=(4, 4, 4, 4), dropout=0.5)


@pytest.fixture(scope="module")
def trainer(tiny_recipe, inputs, images):
    fit = replace(
        tiny_recipe.fit,
        epochs=EPOCHS,
        patience=EPOCHS,
        batch=8,
        ema_decay=0.5,
        schedule=Schedule.STEP,
        step_epochs=1,
        step_factor=0.5,
    )
    return Trainer(
        fit=fit,
        augmentation=tiny_recipe.augmentation,
        inputs=fitted_inputs(images.planes, inputs),
        seed=7,
    )


def trained(trainer, model, network, examples, *, keep=None, killed_after=None):
    """The weights, or ``Killed`` once that epoch is over and saved."""

    def report(epoch, _loss, _reached):
        if epoch == killed_after:
            raise Killed

    build = lambda: network_of(model, network)  # noqa: E731 - a name says what it builds
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return trainer.train(build, examples, report=report, keep=keep).state_dict()
    finally:
        torch.set_num_threads(threads)


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize(
    ("model", "killed_after"),
    [*((Model.FUSION, epoch) for epoch in range(EPOCHS)), (Model.LATE_3D, 1)],
)
def test_a_run_killed_after_any_epoch_ends_with_the_weights_of_one_that_was_not(
    trainer, network, examples, tmp_path, model, killed_after
):
    keep = Keep(folder=tmp_path / "run", identity="one")
    expected = trained(trainer, model, network, examples)
    with pytest.raises(Killed):
        trained(trainer, model, network, examples, keep=keep, killed_after=killed_after)
    torch.rand(7)  # another process's random state
    np.random.rand(7)  # noqa: NPY002 - the global state is what must not matter

    assert_same(trained(trainer, model, network, examples, keep=keep), expected)


def test_a_run_killed_twice_and_in_bfloat16_ends_with_the_same_weights(
    trainer, network, examples, tmp_path
):
    halved = replace(trainer, fit=replace(trainer.fit, precision=Precision.BFLOAT16))
    keep = Keep(folder=tmp_path / "run", identity="one")
    for epoch in (0, 2):
        with pytest.raises(Killed):
            trained(halved, Model.EARLY, network, examples, keep=keep, killed_after=epoch)

    assert_same(
        trained(halved, Model.EARLY, network, examples, keep=keep),
        trained(halved, Model.EARLY, network, examples),
    )


def test_the_best_epoch_before_the_kill_stays_the_best(trainer, network, examples, tmp_path):
    """At a rate of 1e-9 after the first epoch little changes, and the last epoch is no better."""
    fit = replace(trainer.fit, warm_up_epochs=0, step_factor=1e-9, ema_decay=0.0)
    still, keep = replace(trainer, fit=fit), Keep(folder=tmp_path / "run", identity="one")
    with pytest.raises(Killed):
        trained(still, Model.PET, network, examples, keep=keep, killed_after=EPOCHS - 2)

    trained(still, Model.PET, network, examples, keep=keep)

    state = keep.load()
    reached = [row["auroc"] for row in state["rows"]]
    assert state["best_epoch"] == reached.index(max(reached)) < EPOCHS - 1


def test_a_run_that_was_over_gives_its_weights_again_without_another_epoch(
    trainer, network, examples, tmp_path
):
    keep = Keep(folder=tmp_path / "run", identity="one")
    first = trained(trainer, Model.PET, network, examples, keep=keep)
    written = (tmp_path / "run" / "checkpoint.pt").stat().st_mtime_ns

    assert_same(trained(trainer, Model.PET, network, examples, keep=keep), first)
    assert (tmp_path / "run" / "checkpoint.pt").stat().st_mtime_ns == written


def test_the_log_has_one_line_an_epoch_whenever_the_run_was_killed(
    trainer, network, examples, tmp_path
):
    keep = Keep(folder=tmp_path / "run", identity="one")
    with pytest.raises(Killed):
        trained(trainer, Model.CT, network, examples, keep=keep, killed_after=1)
    trained(trainer, Model.CT, network, examples, keep=keep)

    with (tmp_path / "run" / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rate = trainer.fit.learning_rate
    assert [int(row["epoch"]) for row in rows] == list(range(EPOCHS))
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx(
        [0.1 * rate, rate, 0.5 * rate, 0.25 * rate]
    )
    assert all(0 <= float(row["auroc"]) <= 1 for row in rows)
    assert all(float(row["waited_s"]) <= float(row["seconds"]) for row in rows)


def test_nothing_draws_from_the_global_state_of_numpy(trainer, network, examples):
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - as above

    trained(trainer, Model.PET, network, examples)

    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002 - as above


def test_a_checkpoint_of_another_run_is_refused(trainer, network, examples, tmp_path):
    keep = Keep(folder=tmp_path / "run", identity="one")
    trained(trainer, Model.PET, network, examples, keep=keep)

    with pytest.raises(CheckpointUnusable, match=r"checkpoint\.pt is of a run with another"):
        replace(keep, identity="two").load()


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half of it", b"\x80\x02cos\nsystem\n."])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    (tmp_path / "checkpoint.pt").write_bytes(damage)

    with pytest.raises(CheckpointUnusable, match=r"checkpoint\.pt is damaged"):
        Keep(folder=tmp_path, identity="one").load()


def test_whatever_decides_the_weights_decides_the_identity(trainer, network, images, tmp_path):
    folder = tmp_path / "drawn"
    save_images(images, folder)
    job = Job(
        title="a",
        model=Model.PET,
        network=network,
        trainer=trainer,
        images=folder,
        labels=np.arange(24) % 3 == 0,
        training=np.arange(16),
        validation=np.arange(16, 24),
        folder=tmp_path / "run",
    )
    others = [
        replace(job, model=Model.CT),
        replace(job, network=replace(network, hidden=9)),
        replace(job, trainer=replace(trainer, seed=8)),
        replace(job, trainer=replace(trainer, fit=replace(trainer.fit, batch=9))),
        replace(job, labels=np.arange(24) % 3 == 1),
        replace(job, training=np.arange(15)),
        replace(job, images=tmp_path / "others"),
    ]

    assert job.keep().identity == replace(job, title="b").keep().identity
    assert len({other.keep().identity for other in (job, *others)}) == 8
    assert identity_of(["a", "b"]) != identity_of("a", "b")


KILL_AFTER_ONE_EPOCH = """
import os, pickle, signal, sys
from training.jobs import train_all

def report(told):
    os.kill(os.getpid(), signal.SIGKILL)

with open(sys.argv[1], "rb") as file:
    train_all(pickle.load(file), processes=1, report=report)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_a_checkpoint_that_jobs_go_on_from(
    trainer, network, images, tmp_path
):
    """SIGKILL right after the first epoch; another process finishes the work."""
    save_images(images, tmp_path / "drawn")
    assert open_images(tmp_path / "drawn").cubes is not None
    job = Job(
        title="killed",
        model=Model.PET,
        network=network,
        trainer=trainer,
        images=tmp_path / "drawn",
        labels=np.arange(24) % 3 == 0,
        training=np.arange(16),
        validation=np.arange(16, 24),
        folder=tmp_path / "run",
    )
    (tmp_path / "job").write_bytes(pickle.dumps([job]))
    killed = subprocess.run(
        [sys.executable, "-c", KILL_AFTER_ONE_EPOCH, str(tmp_path / "job")],
        env={**os.environ, "PYTHONPATH": "."},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "run" / "log.csv").read_text().count("\n") == 2

    told = []
    (after,) = train_all([job], processes=1, report=told.append)
    (expected,) = train_all([replace(job, folder=None)], processes=1, report=lambda _: None)

    assert_same(after.state_dict(), expected.state_dict())
    assert len(told) == EPOCHS
