"""Activation maximisation: a picture made to excite a class or a map of a layer."""

import keras
import numpy as np
from keras import ops

from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.data import lazy_tensorflow as tf
from transferkit.explain.batches import compiled
from transferkit.lookup import UnknownName
from transferkit.network import find_output

RATE = 6.0  # of 0..255 for one step, falling to a tenth
NOISE = 8.0  # standard deviation of the first picture's pixels


def maximise(
    model: keras.Model,
    units,
    *,
    layer: str = "",
    steps: int = 200,
    jitter: int = 8,
    variation: float = 0.05,
    colour=127.5,
    shape: tuple[int, int, int] = (224, 224, 3),
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Make pictures that excite classes, or maps of a layer, by gradient ascent from noise.

    Each step moves a picture by its gradient, divided by its root mean square, after a random shift; total variation
    keeps neighbours alike.

    Args:
        model: pictures (n, h, w, c) in 0..255 to logits.
        units: classes, or maps of the layer.
        layer: a layer with maps or a vector; "" is the logits. The mean of a map is what is excited.
        steps: of the ascent.
        jitter: largest shift in pixels.
        variation: weight of the total variation against the score.
        colour: 0..255, from which it starts, one number or one for each channel.
        shape: (h, w, c) of the pictures.
        seed: of the noise and the shifts.

    Returns:
        Pictures (units, h, w, c), float32 in 0..255, and the scores (units, 2) of the noise and of the picture.

    Raises:
        UnknownName: there is no such layer or unit.

    Source: Erhan et al. 2009, section 3; Mahendran and Vedaldi 2016, section 4 (jitter, total variation).
    """
    output = find_output(model, layer) if layer else model.output
    if max(units) >= output.shape[-1] or min(units) < 0:
        raise UnknownName(
            f"{layer or model.name} has {output.shape[-1]:,} units, 0 to {output.shape[-1] - 1}, not {max(units)}."
        )
    score, climb = _ascent(keras.Model(model.input, output), units, variation)
    random = np.random.default_rng(seed)
    pictures = np.clip(np.asarray(colour) + random.normal(0, NOISE, (len(units), *shape)), 0, 255).astype("float32")
    before = np.asarray(score(pictures))
    for step in range(steps):
        shift = tuple(random.integers(-jitter, jitter + 1, 2))
        direction = climb(ops.convert_to_tensor(np.roll(pictures, shift, (1, 2))))
        rate = RATE * (1 - 0.9 * step / steps)
        pictures = np.clip(pictures + rate * np.roll(direction, (-shift[0], -shift[1]), (1, 2)), 0, 255)
    return pictures, np.stack([before, np.asarray(score(pictures))], axis=1)


def _ascent(model: keras.Model, units, variation: float):
    """A function from pictures to their scores, and a compiled one to the direction in which to move them."""
    folded, chosen = fold_batchnorm(model), np.eye(model.output.shape[-1], dtype="float32")[list(units)]

    def score(pictures):
        values = folded(pictures, training=False)
        return ops.sum(ops.mean(values, axis=tuple(range(1, len(values.shape) - 1))) * chosen, axis=-1)

    def climb(pictures):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(pictures)
            scores = score(pictures)
        with tf.GradientTape(watch_accessed_variables=False) as rough:
            rough.watch(pictures)
            roughness = tf.image.total_variation(pictures)
        return _normalise(tape.gradient(scores, pictures)) - variation * rough.gradient(roughness, pictures)

    return score, compiled(climb)


def _normalise(gradient):
    size = ops.sqrt(ops.mean(ops.square(gradient), axis=(1, 2, 3), keepdims=True))
    return gradient / ops.maximum(size, 1e-12)
