"""Fold batch norm into the convolution before it: the same logits from fewer operations."""

from weakref import WeakKeyDictionary

import keras
import numpy as np

from transferkit.keras_internals import undrawn_weights
from transferkit.network import clone_layer, uncompiled


def fold_batchnorm(model: keras.Model) -> keras.Model:
    """A copy of a flat functional model for inference, with each norm folded into a convolution that feeds only it.

    At inference a norm multiplies each map by a constant and adds another, which kernel and bias can do. The folded
    norms stay as `Identity` layers with their names; the logits are equal up to rounding.
    """
    norms = _match_norms(model)
    if not norms:
        return model
    folded = {norm.name for norm in norms.values()}

    def clone(layer):
        if layer.name in folded:
            return keras.layers.Identity(name=layer.name)
        return clone_layer(layer, use_bias=True) if layer.name in norms else clone_layer(layer)

    def call(layer, *args, **kwargs):
        return layer(args[0]) if layer.name in folded else layer(*args, **kwargs)  # a norm may be called with a mask

    with undrawn_weights():
        copy = keras.models.clone_model(uncompiled(model), clone_function=clone, call_function=call)
    _copy_weights(model, copy, norms)
    return copy


_copies: WeakKeyDictionary[keras.Model, keras.Model] = WeakKeyDictionary()


def fold_once(model: keras.Model) -> keras.Model:
    """As `fold_batchnorm`, but the same copy for the same model, so that it is compiled once.

    Each call gives the copy the weights that the model has now.
    """
    if model in _copies:
        _copy_weights(model, _copies[model], _match_norms(model))
        return _copies[model]
    copy = fold_batchnorm(model)
    if copy is not model:  # which would never be freed
        _copies[model] = copy
    return copy


def _copy_weights(model: keras.Model, copy: keras.Model, norms: dict):
    """Give a folded copy the weights of its model; `norms` as `_match_norms` returns them."""
    folded = {norm.name for norm in norms.values()}
    for layer in model.layers:
        if layer.name in norms:
            copy.get_layer(layer.name).set_weights(_fold_weights(layer, norms[layer.name]))
        elif layer.name not in folded and layer.weights:
            copy.get_layer(layer.name).set_weights(layer.get_weights())


def _match_norms(model) -> dict[str, keras.layers.BatchNormalization]:
    """Every convolution whose output only a norm takes, by name, with that norm."""
    used = [id(tensor) for tensor in keras.tree.flatten(model.output)]
    used += [id(tensor) for operation in model.operations for tensor in keras.tree.flatten(operation.input)]
    convs = {
        id(layer.output): layer.name
        for layer in model.layers
        if type(layer) in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D) and _is_linear(layer)
    }
    norms = {}
    for layer in model.layers:
        if type(layer) is keras.layers.BatchNormalization and layer.axis in (-1, 3):
            tensor = id(layer.input)
            if tensor in convs and used.count(tensor) == 1:
                norms[convs[tensor]] = layer
    return norms


def _is_linear(layer) -> bool:
    return layer.activation is keras.activations.linear and layer.data_format == "channels_last"


def _fold_weights(conv, norm) -> list[np.ndarray]:
    """Kernel and bias of the convolution that computes the same as a convolution and its norm."""
    kernel, bias = conv.get_weights() if conv.use_bias else (*conv.get_weights(), 0.0)
    mean, variance = np.asarray(norm.moving_mean), np.asarray(norm.moving_variance)
    scale = (np.asarray(norm.gamma) if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
    shift = (np.asarray(norm.beta) if norm.center else 0.0) + (bias - mean) * scale
    by_map = scale[:, None] if isinstance(conv, keras.layers.DepthwiseConv2D) else scale  # (h, w, maps, 1)
    return [kernel * by_map, shift]
