"""The deconvnet of Zeiler and Fergus 2013, "Visualizing and Understanding Convolutional Networks", section 2.1.

One activation of a layer is sent back to the pixels, with all others of the layer set to zero. On the way back

- max pooling puts each value at the place of the maximum of its window (the switch, of the same picture) and zero
  elsewhere. Windows that overlap and share a maximum add their values; of several equal maxima the first counts, row by
  row;
- a ReLU is applied to what comes back, wherever the picture's own activation was;
- a convolution becomes the one with its transposed filters, without bias;
- local response normalisation is left out;
- other linear layers become their transpose: a norm is its scale, a shortcut or a branch is a sum.

The way back is the gradient of a network in which two layers have another gradient, the ReLU and the normalisation
(Simonyan et al. 2014, "Deep Inside Convolutional Networks", section 4, show that the rest is the same), so `STEPS` says
for each class of layer what its forward call is there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.data import lazy_tensorflow as tf
from transferkit.explain import map_layers
from transferkit.explain.activations import activations
from transferkit.explain.batches import compiled, map_batches
from transferkit.keras_internals import operation_kind, producer, run_graph
from transferkit.lookup import UnknownName
from transferkit.network import clone_layer, uncompiled

MOST_MAPS = 8  # of a picture that are projected


@dataclass(frozen=True)
class Projections:
    """Single activations, projected to the pixels.

    Attributes:
        values: (n, height, width, channels) float32; 0 has no part in the activation.
        strengths: (n,) the activations.
        places: (n, 2) their row and column in the map.
    """

    values: np.ndarray
    strengths: np.ndarray
    places: np.ndarray


def project(model: keras.Model, layer: str, pictures: np.ndarray, maps, places=None) -> Projections:
    """Project one activation of each picture back to its pixels.

    Args:
        model: a flat functional model, as in a `network.Network`.
        layer: name of a layer with a map, or the prefix of its name.
        pictures: (n, height, width, channels), 0..255.
        maps: (n,) the number of the map for each picture.
        places: (n, 2) row and column of the activation in its map; by default its maximum.

    Raises:
        UnknownName: there is no such layer, it has no map, or a layer below it has no way back.

    Example:
        >>> project(tk.create("zfnet", weights="none"), "conv5", pictures, [7, 7]).values.shape
        (2, 224, 224, 3)
    """
    return make_projector(model, layer)(pictures, maps, places)


def deconvnet(
    model: keras.Model, pictures: np.ndarray, *, layer: str = "", unit: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Project the strongest activation of each of a picture's strongest maps.

    Args:
        model, pictures: as of `project`.
        layer: with a map; by default the last one before the pooling.
        unit: number of the one map to project; by default the eight with the largest activations.

    Returns:
        Projections (n, maps, height, width, channels), float32; numbers of the maps (n, maps), the strongest first; and
        their largest activations (n, maps).

    Raises:
        UnknownName: there is no such layer or map, or the layer has no way back.
    """
    layer = layer or map_layers.find_last_map(model)
    projector = make_projector(model, layer)
    largest = activations(model, pictures, [layer])[0].max((1, 2))
    maps = np.argsort(-largest, axis=1, kind="stable")[:, :MOST_MAPS]
    if unit is not None:
        map_layers.check_map(model, layer, unit)
        maps = np.full((len(pictures), 1), unit)

    def project_batch(some, numbers):
        found = projector(some, numbers)
        return [found.values, found.strengths]

    values, strengths = map_batches(project_batch, np.repeat(pictures, maps.shape[1], axis=0), maps.ravel())
    return values.reshape(*maps.shape, *values.shape[1:]), maps, strengths.reshape(maps.shape)


def make_projector(model: keras.Model, layer: str) -> Callable[..., Projections]:
    """A function of (pictures, maps, places) that is compiled once and does what `project` does."""
    check_projectable(model, layer)
    graph = fold_batchnorm(_separate_activations(_graph_to(model, layer)))

    @compiled
    def compute(pictures, maps, at):
        """The activation at position `at` of each flattened map, at its maximum for -1: it, where it is, its pixels."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(pictures)
            (output,) = keras.tree.flatten(run_graph(graph, [pictures], _call))
            flat = tf.reshape(tf.gather(output, maps, axis=3, batch_dims=1), (tf.shape(pictures)[0], -1))
            at = tf.where(at < 0, tf.argmax(flat, 1), at)
            strengths = tf.gather(flat, at, axis=1, batch_dims=1)
        return strengths, at, tape.gradient(strengths, pictures, strengths)

    def projector(pictures, maps, places=None) -> Projections:
        width = graph.compute_output_shape((1, *np.shape(pictures)[1:]))[2]
        at = np.full(len(maps), -1) if places is None else np.asarray(places) @ (width, 1)
        pictures = tf.convert_to_tensor(pictures, "float32")
        strengths, at, values = map(np.asarray, compute(pictures, np.asarray(maps), at))
        return Projections(values, strengths, np.stack([at // width, at % width], 1))

    return projector


def check_projectable(model: keras.Model, layer: str):
    """Raise `UnknownName` as `project` does, without computing anything."""
    for operation in _graph_to(model, layer).operations:
        if not isinstance(operation, keras.layers.InputLayer):
            _find_step(operation)


def _graph_to(model: keras.Model, layer: str) -> keras.Model:
    return keras.Model(model.input, map_layers.find_map(model, layer))


def _call(operation, *args, **kwargs):
    """The forward call of an operation whose gradient is its step of the way back."""
    return _find_step(operation)(operation, *args, **kwargs)


def _separate_activations(model: keras.Model) -> keras.Model:
    """A copy of a flat functional model whose convolutions and dense layers have their ReLU in a layer of its own."""
    inner = {layer.name for layer in model.layers if layer.weights and getattr(layer, "activation", None) in RECTIFIED}
    if not inner:
        return model

    def clone(layer):
        return clone_layer(layer, activation=None) if layer.name in inner else clone_layer(layer)

    def call(layer, *args, **kwargs):
        output = layer(*args, **kwargs)
        if layer.name not in inner:
            return output
        return keras.layers.Activation(model.get_layer(layer.name).activation, name=f"{layer.name}.activation")(output)

    copy = keras.models.clone_model(uncompiled(model), clone_function=clone, call_function=call)
    for new, old in zip(copy.weights, model.weights, strict=True):
        new.assign(old)
    return copy


def _transpose(operation, *args, **kwargs):
    """A linear operation: its own gradient."""
    return operation(*args, **kwargs)


def _rectify(operation, x, **kwargs):
    """A ReLU: what comes back is rectified, by its own sign."""

    @tf.custom_gradient
    def rectify(x):
        return operation(x), tf.nn.relu

    return rectify(x)


def _pass_through_product(operation, x, factor):
    """A map times the factor that normalises it: as if there were no normalisation."""

    @tf.custom_gradient
    def multiply(x, factor):
        return operation(x, factor), lambda signal: (signal, tf.zeros_like(factor))

    return multiply(x, factor)


def _constant(operation, *args, **kwargs):
    """Nothing comes back through the sum of squares of a normalisation."""
    return tf.stop_gradient(operation(*args, **kwargs))


LINEAR = (
    *("convolution", "transposed convolution", "dense", "upsampling", "padding", "slicing"),
    *("pooling", "GlobalMaxPooling2D"),  # the gradient of a maximum knows the switches
    *("GlobalAveragePooling2D", "AdaptiveAveragePooling2D", "BatchNormalization", "Rescaling", "Normalization"),
    *(
        "Add",
        "Subtract",
        "Average",
        "Mean",
        "Concatenate",
        "Split",
        "Take",
        "Flatten",
        "Reshape",
        "Permute",
        "Transpose",
    ),
    *("Identity", "Cast", "Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout"),
)
STEPS: dict[str | None, Callable] = {  # by a kind of `keras_internals.OPERATION_KINDS`, or by the class
    **dict.fromkeys(LINEAR, _transpose),
    **dict.fromkeys(("ReLU", "Relu", "Relu6"), _rectify),
    **dict.fromkeys(("Square", "Rsqrt"), _constant),
}
LINEAR_ACTIVATIONS = (None, keras.activations.linear)
RECTIFIED = (keras.activations.relu, keras.activations.relu6)


def _find_step(operation) -> Callable:
    """The step of a layer or operation.

    Raises:
        UnknownName: it has none.
    """
    kind, activation = type(operation).__name__, getattr(operation, "activation", None)
    step = STEPS.get(kind) or STEPS.get(operation_kind(operation))
    if kind == "Activation":
        step = _rectify if activation in RECTIFIED else _transpose
    elif kind in ("Multiply", "Sqrt"):
        step = _factor_step(operation)
    if step is None or activation not in (*LINEAR_ACTIVATIONS, *RECTIFIED):
        does = "" if activation in LINEAR_ACTIVATIONS else f" ({getattr(activation, '__name__', activation)})"
        raise UnknownName(
            f"A deconvnet has no way back through {operation.name}, which is {kind}{does}: expected convolutions, "
            "ReLU, pooling, norms, sums and concatenations."
        )
    return step


def _factor_step(operation) -> Callable | None:
    """The step of a product or a root: linear by a constant, or of a normalisation."""
    sources = keras.tree.flatten(operation.input)
    factors = [_is_factor(source) for source in sources]
    if all(factors) or (type(operation).__name__ == "Multiply" and len(sources) == 1):
        return _transpose
    return _pass_through_product if factors == [False, True] else None


def _is_factor(tensor) -> bool:
    """Whether a tensor is 1 / sqrt(x), a root of that, or a product of such: the factor of a normalisation."""
    operation = producer(tensor)
    kind = type(operation).__name__
    inner = kind in ("Multiply", "Sqrt") and all(map(_is_factor, keras.tree.flatten(operation.input)))
    return kind == "Rsqrt" or inner
