"""Speed of training on JPEG files of 500x375 pixels against plain Keras; fresh weights, pictures of 224 pixels.

head: `tk.finetune(unfreeze="head")` of a resnet34, 10 epochs, from files to the run folder, against the code of Keras'
    transfer learning guide on the same network (base frozen, `image_dataset_from_directory`, `fit`).
stage: an epoch of `unfreeze="last-stage"` of a resnet34 on stored outputs of the frozen part, against `fit` on the same
    network with the same layers frozen. By multiply-adds, the ratio of the times is at least 0.39.
step: a training step of resnet50_paper against a step of keras.applications' ResNet50, which has as many multiply-adds,
    in `fit`, pictures in memory.
overhead: an epoch of `tk.finetune` (metrics, checkpoints, printed lines) against `fit` with the same network and
    pipeline.
devices: an epoch of a resnet18 on the CPU as one device, against two devices with half the cores each.

    python benchmarks/bench_training.py head|stage|step|overhead|devices [pictures] [rounds]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import count
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from figures import Figure, report
from photos import write_photos

import transferkit as tk
from transferkit import models, network
from transferkit.data import pipeline
from transferkit.data.augment import augmentation
from transferkit.data.epoch_order import EpochOrder
from transferkit.data.parallel import without_autotuning
from transferkit.data.view_cache import CacheSpace
from transferkit.recipe import Train
from transferkit.training.fitting import callbacks, freezing, losses, optimizers

KNOBS = {"weights": "none", "size": 224, "batch_size": 32, "augment": "none", "seed": 0, "head_epochs": 0}
run_numbers = count()


def finetune(photos: Path, folder: Path, base: str, **knobs):
    train, val = tk.list_images(photos).split(0.2, seed=0)
    return tk.finetune(base, train, val, out=folder / f"run-{next(run_numbers)}", **(KNOBS | knobs))


def load_with_keras(photos: Path):
    """Training and validation datasets as in Keras' guides."""
    return keras.utils.image_dataset_from_directory(
        photos, image_size=(224, 224), batch_size=32, validation_split=0.2, subset="both", seed=0, verbose=False
    )


def compile_with_adam(model: keras.Model, rate: float):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def measure_seconds(call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def head(photos: Path, folder: Path):
    """Seconds of both jobs, from files to the trained model."""
    accuracies = {}

    def train_keras():
        train, val = load_with_keras(photos)
        base = models.load("resnet34", "none").model
        base = keras.Model(base.input, base.get_layer("pooled").output)
        base.trainable = False
        pictures = keras.Input((224, 224, 3))
        model = compile_with_adam(keras.Model(pictures, keras.layers.Dense(2)(base(pictures, training=False))), 1e-3)
        history = model.fit(train, validation_data=val, epochs=10, verbose=0)
        accuracies["keras"] = max(history.history["val_accuracy"])

    def train_transferkit():
        run = finetune(photos, folder, "resnet34", unfreeze="head", epochs=10, head_epochs=10)
        accuracies["transferkit"] = run.metrics["accuracy"]

    times = {"keras": measure_seconds(train_keras), "transferkit": measure_seconds(train_transferkit)}
    print(f"accuracies {accuracies}", file=sys.stderr)
    return times


def stage(photos: Path, folder: Path):
    """Seconds of the second of three epochs."""
    run = finetune(photos, folder, "resnet34", unfreeze="last-stage", epochs=3, views=1)
    seconds = [row["seconds"] for row in run.history]
    full = network.with_head(models.load("resnet34", "none"), ("a", "b"))
    freezing.unfreeze(full, "last-stage")
    train, val = load_with_keras(photos)
    timer = EpochTimer()
    compile_with_adam(full.model, 1e-3).fit(train, validation_data=val, epochs=3, callbacks=[timer], verbose=0)
    return {"keras": timer.seconds[1], "transferkit": seconds[1]}


class EpochTimer(keras.callbacks.Callback):
    """Records the seconds of each epoch, with its validation."""

    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.started)


def step(photos: Path, folder: Path):
    """Seconds of three training steps, after compilation: medians of three."""
    pictures, batch = np.random.default_rng(0).integers(0, 256, (48, 224, 224, 3)).astype("float32"), 16
    labels = np.arange(48) % 2
    our_model = network.with_head(models.load("resnet50_paper", "none"), ("a", "b")).model
    knobs = Train(weight_decay=0.01, label_smoothing=0.0)
    losses.compile_model(our_model, optimizers.make_optimizer(knobs, lr=1e-4, steps=100), knobs, [24, 24])
    keras_model = keras.applications.ResNet50(weights=None, classes=2, classifier_activation=None)
    keras_model = compile_with_adam(keras_model, 1e-4)
    keras_model.optimizer = keras.optimizers.AdamW(1e-4, weight_decay=0.01)
    one_hot, calls = np.eye(2, dtype="float32")[labels], {}
    for name, model, targets in (("keras", keras_model, labels), ("transferkit", our_model, one_hot)):
        data = tf.data.Dataset.from_tensor_slices((pictures, targets)).batch(batch).cache()
        data = without_autotuning(data).prefetch(2)  # the end of tuning would be waited for
        calls[name] = partial(model.fit, data, epochs=1, verbose=0)
        calls[name]()
    times = [{name: measure_seconds(call) for name, call in calls.items()} for _ in range(3)]  # in turn
    return {name: statistics.median(seconds[name] for seconds in times) for name in calls}


def overhead(photos: Path, folder: Path):
    """Mean seconds of epochs 2 to 5, until the next epoch begins, against those of steps and validation alone."""
    knobs = {"unfreeze": "all", "epochs": 5, "bn": "train", "optimizer": "adamw", "lr": 1e-4}
    ends, on_epoch_end = [], callbacks.SaveCheckpoints.on_epoch_end

    def record_end(*args, **kwargs):
        on_epoch_end(*args, **kwargs)
        ends.append(time.perf_counter())

    with patch.object(callbacks.SaveCheckpoints, "on_epoch_end", record_end):
        finetune(photos, folder, "resnet18", **knobs)
    plain, timer = network.with_head(models.load("resnet18", "none"), ("a", "b")), EpochTimer()
    freezing.unfreeze(plain, "all", bn="train")
    train, val = tk.list_images(photos).split(0.2, seed=0)
    order = EpochOrder(train.labels, 32, 0, range(5))
    with tempfile.TemporaryDirectory() as cache:
        space = CacheSpace(1.0, Path(cache))
        batches = pipeline.training_dataset(
            pipeline.ViewSource(train, plain.pixels, augmentation.parse_augmentation("none")), order, space=space
        )
        validation = pipeline.validation_dataset(val, plain.pixels, batch_size=32, space=space)
        plain.model.compile(keras.optimizers.AdamW(1e-4), keras.losses.CategoricalCrossentropy(from_logits=True))
        plain.model.fit(
            batches,
            epochs=5,
            steps_per_epoch=order.steps,
            validation_data=validation,
            validation_steps=pipeline.steps_per_epoch(val, 32),
            callbacks=[timer],
            verbose=0,
        )
    return {"fit alone": statistics.mean(timer.seconds[1:]), "transferkit": (ends[-1] - ends[0]) / 4}


def devices(photos: Path, folder: Path):
    """Seconds of the second of three epochs, in a process each: it cannot change its devices once it has started."""
    seconds, knobs = {}, KNOBS | {"base": "resnet18", "data": photos, "epochs": 3, "bn": "train"}
    for name, value in (("one device", "cpu"), ("two devices", "cpu:2")):
        out = folder / f"run-{next(run_numbers)}"
        flags = (knobs | {"devices": value, "out": out}).items()
        arguments = [argument for knob, value in flags for argument in (f"--{knob.replace('_', '-')}", str(value))]
        subprocess.run([sys.executable, "-m", "transferkit", "finetune", *arguments], check=True)
        seconds[name] = tk.load_run(out).history[1]["seconds"]
    return seconds


BENCHES = {  # pictures and rounds, and what bounds the figure
    "head": (head, 1000, 1, "the forward pass of the frozen part"),
    "stage": (stage, 300, 3, "the convolutions of the stage"),
    "step": (step, 0, 3, "the convolutions"),
    "overhead": (overhead, 300, 1, "the training steps"),
    "devices": (devices, 160, 3, "the convolutions, on the same cores"),
}


def main(name: str, pictures: str = "", rounds: str = ""):
    bench, default_pictures, default_rounds, bound = BENCHES[name]
    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder) / "photos", int(pictures or default_pictures) or 2)
        times = [bench(photos, Path(folder)) for _ in range(int(rounds or default_rounds))]
    baseline, ours = times[0]
    figures = [
        Figure(baseline, [seconds[baseline] for seconds in times], "s"),
        Figure(ours, [seconds[ours] for seconds in times], "s", baseline, bound),
    ]
    report(f"training, {name}", figures)


if __name__ == "__main__":
    for bench_name in sys.argv[1:2] or BENCHES:
        main(bench_name, *sys.argv[2:])
