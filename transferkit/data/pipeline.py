"""The tf.data pipelines: one for training, one for everything else."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import tensorflow as tf

from transferkit.data import decode, view_cache
from transferkit.data.augment.augmentation import Augmentation
from transferkit.data.decode import choose_reader, read_path
from transferkit.data.epoch_order import EpochOrder
from transferkit.data.file_ranges import read_bytes
from transferkit.data.geometry import CENTRE_CROP, Crops, evaluation_view, load_views, training_view, training_window
from transferkit.data.listing import Listing
from transferkit.data.parallel import CALLS, parallel_batches, run_in_threads, without_autotuning
from transferkit.data.view_cache import CacheSpace
from transferkit.pixels import Pixels


@dataclass(frozen=True)
class ViewSource:
    """Pictures, and how training views are made of them.

    Attributes:
        listing: the pictures.
        pixels: size and fit of a view.
        augmentation: the steps that change it.
    """

    listing: Listing
    pixels: Pixels
    augmentation: Augmentation


def training_dataset(
    source: ViewSource,
    order: EpochOrder,
    *,
    views: int = 0,
    space: CacheSpace | None = None,
    delivered: tf.Variable | None = None,
):
    """Batches of augmented views, in the order of `order`.

    A view depends on the seed, the epoch and the picture's row alone, so a resumed run continues with the views that
    an uninterrupted run would have had.

    Args:
        views: number of fixed views of each picture, shown in turn; 0 makes a new view in each epoch.
        space: where decoded pictures are cached, if the augmentation has no window: they are the same in every epoch.
        delivered: int32 (pictures,), counts how often each picture was given.

    Returns:
        A `tf.data.Dataset` of pictures (order.worker_batch_size, height, width, channels), uint8, and one-hot labels
        (order.worker_batch_size, classes), soft if the augmentation mixes batches.
    """

    def select_view(epoch, row):
        return (epoch % views if views else epoch), row

    def count_and_mix(pictures, labels, streams):
        if delivered is not None:
            delivered.scatter_nd_add(streams[:, :1] // 2**20, tf.ones(order.worker_batch_size, tf.int32))
        return _mix_batch(source.augmentation, pictures, labels, streams)

    dataset = _augmented_views(order.dataset().map(select_view), source, seed=order.seed, space=space)
    dataset = dataset.batch(order.worker_batch_size, drop_remainder=True)
    return dataset.map(count_and_mix, num_parallel_calls=CALLS).prefetch(2)


def fixed_views(source: ViewSource, *, views: int, seed: int, batch_size: int):
    """The fixed views that `training_dataset` shows in turn, each once. A picture that cannot be read is skipped.

    Returns:
        A `tf.data.Dataset` of pictures (at most batch, height, width, channels), uint8, and indices, int64: view v of
        row r of a listing of n pictures has index v n + r.
    """
    count = len(source.listing)

    def with_index(picture, _, stream):
        return picture, stream[0] % 2**20 * count + stream[0] // 2**20

    dataset = _augmented_views(_epoch_grid(count, range(views)), source, seed=seed)
    return dataset.map(with_index).batch(batch_size).prefetch(2)


def preview_dataset(source: ViewSource, *, seed: int, epochs: range):
    """The views of `training_dataset`, all pictures in order: one batch an epoch."""
    count = len(source.listing)
    dataset = _augmented_views(_epoch_grid(count, epochs), source, seed=seed)
    return dataset.batch(count, drop_remainder=True).map(partial(_mix_batch, source.augmentation))


def _mix_batch(augmentation: Augmentation, pictures, labels, streams):
    batch = pictures, labels
    for number, step in enumerate(augmentation.batch_steps):
        # the seed of the batch's first picture, folded for each step: the picture's own steps use the seed itself
        batch = step(batch, tf.random.fold_in(streams[0], 2**20 + number))
    return batch


def _epoch_grid(count: int, epochs: range):
    """(epoch, row) of all pictures in order, epoch by epoch."""

    def to_pair(number):
        return number // count, tf.cast(number % count, tf.int32)

    return without_autotuning(tf.data.Dataset.range(epochs.start * count, epochs.stop * count)).map(to_pair)


def _augmented_views(pairs, source: ViewSource, *, seed: int, space: CacheSpace | None = None):
    """Picture, one-hot label and seed stream of each (epoch, row) of `pairs`."""
    listing, pixels, augmentation = source.listing, source.pixels, source.augmentation
    paths, labels = _path_tensor(listing.paths), tf.constant(listing.labels)
    read = choose_reader(listing.paths)

    def plain_view(row):
        return evaluation_view(paths[row], pixels, read_path)

    if space and augmentation.window is None:  # a window is another one in every epoch
        plain_view = view_cache.cache_views(plain_view, len(listing), pixels, space)

    def seed_stream(epoch, row):
        # (stream, seed): each step adds its own number
        return tf.stack((tf.cast(row, tf.int64) * 2**20 + epoch, tf.cast(seed, tf.int64)))

    def decode_plain(epoch, row):
        return row, seed_stream(epoch, row), plain_view(row)

    def decode_window(draw_window, epoch, row):
        data, stream = read(paths[row]), seed_stream(epoch, row)
        opened = decode.open_picture(data, pixels.channels)
        window = training_window(opened, pixels, lambda shape: draw_window(shape, stream))
        return row, stream, decode.decode_window(data, opened, window, pixels.shape), window, opened

    def augment(row, stream, picture, window=None, opened=None):
        picture = picture if window is None else training_view(picture, window, opened, pixels)
        for number, op in enumerate(augmentation.ops, start=1):
            picture = op(picture, stream + (0, number * 2**32))
        return picture, tf.one_hot(labels[row], len(listing.classes)), stream

    # pictures that cannot be read are skipped; errors of the steps after that are bugs, and are raised
    decoded = decode_plain if augmentation.window is None else partial(decode_window, augmentation.window)
    pictures = _map_readable(pairs, decoded)
    return pictures.map(augment, num_parallel_calls=CALLS)


def _map_readable(dataset, read):
    """Map `read`, and skip the elements for which it raises an error."""
    return dataset.map(read, num_parallel_calls=CALLS).ignore_errors()


def training_from_features(
    features: Sequence[view_cache.Array], rows: np.ndarray, labels: np.ndarray, order: EpochOrder, *, views: int = 1
):
    """`training_dataset` of features that a frozen part computed of each view.

    Args:
        features: arrays (views n, ...), view v of row r at index v n + r; they may be on disk.
        rows: (m,) rows of the pictures in `order`.
        labels: (m, classes) their one-hot labels, float32.
    """
    count, labels = len(features[0]) // views, tf.constant(labels)

    def to_batch(epochs, numbers):
        indices = epochs % views * count + tf.gather(tf.constant(rows, tf.int64), numbers)
        return _gather(features, indices, order.worker_batch_size), tf.gather(labels, numbers)

    return order.dataset().batch(order.worker_batch_size, drop_remainder=True).map(to_batch).prefetch(4)


def _gather(features: Sequence[view_cache.Array], indices, batch_size: int | None):
    """The features at these indices: one tensor, or a tuple of several."""

    def gather(indices):
        return [values[indices] for values in features]

    types = [tf.as_dtype(values.dtype) for values in features]
    gathered = tf.numpy_function(gather, (indices,), types, stateful=False)
    for tensor, values in zip(gathered, features, strict=True):
        tensor.set_shape((batch_size, *values.shape[1:]))
    return tuple(gathered) if len(gathered) > 1 else gathered[0]


def _numbered_paths(paths):
    """(row, path) of each path in order."""
    return without_autotuning(tf.data.Dataset.from_tensor_slices(_path_tensor(paths))).enumerate()


def _path_tensor(paths):
    """Paths as a string tensor, whatever bytes they have."""
    return tf.constant([os.fsencode(path) for path in paths], tf.string)


def steps_per_epoch(listing: Listing, batch_size: int) -> int:
    """Number of batches in an epoch."""
    return -(-len(listing) // batch_size)


def evaluation_dataset(paths, pixels: Pixels, *, batch_size):
    """Batches of the evaluation views of all pictures, in order. A picture that cannot be read is skipped.

    Returns:
        A `tf.data.Dataset` of pictures (at most batch, height, width, channels), uint8, and rows (at most batch,),
        int64: the positions in `paths`.
    """
    batches = _views_in_order(paths, pixels, CENTRE_CROP, batch_size)
    return batches.map(lambda views, rows: (tf.squeeze(views, 1), rows)).prefetch(2)


def cached_evaluation_dataset(paths, pixels: Pixels, *, batch_size: int, space: CacheSpace):
    """`evaluation_dataset`, decoded in the first pass and cached: in memory, or in the folder, which must be empty."""
    batches = evaluation_dataset(paths, pixels, batch_size=batch_size)
    if view_cache.fits_in_memory(len(paths), pixels, space):
        return batches.cache().prefetch(2)
    if view_cache.has_space_for_views(len(paths), pixels, space):
        return batches.cache(str(space.folder / "evaluation")).prefetch(2)
    return batches


def multi_crop_dataset(paths, pixels: Pixels, crops: Crops, *, batch_size: int):
    """`evaluation_dataset` with several views of each picture: (at most batch, crops, height, width, channels)."""
    return _views_in_order(paths, pixels, crops, batch_size).prefetch(2)


def _views_in_order(paths, pixels: Pixels, crops: Crops, batch_size: int):
    batches, calls = _numbered_paths(paths).batch(batch_size), parallel_batches(batch_size)
    batches = batches.map(_batch_function(pixels, crops), num_parallel_calls=calls)
    return batches.filter(lambda _, rows: tf.size(rows) > 0)


@cache
def _batch_function(pixels: Pixels, crops: Crops):
    """From rows and paths (n,) to the views and rows of those that can be read. Cached, as traced graphs stay."""
    shape = crops.views, *pixels.shape, pixels.channels

    def load_batch(rows, paths):
        views, is_readable = np.empty((len(rows), *shape), np.uint8), np.zeros(len(rows), bool)

        def load(number):
            found = load_views(lambda: read_bytes(os.fsdecode(paths[number])), pixels, crops)
            if found is not None:
                views[number], is_readable[number] = found, True

        run_in_threads(load, len(rows))
        return (views, rows) if is_readable.all() else (views[is_readable], rows[is_readable])

    def batch(rows, paths):
        views, rows = tf.numpy_function(load_batch, (rows, paths), (tf.uint8, tf.int64), stateful=False)
        return tf.ensure_shape(views, (None, *shape)), tf.ensure_shape(rows, (None,))

    signature = [tf.TensorSpec((None,), tf.int64), tf.TensorSpec((None,), tf.string)]
    return tf.function(batch, input_signature=signature, autograph=False)


def validation_dataset(listing: Listing, pixels: Pixels, *, batch_size: int, space: CacheSpace):
    """`cached_evaluation_dataset`, repeated for `fit`, with `steps_per_epoch` steps a pass.

    Returns:
        A `tf.data.Dataset` of pictures, one-hot labels and weights (batch,), float32: the last batch is padded with
        pictures of weight 0, so that all batches can be divided among devices.
    """
    labels = tf.constant(listing.labels)

    def with_labels(pictures, rows):
        return pictures, tf.one_hot(tf.gather(labels, rows), len(listing.classes))

    batches = cached_evaluation_dataset(listing.paths, pixels, batch_size=batch_size, space=space)
    # `fit` stops after the last batch: one that is fetched ahead ends the first pass, without which nothing is cached
    return batches.map(with_labels).map(_pad_to(batch_size)).repeat().prefetch(2)


def validation_from_features(
    features: Sequence[view_cache.Array], rows: np.ndarray, labels: np.ndarray, *, batch_size: int
):
    """`validation_dataset` of features that a frozen part computed; arguments as of `training_from_features`."""

    def to_batch(rows, labels):
        return _gather(features, rows, None), labels

    dataset = without_autotuning(tf.data.Dataset.from_tensor_slices((rows, labels))).batch(batch_size)
    return dataset.map(to_batch).map(_pad_to(batch_size)).repeat().prefetch(2)


def _pad_to(batch_size: int):
    """From a batch of values and labels to a full batch with weights, which are 0 for the padding."""

    def pad_tensor(tensor, missing):
        padded = tf.pad(tensor, [(0, missing), *[(0, 0)] * (tensor.shape.rank - 1)])
        return tf.ensure_shape(padded, (batch_size, *tensor.shape[1:]))

    def pad(values, labels):
        count = tf.shape(labels)[0]
        weights = tf.cast(tf.range(batch_size) < count, tf.float32)
        values = tf.nest.map_structure(lambda value: pad_tensor(value, batch_size - count), values)
        return values, pad_tensor(labels, batch_size - count), weights

    return pad


def find_readable(paths, channels: int):
    """Decode every picture once, JPEGs at 1/8 scale.

    Yields:
        (row, shorter side in pixels) of each picture that can be decoded, in order.
    """

    def measure(row, path):
        picture, size = decode.decode_whole(decode.read_file(path), channels, cover=1)
        with tf.control_dependencies((picture,)):
            return row, tf.reduce_min(size)

    return _map_readable(_numbered_paths(paths), measure).as_numpy_iterator()


def measure_wait(dataset):
    """The same dataset, and a variable that sums the seconds its consumer has waited for it.

    The first of two zipped datasets is asked before the second one blocks, so its time stamp is that of the request.
    """
    with tf.device("CPU:0"):
        waited = tf.Variable(0.0, dtype=tf.float64, trainable=False)

    def now(_=None):
        return tf.numpy_function(time.perf_counter, (), tf.float64)  # `tf.timestamp` fails where determinism is on

    requests = tf.data.Dataset.counter().map(now)

    def add_wait(request, batch):
        waited.assign_add(now() - request)
        return batch

    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # it would ask ahead, and hide the wait
    return tf.data.Dataset.zip(requests, dataset).map(add_wait).with_options(options), waited
