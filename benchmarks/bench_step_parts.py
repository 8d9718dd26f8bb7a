"""What each part of ours costs in a training step of ResNet50 at 224 pixels: network, loss and metrics, optimizer.

python benchmarks/bench_step_parts.py [batch] [rounds]

Each row replaces one more part of Keras' step (keras.applications, AdamW, cross-entropy, accuracy) by ours, until the
step is the one of `finetune`. `resnet50_paper` has the multiply-adds of keras.applications' ResNet50, and its strides.
"""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from figures import Figure, report

from transferkit import models, network
from transferkit.data.parallel import without_autotuning
from transferkit.recipe import Train
from transferkit.training.fitting import losses, optimizers

CLASSES = ("a", "b")
KNOBS = Train(weight_decay=0.01, label_smoothing=0.0)


def with_keras_parts(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> keras.Model:
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def with_our_parts(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> keras.Model:
    losses.compile_model(model, optimizer, KNOBS, [24, 24])
    return model


def make_models() -> dict[str, keras.Model]:
    """The compiled model of each row."""

    def build():
        return network.with_head(models.load("resnet50_paper", "none"), CLASSES).model

    def adamw():
        return keras.optimizers.AdamW(1e-4, weight_decay=0.01)

    applications = keras.applications.ResNet50(weights=None, classes=len(CLASSES), classifier_activation=None)
    return {
        "keras.applications, with Keras' parts": with_keras_parts(applications, adamw()),
        "resnet50_paper, with Keras' parts": with_keras_parts(build(), adamw()),
        "and our loss and metrics": with_our_parts(build(), adamw()),
        "and our optimizer: the step of finetune": with_our_parts(
            build(), optimizers.make_optimizer(KNOBS, lr=1e-4, steps=100)
        ),
    }


def main(batch: int = 8, rounds: int = 4):
    pictures = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3)).astype("float32")
    labels = np.eye(2, dtype="float32")[np.arange(batch) % 2]
    data = without_autotuning(tf.data.Dataset.from_tensors((pictures, labels))).repeat()  # whose end does not wait
    compiled = make_models()
    times: dict[str, list[float]] = {name: [] for name in compiled}
    for number in range(rounds + 1):
        for name, model in compiled.items():
            started = time.perf_counter()
            model.fit(data, steps_per_epoch=1, verbose=0)
            if number:
                times[name].append(time.perf_counter() - started)
    (first, keras_times), *others = times.items()
    figures = [Figure(name, each, "s", first, "the convolutions") for name, each in others]
    report(f"training step of resnet50, {batch} pictures", [Figure(first, keras_times, "s"), *figures])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
