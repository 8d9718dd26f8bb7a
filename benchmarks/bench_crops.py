"""Ten crops of each picture, as `evaluate --crops 10` averages them, against one view of each by `extract`.

Both the time and the processor time of all threads, which other jobs on the machine disturb less, are measured.

python benchmarks/bench_crops.py [network] [pictures] [rounds]
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from figures import Figure, report
from photos import write_photos
from timing import time_in_turn

import transferkit as tk
from transferkit import models
from transferkit.evaluation import multi_view


def main(name: str = "resnet18", pictures: str = "32", rounds: str = "3"):
    with tempfile.TemporaryDirectory() as temporary:
        listing = tk.list_images(write_photos(Path(temporary), int(pictures)))
        network = models.with_head(models.load(name, "none"), listing.classes)
        extractor = tk.FeatureExtractor(name, weights="none", cache=False)
        calls = {
            "one view": lambda: extractor.transform(listing),
            "ten crops": lambda: multi_view.predict_crops(network, listing.paths, "10"),
        }
        wall, processor = time_in_turn(calls, int(rounds))
    bound = "ten forward passes, and ten times as many pictures to resize"
    figures = [
        Figure("one view", wall["one view"], "s"),
        Figure("ten crops", wall["ten crops"], "s", "one view", bound),
        Figure("one view, processor time", processor["one view"], "s of a processor"),
        Figure(
            "ten crops, processor time", processor["ten crops"], "s of a processor", "one view, processor time", bound
        ),
    ]
    report(f"Ten crops of {pictures} pictures, {name}", figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
