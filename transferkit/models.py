"""Create, load and save networks with their weights: of the zoo, of a run, or any Keras model."""

import dataclasses
import os
from pathlib import Path

import keras
import numpy as np

from transferkit import adopt, atomic, base_names, bases, hub, model_note, versions, zoo
from transferkit.lookup import UnknownName, as_count, as_text, count_noun
from transferkit.network import (
    Network,
    copy_model,
    cut_network,
    for_inference,
    uncompiled,
    with_channels,
    with_head,
    with_size,
)
from transferkit.pixels import CONVENTIONS, Pixels
from transferkit.weights import weight_files
from transferkit.weights.assign import load_or_grow_weights, load_weights
from transferkit.weights.catalogue import WeightSet, find_weight_set, is_path, weight_sets
from transferkit.weights.imagenet import class_names, placeholder_names
from transferkit.weights.portable_keras import make_portable


def create(
    base: str | os.PathLike | keras.Model,
    *,
    weights: str | os.PathLike = "imagenet",
    num_classes: int | None = None,
    size: int | str | None = None,
    channels: int | None = None,
    pixels: str = "",
    cut: str = "",
    **knobs,
) -> keras.Model:
    """Create a network as a plain Keras model, pixels to logits.

    Args:
        base: a network of `transferkit models`, a run folder, a Keras model or the file of one, `keras:NAME` of
            `keras.applications`, or `hf://USER/NAME@REVISION` of the Hugging Face Hub, downloaded once.
        weights: "imagenet" (the network's first public set), a tag of `transferkit models`, "none" (fresh), or
            the path of a `.pth`, `.safetensors`, `.h5`, `.weights.h5` or `.keras` file or of a run folder.
        num_classes: number of classes of a new last layer; by default that of the weights (of the paper for "none").
        size: size of the pictures in pixels, or "192x320", height x width, where the network has a fixed size; by
            default its native one.
        channels: of the pictures: 1 repeats a grey one to RGB, 4 adapts the first kernel.
        pixels: the pixel convention of a foreign Keras model: a key of `transferkit.pixels.CONVENTIONS`.
        cut: the last layer to keep under a new last layer; by default the last before the classifier.
        **knobs: what the papers vary of a network, as `output_stride=8`; `transferkit inspect NAME` lists them.
            `create("resnet34", output_stride=8)` is `create("resnet34(output_stride=8)")`.

    Returns:
        A `keras.Model` from RGB pictures (n, height, width, channels) in 0..255 to float32 logits (n, num_classes).

    Raises:
        UnknownName: the network, weight set or knob is not known, or the size or channels are not possible.
        FileNotFoundError: there is no file at the path.
        ValueError: the file cannot be read, or does not fit the network.
        OSError: the weights or the network could not be downloaded.

    Example:
        >>> create("lenet5", weights="none", num_classes=3).output_shape
        (None, 3)
    """
    if num_classes is not None:
        as_count(num_classes, "num_classes")
    if isinstance(base, keras.Model):
        network = adopt.adopt_model(base, pixels, source="the model")
    else:
        name = as_text(base, "base")
        spelled = zoo.spell(name, **knobs) if knobs else name
        network = _load_checked(spelled, as_text(weights, "weights"), pixels, num_classes=num_classes, size=size)
    network = cut_network(network, cut) if cut else network
    if num_classes is None and not network.classes and not network.doubt:
        raise UnknownName(f"{network.base} has no classifier: give num_classes, the number of classes of a new one.")
    if network.doubt or (num_classes is not None and num_classes != len(network.classes)):
        network = with_head(network, placeholder_names(num_classes or 0))
    if channels is not None:
        network = with_channels(network, channels)
    return (with_size(network, size) if size else network).model


def load(base: str | os.PathLike, weights: str | os.PathLike = "imagenet", *, pixels: str = "") -> Network:
    """Load a network by its name and weights, a run folder, `keras:NAME`, `hf://USER/NAME`, or a Keras model's file.

    Args:
        base: one of these.
        weights: see `create`.
        pixels: the pixel convention of a foreign Keras model, where it is not recognised.
    """
    return for_inference(_load_checked(str(base), str(weights), pixels))


def load_for_training(
    base: str, weights: str, *, pixels: str = "", size: int | str | None = None, download: bool = True
) -> Network:
    """Load a network with its auxiliary heads, if it has any: the output of its model is a dict of logits then.

    The weights may be those of a smaller network that it grows from (`Variant.grows_from`).

    Args:
        size: size of the pictures, for fresh weights of a network with a fixed size.
        download: whether public weights may be downloaded; else fresh ones stand in for them, and `loaded` says so.
    """
    return _load_checked(base, weights, pixels, size=size, assign=load_or_grow_weights, download=download)


def _load_checked(base: str, weights: str, pixels: str, **kwargs) -> Network:
    network = _load_unchecked(base, weights, pixels, **kwargs)
    paths = [one.path for one in network.model.weights if not np.isfinite(np.asarray(one, "float32")).all()]
    if paths:
        few = ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
        source = weights if is_path(weights) else base
        raise ValueError(f"{source} holds weights that are NaN or infinite: {few}. Take an earlier checkpoint.")
    return network


def _load_unchecked(
    base: str,
    weights: str,
    pixels: str,
    *,
    num_classes: int | None = None,
    size: int | str | None = None,
    assign=load_weights,
    download: bool = True,
) -> Network:
    """`num_classes` and `size` are for fresh weights; `assign` assigns the weights of a file, which has its own."""
    bases.check_base(base, weights, pixels)
    if base_names.is_application(base):
        return adopt.load_application(base, weights, pixels, download=download)
    if not download and (absent := bases.find_absent_set(base, weights)):
        return _stand_in(zoo.spell(base), absent)
    if zoo.is_network(base):
        return _from_zoo(zoo.spell(base), weights, num_classes, size, assign)
    path = bases.find_model(base)
    return _load_downloaded(base, path, pixels) if hub.is_hub(base) else load_file(path, pixels=pixels)


def _load_downloaded(name: str, path: Path, pixels: str) -> Network:
    """Load the file of a name on the Hub, by which errors and the network itself call it."""
    try:
        network = load_file(path, pixels=pixels)
    except ValueError as error:
        error.args = (str(error).replace(str(path), name),)
        raise
    return dataclasses.replace(network, base=network.base.replace(str(path), name))


def _from_zoo(name: str, weights: str, num_classes: int | None, size: int | str | None, assign) -> Network:
    row, bare = zoo.variant(name), name.partition("(")[0]
    pixels = weight_sets(bare)[0].pixels if weight_sets(bare) else row.pixels
    if weights == "none":
        count = num_classes or row.classes
        model = zoo.build(name, pixels=pixels, num_classes=count, size=size)
        return _zoo_network(name, model, pixels, class_names(count), "fresh")
    classes, temperature = None, 1.0
    if is_path(weights):
        path, source = Path(weights), weights
        path = path / "model.keras" if path.is_dir() else path
        if note := model_note.read_note(path):  # of this package: it has the pixel convention of the weights
            pixels, classes, temperature = note["pixels"], note["classes"], note["temperature"]
    else:
        chosen = find_weight_set(bare, weights)
        path, pixels, source = bases.fetch_set(chosen), chosen.pixels, chosen.tag
    file = weight_files.read_weights(path)
    if file.publisher and file.publisher.pixels:
        pixels = CONVENTIONS[file.publisher.pixels]
    kernel = file.tensors.get(f"{row.head}.weight")
    count = 1 if kernel is None else kernel.shape[0 if file.layout == "torch" else -1]
    model = zoo.build(name, pixels=pixels, num_classes=count)
    loaded = assign(model, file, source=str(path), head=row.head)
    rgb = dataclasses.replace(pixels, repeat=False)
    classes = () if kernel is None else classes or class_names(count)
    network = _zoo_network(name, model, rgb, classes, source, loaded)
    return with_channels(dataclasses.replace(network, temperature=temperature), pixels.channels)


def _stand_in(name: str, absent: WeightSet) -> Network:
    """The network that a public weight set would give, with fresh weights."""
    classes = class_names(zoo.variant(name).classes)
    model = zoo.build(name, pixels=absent.pixels, num_classes=len(classes))
    lines = bases.describe_absent(len(model.weights), f"{absent.mb:.0f} MB from {absent.source}")
    rgb = dataclasses.replace(absent.pixels, repeat=False)
    return with_channels(_zoo_network(name, model, rgb, classes, absent.tag, lines), absent.pixels.channels)


def _zoo_network(
    name: str, model: keras.Model, pixels: Pixels, classes: tuple[str, ...], source: str, loaded: tuple[str, ...] = ()
) -> Network:
    """The record of a network of the zoo; `source` says where its weights are from."""
    row = zoo.variant(name)
    loss_weights = row.loss_weights if isinstance(model.output, dict) else {}
    minimum = zoo.minimum_size(name)
    return Network(
        model, pixels, classes, row.head, f"{name} ({source})", loaded, minimum=minimum, loss_weights=loss_weights
    )


def save(network: Network, path: Path):
    """Write a `.keras` file that plain Keras loads, uncompiled and in float32, with the metadata as an extra member.

    Auxiliary heads are not saved. Keras 3.6 and later load it, if they have the layers.
    """

    def write_to(partial):
        _model_to_save(for_inference(network).model).save(partial)
        make_portable(partial, model_note.make_note(network, partial))

    atomic.write(path, write_to)


def _model_to_save(model: keras.Model) -> keras.Model:
    if any(layer.compute_dtype != "float32" for layer in model.layers):
        return copy_model(model, policy="float32")
    return uncompiled(model)


def load_file(path: Path, *, pixels: str = "") -> Network:
    """Load a network that `save` wrote, or the file or SavedModel folder of any other Keras model.

    Args:
        pixels: the pixel convention of a foreign model.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, a newer transferkit wrote it, or the model is not for pictures.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}: expected a run folder or the file of a Keras model.")
    note = model_note.read_note(path)
    if note is None:
        return adopt.load_network(path, pixels)
    if pixels:
        raise UnknownName(f"{path} has a pixel convention of its own: omit --pixels {pixels}.")
    digest, version = note.pop("weights_sha256"), note.pop(versions.VERSION)
    with versions.reading(path, {versions.VERSION: version}):
        model = adopt.load_keras_model(path)
        _check_note(note, model, path)
    model_note.check_weights(path, digest)
    return Network(model, loaded=("all weights loaded",), **note)


def _check_note(note: dict, model: keras.Model, path: Path):
    """Raise `ValueError` unless the metadata fits the model: somebody may have changed the file."""
    names = [layer.name for layer in model.layers]
    outputs = model.output_shape[-1] if isinstance(model.output_shape, tuple) else None
    if note["head"] and note["head"] not in names:
        wrong = f"a head {note['head']!r}, which is not a layer of the model"
    elif note["classes"] and len(note["classes"]) != outputs:
        wrong = f"{len(note['classes'])} classes, and the model has {outputs} outputs"
    elif len(model.inputs) != 1 or model.input_shape[-1] != note["pixels"].channels:
        wrong = f"pictures of {count_noun(note['pixels'].channels, 'channel')}, and the model takes {model.input_shape}"
    else:
        return
    raise ValueError(f"{path} cannot be used: its {model_note.NOTE} has {wrong}.")
