"""Training on JPEG files of about 500x375, beside what people write with Keras alone; fresh weights, 224 pixels.

head: `tk.finetune(unfreeze="head")` of a resnet34, 10 epochs, from files to the run folder, against the loop of Keras'
    guide on the same network (base frozen, `image_dataset_from_directory`, `fit`).
stage: an epoch of `unfreeze="last-stage"` of a resnet34, whose frozen part was run once, against `fit` on the same
    network with the same layers frozen. 2.57 is the bound by multiply-adds.
step: a whole training step of resnet50, ours against `fit` on the ResNet50 of keras.applications; pictures in memory.
overhead: epochs of `tk.finetune` (metrics, checkpoints, lines) against bare `fit` on the same network and pipeline.
devices: an epoch of a resnet18 on the whole CPU as one device, against two devices of half the cores each.

    python benchmarks/bench_training.py head|stage|step|overhead|devices [pictures] [rounds]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from photos import table, write_photos

import transferkit as tk
from transferkit import models, network
from transferkit.data import pipeline
from transferkit.data.augment import augmentation
from transferkit.data.epoch_order import EpochOrder
from transferkit.data.view_cache import CacheSpace
from transferkit.recipe import Train
from transferkit.training.fitting import callbacks, freezing, losses, optimizers

KNOBS = {"weights": "none", "size": 224, "batch_size": 32, "augment": "none", "seed": 0, "head_epochs": 0}
numbers = count()


def ours(photos: Path, place: Path, base: str, **knobs):
    train, held = tk.list_images(photos).split(0.2, seed=0)
    return tk.finetune(base, train, held, out=place / f"run-{next(numbers)}", **(KNOBS | knobs))


def files_of(photos: Path):
    return keras.utils.image_dataset_from_directory(
        photos, image_size=(224, 224), batch_size=32, validation_split=0.2, subset="both", seed=0, verbose=False
    )


def on_logits(model: keras.Model, rate: float):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def seconds_of(job) -> float:
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def head(photos: Path, place: Path):
    """Both whole jobs, files to trained model."""
    accuracies = {}

    def of_keras():
        files, held = files_of(photos)
        base = models.load("resnet34", "none").model
        base = keras.Model(base.input, base.get_layer("pooled").output)
        base.trainable = False
        pictures = keras.Input((224, 224, 3))
        model = on_logits(keras.Model(pictures, keras.layers.Dense(2)(base(pictures, training=False))), 1e-3)
        history = model.fit(files, validation_data=held, epochs=10, verbose=0)
        accuracies["keras"] = max(history.history["val_accuracy"])

    def of_transferkit():
        run = ours(photos, place, "resnet34", unfreeze="head", epochs=10, head_epochs=10)
        accuracies["transferkit"] = run.metrics["accuracy"]

    times = {"keras": seconds_of(of_keras), "transferkit": seconds_of(of_transferkit)}
    print(f"accuracies {accuracies}", file=sys.stderr)
    return times


def stage(photos: Path, place: Path):
    """The second epoch of three, of both."""
    run = ours(photos, place, "resnet34", unfreeze="last-stage", epochs=3, views=1)
    seconds = [row["seconds"] for row in run.history]
    whole = network.with_head(models.load("resnet34", "none"), ("a", "b"))
    freezing.unfreeze(whole, "last-stage")
    files, held = files_of(photos)
    clock = Epochs()
    on_logits(whole.model, 1e-3).fit(files, validation_data=held, epochs=3, callbacks=[clock], verbose=0)
    return {"keras": clock.seconds[1], "transferkit": seconds[1]}


class Epochs(keras.callbacks.Callback):
    """The seconds of each epoch, its validation included."""

    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.started)


def step(photos: Path, place: Path):
    """A few steps of each, compiled already."""
    pictures, batch = np.random.default_rng(0).integers(0, 256, (48, 224, 224, 3)).astype("float32"), 16
    labels, times = np.arange(48) % 2, {}
    mine = network.with_head(models.load("resnet50", "none"), ("a", "b")).model
    knobs = Train(weight_decay=0.01, label_smoothing=0.0)
    losses.compile_model(mine, optimizers.make_optimizer(knobs, lr=1e-4, steps=100), knobs, [24, 24])
    theirs = keras.applications.ResNet50(weights=None, classes=2, classifier_activation=None)
    theirs = on_logits(theirs, 1e-4)
    theirs.optimizer = keras.optimizers.AdamW(1e-4, weight_decay=0.01)
    one_hot = np.eye(2, dtype="float32")[labels]
    for name, model, targets in (("keras", theirs, labels), ("transferkit", mine, one_hot)):
        data = tf.data.Dataset.from_tensor_slices((pictures, targets)).batch(batch).cache().prefetch(2)
        model.fit(data, epochs=1, verbose=0)
        times[name] = seconds_of(lambda model=model, data=data: model.fit(data, epochs=1, verbose=0))
    return times


def overhead(photos: Path, place: Path):
    """The mean of epochs 2 to 5 of everything, to where the next one begins, beside the same steps and validation and
    nothing else."""
    knobs = {"unfreeze": "all", "epochs": 5, "bn": "train", "optimizer": "adamw", "lr": 1e-4}
    ends, end = [], callbacks.SaveCheckpoints.on_epoch_end

    def clocked(*words, **more):
        end(*words, **more)
        ends.append(time.perf_counter())

    with patch.object(callbacks.SaveCheckpoints, "on_epoch_end", clocked):
        ours(photos, place, "resnet18", **knobs)
    bare, clock = network.with_head(models.load("resnet18", "none"), ("a", "b")), Epochs()
    freezing.unfreeze(bare, "all", bn="train")
    train, held = tk.list_images(photos).split(0.2, seed=0)
    order = EpochOrder(train.labels, 32, 0, range(5))
    with tempfile.TemporaryDirectory() as room:
        space = CacheSpace(1.0, Path(room))
        batches = pipeline.training_dataset(
            pipeline.ViewSource(train, bare.pixels, augmentation.parse_augmentation("none")), order, space=space
        )
        pictures = pipeline.validation_dataset(held, bare.pixels, batch_size=32, space=space)
        bare.model.compile(keras.optimizers.AdamW(1e-4), keras.losses.CategoricalCrossentropy(from_logits=True))
        bare.model.fit(
            batches,
            epochs=5,
            steps_per_epoch=order.steps,
            validation_data=pictures,
            validation_steps=pipeline.steps_per_epoch(held, 32),
            callbacks=[clock],
            verbose=0,
        )
    return {"bare fit": statistics.mean(clock.seconds[1:]), "transferkit": (ends[-1] - ends[0]) / 4}


def devices(photos: Path, place: Path):
    """The second epoch of three. A process has the devices that it starts with, so each is one of its own."""
    seconds, knobs = {}, KNOBS | {"base": "resnet18", "data": photos, "epochs": 3, "bn": "train"}
    for name, which in (("one device", "cpu"), ("two devices", "cpu:2")):
        out = place / f"run-{next(numbers)}"
        flags = (knobs | {"devices": which, "out": out}).items()
        words = [word for knob, value in flags for word in (f"--{knob.replace('_', '-')}", str(value))]
        subprocess.run([sys.executable, "-m", "transferkit", "finetune", *words], check=True)
        seconds[name] = tk.load_run(out).history[1]["seconds"]
    return seconds


BENCHES = {
    "head": (head, 1000, 1),
    "stage": (stage, 300, 3),
    "step": (step, 0, 5),
    "overhead": (overhead, 300, 1),
    "devices": (devices, 160, 3),
}


def main(which: str, pictures: str = "", rounds: str = ""):
    bench, usual, often = BENCHES[which]
    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder) / "photos", int(pictures or usual) or 2)
        times = [bench(photos, Path(folder)) for _ in range(int(rounds or often))]
    peer, own = times[0]
    ratio = statistics.median(one[peer] / one[own] for one in times)
    rows = [(name, statistics.median(one[name] for one in times), "s") for name in times[0]]
    table(f"{which}, medians of {len(times)} rounds", [*rows, (f"{peer} / {own}", ratio, "")])


if __name__ == "__main__":
    for which in sys.argv[1:2] or BENCHES:
        main(which, *sys.argv[2:])
