"""A process of its own for `test_devices`: two devices and one learn the same. Prints figures as JSON."""

import json
import sys
from contextlib import nullcontext

import keras
import numpy as np
import tensorflow as tf

from transferkit.network import Network
from transferkit.pixels import Pixels
from transferkit.training import devices, mirrored
from transferkit.training.devices import Device
from transferkit.zoo import layers

PIXELS = Pixels(crop=8, resize=9)
ONE = Device("CPU", False, "float32")


def network(dropout: float) -> Network:
    keras.utils.set_random_seed(0)
    pictures = keras.Input((8, 8, 3), name="pictures")
    x = keras.layers.Rescaling([1 / 60] * 3, [-2.0] * 3, name="pixels")(pictures)
    x = layers.relu(layers.norm(layers.conv(x, 8, 3, 2, name="conv"), name="bn"), name="relu")
    x = keras.layers.Dropout(dropout, seed=1, name="dropout")(layers.pooled(x))
    model = keras.Model(pictures, keras.layers.Dense(3, name="fc")(x))
    return Network(model, PIXELS, ("a", "b", "c"), "fc", "small")


def batches(part=slice(None)):
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (32, 8, 8, 3)).astype("uint8")
    labels = np.eye(3, dtype="float32")[draw.integers(0, 3, 32)]
    steps = [(pictures[at : at + 8][part], labels[at : at + 8][part]) for at in range(0, 32, 8)]
    return tf.data.Dataset.from_tensor_slices(tuple(np.stack(each) for each in zip(*steps, strict=True))).repeat()


def learn(model, strategy=None, data=None, epochs=2, callbacks=()):
    with strategy.scope() if strategy else nullcontext():
        optimizer = keras.optimizers.SGD(0.05, momentum=0.9, use_ema=keras.backend.backend() == "tensorflow")
        model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    data = data or batches()
    seen = model.fit(data, epochs=epochs, steps_per_epoch=4, shuffle=False, verbose=0, callbacks=list(callbacks))
    return seen.history["loss"]


def masks(network: Network, device: Device) -> list:
    """Which of 64 values dropout leaves, on each device."""
    layer, ones = network.model.get_layer("dropout"), tf.ones((64,))

    @tf.function
    def step():
        return device.strategy.run(lambda: layer(ones, training=True))

    return [part.numpy().tolist() for part in device.strategy.experimental_local_results(step())]


def main():
    device = devices.choose("cpu:2")
    assert devices.choose("cpu:2") == device, "another strategy would die on the first one's collectives"
    if keras.backend.backend() == "jax":
        devices.choose("cpu")
        alone = network(0.0)
        one = learn(alone.model)
        devices.choose("cpu:2")
        both = network(0.0)
        assert len(both.model.trainable_weights[0].value.sharding.device_set) == 2
    else:
        alone = network(0.0)
        both = mirrored.placed(alone, device)
        one = learn(alone.model)
    two = learn(both.model, device.strategy)
    back = mirrored.plain(both, device)
    pairs = zip(alone.model.weights, back.model.weights, strict=True)
    json.dump(
        {
            "device": [device.name, device.replicas, device.strategy is not None],
            "losses": [one, two],
            "apart": max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs),
            "synchronized": [each.model.get_layer("bn").synchronized for each in (both, back)],
            "masks": masks(mirrored.placed(network(0.5), device), device) if device.strategy else [],
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
