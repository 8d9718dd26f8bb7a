"""A network on several devices: copied to each, trained as one, and taken back."""

import dataclasses

import keras
import tensorflow as tf

from transferkit.network import Network, copied
from transferkit.training.devices import Device


def placed(network: Network, device: Device) -> Network:
    """The network as the devices train it: a copy on each, kept equal. One device trains the network itself.

    Norms take their statistics over the whole batch, and each device draws dropout masks of its own, where Keras draws
    the same on all. Compile it within `device.strategy.scope()`, which a moving average of the weights needs.
    """
    if device.strategy is None:
        return network
    with device.strategy.scope():
        model = copied(network.model, synchronized=True)
    for layer in model.layers:
        if isinstance(getattr(layer, "seed_generator", None), keras.random.SeedGenerator):
            _draw_apart(layer.seed_generator)
    return dataclasses.replace(network, model=model)


def plain(network: Network, device: Device) -> Network:
    """A copy on one device of what `placed` gave, with its weights as they are now: to evaluate, and to save."""
    if device.strategy is None:
        return network
    return dataclasses.replace(network, model=copied(network.model, synchronized=False))


def _draw_apart(generator: keras.random.SeedGenerator):
    """Make each replica draw other seeds; the first one draws those of a single device."""
    draw = generator.next

    def draw_own(ordered=True):
        seed, context = draw(ordered), tf.distribute.get_replica_context()
        if context is None:  # Keras looks at shapes, outside of any replica
            return seed
        return seed + tf.cast(tf.stack([context.replica_id_in_sync_group, 0]), seed.dtype)

    generator.next = draw_own
