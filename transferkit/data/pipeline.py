"""The tf.data pipelines: one for training, one for everything else."""

import os
from functools import cache, partial
from pathlib import Path

import tensorflow as tf

from transferkit.data import decode, kept
from transferkit.data.augment import Augmentation
from transferkit.data.decode import reader
from transferkit.data.geometry import evaluation_view, evaluation_views, training_view
from transferkit.data.listing import Listing
from transferkit.pixels import Pixels


def training(
    listing: Listing,
    pixels: Pixels,
    augmentation: Augmentation,
    *,
    batch_size,
    seed,
    epochs: range,
    shard=(0, 1),
    memory=0.0,
    folder: Path | None = None,
    delivered: tf.Variable | None = None,
):
    """Batches to learn from: shuffled anew each epoch, augmented, and the same for the same seed.

    A view depends on the seed, the epoch and the picture's place in the listing alone, so a run that is resumed sees
    what it would have seen. All batches are full: an epoch is every picture once, and as many again as fill the last.

    Args:
        batch_size: pictures of a batch, of all workers together.
        epochs: which epochs to give, one after the other; each has `steps(listing, batch_size)` batches.
        shard: (i, n): this is worker i of n, and reads the i-th of n equal parts of every batch, and no others' files.
        memory: GB of views without a window, which are the same in every epoch until they are augmented, to keep in
            memory once they are decoded; more go to a file.
        folder: where that file is, an empty folder; None keeps nothing.
        delivered: int32, one for each picture: counts how often it was given.

    Returns:
        A `tf.data.Dataset` of pictures (batch / n, crop, crop, channels), uint8, and one-hot labels (batch / n,
        classes), soft where the augmentation mixes batches.

    Raises:
        ValueError: the batch cannot be divided by n.
    """
    if batch_size % shard[1]:
        raise ValueError(f"A batch of {batch_size} pictures cannot be shared by {shard[1]} workers: take a multiple.")
    order = _order(len(listing), batch_size, seed, epochs, shard)
    keep = partial(kept.once, count=len(listing), pixels=pixels, memory=memory, folder=folder) if folder else None
    batch_size //= shard[1]
    return _views(order, listing, pixels, augmentation, batch_size=batch_size, seed=seed, keep=keep, given=delivered)


def preview(listing: Listing, pixels: Pixels, augmentation: Augmentation, *, seed, epochs: range):
    """What `training` would show, all pictures in order: one batch an epoch."""
    count = len(listing)
    order = tf.data.Dataset.range(epochs.start * count, epochs.stop * count)
    order = order.map(lambda number: (number // count, tf.cast(number % count, tf.int32)))
    return _views(order, listing, pixels, augmentation, batch_size=count, seed=seed)


def _views(order, listing, pixels, augmentation: Augmentation, *, batch_size, seed, keep=None, given=None):
    """Augmented batches of the (epoch, row) of `order`."""
    paths, labels, read = _strings(listing.paths), tf.constant(listing.labels), reader(listing.paths)

    def plain(row):
        return evaluation_view(read(paths[row]), pixels)

    plain = keep(plain) if keep else plain

    def view(epoch, row):
        # the seed of a picture's steps, told apart by their number
        stream = tf.stack((tf.cast(row, tf.int64) * 2**20 + epoch, tf.cast(seed, tf.int64)))
        if augmentation.window is None:
            picture = plain(row)
        else:
            picture = training_view(read(paths[row]), pixels, lambda shape: augmentation.window(shape, stream))
        for number, op in enumerate(augmentation.ops, start=1):
            picture = op(picture, stream + (0, number * 2**32))
        return picture, tf.one_hot(labels[row], len(listing.classes)), stream

    def mixed(pictures, labels, streams):
        if given is not None:
            given.scatter_nd_add(streams[:, :1] // 2**20, tf.ones(batch_size, tf.int32))
        batch = pictures, labels
        for number, step in enumerate(augmentation.batches):
            # of the batch's first picture, and another for each step: the stream itself feeds that picture's seeds
            batch = step(batch, tf.random.fold_in(streams[0], 2**20 + number))
        return batch

    dataset = order.map(view, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
    dataset = dataset.batch(batch_size, drop_remainder=True)
    return dataset.map(mixed, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def shuffled(features, labels, *, batch_size, seed, epochs: range):
    """`training` on vectors (n, width) and one-hot labels (n, classes) that are in memory."""
    features, labels = tf.constant(features), tf.constant(labels)
    batches = _order(len(features), batch_size, seed, epochs).batch(batch_size, drop_remainder=True)
    return batches.map(lambda _, rows: (tf.gather(features, rows), tf.gather(labels, rows))).prefetch(2)


def _order(count: int, batch_size: int, seed: int, epochs: range, shard=(0, 1)):
    """(epoch, row) of each step's pictures: every epoch shuffled anew, filled up to whole batches, a worker's part."""
    (worker, workers), batches = shard, -(-count // batch_size)
    places = tf.reshape(tf.range(batches * batch_size), (batches, workers, -1))[:, worker]
    places = tf.reshape(places, (-1,)) % count

    def one(epoch):
        rows = tf.random.experimental.stateless_shuffle(tf.range(count), seed=(seed, tf.cast(epoch, tf.int32)))
        return tf.data.Dataset.from_tensor_slices((tf.repeat(epoch, len(places)), tf.gather(rows, places)))

    return tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(one)


def _strings(paths):
    """Paths as a tensor, whatever bytes they are made of."""
    return tf.constant([os.fsencode(path) for path in paths], tf.string)


def steps(listing: Listing, batch_size: int) -> int:
    """Batches of an epoch."""
    return -(-len(listing) // batch_size)


def evaluation(paths, pixels: Pixels, *, batch_size):
    """Batches to look at, in order, none dropped.

    A picture that cannot be read is left out; the rows tell which.

    Returns:
        A `tf.data.Dataset` of pictures (at most batch, crop, crop, channels), uint8, and rows (at most batch,), int64.
    """
    return _in_order(paths, _viewed(reader(paths), pixels), batch_size)


def several_views(paths, pixels: Pixels, places, *, batch_size):
    """`evaluation` with a crop at each of `places` (see `geometry`): (at most batch, places, crop, crop, channels)."""
    return _in_order(paths, _viewed(reader(paths), pixels, places), batch_size)


def _in_order(paths, view, batch_size: int):
    rows = tf.data.Dataset.from_tensor_slices(_strings(paths)).enumerate()

    def with_row(row, path):
        return view(path), row

    dataset = rows.map(with_row, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
    return dataset.batch(batch_size).prefetch(2)


@cache
def _viewed(read, pixels: Pixels, places=None):
    """From a path to its view or views, traced once: each graph costs half a second and stays in memory to the end."""

    def view(path):
        return evaluation_views(read(path), pixels, places) if places else evaluation_view(read(path), pixels)

    return tf.function(view, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)


def validation(listing: Listing, pixels: Pixels, *, batch_size, memory: float, folder: Path):
    """`evaluation` over and over, with one-hot labels in place of the rows: for `fit`, with `steps` of each pass.

    Pictures are decoded in the first pass and kept, in memory up to so many GB of them, else in an empty `folder`.
    """
    labels = tf.constant(listing.labels)

    def with_labels(pictures, rows):
        return pictures, tf.one_hot(tf.gather(labels, rows), len(listing.classes))

    batches = evaluation(listing.paths, pixels, batch_size=batch_size).map(with_labels)
    fits = kept.fits(len(listing), pixels, memory)
    return batches.cache("" if fits else str(folder / "validation")).repeat()


def readable(paths, channels: int):
    """Decode every picture once, JPEGs at an eighth.

    Yields:
        (row, shorter side in pixels) of each picture that can be decoded, in order.
    """
    read = reader(paths)

    def look(row, path):
        picture, size = decode.whole(read(path), channels, cover=1)
        with tf.control_dependencies((picture,)):
            return row, tf.reduce_min(size)

    rows = tf.data.Dataset.from_tensor_slices(_strings(paths)).enumerate()
    return rows.map(look, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors().as_numpy_iterator()


def clocked(dataset):
    """The same dataset, and a variable that adds up the seconds its consumer has waited for it.

    The first of two zipped datasets is asked before the second one blocks, so its time stamp is that of the request.
    """
    with tf.device("CPU:0"):
        waited = tf.Variable(0.0, dtype=tf.float64, trainable=False)
    requests = tf.data.Dataset.counter().map(lambda _: tf.timestamp())

    def add(request, batch):
        waited.assign_add(tf.timestamp() - request)
        return batch

    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # it would ask ahead, and hide the wait
    return tf.data.Dataset.zip(requests, dataset).map(add).with_options(options), waited
