"""Speed of `evaluate` on JPEG files against `model.predict` alone, on an array of the same pictures.

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
from photos import print_table, write_photos

from transferkit import models
from transferkit.data import pipeline
from transferkit.data.listing import list_images
from transferkit.evaluation.predict import evaluate

PICTURES, ROUNDS = 320, 5


def measure_seconds(call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main(name: str = "resnet34"):
    with tempfile.TemporaryDirectory() as temporary:
        listing = list_images(write_photos(Path(temporary), PICTURES))
        network = models.with_head(models.load(name, "none"), listing.classes)
        batches = pipeline.evaluation_dataset(listing.paths, network.pixels, batch_size=32)
        decoded = np.concatenate([pictures for pictures, _ in batches.as_numpy_iterator()])
        evaluate_times, predict_times = [], []
        for round_ in range(-1, ROUNDS):
            times = (
                measure_seconds(lambda: evaluate(network, listing)),
                measure_seconds(lambda: network.model.predict(decoded, batch_size=32, verbose=0)),
            )
            if round_ >= 0:  # the first round warms up
                evaluate_times.append(times[0])
                predict_times.append(times[1])
        rows = [
            ("transferkit evaluate, from files", PICTURES / statistics.median(evaluate_times), "pictures/s"),
            ("keras predict, decoded array", PICTURES / statistics.median(predict_times), "pictures/s"),
            (
                "time of evaluate / time of predict",
                statistics.median(np.array(evaluate_times) / np.array(predict_times)),
                "times",
            ),
        ]
        print_table(f"Evaluation, {name}", rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
