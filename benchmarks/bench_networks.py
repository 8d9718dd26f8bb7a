"""Our ResNets against those of `keras.applications`: building resnet152, and the forward pass of resnet50.

python benchmarks/bench_networks.py
"""

import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from photos import table

from transferkit import zoo
from transferkit.batchnorm_folding import fold_batchnorm

BATCH, ROUNDS = 16, 7


def seconds(call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def compared(ours, theirs) -> tuple[float, float, float]:
    """Median seconds of both, and the median ratio of pairs, the first pair left out."""
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS + 1)][1:]
    return *(statistics.median(times) for times in zip(*pairs, strict=True)), statistics.median(a / b for a, b in pairs)


def build(name: str):
    return zoo.build(name, pixels=zoo.variant(name).pixels, num_classes=1000)


def main():
    rows = []
    a, b, ratio = compared(lambda: build("resnet152"), lambda: keras.applications.ResNet152(weights=None))
    rows += [("build resnet152", a, "s"), ("build keras.applications ResNet152", b, "s"), ("ratio", ratio, "times")]
    pictures = np.random.default_rng(0).integers(0, 256, (BATCH, 224, 224, 3)).astype("float32")
    theirs = keras.applications.ResNet50(weights=None)
    # v1.5 does 6% more than theirs, the paper's form does the same; folded is how predict and evaluate run it
    forms = {name: build(name) for name in ("resnet50", "resnet50_paper")}
    for name, ours in (forms | {"resnet50, folded": fold_batchnorm(forms["resnet50"])}).items():
        a, b, ratio = compared(lambda m=ours: m.predict_on_batch(pictures), lambda: theirs.predict_on_batch(pictures))
        rows += [(f"forward {name}", BATCH / a, "pictures/s"), ("forward theirs", BATCH / b, "pictures/s")]
        rows += [("time of ours / time of theirs", ratio, "times")]
    table("Networks against keras.applications", rows)


if __name__ == "__main__":
    main()
