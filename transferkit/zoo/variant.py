"""The record a family's table holds for each of its networks."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """One network of the papers.

    Attributes:
        body: features = body(normalised pictures); both are Keras tensors, the result is the layer `pooled`.
        head: name of the last dense layer, as the public checkpoints call it.
        params: trainable parameters with 1000 classes.
        multiply_adds: of convolutions and dense layers at the native size, batch 1.
        features: width of `pooled`.
        size: native side in pixels.
    """

    body: Callable
    head: str
    params: int
    multiply_adds: int
    features: int
    size: int = 224
