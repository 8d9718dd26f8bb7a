"""What of a network learns, and what is fixed and so need not be computed twice."""

import keras

from transferkit.lookup import UnknownName
from transferkit.network import Network, output_of

FREE = (keras.layers.Identity, keras.layers.ZeroPadding2D)  # that cost nothing to do again


def release(network: Network, unfreeze: str, *, bn: str = "frozen") -> list[str]:
    """Freeze a network but for a part. Compile after this.

    What is frozen does what it does at inference. Batch norm is frozen layer by layer: a frozen layer uses its stored
    statistics and does not move them, and stays so inside a `fit`, which `base(x, training=False)` does not promise in
    Keras 3. Dropout before the part that learns drops nothing.

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
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = position >= start and not (is_norm and bn == "frozen")
        if is_norm:
            for variable in (layer.gamma, layer.beta):
                if variable is not None:
                    variable.trainable = layer.trainable and bn == "train"
        if isinstance(layer, keras.layers.Dropout):
            layer.rate_released = getattr(layer, "rate_released", layer.rate)
            layer.rate = layer.rate_released if position >= start else 0
    return [layer.name for layer in layers if layer.trainable_variables]


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
    output_of(network.model, unfreeze)  # words the sentence for a name that is not there
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
    return [(tensor, tensor._keras_history.operation) for tensor in keras.tree.flatten(operation.input)]


def _varies(operation) -> bool:
    if isinstance(operation, keras.layers.Dropout):
        return operation.rate > 0
    has_chance = isinstance(getattr(operation, "seed_generator", None), keras.random.SeedGenerator)
    moves = isinstance(operation, keras.layers.BatchNormalization) and operation.trainable
    return has_chance or moves or bool(getattr(operation, "trainable_variables", ()))
