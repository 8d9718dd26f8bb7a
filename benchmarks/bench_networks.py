"""Speed of our ResNets against those of `keras.applications`: building resnet152, the forward pass of resnet50.

python benchmarks/bench_networks.py
"""

import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from photos import print_table

from transferkit import zoo
from transferkit.batchnorm_folding import fold_batchnorm

BATCH, ROUNDS = 16, 7


def measure_seconds(call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def compare(run_ours, run_theirs) -> tuple[float, float, float]:
    """Median seconds of both, and the median of the ratios ours / theirs; the first pair only warms up."""
    pairs = [(measure_seconds(run_ours), measure_seconds(run_theirs)) for _ in range(ROUNDS + 1)][1:]
    our_times, their_times = zip(*pairs, strict=True)
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    return statistics.median(our_times), statistics.median(their_times), ratio


def build(name: str):
    return zoo.build(name, pixels=zoo.variant(name).pixels, num_classes=1000)


def main():
    rows = []
    our_time, their_time, ratio = compare(
        lambda: build("resnet152"), lambda: keras.applications.ResNet152(weights=None)
    )
    rows += [
        ("build resnet152", our_time, "s"),
        ("build keras.applications ResNet152", their_time, "s"),
        ("ratio", ratio, "times"),
    ]
    pictures = np.random.default_rng(0).integers(0, 256, (BATCH, 224, 224, 3)).astype("float32")
    keras_model = keras.applications.ResNet50(weights=None)
    # resnet50 (v1.5) needs 6% more multiply-adds than theirs, resnet50_paper the same number; `predict` and `evaluate`
    # run the folded form
    models = {name: build(name) for name in ("resnet50", "resnet50_paper")}
    for name, model in (models | {"resnet50, folded": fold_batchnorm(models["resnet50"])}).items():
        our_time, their_time, ratio = compare(
            lambda model=model: model.predict_on_batch(pictures), lambda: keras_model.predict_on_batch(pictures)
        )
        rows += [
            (f"forward {name}", BATCH / our_time, "pictures/s"),
            ("forward keras.applications ResNet50", BATCH / their_time, "pictures/s"),
        ]
        rows += [("time of ours / time of theirs", ratio, "times")]
    print_table("Networks against keras.applications", rows)


if __name__ == "__main__":
    main()
