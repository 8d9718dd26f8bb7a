"""A model on several devices, of one machine or of many: copied to each, and fed its part of each batch."""

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
from transferkit.training.fitting.freezing import same_frozen


def placed(model: keras.Model, device: Device) -> keras.Model:
    """A model as the devices train it: a copy on each, kept equal. One device trains the model itself.

    Its variables come in the order of the model's. Norms take their statistics over the whole batch, and each device
    draws dropout masks of its own, where Keras draws the same on all.
    """
    if device.strategy is None:
        return model

    with device.strategy.scope():
        copy = keras.models.clone_model(uncompiled(model), clone_function=clone_layer)
    for new, old in zip(copy.variables, model.variables, strict=True):
        new.assign(np.asarray(old))
        if new.trainable != old.trainable:  # of a norm's scale and shift, which its layer's config says nothing of
            new.trainable = old.trainable
    same_frozen(copy, model)
    for layer in chain.from_iterable(map(flatten_layers, copy.layers)):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
        for generator in keras_internals.seed_generators(layer):
            _draw_apart(generator)
    return copy


def _draw_apart(generator: keras.random.SeedGenerator):
    """Make each replica draw other seeds; the first one draws those of a single device."""

    def own_seed(seed):
        context = tf.distribute.get_replica_context()
        if context is None:  # Keras looks at shapes, outside of any replica
            return seed
        return seed + tf.cast(tf.stack([context.replica_id_in_sync_group, 0]), seed.dtype)

    keras_internals.transform_seeds(generator, own_seed)


def scope(device: Device):
    """Where a placed model is compiled: a moving average made elsewhere is of another strategy."""
    return nullcontext() if device.strategy is None else device.strategy.scope()


def spread(batches: tf.data.Dataset, device: Device, size: int):
    """Batches of `size` pictures of this worker, parted evenly among its devices."""
    if device.strategy is None:
        return batches
    parts = batches.rebatch(size * device.shard[1] // device.replicas, drop_remainder=True)
    return device.strategy.distribute_datasets_from_function(lambda _: parts)


def own_part(batches: tf.data.Dataset, device: Device, size: int) -> tf.data.Dataset:
    """This worker's part of each batch of `size` pictures."""
    worker, workers = device.shard
    return batches.rebatch(size // workers, drop_remainder=True).shard(workers, worker) if workers > 1 else batches


@contextmanager
def fitting(model: keras.Model, device: Device, batches: tf.data.Dataset) -> Iterator[None]:
    """In this context, `fit` of a placed and compiled model works, which with several workers it else does not."""
    patched = keras_internals.patched_for_several_workers
    with patched(model, batches.element_spec) if device.shard[1] > 1 else nullcontext():
        yield
