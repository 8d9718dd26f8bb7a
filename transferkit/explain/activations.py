"""What a layer gives for a picture, and the kernels of the first layer."""

from collections.abc import Sequence

import keras
import numpy as np

from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.explain import map_layers
from transferkit.explain.batches import map_batches
from transferkit.lookup import UnknownName, count_noun


def activations(model: keras.Model, pictures: np.ndarray, layers: Sequence[str]) -> list[np.ndarray]:
    """The maps of layers.

    Args:
        model: pictures (n, h, w, c) in 0..255 to logits.
        pictures: (n, h, w, c), 0..255.
        layers: their names, each of a layer with a map.

    Returns:
        (n, height, width, maps) of each layer, float32.

    Raises:
        UnknownName: the layer is not known, or gives no map.

    Example:
        >>> activations(model, pictures, ["stage1"])[0].shape  # doctest: +SKIP
        (8, 56, 56, 64)
    """
    part = fold_batchnorm(keras.Model(model.input, [map_layers.find_map(model, layer) for layer in layers]))
    # Keras gives the single output of a list without the list
    return map_batches(lambda batch: keras.tree.flatten(part.predict_on_batch(batch)), np.asarray(pictures, "float32"))


def rank_maps(maps: np.ndarray) -> np.ndarray:
    """The numbers of the maps (height, width, maps) of one picture, the largest mean absolute value first."""
    return np.argsort(-np.abs(maps).mean((0, 1)), kind="stable")


def filters(model: keras.Model, *, layer: str = "") -> np.ndarray:
    """The kernels of a convolution that sees the picture's own channels, as small pictures.

    Args:
        model: a flat model.
        layer: its name; by default the first convolution.

    Returns:
        (filters, height, width, channels), float32, in the order of the picture's channels; of a depthwise convolution
        (filters, height, width, 1).

    Raises:
        UnknownName: there is no such convolution, or its kernels have other channels than 1 or 3.

    Source: Krizhevsky et al. 2012, figure 3.
    """
    found = model.get_layer(find_kernels(model, layer))
    kernel = np.asarray(found.kernel, "float32")
    if isinstance(found, keras.layers.DepthwiseConv2D):
        kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
    return kernel.transpose(3, 0, 1, 2)


def find_kernels(model: keras.Model, layer: str = "") -> str:
    """The name of the convolution whose kernels `filters` gives."""
    kinds = keras.layers.Conv2D, keras.layers.DepthwiseConv2D
    convolutions = {each.name: each for each in model.layers if isinstance(each, kinds)}
    if not convolutions:
        raise UnknownName(f"{model.name} has no convolution, so it has no filters to look at.")
    name = layer or next(iter(convolutions))
    if name not in convolutions:
        last = map_layers.find_output(model, name)  # raises for a name that is not known
        raise UnknownName(
            f"{layer} of {model.name} gives {last.shape[1:]} and is no convolution: the first is "
            f"{next(iter(convolutions))}."
        )
    found = convolutions[name]
    channels = 1 if isinstance(found, keras.layers.DepthwiseConv2D) else found.kernel.shape[2]
    if channels not in (1, 3):
        raise UnknownName(
            f"The kernels of {name} have {count_noun(channels, 'channel')}, which are no colours: the filters of "
            f"{next(iter(convolutions))} are pictures, and --method activations shows what {name} gives."
        )
    return name
