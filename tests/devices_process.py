"""A process of its own for `test_devices`, as devices are settled at its start: two and one learn the same."""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from transferkit.training.distributed import devices, replicas
from transferkit.zoo import layers


def network(dropout: float) -> keras.Model:
    keras.utils.set_random_seed(0)
    pictures = keras.Input((8, 8, 3), name="pictures")
    x = keras.layers.Rescaling([1 / 60] * 3, [-2.0] * 3, name="pixels")(pictures)
    x = layers.relu(layers.batch_norm(layers.conv(x, 8, 3, 2, name="conv"), name="bn"), name="relu")
    x = keras.layers.Dropout(dropout, seed=1, name="dropout")(layers.pooled(x))
    return keras.Model(pictures, keras.layers.Dense(3, name="fc")(x))


def batches() -> tf.data.Dataset:
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (4, 8, 8, 8, 3)).astype("uint8")
    labels = np.eye(3, dtype="float32")[draw.integers(0, 3, (4, 8))]
    return tf.data.Dataset.from_tensor_slices((pictures, labels)).repeat()


def learn(model: keras.Model, device: devices.Device) -> list[float]:
    with replicas.strategy_scope(device):
        on_tensorflow = keras.backend.backend() == "tensorflow"
        optimizer = keras.optimizers.SGD(0.05, momentum=0.9, use_ema=on_tensorflow)
        model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True))
    data = replicas.distribute_batches(batches(), device, 8)
    return model.fit(data, epochs=2, steps_per_epoch=4, shuffle=False, verbose=0).history["loss"]


def masks(model: keras.Model, device: devices.Device) -> list[list[float]]:
    """What dropout leaves of 64 ones on each device."""
    layer, ones = model.get_layer("dropout"), tf.ones((64,))

    @tf.function
    def step():
        return device.strategy.run(lambda: layer(ones, training=True))

    return [part.numpy().tolist() for part in device.strategy.experimental_local_results(step())]


def main():
    both_devices = devices.choose_device("cpu:2")
    assert devices.choose_device("cpu:2") == both_devices, "another strategy would die on the first one's collectives"
    one_device = devices.choose_device("cpu")
    alone = network(0.0)
    one = learn(alone, one_device)
    devices.choose_device("cpu:2")
    both = replicas.replicate_model(network(0.0), both_devices)
    two = learn(both, both_devices)
    pairs = zip(alone.weights, both.weights, strict=True)
    answer = {
        "device": [both_devices.name, both_devices.replicas, both_devices.strategy is not None],
        "losses": [one, two],
        "apart": max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs),
        "masks": masks(replicas.replicate_model(network(0.5), both_devices), both_devices)
        if both_devices.strategy
        else [],
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
