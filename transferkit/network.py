"""A Keras model with its metadata, and copies of it with another head, size, fit, channels or precision."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import keras
import numpy as np

from transferkit.keras_internals import producer
from transferkit.lookup import UnknownName, count_noun, list_known, quote, suggest_nearest
from transferkit.pixels import Pixels, format_size, parse_size
from transferkit.weights.imagenet import placeholder_names
from transferkit.zoo.layers import repeat_single_pixel

LOGITS = "logits"  # the output of the network itself, where the model has auxiliary heads too


@dataclass(frozen=True, repr=False)
class Network:
    """A Keras model and its metadata.

    Attributes:
        model: flat functional model, pictures (n, h, w, c) in 0..255 to logits (n, len(classes)).
        pixels: the geometry and normalisation of its pictures; the normalisation is its own first layers.
        classes: names in index order.
        head: name of the last layer with weights, the classifier; "" where it has no layers to train.
        base: where it comes from, for messages: "resnet34 (imagenet1k_v1)".
        loaded: what was loaded from a file, and what was not, for messages: ("182/182 tensors loaded",); empty for
            fresh weights.
        minimum: minimum size of a picture in pixels.
        doubt: for a foreign model, why it is not clear where its classifier begins, a sentence without its end; it has
            no classes then.
        loss_weights: where the model has auxiliary heads for training, so that its output is a dict of logits: their
            weights in the loss by name, `LOGITS` first; else empty.
        temperature: the logits are divided by it before the softmax; of a run, as its validation pictures chose it.
    """

    model: keras.Model
    pixels: Pixels
    classes: tuple[str, ...]
    head: str
    base: str
    loaded: tuple[str, ...] = ()
    minimum: int = 1
    doubt: str = ""
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    temperature: float = 1.0

    def __repr__(self):
        size, params = "x".join(map(str, self.pixels.shape)), self.model.count_params()
        return f"<Network: {self.base}, {len(self.classes):,} classes, {size} pixels, {params:,} parameters>"

    @property
    def has_class_names(self) -> bool:
        """Whether the names of the classes are known: a foreign model has outputs without names."""
        return self.classes != placeholder_names(len(self.classes))


def find_output(model: keras.Model, name: str):
    """The output of a layer, or of the last layer with a torch prefix (`layer4` gives that of `layer4.2.relu`).

    Raises:
        UnknownName: no layer has the name or the prefix; the nearest is named.
    """
    below = [layer for layer in model.layers if layer.name == name or layer.name.startswith(f"{name}.")]
    if not below:
        nearest = suggest_nearest([layer.name for layer in model.layers], name)
        known = list_known(cut_points(model), f"transferkit inspect {model.name} --cuts")
        raise UnknownName(f"No layer of {model.name} is called {quote(name)}.{nearest}{known}")
    return below[-1].output


def cut_points(model: keras.Model) -> list[str]:
    """The names of the cut points, in order."""
    return [layer.name for layer in model.layers if isinstance(layer, keras.layers.Identity) or layer.name == "pooled"]


def find_head_input(network: Network) -> str:
    """The name of the layer whose output the head takes at inference.

    Dropout between them is skipped, and so is a pooling that this package inserted: features are averaged anyway.
    """
    tensor = network.model.get_layer(network.head).input
    while isinstance(source := producer(tensor), keras.layers.Dropout) or _is_inserted_pool(source):
        tensor = source.input
    return source.name


def _is_inserted_pool(layer) -> bool:
    return isinstance(layer, keras.layers.GlobalAveragePooling2D) and layer.name.startswith("pooled_")


def with_head(network: Network, classes, layers: tuple[str, ...] = ()) -> Network:
    """The same network, sharing its layers, with a new head for `classes`.

    The new head is of the kind of the old one and has the same initialisers. The layers after it, such as the average
    over a map of classes, are kept, except those whose names begin with the head's, as `scores.norm`: they belong to
    the old scores, and with them a convolution is replaced by a dense layer. With auxiliary heads, each gets a new last
    layer.

    Args:
        layers: the layers whose pooled outputs the new head takes, concatenated; by default the input of the old head.

    Raises:
        UnknownName: a layer is not known, the network has no single dense head that could take several layers, or it is
            not clear where its head is.

    Example:
        with_head(network, ("cat", "dog"))
    """
    classes, model, removed = tuple(classes), network.model, _layers_after_head(network)
    if network.doubt:
        raise UnknownName(f"{network.doubt}: give --cut LAYER, the last layer to keep.")
    if not network.head:
        raise UnknownName(f"{network.base} has no layers to train: give the model as its .keras file in place of it.")
    if isinstance(model.output, dict):
        if layers not in ((), (find_head_input(network),)):
            raise UnknownName(f"{network.base} has several heads in training: omit head_layers.")
        heads = {name: producer(logits) for name, logits in model.output.items()}
        logits = {name: _new_head_output(head, len(classes)) for name, head in heads.items()}
    else:
        heads = {LOGITS: model.get_layer(network.head)}
        logits = _new_head_output(heads[LOGITS], len(classes), _concatenate_outputs(network, layers))
        for layer in model.layers[model.layers.index(heads[LOGITS]) + 1 :]:  # a chain: no other branch joins it
            logits = logits if layer in removed else clone_layer(layer)(logits)
    model = keras.Model(model.input, logits, name=model.name)
    loaded: tuple[str, ...] = ()
    if network.loaded:
        count, total = network.loaded[0].partition("/")[0], len(model.weights)
        kept = int(count) if count.isdecimal() else len(network.model.weights)
        if network.classes:  # else the old head was not loaded
            kept = max(0, kept - sum(len(layer.weights) for layer in (*heads.values(), *removed)))
        changed = f"head {len(network.classes)} -> {len(classes)} new; {kept}/{total} tensors loaded"
        loaded = (changed, *network.loaded[1:])
    return dataclasses.replace(network, model=model, classes=classes, loaded=loaded, temperature=1.0)


def has_dense_head(network: Network) -> bool:
    """Whether a new head is a dense layer, which can take several layers."""
    dense = network.head and isinstance(network.model.get_layer(network.head), keras.layers.Dense)
    return bool(dense or _layers_after_head(network))


def _layers_after_head(network: Network) -> list:
    """The layers after the head that belong to its scores: those whose names begin with the head's."""
    names = [layer.name for layer in network.model.layers]
    after = network.model.layers[names.index(network.head) + 1 :] if network.head else []
    return [layer for layer in after if layer.name.startswith(f"{network.head}.")]


def _new_head_output(head, count: int, source=None):
    """The output of a new layer of the same kind for `count` classes, on the same input or on `source`."""
    if source is not None and not isinstance(head, keras.layers.Dense):
        return keras.layers.Dense(count, kernel_initializer="zeros", dtype="float32", name=head.name)(source)
    new = clone_layer(head, units=count) if isinstance(head, keras.layers.Dense) else clone_layer(head, filters=count)
    return new(head.input if source is None else source)


def _concatenate_outputs(network: Network, layers: tuple[str, ...]):
    """The pooled outputs of layers, concatenated, (n, width); None where they are the input of the head already."""
    head, dense = network.model.get_layer(network.head), has_dense_head(network)
    if layers in ((), (find_head_input(network),)):
        if isinstance(head, keras.layers.Dense) or not dense:
            return None
        layers = (find_head_input(network),)
    if not dense:
        raise UnknownName(f"The head of {network.base} is a convolution, which takes one map: omit head_layers.")
    own = {find_head_input(network): head.input}  # after dropout, if there is any
    outputs = [own.get(name, find_output(network.model, name)) for name in layers]
    pooled = [
        # not f"{name}.pooled": names that begin with a mark's are found by its name
        keras.layers.GlobalAveragePooling2D(name=f"pooled_{name}")(output) if len(output.shape) == 4 else output
        for name, output in zip(layers, outputs, strict=True)
    ]
    return keras.layers.Concatenate(name="head_features")(pooled) if len(pooled) > 1 else pooled[0]


def cut_network(network: Network, layer: str) -> Network:
    """The network up to a layer, sharing its layers, with a head for `with_head` to replace; it has no classes.

    Raises:
        UnknownName: the layer is not known, or its output is neither a map nor a vector.
    """
    network = for_inference(network)
    output = find_output(network.model, layer)
    if len(output.shape) not in (2, 4):
        raise UnknownName(f"cut {layer} gives {output.shape} of {network.base}: expected a layer of a map or a vector.")
    for mark in network.model.layers:  # a cut point that follows the layer
        if isinstance(mark, keras.layers.Identity) and mark.input is output:
            layer, output = mark.name, mark.output
    x = keras.layers.GlobalAveragePooling2D(name=f"pooled_{layer}")(output) if len(output.shape) == 4 else output
    below = keras.Model(network.model.input, x)
    names, kept = [below_it.name for below_it in below.layers], len(below.weights)
    name = next(name for name in ("head", "new_head") if name not in names)
    logits = keras.layers.Dense(1, kernel_initializer="zeros", dtype="float32", name=name)(x)
    model = keras.Model(network.model.input, logits, name=network.model.name)
    loaded = network.loaded and (f"{kept}/{kept + 2} tensors loaded", *network.loaded[1:], f"cut after {layer}")
    return dataclasses.replace(network, model=model, classes=(), head=name, loaded=loaded, doubt="", temperature=1.0)


def for_inference(network: Network) -> Network:
    """The network without its auxiliary heads, sharing its layers."""
    model = network.model
    if not isinstance(model.output, dict):
        return network
    bare = keras.Model(model.input, model.output[LOGITS], name=model.name)
    return dataclasses.replace(network, model=bare, loss_weights={})


def with_size(network: Network, size: int | str) -> Network:
    """The network for pictures of another size, with the same weights.

    Args:
        size: size of squares in pixels, or "192x320", height x width.

    Raises:
        UnknownName: it is not a size, or the network does not allow it.
    """
    model, own, shape, pixels = (
        network.model,
        network.model.input_shape[1:3],
        parse_size(size),
        network.pixels.with_size(size),
    )
    if min(shape) < network.minimum:
        raise UnknownName(f"{network.base} needs pictures of at least {network.minimum} pixels, not {size}.")
    if own not in ((None, None), shape):
        try:
            model = copy_model(model, shape=(*shape, pixels.channels))
        except ValueError:  # a dense layer has weights for one size
            model = None
        if model is None or _flattened_shapes(model) != _flattened_shapes(network.model):
            raise UnknownName(
                f"{network.base} takes pictures of {format_size(own)} pixels and no other size: omit {size}."
            )
    return dataclasses.replace(network, model=model, pixels=pixels)


def _flattened_shapes(model: keras.Model) -> list[tuple]:
    """Shapes of the maps that are flattened: 8x2 and 4x4 have the same number of weights, but they are not the same."""
    return [layer.input.shape for layer in model.layers if isinstance(layer, keras.layers.Flatten)]


def with_fit(network: Network, fit: str) -> Network:
    """The network for pictures that are fitted to its size in another way.

    Args:
        fit: a key of `pixels.FITS`.

    Raises:
        UnknownName: the fit is not known; the nearest is named.
    """
    return dataclasses.replace(network, pixels=dataclasses.replace(network.pixels, fit=fit))


def with_channels(network: Network, channels: int) -> Network:
    """The network for pictures with another number of channels.

    Grey pictures are repeated to RGB before `pixels`, which gives the logits of the RGB copy. For a fourth channel the
    first kernel is that of R, G, B, R, times 3/4, as in timm.

    Raises:
        UnknownName: the network cannot be changed to these channels.
    """
    pixels = network.pixels
    if channels == pixels.channels:
        return network
    if pixels.channels != 3 or channels not in (1, 4):
        raise UnknownName(
            f"{network.base} takes pictures of {count_noun(pixels.channels, 'channel')}, not {channels}: expected "
            + ("1, 3 or 4." if pixels.channels == 3 else f"{pixels.channels}.")
        )
    shape, front = (*network.model.input_shape[1:3], channels), _repeat_to_rgb if channels == 1 else None
    model = copy_model(network.model, shape=shape, front=front)
    return dataclasses.replace(network, model=model, pixels=pixels.with_channels(channels))


def _repeat_to_rgb(pictures):
    return keras.layers.Concatenate(name="repeat")([pictures] * 3)


def with_policy(network: Network, policy: str) -> Network:
    """A new, uncompiled copy that computes in a dtype policy; normalisation and heads stay in float32."""
    names = [layer.name for layer in network.model.layers]
    heads = [producer(logits).name for logits in keras.tree.flatten(network.model.output)]
    exact = ("pixels", *names[names.index(network.head) :], *heads)
    return dataclasses.replace(network, model=copy_model(network.model, policy=policy, exact=exact))


def uncompiled(model: keras.Model) -> keras.Model:
    """The same model without its compilation, sharing its layers: a clone of a compiled model would be compiled."""
    return keras.Model(model.input, model.output, name=model.name)


def copy_model(model: keras.Model, *, shape=None, front=None, policy=None, exact=()) -> keras.Model:
    """A new, uncompiled copy of a flat functional model, with the same weights.

    Args:
        shape: (height, width, channels) of the pictures; by default the model's.
        front: a function of the pictures that is applied before the first layer.
        policy: dtype policy of all layers except those named in `exact`; by default their own.

    Raises:
        ValueError: the weights do not fit the shape.
    """
    pictures = keras.Input(shape or model.input_shape[1:], name="pictures")

    def clone(layer):
        changes = {}
        if layer.name == "pixels" and not front:
            config = layer.get_config()
            changes = {key: _extend_constants(config[key], pictures.shape[-1]) for key in ("scale", "offset")}
        return clone_layer(layer, policy="float32" if policy and layer.name in exact else policy, **changes)

    def call(layer, *args, **kwargs):
        if front and args and args[0] is pictures:
            args = (front(pictures), *args[1:])
        if isinstance(layer, keras.layers.AdaptiveAveragePooling2D):
            args = (repeat_single_pixel(args[0], name=layer.name), *args[1:])
        return layer(*args, **kwargs)

    copy = keras.models.clone_model(uncompiled(model), input_tensors=pictures, clone_function=clone, call_function=call)
    for new, old in zip(copy.weights, model.weights, strict=True):
        new.assign(_adapt_first_kernel(np.asarray(old), new.shape))
    return copy


def clone_layer(layer, name: str | None = None, *, policy: str | None = None, **changes):
    """A new layer or operation with the same configuration, except for some arguments.

    Args:
        name: name of the new layer; by default the same, which the configuration of a user's class may lack.
        policy: dtype policy of it and of the layers inside it; by default their own.
        **changes: arguments that differ.
    """
    config = {key: value for key, value in layer.get_config().items() if key not in ("lora_rank", "lora_alpha")}
    if policy and isinstance(layer, keras.layers.Layer):  # an operation's dtype is not a policy
        config = _config_in_policy(config, policy)
    new = type(layer).from_config(config | changes)
    new.name = name or layer.name
    return new


def _config_in_policy(config: dict, policy: str) -> dict:
    """The configuration of a layer, and of the layers inside it, in a dtype policy."""

    def inner(value):
        if isinstance(value, list | tuple):
            return type(value)(map(inner, value))
        if isinstance(value, dict) and isinstance(value.get("config"), dict) and "dtype" in value["config"]:
            return value | {"config": _config_in_policy(value["config"], policy)}
        return value

    return {key: policy if key == "dtype" else inner(value) for key, value in config.items()}


def _extend_constants(constants, channels: int):
    """The constants for `channels` channels; a fourth one gets the constant of the first."""
    return [*constants, constants[0]] if channels == 4 and len(constants) == 3 else constants


def _adapt_first_kernel(value: np.ndarray, shape) -> np.ndarray:
    """A weight, unchanged unless it is the first kernel and there is a fourth channel."""
    if value.ndim == 4 and (value.shape[2], shape[2]) == (3, 4):
        return value[:, :, [0, 1, 2, 0]] * 0.75
    return value
