"""Ten crops of each picture, as `evaluate --crops 10` averages them, against one view of each by `extract`.

Both the time and the processor time of all threads, which other jobs on the machine disturb less, are measured.

python benchmarks/bench_crops.py [network]
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from photos import print_table, write_photos

import transferkit as tk
from transferkit import models
from transferkit.evaluation import multi_view

PICTURES, ROUNDS = 32, 3
CLOCKS = {"time": time.perf_counter, "processor time": time.process_time}


def measure_seconds(call) -> dict[str, float]:
    started = {name: clock() for name, clock in CLOCKS.items()}
    call()
    return {name: clock() - started[name] for name, clock in CLOCKS.items()}


def main(name: str = "resnet18"):
    with tempfile.TemporaryDirectory() as temporary:
        listing = tk.list_images(write_photos(Path(temporary), PICTURES))
        network = models.with_head(models.load(name, "none"), listing.classes)
        extractor = tk.FeatureExtractor(name, weights="none", cache=False)
        rounds = []
        for _ in range(ROUNDS + 1):
            crops = measure_seconds(lambda: multi_view.predict_crops(network, listing.paths, "10"))
            rounds.append((crops, measure_seconds(lambda: extractor.transform(listing))))
        rounds = rounds[1:]  # the first round warms up
        rows = [
            (f"{clock} of ten crops / of one view", statistics.median(a[clock] / b[clock] for a, b in rounds), "times")
            for clock in CLOCKS
        ]
        print_table(f"Ten crops, {name}", rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
