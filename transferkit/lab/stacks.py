"""Plain networks of any depth, for pictures in 0..255."""

from collections.abc import Sequence

import keras


def build_stack(depth: int, *, width: int = 16, side: int = 16, heads: Sequence[int] = ()) -> keras.Model:
    """Convolutions of 3x3 with a ReLU and no norm, the first with stride 2; then a pool of 2x2 and logits.

    Args:
        depth: number of convolutions.
        width: maps of each.
        side: of a picture in pixels.
        heads: the numbers of convolutions, from 1, that have a classifier of their own. The outputs are then a dict
            `{"aux1": ..., "aux2": ..., "logits": ...}`.
    """
    pictures = keras.Input((side, side, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(pictures)
    outputs: dict = {}
    for number in range(1, depth + 1):
        facts = {"strides": 2 if number == 1 else 1, "kernel_initializer": "he_normal", "name": f"conv{number}"}
        x = keras.layers.Conv2D(width, 3, padding="same", activation="relu", **facts)(x)
        if number in heads:
            outputs[f"aux{len(outputs) + 1}"] = _classify(x, f"aux{len(outputs) + 1}")
    logits = _classify(x, "logits")
    return keras.Model(pictures, outputs | {"logits": logits} if heads else logits)


def _classify(x, name: str):
    flat = keras.layers.Flatten()(keras.layers.AveragePooling2D(2)(x))
    return keras.layers.Dense(10, name=name)(flat)
