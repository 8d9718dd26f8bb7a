"""`evaluate` on JPEG files against bare `model.predict` on the same pictures, decoded beforehand into an array.

python benchmarks/bench_evaluate.py [network]
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from photos import table, write_photos

from transferkit import models
from transferkit.data import pipeline
from transferkit.data.listing import list_images
from transferkit.evaluation.predict import evaluate

PICTURES, ROUNDS = 320, 5


def seconds(call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main(name: str = "resnet34"):
    with tempfile.TemporaryDirectory() as place:
        listing = list_images(write_photos(Path(place), PICTURES))
        network = models.with_head(models.load(name, "none"), listing.classes)
        batches = pipeline.evaluation_dataset(listing.paths, network.pixels, batch_size=32)
        decoded = np.concatenate([pictures for pictures, _ in batches.as_numpy_iterator()])
        ours, bare = [], []
        for round_ in range(-1, ROUNDS):
            times = (
                seconds(lambda: evaluate(network, listing)),
                seconds(lambda: network.model.predict(decoded, batch_size=32, verbose=0)),
            )
            if round_ >= 0:
                ours.append(times[0])
                bare.append(times[1])
        rows = [
            ("transferkit evaluate, from files", PICTURES / statistics.median(ours), "pictures/s"),
            ("keras predict, decoded array", PICTURES / statistics.median(bare), "pictures/s"),
            ("time of evaluate / time of predict", statistics.median(np.array(ours) / np.array(bare)), "times"),
        ]
        table(f"Evaluation, {name}", rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
