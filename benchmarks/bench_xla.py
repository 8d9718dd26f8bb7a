"""Training steps on the CPU with and without XLA (`jit_compile`).

python benchmarks/bench_xla.py [NAME,SIZE,BATCH ...]

All layers are trained with the parts of `finetune`, on arrays in memory. The first step has tracing and compilation.
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
from transferkit.training.fitting import freezing, losses, optimizers

CASES = (
    "lenet5,32,32",
    "simple_cnn,32,32",
    "resnet18,64,16",
    "efficientnet_lite0,96,8",
    "alexnet,224,16",
    "vgg11,64,16",
)
ROUNDS, CLASSES = 5, tuple("abcdefghij")
KNOBS = Train(weight_decay=0.01, label_smoothing=0.1)


def make_model(name: str, size: int, *, jit: bool) -> keras.Model:
    loaded = network.with_size(network.with_head(models.load(name, "none"), CLASSES), size)
    freezing.unfreeze(loaded, "all", bn="train")
    optimizer = optimizers.make_optimizer(KNOBS, lr=1e-4, steps=1000)
    losses.compile_model(loaded.model, optimizer, KNOBS, [10] * len(CLASSES))
    loaded.model.jit_compile = jit
    return loaded.model


def measure(name: str, size: int, batch: int) -> dict[bool, list[float]]:
    """Milliseconds of the first step and of later ones, with XLA (True) and without."""
    compiled = {jit: make_model(name, size, jit=jit) for jit in (False, True)}
    height, width, channels = (each or size for each in compiled[False].input_shape[1:])
    pictures = np.random.default_rng(0).integers(0, 256, (batch, height, width, channels)).astype("uint8")
    labels = np.eye(len(CLASSES), dtype="float32")[np.arange(batch) % len(CLASSES)]
    data = without_autotuning(tf.data.Dataset.from_tensors((pictures, labels))).repeat()  # whose end does not wait
    found: dict[bool, list[float]] = {jit: [] for jit in compiled}
    for number in range(ROUNDS + 1):
        for jit, model in compiled.items():
            steps = 1 if number == 0 or size > 32 else 30
            started = time.perf_counter()
            model.fit(data, steps_per_epoch=steps, verbose=0)
            found[jit].append(1000 * (time.perf_counter() - started) / steps)
    return found


def main(*cases: str):
    for case in cases or CASES:
        name, size, batch = case.split(",")
        found = measure(name, int(size), int(batch))
        keras.utils.clear_session()
        (first, *without), (first_xla, *with_xla) = found[False], found[True]
        figures = [
            Figure("with XLA", with_xla, "ms", "without", "XLA's convolutions on the CPU"),
            Figure("without", without, "ms"),
            Figure("first step with XLA", [first_xla], "ms", "first step without", "compiling"),
            Figure("first step without", [first], "ms"),
        ]
        report(f"step of {name}, {size} pixels, {batch} of them", figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
