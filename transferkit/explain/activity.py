"""What the layers of a network do on pictures: dead units, zeros, activations, and gradients of the loss.

A unit is a map, or one number of a vector. It is dead if its activation is never positive on the pictures: a ReLU then
passes no gradient to it (Maas et al. 2013, "Rectifier nonlinearities improve neural network acoustic models", section
2). Gradients that shrink or grow from layer to layer are what Glorot and Bengio 2010, "Understanding the difficulty of
training deep feedforward neural networks", section 4.2, look at.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops
from matplotlib.figure import Figure

from transferkit.data import fonts
from transferkit.data import lazy_tensorflow as tf
from transferkit.evaluation.plots import shorten_name
from transferkit.evaluation.predict import choose_batch_size
from transferkit.explain.batches import compiled
from transferkit.lookup import count_noun
from transferkit.network import Network, copy_model, for_inference

PICTURES = 256  # of a folder that are looked at
MANY = 0.25  # of a layer's units: a share of dead ones that is warned of
MOST_NAMED = 5  # layers in the warning
RECTIFIERS = ("relu", "relu6", "gelu", "silu", "hardsilu", "mish")  # with hardly any gradient below 0
SLOPED = ("leakyrelu", "prelu", "elu", "selu", "celu", "softplus", "softsign")
ACTIVATIONS = (*RECTIFIERS, *SLOPED, "sigmoid", "hardsigmoid", "tanh", "hardtanh", "softmax")


@dataclass(frozen=True)
class LayerActivity:
    """What one layer does on some pictures.

    Attributes:
        layer, kind: its name and its class.
        activation: what it applies, as "relu", without underscores; "" for a layer without any.
        largest: (units,) float32, the largest output of each unit on all pictures and places.
        zeros: share of its outputs that are 0; None without an activation.
        mean, deviation: of all its outputs.
        gradient: length of the gradient of the mean cross-entropy by its weights; None without weights or labels.
    """

    layer: str
    kind: str
    activation: str
    largest: np.ndarray
    zeros: float | None
    mean: float
    deviation: float
    gradient: float | None

    @property
    def dead(self) -> np.ndarray | None:
        """(units,) bool, those whose output is never positive; None for an activation that is no rectifier."""
        return self.largest <= 0 if self.activation in RECTIFIERS else None

    @property
    def dead_share(self) -> float | None:
        return None if self.dead is None else float(self.dead.mean())


def measure_activity(network: Network, pictures: np.ndarray, labels: np.ndarray | None = None) -> list[LayerActivity]:
    """Measure what the layers with kernels and the activations do on pictures, as at inference.

    Norms use their stored means, and dropout is off, so the gradient is that of the network as it is used.

    Args:
        network: of any kind, flat or nested.
        pictures: (n, height, width, channels), 0..255, of the network's size.
        labels: (n,) numbers of their classes, for gradients.

    Returns:
        A record of each layer, from the pictures to the logits.

    Raises:
        ValueError: Keras runs on another backend than TensorFlow.

    Example:
        >>> [row.layer for row in measure_activity(network, views) if row.dead_share]  # doctest: +SKIP
        ['layer2.relu']
    """
    model = copy_model(for_inference(network).model)
    for layer in model.layers:
        layer.trainable = True  # a frozen layer has a gradient too
    shown = [each for each in model.operations if _is_shown(each)]
    weights = [getattr(each, "trainable_weights", []) for each in shown]
    part = keras.Model(model.input, [*[each.output for each in shown], model.output])

    @compiled
    def compute(pictures, labels):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for each in keras.tree.flatten(weights) if labels is not None else ():
                tape.watch(each.value)
            *outputs, logits = part(pictures, training=False)
            loss = 0.0 if labels is None else _sum_losses(logits, labels)
        sources = [[each.value for each in some] for some in weights]
        gradients = None if labels is None else tape.gradient(loss, sources, unconnected_gradients="zero")
        return [_summarise(output) for output in outputs], gradients

    size, found = choose_batch_size(len(pictures)), []
    for at in range(0, len(pictures), size):
        batch = tf.convert_to_tensor(pictures[at : at + size], "float32")
        some = None if labels is None else tf.convert_to_tensor(labels[at : at + size], "int32")
        found.append((len(batch), *keras.tree.map_structure(np.asarray, compute(batch, some))))
    counts, statistics, gradients = zip(*found, strict=True)
    return [
        _combine(each, counts, [batch[row] for batch in statistics], [batch and batch[row] for batch in gradients])
        for row, each in enumerate(shown)
    ]


def _is_shown(operation) -> bool:
    """Whether it has a kernel or is an activation; a norm belongs to the layer before it."""
    if isinstance(operation, keras.layers.InputLayer) or not isinstance(operation.output, keras.KerasTensor):
        return False
    has_kernel = bool(getattr(operation, "trainable_weights", ())) and "Normalization" not in type(operation).__name__
    return has_kernel or bool(_activation(operation))


def _activation(operation) -> str:
    """What a layer or operation applies, a word of `ACTIVATIONS`, or ""."""
    inner = getattr(operation, "activation", None)
    for name in (getattr(inner, "__name__", type(inner).__name__), type(operation).__name__):
        if (word := name.lower().replace("_", "")) in ACTIVATIONS:
            return word
    return ""


def _sum_losses(logits, labels):
    return ops.sum(keras.losses.sparse_categorical_crossentropy(labels, ops.cast(logits, "float32"), from_logits=True))


def _summarise(output) -> tuple:
    """The largest value of each unit, the share of zeros, mean and variance."""
    output = ops.cast(output, "float32")
    largest = ops.max(output, axis=tuple(range(len(output.shape) - 1)))
    return largest, ops.mean(ops.cast(output == 0, "float32")), ops.mean(output), ops.var(output)


def _combine(operation, counts: Sequence[int], statistics: Sequence[tuple], gradients: Sequence) -> LayerActivity:
    """The record of a layer, from its statistics and its sums of gradients in each batch."""
    largest, zeros, means, variances = zip(*statistics, strict=True)
    mean, activation = np.average(means, weights=counts), _activation(operation)
    variance = np.average(np.array(variances) + (np.array(means) - mean) ** 2, weights=counts)
    length = None
    if gradients[0]:
        sums = [np.sum(each, axis=0) for each in zip(*gradients, strict=True)]
        length = float(np.sqrt(sum(float((each.astype("float64") ** 2).sum()) for each in sums)) / sum(counts))
    return LayerActivity(
        operation.name,
        type(operation).__name__,
        activation,
        np.max(largest, axis=0),
        float(np.average(zeros, weights=counts)) if activation else None,
        float(mean),
        float(np.sqrt(variance)),
        length,
    )


def describe_dead(found: Sequence[LayerActivity], n: int) -> str:
    """A sentence on the layers with many dead units on n pictures, or ""."""
    shares = sorted(((each.dead_share or 0, each.layer) for each in found), reverse=True)
    many = [f"{layer} {share:.0%}" for share, layer in shares if share >= MANY]
    if not many:
        return ""
    more = len(many) - MOST_NAMED
    named = ", ".join(many[:MOST_NAMED]) + (f" and {count_noun(more, 'more layer')}" if more > 0 else "")
    return (
        f"Many units are dead, never positive on these {count_noun(n, 'picture')}, which give them no gradient: "
        f"{named}. Other pictures may move some. In a training, a lower learning rate, other initial weights or a norm "
        "keep more alive."
    )


def draw_activity(found: Sequence[LayerActivity], title: str) -> Figure:
    """Draw the records, a line for each layer from top to bottom: dead units and zeros, activations, gradients."""
    figure = Figure((11, 1.6 + 0.2 * len(found)), layout="constrained")
    (title, *names), families = fonts.make_drawable([title, *[shorten_name(each.layer) for each in found]])
    figure.suptitle(title, fontfamily=families)
    shares, values, gradients = figure.subplots(1, 3, sharey=True)
    places = np.arange(len(found))

    def column(name):
        return np.array([np.nan if getattr(each, name) is None else getattr(each, name) for each in found], "float64")

    shares.barh(places - 0.2, column("zeros"), 0.4, color="#a9cbe6", label="zeros")
    shares.barh(places + 0.2, column("dead_share"), 0.4, color="#d55e00", label="dead units")
    shares.set(xlim=(0, 1), xlabel="share", ylim=(len(found) - 0.5, -0.5))
    shares.set_yticks(places, names, fontsize=7, parse_math=False, fontfamily=families)
    shares.legend(fontsize=8)
    values.errorbar(column("mean"), places, xerr=column("deviation"), fmt="o", markersize=3, capsize=2)
    values.set(xlabel="outputs: mean and standard deviation", xscale="symlog")
    gradients.plot(column("gradient"), places, "s", markersize=4)
    gradients.set(xlabel="length of the gradient by the weights", xscale="log")
    gradients.tick_params(axis="x", which="both", labelrotation=45, labelsize=8)
    for axes in (shares, values, gradients):
        axes.grid(alpha=0.3)
    return figure
