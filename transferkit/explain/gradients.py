"""Explanations by gradients of the score of a class: Grad-CAM, saliency, guided backpropagation, integrated gradients.

The score is the logit. Each function takes a flat model from pictures to logits, leaves it as it is, and returns maps.
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.data import lazy_tensorflow as tf
from transferkit.explain import map_layers
from transferkit.explain.batches import compiled, map_batches
from transferkit.lookup import UnknownName
from transferkit.network import clone_layer, uncompiled

RELUS = (keras.activations.relu, keras.activations.relu6)


def gradcam(model: keras.Model, pictures: np.ndarray, classes: np.ndarray, *, layer: str = "") -> np.ndarray:
    """Where the maps of a layer speak for a class: their sum, weighted by the mean gradient of the class score.

    Args:
        model: pictures (n, h, w, c) in 0..255 to logits.
        pictures: (n, h, w, c), 0..255.
        classes: (n,), the class to explain for each.
        layer: with a map; by default the last one before the pooling.

    Returns:
        (n, height, width) of the layer, float32, 0 or more.

    Raises:
        UnknownName: the layer is not known, or gives no map.

    Source: Selvaraju et al. 2017, Grad-CAM, section 3, equations 1 and 2.

    Example:
        >>> gradcam(model, pictures, np.array([3]))[0].shape  # doctest: +SKIP
        (7, 7)
    """
    return map_batches(gradcam_function(model, layer), _floats(pictures), np.asarray(classes, "int32"))[0]


def gradcam_function(model: keras.Model, layer: str = "") -> Callable:
    """`gradcam` as a compiled function of pictures, float32, and classes, int32, that gives a list of the maps."""
    differentiate = gradient_function(model, map_layers.find_map(model, layer))

    def weigh(pictures, classes):
        maps, gradients = differentiate(pictures, classes)
        return [ops.relu(ops.einsum("nhwk,nk->nhw", maps, ops.mean(gradients, axis=(1, 2))))]

    return compiled(weigh)


def saliency(model: keras.Model, pictures: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How much each pixel changes the class score: the largest absolute gradient of its channels.

    Args:
        model, pictures, classes: as of `gradcam`.

    Returns:
        (n, h, w), float32: score for one step of 0..255.

    Source: Simonyan et al. 2014, Deep Inside Convolutional Networks, section 3.
    """
    return np.abs(input_gradients(model, pictures, classes)).max(-1)


def guided(model: keras.Model, pictures: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The saliency by a gradient that passes a ReLU only where it is positive, as its output is.

    Args:
        model, pictures, classes: as of `gradcam`.

    Returns:
        (n, h, w), float32.

    Raises:
        UnknownName: the model has no ReLU.

    Source: Springenberg et al. 2015, Striving for Simplicity, section 3.4. Adebayo et al. 2018, figure 2: it depends
    little on the upper layers.
    """
    return np.abs(input_gradients(with_guided_relus(fold_batchnorm(model)), pictures, classes)).max(-1)


def integrated_gradients(
    model: keras.Model, pictures: np.ndarray, classes: np.ndarray, *, baseline=0.0, steps: int = 64
) -> np.ndarray:
    """How much each pixel adds to the class score between a blank picture and the picture.

    The maps of a picture add up to the difference of the two scores: `measure_completeness` says how nearly.

    Args:
        model, pictures, classes: as of `gradcam`.
        baseline: colour of the blank picture, 0..255, one number or one for each channel.
        steps: number of pictures on the way.

    Returns:
        (n, h, w), float32, of either sign.

    Source: Sundararajan et al. 2017, Axiomatic Attribution, section 3 (completeness, proposition 1) and equation 3,
    at the middles of the steps.
    """
    pictures, parts = _floats(pictures), (np.arange(steps, dtype="float32") + 0.5) / steps
    blank = np.broadcast_to(np.asarray(baseline, "float32"), pictures.shape[1:])
    differentiate, found = compiled(gradient_function(model)), []
    for picture, label in zip(pictures, classes, strict=True):
        way = blank + parts[:, None, None, None] * (picture - blank)
        gradients = map_batches(lambda *batch: differentiate(*batch)[1:], way, np.full(steps, label, "int32"))[0]
        found.append(((picture - blank) * gradients.mean(0)).sum(-1))
    return np.stack(found)


def measure_completeness(model, pictures: np.ndarray, classes: np.ndarray, maps: np.ndarray, *, baseline=0.0):
    """How far the sums of integrated gradients are from the differences of the scores, as fractions of these (n,)."""
    pictures = _floats(pictures)
    blank = np.broadcast_to(np.asarray(baseline, "float32"), pictures.shape)
    logits = [map_batches(lambda batch: [model.predict_on_batch(batch)], each)[0] for each in (pictures, blank)]
    scores = [each[range(len(classes)), classes] for each in logits]
    difference = scores[0] - scores[1]
    return np.abs(maps.sum((1, 2)) - difference) / np.maximum(np.abs(difference), 1e-6)


def input_gradients(model: keras.Model, pictures: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The gradient of the class score by each pixel, (n, h, w, c)."""
    differentiate = compiled(gradient_function(model))
    return map_batches(lambda *batch: differentiate(*batch)[1:], _floats(pictures), np.asarray(classes, "int32"))[0]


def gradient_function(model: keras.Model, output=None) -> Callable:
    """A function of (pictures, classes) that gives a layer's output and the gradient of the class scores by it.

    Args:
        output: symbolic output of the layer; by default the pictures themselves.
    """
    outputs = [model.output] if output is None else [output, model.output]
    folded = fold_batchnorm(keras.Model(model.input, outputs))

    def differentiate(pictures, classes):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(pictures)
            *maps, logits = keras.tree.flatten(folded(pictures, training=False))
            scores = ops.take_along_axis(logits, classes[:, None], axis=1)
        values = maps[0] if maps else pictures
        return [values, tape.gradient(scores, values)]

    return differentiate


def with_guided_relus(model: keras.Model) -> keras.Model:
    """A copy of the model whose ReLUs pass a gradient only where it is positive.

    Raises:
        UnknownName: it has no ReLU.
    """
    changed = []

    def clone(layer):
        new = clone_layer(layer)
        if isinstance(layer, keras.layers.ReLU) and not layer.negative_slope and not layer.threshold:
            relu = keras.activations.relu if layer.max_value is None else keras.activations.relu6
            new = keras.layers.Activation(_guide(relu), name=layer.name) if layer.max_value in (None, 6) else new
        elif getattr(layer, "activation", None) in RELUS:
            new.activation = _guide(layer.activation)
        changed.append(getattr(new, "activation", None))
        return new

    copy = keras.models.clone_model(uncompiled(model), clone_function=clone)
    if not any(getattr(each, "is_guided", False) for each in changed):
        raise UnknownName(f"{model.name} has no ReLU, which guided backpropagation needs: try --method saliency.")
    copy.set_weights(model.get_weights())
    return copy


def _guide(relu: Callable) -> Callable:
    @keras.ops.custom_gradient
    def guided_relu(x):
        y = relu(x)

        def backward(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            return ops.where(ops.logical_and(ops.logical_and(x == y, y > 0), upstream > 0), upstream, 0)

        return y, backward

    def activation(x):
        return relu(x) if keras.KerasTensor in type(x).__mro__ else guided_relu(x)

    activation.is_guided = True  # type: ignore[attr-defined]
    return activation


def _floats(pictures: np.ndarray) -> np.ndarray:
    return np.asarray(pictures, "float32")
