"""Pictures a second of the evaluation pipelines, from JPEG files of about 500x375 to 224 squares.

Ours: shorter side to 256 with antialiasing, centre 224, as torchvision. Keras: image_dataset_from_directory at 224,
cropped to the aspect ratio, without antialiasing. Both are timed in turn, several rounds; medians are quoted.

    python benchmarks/bench_evaluation_pipeline.py
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from photos import table, write_photos

from transferkit.data import pipeline
from transferkit.data.listing import list_images
from transferkit.pixels import Pixels

PICTURES, BATCH, ROUNDS = 1600, 32, 5


def rate(dataset) -> float:
    started = time.perf_counter()
    for _ in dataset.as_numpy_iterator():
        pass
    return PICTURES / (time.perf_counter() - started)


def main():
    with tempfile.TemporaryDirectory() as place:
        folder = write_photos(Path(place), PICTURES)
        ours = pipeline.evaluation_dataset(list_images(folder).paths, Pixels(), batch_size=BATCH)
        theirs = keras.utils.image_dataset_from_directory(
            folder, image_size=(224, 224), crop_to_aspect_ratio=True, batch_size=BATCH, shuffle=False, verbose=False
        ).prefetch(2)
        pairs = [(rate(ours), rate(theirs)) for _ in range(ROUNDS + 1)][1:]
        rows = [
            ("transferkit, antialiased", statistics.median(ours for ours, _ in pairs), "pictures/s"),
            ("keras, not antialiased", statistics.median(theirs for _, theirs in pairs), "pictures/s"),
            ("transferkit / keras", statistics.median(ours / theirs for ours, theirs in pairs), "times"),
        ]
        table("Evaluation pipeline", rows)


if __name__ == "__main__":
    main()
