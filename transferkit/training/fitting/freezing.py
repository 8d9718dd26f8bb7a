"""Freezing of layers, and the split of a network into its frozen part and the part that is trained."""

import inspect

import keras

from transferkit.keras_internals import (
    flatten_layers,
    is_inference_only,
    producer,
    seed_generators,
    set_inference_only,
)
from transferkit.lookup import UnknownName
from transferkit.network import Network, find_output

CHEAP = (keras.layers.Identity, keras.layers.ZeroPadding2D)  # layers that cost nothing to run again


def unfreeze(network: Network, trainable: str, *, bn: str = "frozen") -> list[str]:
    """Make a part of a network trainable and freeze the rest. Compile afterwards.

    Frozen layers, and layers inside them, run in inference mode during training: no dropout, no noise, and stored
    statistics are used and not updated. `trainable = False` alone does that for batch norm only, and
    `base(x, training=False)` has no effect within `fit` in Keras 3.

    Args:
        trainable: "head", "last-stage", "last-2", "all", or a layer or torch prefix: it and all layers after it.
        bn: batch norm of the trainable part: "frozen" freezes it too, "train" does not, "stats" only updates its
            statistics, not scale and shift (Li et al. 2016, section 3).

    Returns:
        The names of the layers with trainable weights.

    Raises:
        UnknownName: there is no such layer.

    Example:
        >>> unfreeze(models.create("resnet18"), "head")
        ['fc']
    """
    layers = network.model.layers
    start = _find_first_trainable(network, trainable)
    for position, layer in enumerate(layers):
        layer.trainable = position >= start
        for inner in flatten_layers(layer):
            is_norm = isinstance(inner, keras.layers.BatchNormalization)
            is_trained = position >= start and not (is_norm and bn == "frozen")
            if is_norm:
                inner.trainable = is_trained
                for variable in (inner.gamma, inner.beta):
                    if variable is not None:
                        variable.trainable = is_trained and bn == "train"
            set_inference_only(inner, not is_trained)
    return [layer.name for layer in layers if layer.trainable_variables]


def _find_first_trainable(network: Network, trainable: str) -> int:
    """The position of the first trainable layer."""
    names = [layer.name for layer in network.model.layers]
    if trainable == "all":
        return 0
    if trainable == "head":
        return names.index(network.head)
    if trainable in ("last-stage", "last-2"):
        stages = [position for position, name in enumerate(names) if name.startswith("stage")]
        back = 2 if trainable == "last-stage" else 3
        if len(stages) < back:
            raise UnknownName(f"{network.base} has {len(stages)} stages: name a layer instead of {trainable!r}.")
        return stages[-back] + 1
    try:
        find_output(network.model, trainable)
    except UnknownName as error:
        raise UnknownName(f"unfreeze takes head, last-stage, last-2, all, or the name of a layer. {error}") from None
    return next(i for i, name in enumerate(names) if name == trainable or name.startswith(f"{trainable}."))


def copy_frozen(source: keras.Model, target: keras.Model):
    """Freeze the layers of a copied model as those of its source."""
    for old, new in zip(source.layers, target.layers, strict=True):
        for old_inner, new_inner in zip(flatten_layers(old), flatten_layers(new), strict=True):
            set_inference_only(new_inner, is_inference_only(old_inner))


def split_frozen(model: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """Split a model in two: the frozen part, with the same outputs in every step, and the part trained on its outputs.

    Both share the model's layers; the second takes all outputs of the first. The cut is where trainable or random
    layers first occur, so it may go through several branches.

    Returns:
        None if no layer with weights is frozen before all trainable ones.
    """
    varying, cut = set(), {}
    for operation in model.operations:
        if _is_varying(operation) or any(source in varying for _, source in _find_inputs(operation)):
            varying.add(operation)
    for operation in reversed(model.operations):
        if operation in varying:
            for tensor, source in _find_inputs(operation):
                if isinstance(source, CHEAP):  # else a padded copy would be stored beside the map itself
                    varying.add(source)
                elif source not in varying:
                    cut[id(tensor)] = tensor
    fixed = [operation for operation in model.operations if operation not in varying]
    if not any(getattr(operation, "weights", ()) for operation in fixed) or not varying:
        return None
    tensors = list(cut.values())
    return keras.Model(model.input, tensors), keras.Model(tensors if len(tensors) > 1 else tensors[0], model.output)


def _find_inputs(operation):
    """The input tensors of an operation, each with the operation that computes it."""
    return [(tensor, producer(tensor)) for tensor in keras.tree.flatten(operation.input)]


def _is_varying(operation) -> bool:
    """Whether its output for the same pictures changes from step to step."""
    if getattr(operation, "trainable_variables", ()):
        return True
    layers = [layer for layer in flatten_layers(operation) if not is_inference_only(layer)]
    return any(_is_random(layer) or _updates_statistics(layer) for layer in layers)


def _is_random(layer: keras.layers.Layer) -> bool:
    """Whether it draws random numbers, or may: a layer that is not Keras' own and behaves differently in training."""
    if isinstance(layer, keras.layers.Dropout):
        return layer.rate > 0
    is_keras = type(layer).__module__.startswith("keras.")
    takes_training = "training" in inspect.signature(layer.call).parameters
    return bool(seed_generators(layer)) or (not is_keras and takes_training)


def _updates_statistics(layer: keras.layers.Layer) -> bool:
    """Whether training updates statistics of it."""
    norms = keras.layers.BatchNormalization | keras.layers.SpectralNormalization
    return isinstance(layer, norms) and layer.trainable
