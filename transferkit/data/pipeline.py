"""The tf.data pipelines: one for training, one for everything else."""

import os
import time
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from transferkit.data import decode, view_cache
from transferkit.data.augment.augmentation import Augmentation
from transferkit.data.decode import bytes_at, reader
from transferkit.data.epoch_order import Order
from transferkit.data.geometry import evaluation_view, evaluation_views, training_view, training_window
from transferkit.data.listing import Listing
from transferkit.pixels import Pixels


def training(
    listing: Listing,
    pixels: Pixels,
    augmentation: Augmentation,
    order: Order,
    *,
    views: int = 0,
    memory: float = 0.0,
    folder: Path | None = None,
    delivered: tf.Variable | None = None,
):
    """Batches to learn from: in the order's order, augmented, and the same for the same seed.

    A view depends on the seed, the epoch and the picture's place in the listing alone, so a run that is resumed sees
    what it would have seen.

    Args:
        views: so many views of each picture are shown in turn; 0 is a new one in each epoch.
        memory: GB of views without a window, which are the same in every epoch until they are augmented, to keep in
            memory once they are decoded; more go to a file.
        folder: where that file is, an empty folder; None keeps nothing.
        delivered: int32, one for each picture: counts how often it was given.

    Returns:
        A `tf.data.Dataset` of pictures (order.batch, crop, crop, channels), uint8, and one-hot labels (order.batch,
        classes), soft where the augmentation mixes batches.
    """

    def in_turn(epoch, row):
        return (epoch % views if views else epoch), row

    def counted(pictures, labels, streams):
        if delivered is not None:
            delivered.scatter_nd_add(streams[:, :1] // 2**20, tf.ones(order.batch, tf.int32))
        return _mixed(augmentation, pictures, labels, streams)

    keep = partial(view_cache.once, count=len(listing), pixels=pixels, memory=memory, folder=folder) if folder else None
    pairs = order.dataset().map(in_turn)
    dataset = _augmented(pairs, listing, pixels, augmentation, seed=order.seed, keep=keep)
    dataset = dataset.batch(order.batch, drop_remainder=True)
    return dataset.map(counted, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def each_view(listing: Listing, pixels: Pixels, augmentation: Augmentation, *, views: int, seed: int, batch_size: int):
    """The views that `training` shows in turn, each once.

    Returns:
        A `tf.data.Dataset` of pictures (at most batch, crop, crop, channels), uint8, and places, int64: of view v of
        row r of a listing of n pictures, v n + r. A picture that cannot be read is left out.
    """
    count = len(listing)

    def placed(picture, _, stream):
        return picture, stream[0] % 2**20 * count + stream[0] // 2**20

    dataset = _augmented(_grid(count, range(views)), listing, pixels, augmentation, seed=seed)
    return dataset.map(placed).batch(batch_size).prefetch(2)


def preview(listing: Listing, pixels: Pixels, augmentation: Augmentation, *, seed, epochs: range):
    """What `training` would show, all pictures in order: one batch an epoch."""
    dataset = _augmented(_grid(len(listing), epochs), listing, pixels, augmentation, seed=seed)
    return dataset.batch(len(listing), drop_remainder=True).map(partial(_mixed, augmentation))


def _mixed(augmentation: Augmentation, pictures, labels, streams):
    """A batch as the augmentation mixes it."""
    batch = pictures, labels
    for number, step in enumerate(augmentation.batches):
        # of the batch's first picture, and another for each step: the stream itself feeds that picture's seeds
        batch = step(batch, tf.random.fold_in(streams[0], 2**20 + number))
    return batch


def _grid(count: int, epochs: range):
    """(epoch, row) of all pictures in order, epoch by epoch."""

    def pair(number):
        return number // count, tf.cast(number % count, tf.int32)

    return tf.data.Dataset.range(epochs.start * count, epochs.stop * count).map(pair)


def _augmented(pairs, listing, pixels, augmentation: Augmentation, *, seed, keep=None):
    """Picture, one-hot label and stream of seeds of each (epoch, row) of `pairs`."""
    paths, labels, read = _strings(listing.paths), tf.constant(listing.labels), reader(listing.paths)

    def plain(row):
        return evaluation_view(paths[row], pixels, bytes_at)

    plain = keep(plain) if keep else plain

    def stream_of(epoch, row):
        # the seed of a picture's steps, told apart by their number
        return tf.stack((tf.cast(row, tf.int64) * 2**20 + epoch, tf.cast(seed, tf.int64)))

    def stored(epoch, row):
        return row, stream_of(epoch, row), plain(row)

    def decoded(epoch, row):
        data, stream = read(paths[row]), stream_of(epoch, row)
        opened = decode.open_picture(data, pixels.channels)
        window = training_window(opened, pixels, lambda shape: augmentation.window(shape, stream))
        return row, stream, decode.cut(data, opened, window, pixels.shape), window, opened

    def changed(row, stream, picture, *window):
        picture = training_view(picture, *window, pixels) if window else picture
        for number, op in enumerate(augmentation.ops, start=1):
            picture = op(picture, stream + (0, number * 2**32))
        return picture, tf.one_hot(labels[row], len(listing.classes)), stream

    # pictures that cannot be read are skipped; errors in what is made of them are not, for they are ours
    pictures = _skipping(pairs, stored if augmentation.window is None else decoded)
    return pictures.map(changed, num_parallel_calls=tf.data.AUTOTUNE)


def _skipping(dataset, read):
    """What `read` makes of each element, but of those where it raises an error."""
    return dataset.map(read, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()


def stored(maps: Sequence[np.ndarray], rows: np.ndarray, labels: np.ndarray, order: Order, *, views: int = 1):
    """`training` on what a frozen part made of each view.

    Args:
        maps: each (views n, ...), view v of row r at v n + r; they may be on disk.
        rows: (m,) of the pictures that the order is of.
        labels: theirs, one-hot (m, classes), float32.
    """
    count, labels, types = len(maps[0]) // views, tf.constant(labels), [tf.as_dtype(one.dtype) for one in maps]

    def pick(places):
        return [one[places] for one in maps]

    def batch(epochs, numbers):
        places = epochs % views * count + tf.gather(tf.constant(rows, tf.int64), numbers)
        picked = tf.numpy_function(pick, (places,), types, stateful=False)
        for value, one in zip(picked, maps, strict=True):
            value.set_shape((order.batch, *one.shape[1:]))
        return tuple(picked) if len(picked) > 1 else picked[0], tf.gather(labels, numbers)

    return order.dataset().batch(order.batch, drop_remainder=True).map(batch).prefetch(4)


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
    return _in_order(paths, _viewed(pixels), batch_size)


def cached_evaluation(paths, pixels: Pixels, *, batch_size, memory: float, folder: Path):
    """`evaluation`, decoded in the first pass and kept: in memory up to so many GB, else in an empty `folder`."""
    batches = evaluation(paths, pixels, batch_size=batch_size)
    return batches.cache("" if view_cache.fits(len(paths), pixels, memory) else str(folder / "evaluation"))


def several_views(paths, pixels: Pixels, places, *, batch_size):
    """`evaluation` with a crop at each of `places` (see `geometry`): (at most batch, places, crop, crop, channels)."""
    return _in_order(paths, _viewed(pixels, places), batch_size)


def _in_order(paths, view, batch_size: int):
    rows = tf.data.Dataset.from_tensor_slices(_strings(paths)).enumerate()

    def with_row(row, path):
        return view(path), row

    return _skipping(rows, with_row).batch(batch_size).prefetch(2)


@cache
def _viewed(pixels: Pixels, places=None):
    """From a path to its view or views, traced once: each graph costs half a second and stays in memory to the end."""

    def view(path):
        if places:
            return evaluation_views(path, pixels, places, bytes_at)
        return evaluation_view(path, pixels, bytes_at)

    return tf.function(view, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)


def validation(listing: Listing, pixels: Pixels, *, batch_size, memory: float, folder: Path):
    """`cached_evaluation` over and over, for `fit`, with `steps` of each pass.

    Returns:
        A `tf.data.Dataset` of pictures, one-hot labels and weights (batch,), float32: the last batch is filled up with
        pictures of weight 0, so that all can be divided among devices.
    """
    labels = tf.constant(listing.labels)

    def with_labels(pictures, rows):
        return pictures, tf.one_hot(tf.gather(labels, rows), len(listing.classes))

    batches = cached_evaluation(listing.paths, pixels, batch_size=batch_size, memory=memory, folder=folder)
    return batches.map(with_labels).map(_filled(batch_size)).repeat()


def stored_validation(maps: Sequence[np.ndarray], rows: np.ndarray, labels: np.ndarray, *, batch_size: int):
    """`validation` on what a frozen part made of each picture, as of `stored`."""

    def pick(places):
        return [one[places] for one in maps]

    def batch(places, labels):
        picked = tf.numpy_function(pick, (places,), [tf.as_dtype(one.dtype) for one in maps], stateful=False)
        for value, one in zip(picked, maps, strict=True):
            value.set_shape((None, *one.shape[1:]))
        return tuple(picked) if len(picked) > 1 else picked[0], labels

    dataset = tf.data.Dataset.from_tensor_slices((rows, labels)).batch(batch_size)
    return dataset.map(batch).map(_filled(batch_size)).prefetch(2).repeat()


def _filled(batch_size: int):
    """From a batch of values and labels to a full one, with weights that are 0 where it was filled up."""

    def fill(tensor, missing):
        filled = tf.pad(tensor, [(0, missing), *[(0, 0)] * (tensor.shape.rank - 1)])
        return tf.ensure_shape(filled, (batch_size, *tensor.shape[1:]))

    def filled(values, labels):
        there = tf.shape(labels)[0]
        weights = tf.cast(tf.range(batch_size) < there, tf.float32)
        values = tf.nest.map_structure(lambda value: fill(value, batch_size - there), values)
        return values, fill(labels, batch_size - there), weights

    return filled


def readable(paths, channels: int):
    """Decode every picture once, JPEGs at an eighth.

    Yields:
        (row, shorter side in pixels) of each picture that can be decoded, in order.
    """

    def look(row, path):
        picture, size = decode.whole(decode.read(path), channels, cover=1)
        with tf.control_dependencies((picture,)):
            return row, tf.reduce_min(size)

    rows = tf.data.Dataset.from_tensor_slices(_strings(paths)).enumerate()
    return _skipping(rows, look).as_numpy_iterator()


def clocked(dataset):
    """The same dataset, and a variable that adds up the seconds its consumer has waited for it.

    The first of two zipped datasets is asked before the second one blocks, so its time stamp is that of the request.
    """
    with tf.device("CPU:0"):
        waited = tf.Variable(0.0, dtype=tf.float64, trainable=False)

    def now(_=None):
        return tf.numpy_function(time.perf_counter, (), tf.float64)  # `tf.timestamp` fails where determinism is on

    requests = tf.data.Dataset.counter().map(now)

    def add(request, batch):
        waited.assign_add(now() - request)
        return batch

    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # it would ask ahead, and hide the wait
    return tf.data.Dataset.zip(requests, dataset).map(add).with_options(options), waited
