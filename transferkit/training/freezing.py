"""What of a network learns."""

import keras

from transferkit.lookup import UnknownName
from transferkit.network import Network, output_of


def release(network: Network, unfreeze: str, *, bn: str = "frozen") -> list[str]:
    """Freeze a network but for a part.

    Batch norm is frozen layer by layer: a frozen layer uses its stored statistics and does not move them, and stays so
    inside a `fit`, which `base(x, training=False)` does not promise in Keras 3. Compile after this.

    Args:
        unfreeze: "head", "last-stage", "last-2", "all", or a layer or torch prefix: it and all after it learn.
        bn: "frozen" keeps batch norm frozen in the released part too, "train" does not.

    Returns:
        The names of the layers that learn.

    Raises:
        UnknownName: no layer is called so.
    """
    layers = network.model.layers
    start = _first(network, unfreeze)
    for position, layer in enumerate(layers):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = position >= start and not (is_norm and bn == "frozen")
    return [layer.name for layer in layers if layer.trainable_weights]


def _first(network: Network, unfreeze: str) -> int:
    """The position of the first layer that learns."""
    names = [layer.name for layer in network.model.layers]
    if unfreeze == "all":
        return 0
    if unfreeze == "head":
        return names.index(network.head)
    if unfreeze in ("last-stage", "last-2"):
        stages = [position for position, name in enumerate(names) if name.startswith("stage")]
        back = 2 if unfreeze == "last-stage" else 3
        if len(stages) < back:
            raise UnknownName(f"{network.base} has {len(stages)} stages: name a layer in place of {unfreeze!r}.")
        return stages[-back] + 1
    output_of(network.model, unfreeze)  # words the sentence for a name that is not there
    return next(i for i, name in enumerate(names) if name == unfreeze or name.startswith(f"{unfreeze}."))
