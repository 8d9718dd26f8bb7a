"""What of a network learns, and what is fixed and so need not be computed twice."""

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

FREE = (keras.layers.Identity, keras.layers.ZeroPadding2D)  # that cost nothing to do again


def release(network: Network, unfreeze: str, *, bn: str = "frozen") -> list[str]:
    """Freeze a network but for a part. Compile after this.

    What is frozen does in training what it does at inference, layers inside layers too: nothing is dropped, no noise is
    added, and stored statistics are used and not moved. A `trainable` of False alone does that for batch norm, and
    `base(x, training=False)` does not last inside a `fit` of Keras 3.

    Args:
        unfreeze: "head", "last-stage", "last-2", "all", or a layer or torch prefix: it and all after it learn.
        bn: of the part that learns: "frozen" keeps its batch norm frozen too, "train" does not, "stats" fits the
            statistics and neither scale nor shift (Li et al. 2016, section 3).

    Returns:
        The names of the layers that learn.

    Raises:
        UnknownName: no layer is called so.
    """
    layers = network.model.layers
    start = _first(network, unfreeze)
    for position, layer in enumerate(layers):
        layer.trainable = position >= start
        for inner in flatten_layers(layer):
            is_norm = isinstance(inner, keras.layers.BatchNormalization)
            learns = position >= start and not (is_norm and bn == "frozen")
            if is_norm:
                inner.trainable = learns
                for variable in (inner.gamma, inner.beta):
                    if variable is not None:
                        variable.trainable = learns and bn == "train"
            set_inference_only(inner, not learns)
    return [layer.name for layer in layers if layer.trainable_variables]


def same_frozen(model: keras.Model, like: keras.Model):
    """Freeze a copy of a model as that is frozen."""
    for copy, layer in zip(model.layers, like.layers, strict=True):
        for inner, its in zip(flatten_layers(copy), flatten_layers(layer), strict=True):
            set_inference_only(inner, is_inference_only(its))


def _first(network: Network, unfreeze: str) -> int:
    """The position of the first layer that learns."""
    names = [layer.name for layer in network.model.layers]
    if unfreeze == "all":
        return 0
    if unfreeze == "head":
        return names.index(network.head)
    if unfreeze in ("last-stage", "last-2"):
        stages = [position for position, name in enumerate(names) if name.startswith("stage")]
        back = 2 if unfreeze == "last-stage" else 3
        if len(stages) < back:
            raise UnknownName(f"{network.base} has {len(stages)} stages: name a layer in place of {unfreeze!r}.")
        return stages[-back] + 1
    find_output(network.model, unfreeze)  # words the sentence for a name that is not there
    return next(i for i, name in enumerate(names) if name == unfreeze or name.startswith(f"{unfreeze}."))


def divided(model: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """A model as frozen before and after: what is the same in every step, and what learns from its outputs.

    Both share the model's layers; the second takes all outputs of the first. They are cut where layers that learn, or
    that draw random numbers, first come in, so a cut may run through several branches.

    Returns:
        None where nothing with weights is frozen before all that learns.
    """
    varying, cut = set(), {}
    for operation in model.operations:
        if _varies(operation) or any(source in varying for _, source in _sources(operation)):
            varying.add(operation)
    for operation in reversed(model.operations):
        if operation in varying:
            for tensor, source in _sources(operation):
                if isinstance(source, FREE):  # a padded copy would be kept beside the map itself
                    varying.add(source)
                elif source not in varying:
                    cut[id(tensor)] = tensor
    fixed = [operation for operation in model.operations if operation not in varying]
    if not any(getattr(operation, "weights", ()) for operation in fixed) or not varying:
        return None
    tensors = list(cut.values())
    return keras.Model(model.input, tensors), keras.Model(tensors if len(tensors) > 1 else tensors[0], model.output)


def _sources(operation):
    """The tensors that go into it, each with the operation it comes from."""
    return [(tensor, producer(tensor)) for tensor in keras.tree.flatten(operation.input)]


def _varies(operation) -> bool:
    """Whether it gives the same pictures another output from one step to the next."""
    if getattr(operation, "trainable_variables", ()):
        return True
    return any(not is_inference_only(layer) and (_draws(layer) or _moves(layer)) for layer in flatten_layers(operation))


def _draws(layer: keras.layers.Layer) -> bool:
    """Whether it takes random numbers, or may: a layer that is not Keras' own, and does something else in training."""
    if isinstance(layer, keras.layers.Dropout):
        return layer.rate > 0
    known = type(layer).__module__.startswith("keras.")
    return bool(seed_generators(layer)) or (not known and "training" in inspect.signature(layer.call).parameters)


def _moves(layer: keras.layers.Layer) -> bool:
    """Whether it has statistics that training moves."""
    moving = keras.layers.BatchNormalization | keras.layers.SpectralNormalization
    return isinstance(layer, moving) and layer.trainable
