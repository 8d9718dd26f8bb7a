"""Interrupted training: Ctrl-C, out of memory, full disk, missing pictures, diverged loss."""

import csv
import shutil
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import PIXELS, QUICK
from pictures import folder
from PIL import Image
from safetensors.numpy import load_file

import transferkit as tk
from transferkit import zoo
from transferkit.data.epoch_order import EpochOrder
from transferkit.data.sources.resolve import find_splits
from transferkit.recipe import Recipe
from transferkit.training import run_job
from transferkit.training.distributed import devices
from transferkit.training.fitting import (
    callbacks,
    checkpoints,
    fit_phase,
    frozen_features,
    head_init,
    losses,
    optimizers,
)
from transferkit.training.fitting.checkpoints import State
from transferkit.training.job_records import TrainingJob
from transferkit.zoo import layers
from transferkit.zoo.variant import Variant

STILL = QUICK | {"augment": "none", "label_smoothing": 0.0, "weight_decay": 0.0, "checkpoint_minutes": 0.0}


@pytest.fixture(autouse=True)
def listens():
    """A process that was started in the background does not hear Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def history(run: Path) -> list[dict]:
    with open(run / "history.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def weights(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "checkpoints" / checkpoints.BEST)


def finetuned(base, pets, out, **knobs):
    parts = find_splits(pets)
    return tk.finetune(str(base), parts.train, parts.val, out=out, **(STILL | knobs))


@pytest.mark.slow
def test_deleting_the_run_folder_ends_the_run(tiny, pets, tmp_path, monkeypatch):
    def delete(self, batch, logs=None):
        shutil.rmtree(self.folder)

    monkeypatch.setattr(callbacks.SaveCheckpoints, "on_train_batch_begin", delete, raising=False)
    with pytest.raises(OSError, match="could not be written"):
        finetuned(tiny, pets, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(("spent", "count"), [(0.0, 2), (1e9, 4)])
def test_short_epochs_have_fewer_checkpoints(tiny, pets, tmp_path, monkeypatch, spent, count):
    """The end of each of two phases has one; with time to spend, each of four epochs."""
    saved, save = [], callbacks.SaveCheckpoints.save
    monkeypatch.setattr(callbacks, "CHECKPOINT_TIME", spent)
    monkeypatch.setattr(callbacks.SaveCheckpoints, "save", lambda self: saved.append(1) or save(self))
    run = finetuned(tiny, pets, tmp_path / "run", epochs=4, head_epochs=2, checkpoint_minutes=10.0)
    assert len(saved) == count and len(history(run.folder)) == 4


def exhausted(most: int):
    """A step that has room for so many pictures, in the second epoch of a phase and after."""

    def begin(self, batch, logs=None):
        if self.epoch and batch == 1 and self.knobs.batch_size // self.state.parts > most:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[8,32,32,3]")

    return begin


@pytest.mark.slow
def test_micro_batches_train_the_same_as_the_whole_batch(tiny, pets, tmp_path, monkeypatch, capsys):
    expected = finetuned(tiny, pets, tmp_path / "whole", bn="frozen", head_epochs=0)
    monkeypatch.setattr(callbacks.SaveCheckpoints, "on_train_batch_begin", exhausted(2), raising=False)
    run = finetuned(tiny, pets, tmp_path / "run", bn="frozen", head_epochs=0)
    assert capsys.readouterr().err.count("Out of memory: from here on, each batch of 8 pictures is run in") == 2
    assert checkpoints.load_state(run.folder).parts == 4
    rows, wanted = history(run.folder), history(expected.folder)
    for row, other in zip(rows, wanted, strict=True):
        assert float(row["lr"]) == pytest.approx(float(other["lr"]))
        assert float(row["loss"]) == pytest.approx(float(other["loss"]), abs=1e-4)
    for name, value in weights(expected.folder).items():
        np.testing.assert_allclose(weights(run.folder)[name], value, atol=2e-4)


@pytest.mark.slow
def test_a_single_picture_that_does_not_fit_into_memory(tiny, pets, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks.SaveCheckpoints, "on_train_batch_begin", exhausted(0), raising=False)
    with pytest.raises(ValueError, match="A single picture of 32 pixels does not fit into memory: give a lower --size"):
        finetuned(tiny, pets, tmp_path / "run")


def test_micro_batches_that_do_not_divide_earlier_ones(tmp_path):
    """A batch of 10 in 2 parts becomes one of 5: the count of parts goes from 2 a step to 5."""
    knobs = Recipe().override(batch_size=10, optimizer="sgd")
    device = devices.Device("CPU", False, "float32")
    plan = SimpleNamespace(recipe=knobs, device=device, network=SimpleNamespace(pixels=PIXELS))
    job = TrainingJob(plan, tmp_path, {})
    (tmp_path / "checkpoints").mkdir()
    checkpoints.save_state(tmp_path, State(step=3, parts=2), {"optimizer/0000/iteration": np.array(6)})
    fit_phase._divide_batch(job)
    state = checkpoints.load_state(tmp_path)
    assert (state.parts, state.step, state.factor) == (5, 3, 1.0)
    assert checkpoints.load_tensors(tmp_path, state.tensors)["optimizer/0000/iteration"] == 15


@pytest.mark.parametrize(("optimizer", "factor"), [("sgd", 0.5), ("adamw", 0.5**0.5)])
def test_several_devices_reduce_the_batch_size(tmp_path, capsys, optimizer, factor):
    knobs = Recipe().override(batch_size=8, optimizer=optimizer)
    device = devices.Device("2 x CPU", False, "float32", 2, tf.distribute.get_strategy())
    plan = SimpleNamespace(recipe=knobs, device=device, network=SimpleNamespace(pixels=PIXELS))
    job = TrainingJob(plan, tmp_path, {})
    (tmp_path / "checkpoints").mkdir()
    checkpoints.save_state(tmp_path, State(step=3), {"optimizer/0000/iteration": np.array(3)})
    fit_phase._divide_batch(job)
    state = checkpoints.load_state(tmp_path)
    assert (state.divisor, state.parts, state.step, state.factor) == (2, 1, 6, factor)
    assert checkpoints.load_tensors(tmp_path, state.tensors)["optimizer/0000/iteration"] == 6
    assert "each batch has 4 pictures, and the rate" in capsys.readouterr().err
    fit_phase._divide_batch(job)
    with pytest.raises(ValueError, match="A single picture .* does not fit"):
        fit_phase._divide_batch(job)


@pytest.mark.slow
def test_missing_pictures_during_training(tiny, tmp_path, monkeypatch):
    pets, away = folder(tmp_path / "pets", {"cat": 12, "dog": 12}), tmp_path / "away"

    def take(self, batch, logs=None):
        if self.epoch == 1 and pets.exists():
            pets.rename(away)

    monkeypatch.setattr(callbacks, "CHECKPOINT_TIME", 1e9)
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.SaveCheckpoints, "on_train_batch_begin", take, raising=False)
        with pytest.raises(ValueError, match="can no longer be read, more than one in five"):
            finetuned(tiny, pets, tmp_path / "run", head_epochs=0, augment="crop(0.5)")
    before = history(tmp_path / "run")
    away.rename(pets)
    after = history(run_job.resume(tmp_path / "run").folder)
    assert before and after[: len(before)] == before and len(after) == 4  # some batches are read ahead


def test_a_full_disk_is_not_out_of_memory():
    for words in ("No space left on device", "Too many open files"):
        assert not devices.is_out_of_memory(tf.errors.ResourceExhaustedError(None, None, f"views; {words}"))
    assert devices.is_out_of_memory(tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"))


@pytest.fixture
def poisoned(monkeypatch, tmp_path):
    """A network that divides by the contrast of a picture, and pictures of which a black one has none."""

    def network(x, num_classes):
        contrast = keras.ops.max(x, (1, 2), keepdims=True) - keras.ops.min(x, (1, 2), keepdims=True)
        x = layers.batch_norm(layers.conv(x * (contrast / contrast), 8, 3, 2, name="layer1.conv"), name="layer1.bn")
        x = layers.cut_point(layers.relu(x, name="layer1.relu"), "stage1")
        return layers.head(layers.pooled(x), num_classes, name="fc")

    monkeypatch.setitem(zoo.variants(), "fragile", Variant(network, "fc", 0, 0, 16, PIXELS))
    folder(tmp_path / "pets" / "train", {"cat": 11, "dog": 12})
    folder(tmp_path / "pets" / "val", {"cat": 2, "dog": 2})
    Image.new("RGB", (40, 40)).save(tmp_path / "pets" / "train" / "cat" / "black.png")
    return tmp_path / "pets"


@pytest.mark.parametrize(
    ("gpu", "knobs"),
    [
        (False, {"accumulate": 2, "seed": 0}),
        pytest.param(False, {"balance": "sampling", "seed": 4}, marks=pytest.mark.slow),
        pytest.param(True, {"checkpoint_minutes": 10.0, "seed": 0}, marks=pytest.mark.slow),
    ],
)
def test_pictures_with_a_nan_loss_are_named(poisoned, tmp_path, monkeypatch, capsys, gpu, knobs):
    """A GPU is asked for the loss of many batches at once."""
    monkeypatch.setattr(devices, "choose_device", lambda *_: devices.Device("CPU", gpu, "float32"))
    with pytest.raises(fit_phase.TrainingDivergedError, match="This happened 4 times; the last batch was .*black.png"):
        finetuned("fragile", poisoned, tmp_path / "run", epochs=2, head_epochs=0, batch_size=4, **knobs)
    state = checkpoints.load_state(tmp_path / "run")
    assert (state.returns, state.factor) == (3, 1 / 8)
    train = find_splits(poisoned).train
    sampling = "balanced" if "balance" in knobs else "all"
    order = EpochOrder(train.labels, 4, knobs.get("seed", STILL["seed"]), range(1), sampling=sampling)
    batches = [[train.paths[row] for row in rows] for rows in order.epoch_rows(0).numpy()]
    bad = next(number for number, batch in enumerate(batches) if any("black" in path for path in batch))
    assert bad > 0  # so that what is returned to is within an epoch
    assert state.step == (bad if knobs.get("checkpoint_minutes") is None else 0)
    assert capsys.readouterr().err.count(f"The batch was {', '.join(batches[bad])}.") == 3
    for path in (tmp_path / "run" / "checkpoints").glob("*.safetensors"):
        assert all(np.isfinite(tensor).all() for tensor in load_file(path).values())


@pytest.mark.slow
def test_a_step_that_makes_weights_nan_is_not_kept(tiny, pets, tmp_path, capsys):
    """Its own loss is fine: that of the next one would be NaN."""
    run = finetuned(tiny, pets, tmp_path / "run", lr=3e38, optimizer="sgd", nesterov="off", warmup=0.0)
    assert run.metrics["kept"]["phase"] == "head" and not run.metrics["interrupted"]
    assert capsys.readouterr().err.count("at half the rate") == 3
    assert all(np.isfinite(value).all() for value in weights(run.folder).values())


@pytest.mark.slow
def test_a_second_fit_reuses_the_view_cache(tiny, pets, tmp_path, monkeypatch):
    """What is kept of validation and of training views, in files, when a phase goes on after an error."""
    monkeypatch.setattr(callbacks.SaveCheckpoints, "on_train_batch_begin", exhausted(4), raising=False)
    run = finetuned(tiny, pets, tmp_path / "run", memory=0.0)
    assert [row["epoch"] for row in history(run.folder)] == ["1", "2", "1", "2"]


def pressed(function):
    """The function, after Ctrl-C."""

    def call(*args, **words):
        signal.raise_signal(signal.SIGINT)
        return function(*args, **words)

    return call


MOMENTS = {
    "step": (callbacks.SaveCheckpoints, "on_train_batch_end"),
    "validation": (callbacks.SaveCheckpoints, "on_test_begin"),
    "frozen part": (frozen_features, "_allocate"),
    "regression": (head_init, "convert_to_dense"),
}


SLOW = [pytest.param(moment, marks=pytest.mark.slow) for moment in list(MOMENTS)[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["step", *SLOW])
def test_ctrl_c_at_any_time(finished, pets, tmp_path, monkeypatch, capsys, moment):
    base, knobs = finished.folder, {"weights": "imagenet", "start": "probe", "epochs": 3, "head_epochs": 1}
    place, name = MOMENTS[moment]
    with monkeypatch.context() as patch:
        patch.setattr(place, name, pressed(getattr(place, name)))
        if moment == "regression":
            with pytest.raises(KeyboardInterrupt):
                finetuned(base, pets, tmp_path / "run", **knobs)
            assert "No epoch is complete yet" in capsys.readouterr().err
        else:
            assert finetuned(base, pets, tmp_path / "run", **knobs).metrics["interrupted"]
    run = run_job.resume(tmp_path / "run")
    assert not run.metrics["interrupted"] and run.metrics["baseline"]
    assert [row["phase"] for row in history(run.folder)] == ["probe", "head", "all", "all"]


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait(tiny, pets, tmp_path, monkeypatch):
    """The first waits for a step to end, the second comes at once."""

    def twice(self, batch, logs=None):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second one was not at once")

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.SaveCheckpoints, "on_train_batch_begin", twice, raising=False)
        with pytest.raises(KeyboardInterrupt):
            finetuned(tiny, pets, tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not run_job.resume(tmp_path / "run").metrics["interrupted"]


@pytest.mark.slow
def test_steps_that_float16_skips_are_counted(tiny, pets, tmp_path, monkeypatch, capsys):
    """The scale starts so high that it is halved for a good part of an epoch, also when the run is cut within that."""
    high = partial(optimizers.LossScale, initial_scale=2.0**40)
    monkeypatch.setattr(losses, "LossScale", high)
    knobs = {"precision": "mixed_float16", "batch_size": 2, "epochs": 2, "head_epochs": 0}
    expected = finetuned(tiny, pets, tmp_path / "whole", **knobs)
    err, rows = capsys.readouterr().err, history(expected.folder)
    skipped = [int(row["skipped"]) for row in rows]
    assert skipped[0] > 0
    assert f"{skipped[0]} of 10 steps were skipped" in err
    with monkeypatch.context() as patch:

        def cut(self, batch, logs=None):
            if batch == 3:
                raise MemoryError("the machine went down")

        patch.setattr(callbacks.SaveCheckpoints, "on_train_batch_begin", cut, raising=False)
        with pytest.raises(MemoryError):
            finetuned(tiny, pets, tmp_path / "run", **knobs)
    assert [int(row["skipped"]) for row in history(run_job.resume(tmp_path / "run").folder)] == skipped
    assert f"{skipped[0]} of 10 steps were skipped" in capsys.readouterr().err
