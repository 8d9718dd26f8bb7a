"""Speed of the evaluation pipelines, from JPEG files of 500x375 pixels to pictures of 224x224.

transferkit resizes the shorter side to 256 with antialiasing and takes the centre crop of 224, as torchvision does.
Keras' `image_dataset_from_directory` crops to the aspect ratio and resizes to 224 without antialiasing; torchvision's
loader has two workers. All are timed in turn, for several rounds, until the last batch is there, as the end of Keras'
pass may wait for tf.data's tuning thread (see `transferkit.data.parallel`); the medians are printed.

    python benchmarks/bench_evaluation_pipeline.py
"""

import dataclasses
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from figures import Figure, report
from photos import load_by_torchvision, write_photos

from transferkit.data import pipeline
from transferkit.data.listing import list_images
from transferkit.pixels import Pixels

PICTURES, BATCH, ROUNDS = 800, 32, 5


def torchvision_steps(transforms) -> list:
    return [transforms.Resize(256), transforms.CenterCrop(224), transforms.PILToTensor()]


def measure_rate(batches) -> float:
    """Pictures per second."""
    started = time.perf_counter()
    for _ in batches:
        ended = time.perf_counter()
    return PICTURES / (ended - started)


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_photos(Path(temporary), PICTURES)
        ours = pipeline.evaluation_dataset(list_images(folder).paths, Pixels(), batch_size=BATCH)
        by_keras = keras.utils.image_dataset_from_directory(
            folder, image_size=(224, 224), crop_to_aspect_ratio=True, batch_size=BATCH, shuffle=False, verbose=False
        ).prefetch(2)
        sources = {
            "transferkit": ours.as_numpy_iterator,
            "keras, not antialiased": by_keras.as_numpy_iterator,
        }
        if loader := load_by_torchvision(folder, BATCH, torchvision_steps):
            sources["torchvision, antialiased, 2 workers"] = lambda: loader
        rounds = [[measure_rate(start()) for start in sources.values()] for _ in range(ROUNDS + 1)][1:]  # one warms up
    rates = dict(zip(sources, zip(*rounds, strict=True), strict=True))
    figure, *peers = (Figure(name, found, "pictures/s") for name, found in rates.items())
    bound = "decoding; beside Keras, resizing, copies and Python's lock"
    compared = [
        dataclasses.replace(figure, name=f"transferkit, beside {peer.name}", peer=peer.name, bound=bound)
        for peer in peers
    ]
    report("evaluation pipeline, 500x375 to 224", [*compared, *peers])


if __name__ == "__main__":
    main()
