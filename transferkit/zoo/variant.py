"""The record of a network in the table of its family."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from transferkit.pixels import Pixels
from transferkit.zoo.knobs import Knob


@dataclass(frozen=True)
class Variant:
    """One network: its architecture and its facts.

    Attributes:
        build_logits: function build_logits(normalised pictures, num_classes, **knobs) from a Keras tensor to a tensor
            of logits; with auxiliary heads to a dict of logits, {"logits": ..., "aux1": ...}.
        head: name of the last layer with weights, as the public checkpoints call it.
        params: trainable parameters with the paper's number of classes.
        multiply_adds: multiply-adds of convolutions and dense layers for one picture of the native size.
        features: width of `pooled`.
        head_layers: cut points before `pooled` whose averages a head fitted by logistic regression uses too.
        pixels: pixel convention of the paper; a public weight set has its own.
        classes: the paper's number of classes.
        minimum: minimum size of a picture in pixels.
        minimum_of: function minimum_of(knobs) that gives a larger minimum size for some values of the knobs, else 0.
        fixed_with: knob and value with which the network takes pictures of a fixed size only, because of hidden
            dense layers: ("convolutional_head", False); () if it always does; None if it takes pictures of any size.
        auxiliary_heads: heads that are used in training only, as {name: weight in the loss}. The names of their layers
            begin with `name.`.
        grows_from: a smaller network whose weights may initialise this one.
        grown: the layers that these weights initialise, as {layer: layer of the smaller network}.
        knobs: what may be varied, of `knobs.choose`. The counts above are those of the defaults.
    """

    build_logits: Callable
    head: str
    params: int
    multiply_adds: int
    features: int
    pixels: Pixels = Pixels()
    head_layers: tuple[str, ...] = ()
    classes: int = 1000
    minimum: int = 1
    minimum_of: Callable[[Mapping], int] | None = None
    fixed_with: tuple[str, bool] | tuple[()] | None = None
    auxiliary_heads: Mapping[str, float] = field(default_factory=dict)
    grows_from: str = ""
    grown: Mapping[str, str] = field(default_factory=dict)
    knobs: Mapping[str, Knob] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Native size in pixels."""
        return min(self.pixels.shape)

    @property
    def loss_weights(self) -> dict[str, float]:
        """Loss weights of the outputs of a model with auxiliary heads: {"logits": 1.0, "aux1": 0.3}."""
        return {"logits": 1.0, **self.auxiliary_heads}

    def minimum_size(self, knobs: Mapping) -> int:
        """Minimum size of a picture in pixels, with these knobs."""
        return max(self.minimum, self.minimum_of(knobs) if self.minimum_of else 0)

    def has_fixed_size(self, knobs: Mapping) -> bool:
        """Whether the network takes pictures of a single size only, with these knobs."""
        if not self.fixed_with:
            return self.fixed_with is not None
        return knobs[self.fixed_with[0]] == self.fixed_with[1]
