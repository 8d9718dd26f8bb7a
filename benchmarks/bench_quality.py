"""Test accuracy of training on real digits, against bounds that training with a fault does not reach.

`efficientnet_lite0` with its ImageNet weights (extra `pretrained`) is fine-tuned on scikit-learn's handwritten digits
at 64 pixels. Each job trains on 100 pictures of each class and is evaluated on the test pictures, which nothing else
uses.

    python benchmarks/bench_quality.py [JOB ...]

The exit status is the number of jobs below their bound. The slow test `test_training_accuracy.py` runs the first job.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from figures import Figure, report

import transferkit as tk
from transferkit.data.example_digits import write_digits

BASE, PER_CLASS = "efficientnet_lite0", 100
# a fresh head, and the last weights: a logistic regression at the start or averaged weights would hide a fault
COMMON = {"size": 64, "augment": "crop(0.7)", "batch_size": 32, "refit": "off", "seed": 0, "devices": "cpu"}
COMMON |= {"start": "fresh", "head_layers": "pooled", "head_epochs": 1, "head_lr": 0.002, "lr": 0.001, "keep": "last"}
# {job: (knobs, minimum accuracy)}; the comments give measured accuracies, without a fault and with one
JOBS = {
    # 0.969, 0.981, 0.981 with seeds 0, 1, 2. With a fault: training views stretched to twice the width 0.869, mirrored
    # 0.529; a learning rate of 0, 0.015 or 0.15 gives 0.08 to 0.13. Random flips are within the noise: 0.969
    "all": ({"epochs": 4}, 0.95),
    # 0.950; with mirrored training views 0.688
    "frozen below": ({"unfreeze": "last-2", "views": 3, "epochs": 6}, 0.92),
}


def accuracy(knobs: dict, folder: Path) -> float:
    """Fine-tune on the digits, which are written to the folder; return the accuracy on their test pictures."""
    write_digits(folder / "digits")
    train, test = (tk.list_images(folder / "digits" / part) for part in ("train", "test"))
    labels = np.array(train.labels)
    rows = [row for label in range(10) for row in np.flatnonzero(labels == label)[:PER_CLASS].tolist()]
    return tk.finetune(BASE, train.take(rows), test, out=folder / "run", **(COMMON | knobs)).metrics["accuracy"]


def main(*names: str) -> int:
    below = 0
    for name in names or JOBS:
        knobs, minimum = JOBS[name]
        with TemporaryDirectory() as folder:
            os.environ["TRANSFERKIT_HOME"] = folder  # an empty cache
            reached = accuracy(knobs, Path(folder))
        below += reached < minimum
        report(f"fine-tuning on digits, {name}", [Figure("test accuracy", [100 * reached], "% correct")])
        print(f"{name}: accuracy {reached:.4f}, {'below' if reached < minimum else 'at least'} {minimum}", flush=True)
    return below


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
