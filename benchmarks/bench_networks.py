"""Speed of our ResNets against those of `keras.applications`: building resnet152, the forward pass of resnet50.

python benchmarks/bench_networks.py [rounds]
"""

import os
import sys
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from figures import Figure, report
from timing import rates, time_in_turn

from transferkit import zoo
from transferkit.batchnorm_folding import fold_batchnorm

BATCH = 16


def build(name: str):
    return zoo.build(name, pixels=zoo.variant(name).pixels, num_classes=1000)


def main(rounds: str = "7"):
    ours, theirs = "resnet152", "keras.applications ResNet152"
    calls = {theirs: lambda: keras.applications.ResNet152(weights=None), ours: lambda: build(ours)}
    seconds, _ = time_in_turn(calls, int(rounds))
    report(
        "building a network",
        [Figure(theirs, seconds[theirs], "s"), Figure(ours, seconds[ours], "s", theirs, "making Keras' layers")],
    )
    pictures = np.random.default_rng(0).integers(0, 256, (BATCH, 224, 224, 3)).astype("float32")
    theirs = "keras.applications ResNet50"
    # resnet50 (v1.5) needs 6% more multiply-adds than theirs, resnet50_paper the same number; `predict` and `evaluate`
    # run the folded form
    networks = {theirs: keras.applications.ResNet50(weights=None)}
    networks |= {name: build(name) for name in ("resnet50", "resnet50_paper")}
    networks["resnet50, folded"] = fold_batchnorm(networks["resnet50"])
    calls = {name: partial(network.predict_on_batch, pictures) for name, network in networks.items()}
    seconds, _ = time_in_turn(calls, int(rounds))
    figures = [Figure(theirs, rates(BATCH, seconds.pop(theirs)), "pictures/s")]
    figures += [
        Figure(name, rates(BATCH, each), "pictures/s", theirs, "the convolutions") for name, each in seconds.items()
    ]
    report(f"forward pass of {BATCH} pictures", figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
