"""The layers of a network whose output is a map (height, width, channels), by name."""

import keras

from transferkit.explain.geometry import Layer, measure_layers
from transferkit.lookup import UnknownName
from transferkit.network import Network, cut_points, find_output


def find_map(model: keras.Model, layer: str):
    """The symbolic output (n, height, width, channels) of a layer, or of the last layer with a prefix.

    Args:
        layer: its name; "" is the last layer before the pooling.

    Raises:
        UnknownName: there is no such layer, or its output is no map; the last map is named.
    """
    output = find_output(model, layer or find_last_map(model))
    if len(output.shape) != 4:
        kind = f"a vector of {output.shape[-1]:,} numbers" if len(output.shape) == 2 else f"an array {output.shape[1:]}"
        raise UnknownName(
            f"{layer} of {model.name} gives {kind}, not a map of height x width: the last map is "
            f"{find_last_map(model)}."
        )
    return output


def find_record(network: Network, layer: str) -> Layer:
    """The geometry of the layer that `find_map` finds."""
    output = find_map(network.model, layer)
    name = next(each.name for each in network.model.layers if each.output is output)
    return next(each for each in measure_layers(network.model, network.pixels.shape) if each.name == name)


def check_map(model: keras.Model, layer: str, number: int):
    """Raise `UnknownName` if a layer has no map of this number."""
    count = find_map(model, layer).shape[-1]
    if not 0 <= number < count:
        raise UnknownName(f"{layer} of {model.name} has no map {number}: expected 0 to {count - 1}.")


def find_last_map(model: keras.Model) -> str:
    """The name of the last layer that gives a map of more than one place.

    Raises:
        UnknownName: no layer does.
    """
    for layer in reversed(model.layers):
        output = layer.output
        if is_map(layer) and output.shape[1:3] != (1, 1) and not _is_picture(layer, model):
            return layer.name
    raise UnknownName(
        f"{model.name} has no layer that gives a map of height x width: try --method saliency or occlusion."
    )


def is_map(layer) -> bool:
    return not isinstance(layer.output, (list, tuple, dict)) and len(layer.output.shape) == 4


def _is_picture(layer, model) -> bool:
    """Whether a layer's output is the picture itself, normalised or not."""
    return isinstance(layer, (keras.layers.InputLayer, keras.layers.Rescaling))


def list_steps(model: keras.Model, most: int = 10) -> list[str]:
    """The layers at which to look at a network step by step: its cut points, else some of its layers with weights."""
    cuts = [name for name in cut_points(model) if is_map(model.get_layer(name))]
    names = cuts or [layer.name for layer in model.layers if layer.weights and is_map(layer)]
    step = -(-len(names) // most)
    return names[::-1][:: max(step, 1)][::-1]
