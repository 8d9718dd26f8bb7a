"""A Keras model and what Keras has no place for, and the changes that keep the rest of it as it is."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import keras
import numpy as np

from transferkit.keras_internals import producer
from transferkit.lookup import UnknownName, known, nearest
from transferkit.pixels import Pixels, sides, spelled
from transferkit.weights.imagenet import unnamed
from transferkit.zoo.layers import two_pixels

LOGITS = "logits"  # the output of the network itself, where the model has auxiliary heads too


@dataclass(frozen=True)
class Network:
    """A Keras model and what goes with it.

    Attributes:
        model: flat functional model, pictures (n, h, w, c) in 0..255 to logits (n, len(classes)).
        pixels: the geometry and normalisation it expects; the normalisation is its own first layers.
        classes: names in index order.
        head: name of the last layer with weights, the classifier.
        base: where it comes from, for a person: "resnet34 (imagenet1k_v1)".
        loaded: what came from a file and what of it did not, for a person: ("182/182 tensors loaded",); empty for fresh
            weights.
        minimum: least side of a picture in pixels.
        doubt: of a foreign model, that it does not show where its classifier begins, a sentence without its end; it has
            no classes then.
        loss_weights: where the model has auxiliary heads for training, so that its output is a dict of logits: their
            weights in the loss by name, `LOGITS` first; else empty.
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

    @property
    def named(self) -> bool:
        """Whether the names of the classes are known: a foreign model has outputs, but does not say of what."""
        return self.classes != unnamed(len(self.classes))


def output_of(model: keras.Model, name: str):
    """The output of a layer, or the last one below a torch prefix (`layer4` is that of `layer4.2.relu`).

    Raises:
        UnknownName: no layer bears the name or the prefix; the nearest is named.
    """
    below = [layer for layer in model.layers if layer.name == name or layer.name.startswith(f"{name}.")]
    if not below:
        names = [layer.name for layer in model.layers]
        raise UnknownName(f"No layer of {model.name} is called {name!r}.{nearest(names, name)}{known(cuts(model))}")
    return below[-1].output


def cuts(model: keras.Model) -> list[str]:
    """The names of the cut points, in order."""
    return [layer.name for layer in model.layers if isinstance(layer, keras.layers.Identity) or layer.name == "pooled"]


def head_source(network: Network) -> str:
    """The name of the layer whose output goes into the head, at inference: dropout passes it on, as does an average
    that was put between, for features are averaged anyway."""
    tensor = network.model.get_layer(network.head).input
    while isinstance(source := producer(tensor), keras.layers.Dropout) or _is_between(source):
        tensor = source.input
    return source.name


def _is_between(layer) -> bool:
    return isinstance(layer, keras.layers.GlobalAveragePooling2D) and layer.name.startswith("pooled_")


def with_head(network: Network, classes, layers: tuple[str, ...] = ()) -> Network:
    """The same network, sharing its layers, with a new last layer for `classes`.

    The new layer is of the old one's kind and starts as that one started. What follows it, such as the average over a
    map of classes, stays, but for layers called as the old one and more, `scores.norm`: they are of its scores alone,
    and a convolution goes with them for a dense layer. Of several outputs, each gets a new last layer.

    Args:
        layers: whose pooled outputs, side by side, the new layer sees; by default what the old one saw.

    Raises:
        UnknownName: there is no such layer, the network has no single dense head that could see others, or it does not
            show where its head is.
    """
    classes, model, gone = tuple(classes), network.model, _of_scores(network)
    if network.doubt:
        raise UnknownName(f"{network.doubt}: give --cut LAYER, the last layer to keep.")
    if not network.head:
        raise UnknownName(f"{network.base} has no layers to train: give the model as its .keras file in place of it.")
    if isinstance(model.output, dict):
        if layers not in ((), (head_source(network),)):
            raise UnknownName(f"{network.base} has several heads while it learns: leave out head_layers.")
        heads = {name: producer(logits) for name, logits in model.output.items()}
        logits = {name: _renewed(head, len(classes)) for name, head in heads.items()}
    else:
        heads = {"logits": model.get_layer(network.head)}
        logits = _renewed(heads["logits"], len(classes), _side_by_side(network, layers))
        for layer in model.layers[model.layers.index(heads["logits"]) + 1 :]:  # a chain: nothing else leads on from it
            logits = logits if layer in gone else remade(layer)(logits)
    model = keras.Model(model.input, logits, name=model.name)
    loaded = ()
    if network.loaded:
        had, total = network.loaded[0].partition("/")[0], len(model.weights)
        kept = int(had) if had.isdecimal() else len(network.model.weights)
        if network.classes:  # else the old head was never of the file
            kept -= sum(len(layer.weights) for layer in (*heads.values(), *gone))
        changed = f"head {len(network.classes)} -> {len(classes)} new; {kept}/{total} tensors loaded"
        loaded = (changed, *network.loaded[1:])
    return dataclasses.replace(network, model=model, classes=classes, loaded=loaded)


def takes_dense(network: Network) -> bool:
    """Whether a new head is a dense layer, which can see several layers side by side."""
    dense = network.head and isinstance(network.model.get_layer(network.head), keras.layers.Dense)
    return bool(dense or _of_scores(network))


def _of_scores(network: Network) -> list:
    """The layers that a foreign model's scores go through, and those of no other head would."""
    names = [layer.name for layer in network.model.layers]
    after = network.model.layers[names.index(network.head) + 1 :] if network.head else []
    return [layer for layer in after if layer.name.startswith(f"{network.head}.")]


def _renewed(head, count: int, source=None):
    """The output of a fresh layer of the same kind, for so many classes, in the same place or behind another source."""
    if source is not None and not isinstance(head, keras.layers.Dense):
        return keras.layers.Dense(count, kernel_initializer="zeros", dtype="float32", name=head.name)(source)
    width = {"units": count} if isinstance(head, keras.layers.Dense) else {"filters": count}
    return remade(head, **width)(head.input if source is None else source)


def _side_by_side(network: Network, layers: tuple[str, ...]):
    """The pooled outputs of layers in one row, (n, width); None where they are what the head sees already."""
    head, dense = network.model.get_layer(network.head), takes_dense(network)
    if layers in ((), (head_source(network),)):
        if isinstance(head, keras.layers.Dense) or not dense:
            return None
        layers = (head_source(network),)
    if not dense:
        raise UnknownName(f"The head of {network.base} is a convolution, which sees one map: leave out head_layers.")
    own = {head_source(network): head.input}  # behind dropout, where there is some
    outputs = [own.get(name, output_of(network.model, name)) for name in layers]
    pooled = [
        # not f"{name}.pooled": names that begin with a mark's are found by its name
        keras.layers.GlobalAveragePooling2D(name=f"pooled_{name}")(output) if len(output.shape) == 4 else output
        for name, output in zip(layers, outputs, strict=True)
    ]
    return keras.layers.Concatenate(name="head_features")(pooled) if len(pooled) > 1 else pooled[0]


def cut_at(network: Network, layer: str) -> Network:
    """The network up to a layer, sharing its layers, with a place for the head of `with_head`; it has no classes.

    Raises:
        UnknownName: no layer is called so, or it gives neither a map nor a vector.
    """
    network = for_use(network)
    output = output_of(network.model, layer)
    if len(output.shape) not in (2, 4):
        raise UnknownName(f"cut {layer} gives {output.shape} of {network.base}: expected a layer of a map or a vector.")
    for mark in network.model.layers:  # of a stage that ends here
        if isinstance(mark, keras.layers.Identity) and mark.input is output:
            layer, output = mark.name, mark.output
    x = keras.layers.GlobalAveragePooling2D(name=f"pooled_{layer}")(output) if len(output.shape) == 4 else output
    below = keras.Model(network.model.input, x)
    names, kept = [below_it.name for below_it in below.layers], len(below.weights)
    name = next(name for name in ("head", "new_head") if name not in names)
    logits = keras.layers.Dense(1, kernel_initializer="zeros", dtype="float32", name=name)(x)
    model = keras.Model(network.model.input, logits, name=network.model.name)
    loaded = network.loaded and (f"{kept}/{kept + 2} tensors loaded", *network.loaded[1:], f"cut after {layer}")
    return dataclasses.replace(network, model=model, classes=(), head=name, loaded=loaded, doubt="")


def for_use(network: Network) -> Network:
    """The network without its heads for training, sharing its layers: logits alone."""
    model = network.model
    if not isinstance(model.output, dict):
        return network
    bare = keras.Model(model.input, model.output[LOGITS], name=model.name)
    return dataclasses.replace(network, model=bare, loss_weights={})


def at_size(network: Network, size: int | str) -> Network:
    """The network for pictures of another size, with the same weights.

    Args:
        size: side of squares in pixels, or "192x320", height x width.

    Raises:
        UnknownName: it is no size, or the network's geometry does not allow it.
    """
    model, own, shape, pixels = network.model, network.model.input_shape[1:3], sides(size), network.pixels.at(size)
    if min(shape) < network.minimum:
        raise UnknownName(f"{network.base} needs pictures of at least {network.minimum} pixels, not {size}.")
    if own not in ((None, None), shape):
        try:
            model = copied(model, shape=(*shape, pixels.channels))
        except ValueError:  # of a dense layer that is tied to its size
            model = None
        if model is None or _flattened(model) != _flattened(network.model):
            raise UnknownName(
                f"{network.base} takes pictures of {spelled(own)} pixels and no other size: leave out {size}."
            )
    return dataclasses.replace(network, model=model, pixels=pixels)


def _flattened(model: keras.Model) -> list[tuple]:
    """Shapes of the maps whose places have weights of their own: 8x2 of them are as many as 4x4, but not the same."""
    return [layer.input.shape for layer in model.layers if isinstance(layer, keras.layers.Flatten)]


def with_fit(network: Network, fit: str) -> Network:
    """The network for pictures that fill its view in another way.

    Args:
        fit: a key of `pixels.FITS`.

    Raises:
        UnknownName: there is no such fit; the nearest is named.
    """
    return dataclasses.replace(network, pixels=dataclasses.replace(network.pixels, fit=fit))


def with_channels(network: Network, channels: int) -> Network:
    """The network for pictures of other channels.

    Grey pictures are repeated to RGB before `pixels`, which gives the answers of the RGB copy. For a fourth channel
    the first kernel is that of R, G, B, R, times 3/4, as timm has it.

    Raises:
        UnknownName: there is no way from these channels to the network's.
    """
    pixels = network.pixels
    if channels == pixels.channels:
        return network
    if pixels.channels != 3 or channels not in (1, 4):
        raise UnknownName(
            f"{network.base} takes pictures of {pixels.channels} channels, not {channels}: expected "
            + ("1, 3 or 4." if pixels.channels == 3 else f"{pixels.channels}.")
        )
    shape, front = (*network.model.input_shape[1:3], channels), _as_rgb if channels == 1 else None
    model = copied(network.model, shape=shape, front=front)
    return dataclasses.replace(network, model=model, pixels=pixels.of_channels(channels))


def _as_rgb(pictures):
    return keras.layers.Concatenate(name="repeat")([pictures] * 3)


def with_policy(network: Network, policy: str) -> Network:
    """A fresh, uncompiled copy that computes in a dtype policy; normalisation and heads stay in float32."""
    names = [layer.name for layer in network.model.layers]
    heads = [producer(logits).name for logits in keras.tree.flatten(network.model.output)]
    exact = ("pixels", *names[names.index(network.head) :], *heads)
    return dataclasses.replace(network, model=copied(network.model, policy=policy, exact=exact))


def copied(model: keras.Model, *, shape=None, front=None, policy=None, exact=()) -> keras.Model:
    """A fresh, uncompiled copy of a flat functional model, with the same weights.

    Args:
        shape: (height, width, channels) of the pictures; by default the model's.
        front: a function of the pictures, put before the first layer.
        policy: dtype policy of all layers but those called as in `exact`; by default their own.

    Raises:
        ValueError: the weights do not fit the shape.
    """
    pictures = keras.Input(shape or model.input_shape[1:], name="pictures")

    def clone(layer):
        changes = {}
        if layer.name == "pixels" and not front:
            config = layer.get_config()
            changes = {key: _widened(config[key], pictures.shape[-1]) for key in ("scale", "offset")}
        return remade(layer, policy="float32" if policy and layer.name in exact else policy, **changes)

    def call(layer, *args, **kwargs):
        if front and args and args[0] is pictures:
            args = (front(pictures), *args[1:])
        if isinstance(layer, keras.layers.AdaptiveAveragePooling2D):
            args = (two_pixels(args[0], name=layer.name), *args[1:])
        return layer(*args, **kwargs)

    # of the bare graph: a clone of a compiled model would be compiled as well
    bare = keras.Model(model.input, model.output, name=model.name)
    copy = keras.models.clone_model(bare, input_tensors=pictures, clone_function=clone, call_function=call)
    for new, old in zip(copy.weights, model.weights, strict=True):
        new.assign(_fitted(np.asarray(old), new.shape))
    return copy


def remade(layer, name: str | None = None, *, policy: str | None = None, **changes):
    """A fresh layer or operation of the same configuration, but for some arguments.

    Args:
        name: by default the same, which the configuration of a user's class may lack.
        policy: dtype policy, of the layers inside it too; by default their own.
    """
    config = {key: value for key, value in layer.get_config().items() if key not in ("lora_rank", "lora_alpha")}
    if policy and isinstance(layer, keras.layers.Layer):  # an operation's dtype is not a policy
        config = _in_policy(config, policy)
    new = type(layer).from_config(config | changes)
    new.name = name or layer.name
    return new


def _in_policy(config: dict, policy: str) -> dict:
    """The configuration of a layer in a dtype policy, and those of the layers that it holds."""

    def inner(value):
        if isinstance(value, list | tuple):
            return type(value)(map(inner, value))
        if isinstance(value, dict) and isinstance(value.get("config"), dict) and "dtype" in value["config"]:
            return value | {"config": _in_policy(value["config"], policy)}
        return value

    return {key: policy if key == "dtype" else inner(value) for key, value in config.items()}


def _widened(constants, channels: int):
    """The constants of as many channels; a fourth one takes the first's."""
    return [*constants, constants[0]] if channels == 4 and len(constants) == 3 else constants


def _fitted(value: np.ndarray, shape) -> np.ndarray:
    """A weight as it is, or the first kernel for a fourth channel."""
    if value.ndim == 4 and (value.shape[2], shape[2]) == (3, 4):
        return value[:, :, [0, 1, 2, 0]] * 0.75
    return value
