"""The record a family's table holds for each of its networks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from transferkit.pixels import Pixels


@dataclass(frozen=True)
class Variant:
    """One network of the papers.

    Attributes:
        network: logits = network(normalised pictures, num_classes, **knobs); Keras tensors in and out.
        head: name of the last layer with weights, as the public checkpoints call it.
        params: trainable parameters with the paper's classes.
        multiply_adds: of convolutions and dense layers at the native size, batch 1.
        features: width of `pooled`.
        head_layers: cut points before `pooled` whose averages a new head, fitted to few pictures, sees beside it.
        pixels: what the paper fed it; a public weight set has its own.
        classes: the paper's number of classes.
        minimum: least side of a picture in pixels.
        fixed: whether hidden dense layers tie the network to one size, to be named when it is built.
        grows_from: a smaller network that this one may start from; `grown` is {layer: the smaller one's layer}.
        knobs: what the papers vary, as {name: values}, the default first; a lone number is the default of a share.
            The counts above are those of the defaults.
    """

    network: Callable
    head: str
    params: int
    multiply_adds: int
    features: int
    pixels: Pixels = Pixels()
    head_layers: tuple[str, ...] = ()
    classes: int = 1000
    minimum: int = 1
    fixed: bool = False
    grows_from: str = ""
    grown: Mapping[str, str] = field(default_factory=dict)
    knobs: Mapping[str, tuple | float] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Native side in pixels."""
        return self.pixels.crop
