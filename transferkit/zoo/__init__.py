"""The networks, architecture only. A family is a module here with a table `VARIANTS`; nothing else lists them."""

import functools
import importlib
import pkgutil

from transferkit.lookup import pick
from transferkit.pixels import Pixels
from transferkit.zoo import layers
from transferkit.zoo.variant import Variant


@functools.cache
def variants() -> dict[str, Variant]:
    """The tables of all families, by network name. Loads no Keras."""
    table = {}
    for module in pkgutil.iter_modules(__path__):
        table |= vars(importlib.import_module(f"{__name__}.{module.name}")).get("VARIANTS", {})
    return table


def variant(name: str) -> Variant:
    return pick(variants(), name, "network")


def build(name: str, *, pixels: Pixels, num_classes: int):
    """Build a network with fresh weights.

    Args:
        name: a name of `variants()`.
        pixels: the normalisation its first layer does.
        num_classes: width of the last layer.

    Returns:
        A flat functional `keras.Model` from pictures (n, height, width, 3), RGB in 0..255, to float32
        logits (n, num_classes). All layers are named; `stem`, `stage1`... and `pooled` are the cut points.
    """
    import keras

    row = variant(name)
    scale = [1 / std for std in pixels.std]
    offset = [-mean / std for mean, std in zip(pixels.mean, pixels.std, strict=True)]
    pictures = keras.Input((None, None, len(scale)), name="pictures")
    # Rescaling, not Normalization: the constants of the latter become inputs of an ONNX export
    x = keras.layers.Rescaling(scale, offset, dtype="float32", name="pixels")(pictures)
    logits = layers.head(row.body(x), num_classes, name=row.head)
    return keras.Model(pictures, logits, name=name)
