"""What happens inside a network: gradients by layer, and what units do on pictures."""

import keras
import numpy as np

from transferkit.data import lazy_tensorflow as tf


def gradient_norms(model: keras.Model, pictures: np.ndarray, labels: np.ndarray, *, weights=None) -> dict[str, float]:
    """The Euclidean norm of the gradient of the loss by the kernel of each convolution, in the order of the layers.

    Batch norm uses the statistics of these pictures, as in training, and dropout is on.

    Args:
        model: pictures (n, h, w, c) in 0..255 to logits, or to a dict of logits.
        labels: (n,).
        weights: of the outputs in the loss, by name, if there are several.
    """
    kernels = {each.name: each.kernel for each in model.layers if isinstance(each, keras.layers.Conv2D)}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        given = model(np.asarray(pictures, "float32"), training=True)
        total = sum(weight * loss(labels, given[name]) for name, weight in weights.items()) if weights else None
        total = loss(labels, given) if total is None else total
    gradients = tape.gradient(total, [kernel.value for kernel in kernels.values()])
    return {
        name: 0.0 if each is None else float(np.linalg.norm(each))
        for name, each in zip(kernels, gradients, strict=True)
    }


def unit_values(model: keras.Model, pictures: np.ndarray, layers: list[str]) -> dict[str, np.ndarray]:
    """What the maps of layers are on pictures, (pictures * places, maps), by layer."""
    part = keras.Model(model.input, {name: model.get_layer(name).output for name in layers})
    maps = part(np.asarray(pictures, "float32"), training=False)  # `predict` would compile for each call
    return {name: np.reshape(each, (-1, each.shape[-1])) for name, each in maps.items()}


def dead_units(values: np.ndarray) -> float:
    """The fraction of maps that are nowhere positive, of values (n, maps) after a ReLU."""
    return float(np.mean(~(values > 0).any(0)))
