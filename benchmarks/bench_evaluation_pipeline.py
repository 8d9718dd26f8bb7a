"""Speed of the evaluation pipelines, from JPEG files of 500x375 pixels to pictures of 224x224.

transferkit resizes the shorter side to 256 with antialiasing and takes the centre crop of 224, as torchvision does.
Keras' `image_dataset_from_directory` crops to the aspect ratio and resizes to 224 without antialiasing. Both are timed
in turn, for several rounds; the medians are printed.

    python benchmarks/bench_evaluation_pipeline.py
"""

import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from figures import Figure, report
from photos import write_photos

from transferkit.data import pipeline
from transferkit.data.listing import list_images
from transferkit.pixels import Pixels

PICTURES, BATCH, ROUNDS = 1600, 32, 5


def measure_rate(dataset) -> float:
    """Pictures per second."""
    started = time.perf_counter()
    for _ in dataset.as_numpy_iterator():
        pass
    return PICTURES / (time.perf_counter() - started)


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_photos(Path(temporary), PICTURES)
        transferkit_data = pipeline.evaluation_dataset(list_images(folder).paths, Pixels(), batch_size=BATCH)
        keras_data = keras.utils.image_dataset_from_directory(
            folder, image_size=(224, 224), crop_to_aspect_ratio=True, batch_size=BATCH, shuffle=False, verbose=False
        ).prefetch(2)
        pairs = [(measure_rate(transferkit_data), measure_rate(keras_data)) for _ in range(ROUNDS + 1)][
            1:
        ]  # the first pair warms up
        ours, keras_rates = zip(*pairs, strict=True)
        peer = "keras, not antialiased"
        figures = [
            Figure(peer, keras_rates, "pictures/s"),
            Figure("transferkit, antialiased", ours, "pictures/s", peer, "Pillow's resize"),
        ]
        report("evaluation pipeline, 500x375 to 224", figures)


if __name__ == "__main__":
    main()
