"""Inspect a network: the sizes, costs and receptive fields of its layers."""

from dataclasses import dataclass, replace

from transferkit import adopt, base_names, models, zoo
from transferkit.explain.geometry import Layer, measure_layers, sum_costs
from transferkit.lookup import as_text
from transferkit.network import Network, cut_points, with_size

UNKNOWN_PIXELS = "the scaling of pixels is unknown: commands that read pictures need --pixels"


@dataclass(frozen=True, repr=False)
class Inspection:
    """A network and its layers at one size of the picture.

    Attributes:
        name: name of the network as it was given; with its knobs if it is in the zoo.
        network: the network; with fresh weights if it is in the zoo.
        layers: records of its layers.
    """

    name: str
    network: Network
    layers: tuple[Layer, ...]

    def __repr__(self):
        params, multiply_adds = sum_costs(self.layers)
        costs = f"{params:,} parameters, {multiply_adds:,} multiply-adds"
        return f"<Inspection: {self.name}, {len(self.layers):,} layers, {costs}>"

    def to_dict(self, *, cuts_only: bool = False) -> dict:
        """`name`, `params`, `multiply_adds` of one picture, and a dict for each layer, or for the cut points only."""
        params, multiply_adds = sum_costs(self.layers)
        cuts = cut_points(self.network.model)
        rows = [
            {
                "name": layer.name,
                "kind": layer.kind,
                "output": list(layer.output),
                "params": layer.params,
                "multiply_adds": layer.multiply_adds,
                "receptive_field": layer.receptive_field,
                "stride": layer.stride,
            }
            for layer in self.layers
            if not cuts_only or layer.name in cuts
        ]
        return {"name": self.name, "params": params, "multiply_adds": multiply_adds, "layers": rows}


def inspect(base: str, size: int | str | None = None) -> Inspection:
    """Measure the layers of a network. Networks of the zoo and of `keras.applications` need no weights.

    Args:
        base: a network of `list_models`, a run folder, the file of a Keras model, or `keras:NAME`.
        size: size of the picture in pixels, or "192x320", height x width; by default the network's own.

    Raises:
        UnknownName, FileNotFoundError, ValueError: the network is not found, cannot be read, or cannot have this
            size.

    Example:
        >>> [layer.name for layer in inspect("lenet5").layers if layer.params][:2]
        ['c1', 's2']
    """
    base = as_text(base, "base")
    is_zoo = zoo.is_network(base)
    fresh = is_zoo or base_names.is_application(base)  # shapes do not depend on the values of weights
    weights = "none" if fresh else "imagenet"
    try:
        network = models.load(base, weights)
    except adopt.UnknownPixels:  # nor on the scaling of pixels
        network = models.load(base, weights, pixels="raw")
        lines = tuple(line for line in network.loaded if "as told" not in line)
        network = replace(network, loaded=(*lines, UNKNOWN_PIXELS))
    own_size = zoo.variant(base).size if is_zoo else network.pixels.size
    network = with_size(network, own_size if size is None else size)
    name = zoo.spell(base) if is_zoo else base
    return Inspection(name, network, measure_layers(network.model, network.pixels.shape))
