"""Data parallelism: a model is replicated on each device, and each replica gets its part of a batch."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import chain

import keras
import numpy as np
import tensorflow as tf

from transferkit import keras_internals
from transferkit.keras_internals import flatten_layers
from transferkit.network import clone_layer, uncompiled
from transferkit.training.distributed.devices import Device
from transferkit.training.fitting.freezing import copy_frozen


def replicate_model(model: keras.Model, device: Device) -> keras.Model:
    """A copy of a model that is mirrored on all devices; on a single device, the model itself.

    The copy's variables are in the order of the model's. Batch norm computes statistics over the whole batch, and each
    replica draws its own dropout masks; by default, Keras draws the same on all.
    """
    if device.strategy is None:
        return model
    with device.strategy.scope():
        copy = keras.models.clone_model(uncompiled(model), clone_function=clone_layer)
    for new, old in zip(copy.variables, model.variables, strict=True):
        new.assign(np.asarray(old))
        if new.trainable != old.trainable:  # a norm's scale and shift, which its layer's config does not hold
            new.trainable = old.trainable
    copy_frozen(model, copy)
    for layer in chain.from_iterable(map(flatten_layers, copy.layers)):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
        for generator in keras_internals.seed_generators(layer):
            _seed_by_replica(generator)
    return copy


def _seed_by_replica(generator: keras.random.SeedGenerator):
    """Make each replica draw other seeds; the first one draws those of a single device."""

    def seed_of_replica(seed):
        context = tf.distribute.get_replica_context()
        if context is None:  # Keras infers shapes, outside of any replica
            return seed
        return seed + tf.cast(tf.stack([context.replica_id_in_sync_group, 0]), seed.dtype)

    keras_internals.transform_seeds(generator, seed_of_replica)


def strategy_scope(device: Device):
    """The context in which a replicated model is compiled: moving averages must be created under its strategy."""
    return nullcontext() if device.strategy is None else device.strategy.scope()


def distribute_batches(batches: tf.data.Dataset, device: Device, size: int):
    """Divide this worker's batches of `size` pictures evenly among its devices."""
    if device.strategy is None:
        return batches
    parts = batches.rebatch(size * device.shard[1] // device.replicas, drop_remainder=True)
    return device.strategy.distribute_datasets_from_function(lambda _: parts)


def shard_batches(batches: tf.data.Dataset, device: Device, size: int) -> tf.data.Dataset:
    """This worker's part of each batch of `size` pictures."""
    worker, workers = device.shard
    return batches.rebatch(size // workers, drop_remainder=True).shard(workers, worker) if workers > 1 else batches


@contextmanager
def patched_fit(model: keras.Model, device: Device, batches: tf.data.Dataset) -> Iterator[None]:
    """In this context, `fit` of a replicated and compiled model works; several workers need a patched Keras for it."""
    patched = keras_internals.patched_for_several_workers
    with patched(model, batches.element_spec) if device.shard[1] > 1 else nullcontext():
        yield
