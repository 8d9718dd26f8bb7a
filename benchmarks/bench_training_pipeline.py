"""Speed of the training pipelines, from JPEG files of 500x375 pixels to random crops of 224x224, flipped at random.

transferkit resizes a random window of each picture, flips it and jitters its colours along the principal components of
RGB. Keras: `image_dataset_from_directory` at 256, then its crop and flip layers on the batch (the same crop for the
whole batch, not resized). torchvision: RandomResizedCrop and flip in two workers. `tf.io.decode_jpeg` of the whole
files and other augmentations of transferkit are timed too. All are timed in turn, for several rounds; medians are
printed.

    python benchmarks/bench_training_pipeline.py
"""

import itertools
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
from figures import Figure, report
from photos import load_by_torchvision, write_photos

from transferkit.data import pipeline
from transferkit.data.augment import augmentation
from transferkit.data.epoch_order import EpochOrder
from transferkit.data.listing import list_images
from transferkit.data.view_cache import CacheSpace
from transferkit.pixels import Pixels

PICTURES, BATCH, ROUNDS, BATCHES = 600, 32, 7, 30
AUGMENTATIONS = (
    "crop(0.08) | flip | pca_jitter(0.1)",
    "crop(0.08) | flip",
    *(level for level in augmentation.LEVELS if level != "none"),
    "crop(0.08) | flip | mixup | cutmix",
)


def transferkit_batches(photos, augmentation_text, **cache):
    listing = list_images(photos)
    order = EpochOrder(listing.labels, BATCH, 0, range(1000))
    source = pipeline.ViewSource(listing, Pixels(), augmentation.parse_augmentation(augmentation_text))
    return pipeline.training_dataset(source, order, **cache).as_numpy_iterator()


def keras_batches(folder):
    layers = keras.Sequential([keras.layers.RandomCrop(224, 224), keras.layers.RandomFlip("horizontal")])
    files = keras.utils.image_dataset_from_directory(folder, image_size=(256, 256), batch_size=BATCH, verbose=False)
    crops = files.map(lambda x, y: (layers(x, training=True), y), num_parallel_calls=tf.data.AUTOTUNE)
    return crops.repeat().prefetch(2).as_numpy_iterator()


def torchvision_batches(folder):
    def make_steps(transforms):
        return [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor()]

    loader = load_by_torchvision(folder, BATCH, make_steps, shuffle=True, drop_last=True)
    return loader and itertools.chain.from_iterable(itertools.repeat(loader))


def decoding_batches(folder):
    """Decode whole pictures with the default DCT method, and discard them."""
    files = tf.data.Dataset.from_tensor_slices(list(list_images(folder).paths))

    def decode(path):
        picture = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.cast(picture[0, 0, 0], tf.int32) + tf.reduce_prod(tf.shape(picture))

    batches = files.map(decode, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH, drop_remainder=True)
    return batches.repeat().prefetch(2).as_numpy_iterator()


def measure_rate(batches, count: int) -> float:
    """Pictures per second."""
    started = time.perf_counter()
    for _ in range(count):
        next(batches)
    return count * BATCH / (time.perf_counter() - started)


def measure_rates(sources: dict) -> dict[str, list[float]]:
    """The rates of each source of batches, one per round; all are timed in turn."""
    rates = {name: [] for name in sources}
    for round_ in range(-1, ROUNDS):
        for name, batches in sources.items():
            rate = measure_rate(batches, BATCHES)
            if round_ >= 0:  # the first round warms up
                rates[name].append(rate)
    return rates


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_photos(Path(temporary), PICTURES)
        ours, keras_name, torchvision_name, decoding = (
            f"transferkit, {AUGMENTATIONS[0]}",
            "keras, whole picture at 256, crop and flip of the batch",
            "torchvision, RandomResizedCrop, flip, 2 workers",
            "tf.io.decode_jpeg alone",
        )
        sources = {ours: transferkit_batches(folder, AUGMENTATIONS[0]), keras_name: keras_batches(folder)}
        sources |= {torchvision_name: torchvision_batches(folder), decoding: decoding_batches(folder)}
        sources[f"transferkit, {AUGMENTATIONS[1]}"] = transferkit_batches(folder, AUGMENTATIONS[1])
        rates = measure_rates({name: batches for name, batches in sources.items() if batches is not None})
        figures = [Figure(name, values, "pictures/s") for name, values in rates.items() if name != ours]
        for name in (keras_name, torchvision_name, decoding):
            if name in rates:
                pair = f"{ours}, against {name.split(',')[0]}"
                figures.append(Figure(pair, rates[ours], "pictures/s", name, "decoding of the windows"))
        report("training pipeline, 500x375 to random windows of 224", figures)
        del sources  # their workers would keep running
        others = {text: measure_rates({text: transferkit_batches(folder, text)})[text] for text in AUGMENTATIONS[2:]}
        for storage, memory in (("memory", 1.0), ("a file", 0.0)):
            # `cifar` has no random window, so pictures are decoded in the first epoch only
            batches = transferkit_batches(folder, "cifar", space=CacheSpace(memory, Path(temporary)))
            others[f"cifar, decoded pictures in {storage}"] = measure_rates({"": batches})[""]
        report("other augmentations", [Figure(name, values, "pictures/s") for name, values in others.items()])


if __name__ == "__main__":
    main()
