"""Speed of `evaluate` on JPEG files against `model.predict` alone, on an array of the same pictures.

python benchmarks/bench_evaluate.py [pictures] [rounds] [network]
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from figures import Figure, report
from photos import write_photos
from timing import rates, time_in_turn

from transferkit import models
from transferkit.data import pipeline
from transferkit.data.listing import list_images
from transferkit.data.parallel import without_autotuning
from transferkit.evaluation.predict import evaluate


def main(pictures: str = "320", rounds: str = "5", name: str = "resnet34"):
    with tempfile.TemporaryDirectory() as temporary:
        listing = list_images(write_photos(Path(temporary), int(pictures)))
        network = models.with_head(models.load(name, "none"), listing.classes)
        batches = pipeline.evaluation_dataset(listing.paths, network.pixels, batch_size=32)
        decoded = np.concatenate([batch for batch, _ in batches.as_numpy_iterator()])
        array = without_autotuning(tf.data.Dataset.from_tensor_slices(decoded)).batch(32).prefetch(2)
        calls = {  # of an array itself, `predict` makes a dataset whose end waits for tf.data's tuning thread
            "keras predict, decoded array": lambda: network.model.predict(array, verbose=0),
            "transferkit evaluate, from files": lambda: evaluate(network, listing),
        }
        seconds, _ = time_in_turn(calls, int(rounds))
    peer, ours = calls
    figures = [
        Figure(peer, rates(len(listing), seconds[peer]), "pictures/s"),
        Figure(
            ours, rates(len(listing), seconds[ours]), "pictures/s", peer, "the forward pass, batch norm being folded"
        ),
    ]
    report(f"Evaluation of {pictures} pictures, {name}", figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
