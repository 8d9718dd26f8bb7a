"""Pictures a second of the training pipelines, from JPEG files of about 500x375 to random 224 crops, flipped.

Ours resizes a random window of each picture, flips it and jitters its colours along the axes of RGB. Keras:
image_dataset_from_directory at 256, then its crop and flip layers on the batch (one place for the whole batch, no
resize of the crop). torchvision: RandomResizedCrop and flip in two workers. Beside them the bare `tf.io.decode_jpeg` of
the whole files, and lines of other steps. All are timed in turn, several rounds; the median of each is quoted.

    python benchmarks/bench_training_pipeline.py
"""

import os
import statistics
import sys
import tempfile
import time
import types
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
from photos import table, write_photos

from transferkit.data import pipeline
from transferkit.data.augment import augmentation
from transferkit.data.epoch_order import EpochOrder
from transferkit.data.listing import list_images
from transferkit.pixels import Pixels

PICTURES, BATCH, ROUNDS, BATCHES = 600, 32, 7, 30
LINES = (
    "crop(0.08) | flip | pca_jitter(0.1)",
    "crop(0.08) | flip",
    *(level for level in augmentation.LEVELS if level != "none"),
    "crop(0.08) | flip | mixup | cutmix",
)


def ours(pictures, line, **kept):
    listing = list_images(pictures)
    order = EpochOrder(listing.labels, BATCH, 0, range(1000))
    source = pipeline.ViewSource(listing, Pixels(), augmentation.parse_augmentation(line))
    return pipeline.training_dataset(source, order, **kept).as_numpy_iterator()


def of_keras(folder):
    layers = keras.Sequential([keras.layers.RandomCrop(224, 224), keras.layers.RandomFlip("horizontal")])
    files = keras.utils.image_dataset_from_directory(folder, image_size=(256, 256), batch_size=BATCH, verbose=False)
    crops = files.map(lambda x, y: (layers(x, training=True), y), num_parallel_calls=tf.data.AUTOTUNE)
    return crops.repeat().prefetch(2).as_numpy_iterator()


def of_torchvision(folder):
    try:
        sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("unused"))
        from torch.utils.data import DataLoader
        from torchvision import datasets, transforms
    except ImportError:
        print("torchvision is not installed (see CONTRIBUTING.md): it is left out")
        return None
    steps = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    data = datasets.ImageFolder(folder, transforms.Compose(steps))
    loader = DataLoader(data, BATCH, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)

    def forever():
        while True:
            yield from loader

    return forever()


def bare(folder):
    """Whole pictures decoded, at the default DCT, and thrown away."""
    files = tf.data.Dataset.from_tensor_slices(list(list_images(folder).paths))

    def decoded(path):
        picture = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.cast(picture[0, 0, 0], tf.int32) + tf.reduce_prod(tf.shape(picture))

    batches = files.map(decoded, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH, drop_remainder=True)
    return batches.repeat().prefetch(2).as_numpy_iterator()


def rate(batches, count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        next(batches)
    return count * BATCH / (time.perf_counter() - started)


def timed(sources: dict) -> dict[str, list[float]]:
    """The rates of each source, all timed in turn."""
    rates = {name: [] for name in sources}
    for round_ in range(-1, ROUNDS):
        for name, batches in sources.items():
            found = rate(batches, BATCHES)
            if round_ >= 0:  # the first warms up
                rates[name].append(found)
    return rates


def main():
    with tempfile.TemporaryDirectory() as place:
        folder = write_photos(Path(place), PICTURES)
        ours_, keras_, torchvision_, bare_ = (
            f"transferkit, {LINES[0]}",
            "keras, whole picture at 256, crop and flip of the batch",
            "torchvision, RandomResizedCrop, flip, 2 workers",
            "bare tf.io.decode_jpeg",
        )
        sources = {ours_: ours(folder, LINES[0]), keras_: of_keras(folder), torchvision_: of_torchvision(folder)}
        sources |= {bare_: bare(folder), f"transferkit, {LINES[1]}": ours(folder, LINES[1])}
        found = timed({name: batches for name, batches in sources.items() if batches is not None})
        rows = [(name, statistics.median(rates), "pictures/s") for name, rates in found.items()]
        for name in (keras_, torchvision_, bare_):
            if name in found:
                # of each round, for other work on the machine comes and goes
                ratios = [one / other for one, other in zip(found[ours_], found[name], strict=True)]
                rows.append((f"the first / {name.split(',')[0]}", statistics.median(ratios), "times"))
        table("Training pipeline", rows)
        del sources  # their workers would go on beside the next
        found = {line: statistics.median(timed({line: ours(folder, line)})[line]) for line in LINES[2:]}
        for where, memory in (("memory", 1.0), ("a file", 0.0)):
            kept = ours(folder, "cifar", memory=memory, folder=Path(place))  # no window: decoded in the first epoch
            found[f"cifar, kept in {where}"] = statistics.median(timed({"": kept})[""])
        table("Other lines", [(name, figure, "pictures/s") for name, figure in found.items()])


if __name__ == "__main__":
    main()
