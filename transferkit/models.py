"""A network with its weights: one of the zoo, or one that a run or a `.keras` file holds."""

import dataclasses
import json
import os
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import keras

from transferkit import atomic, zoo
from transferkit.lookup import UnknownName, known, nearest
from transferkit.pixels import Pixels
from transferkit.weights import files
from transferkit.weights.assign import assign, tensor_names
from transferkit.weights.catalogue import sets, weight_set
from transferkit.weights.fetch import fetch

WEIGHT_FILES = (".pth", ".pt", ".safetensors", ".h5", ".keras")
NOTE, FORMAT = "transferkit.json", 1  # the extra member of a .keras file: what Keras has no place for


@dataclass(frozen=True)
class Network:
    """A Keras model and what goes with it.

    Attributes:
        model: flat functional model, pictures (n, h, w, c) in 0..255 to logits (n, len(classes)).
        pixels: the geometry and normalisation it expects; the normalisation is its own first layer.
        classes: names in index order.
        head: name of the last dense layer.
        base: where it comes from, for a person: "resnet34 (imagenet1k_v1)".
        loaded: what came from a file and what of it did not, for a person: ("182/182 tensors loaded",); empty for fresh
            weights.
    """

    model: keras.Model
    pixels: Pixels
    classes: tuple[str, ...]
    head: str
    base: str
    loaded: tuple[str, ...] = ()


def create(name: str, *, weights: str | os.PathLike = "imagenet", num_classes: int | None = None) -> keras.Model:
    """Create a classic network as a plain Keras model.

    Args:
        name: a network of `transferkit models`.
        weights: "imagenet" (the network's first public set), a tag of `transferkit models`, "none" (fresh), or
            the path of a `.pth`, `.safetensors`, `.weights.h5` or `.keras` file.
        num_classes: width of a new last layer; by default the weights' own (1000 for "none").

    Returns:
        A `keras.Model` from RGB pictures (n, height, width, 3) in 0..255 to float32 logits (n, num_classes).

    Raises:
        UnknownName: no network or weight set is called so.
        FileNotFoundError: no file is at the path.
        ValueError: the file cannot be read, or does not fit the network.
        OSError: the weights could not be downloaded.
    """
    network = load(name, weights)
    if num_classes is not None and num_classes != len(network.classes):
        network = with_head(network, [str(i) for i in range(num_classes)])
    return network.model


def load(base: str | os.PathLike, weights: str | os.PathLike = "imagenet") -> Network:
    """A base by any of its spellings: a network's name with weights, a run folder, or a `.keras` file of ours."""
    if is_network(base):
        return _from_zoo(str(base), str(weights))
    path = Path(base)
    if path.suffix != ".keras" and not path.exists():
        raise UnknownName(
            f"No network, run folder or .keras file is called {str(base)!r}."
            f"{nearest(zoo.variants(), str(base))}{known(zoo.variants())}"
        )
    if str(weights) != "imagenet":
        raise UnknownName(f"{base} has weights of its own: leave out --weights {weights}.")
    if path.is_dir() and (path / "recipe.toml").exists() and not (path / "model.keras").exists():
        raise ValueError(f"{path} is not finished: transferkit finetune --resume {path} goes on with it.")
    return read(path / "model.keras" if path.is_dir() else path)


def is_network(base: str | os.PathLike) -> bool:
    """Whether a base is a network's name; a folder of that name is only meant as ./name."""
    return str(base) in zoo.variants()


def is_file(weights: str | os.PathLike) -> bool:
    """Whether weights are given by a path, and not by a tag."""
    return Path(weights).name != str(weights) or Path(weights).suffix in WEIGHT_FILES


def _from_zoo(name: str, weights: str) -> Network:
    head, pixels = zoo.variant(name).head, sets(name)[0].pixels if sets(name) else Pixels()
    if weights == "none":
        model = zoo.build(name, pixels=pixels, num_classes=1000)
        return Network(model, pixels, _class_names(1000), head, f"{name} (fresh)")
    classes = None
    if is_file(weights):
        path, source = Path(weights), weights
        if note := _note(path):  # one of ours: it says what its weights expect
            pixels, classes = note["pixels"], note["classes"]
    else:
        chosen = weight_set(name, weights)
        path, pixels, source = fetch(chosen), chosen.pixels, chosen.tag
    tensors, layout, changes = files.read(path)
    kernel = tensors.get(f"{head}.weight")
    num_classes = 1000 if kernel is None or kernel.ndim != 2 else kernel.shape[0 if layout == "torch" else 1]
    model = zoo.build(name, pixels=pixels, num_classes=num_classes)
    count = assign(model, tensors, layout, source=str(path))
    loaded = (f"{count}/{count} tensors loaded", *changes)
    return Network(model, pixels, classes or _class_names(num_classes), head, f"{name} ({source})", loaded)


@cache
def _class_names(count: int) -> tuple[str, ...]:
    """The names of ImageNet's classes for a network of 1000 outputs, in the order all public sets share."""
    if count != 1000:
        return tuple(str(i) for i in range(count))
    return tuple(resources.files("transferkit.weights").joinpath("imagenet.txt").read_text("utf-8").splitlines())


def with_head(network: Network, classes) -> Network:
    """The same network, sharing its layers, with a new last layer for `classes`."""
    classes = tuple(classes)
    old = network.model.get_layer(network.head)
    logits = zoo.layers.head(old.input, len(classes), name=network.head)
    model = keras.Model(network.model.input, logits, name=network.model.name)
    total = len(tensor_names(model))
    changed = f"head {len(network.classes)} -> {len(classes)} new; {total - len(old.weights)}/{total} tensors loaded"
    loaded = (changed, *network.loaded[1:]) if network.loaded else ()
    return dataclasses.replace(network, model=model, classes=classes, loaded=loaded)


def output_of(model: keras.Model, name: str):
    """The output of a layer, or the last one below a torch prefix (`layer4` is that of `layer4.2.relu`).

    Raises:
        UnknownName: no layer bears the name or the prefix; the nearest is named.
    """
    below = [layer for layer in model.layers if layer.name == name or layer.name.startswith(f"{name}.")]
    if not below:
        names = [layer.name for layer in model.layers]
        cuts = [layer.name for layer in model.layers if type(layer).__name__ == "Identity"] + ["pooled"]
        raise UnknownName(f"No layer of {model.name} is called {name!r}.{nearest(names, name)}{known(cuts)}")
    return below[-1].output


def save(network: Network, path: Path):
    """Write a `.keras` file that plain Keras loads, uncompiled and in float32, with our note as an extra member."""
    note = {
        "format": FORMAT,
        "base": network.base,
        "head": network.head,
        "classes": network.classes,
        "pixels": dataclasses.asdict(network.pixels),
    }

    def to(partial):
        _as_saved(network).save(partial)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.writestr(NOTE, json.dumps(note, ensure_ascii=False, indent=1))

    atomic.write(path, to)


def with_policy(network: Network, policy: str) -> Network:
    """A fresh, uncompiled copy that computes in a dtype policy; normalisation and head stay in float32."""

    def under_policy(layer):
        dtype = "float32" if layer.name in ("pixels", network.head) else policy
        return type(layer).from_config(layer.get_config() | {"dtype": dtype})

    model = keras.models.clone_model(_uncompiled(network.model), clone_function=under_policy)
    model.set_weights(network.model.get_weights())
    return dataclasses.replace(network, model=model)


def _uncompiled(model: keras.Model) -> keras.Model:
    """The same layers; a clone of a compiled model would be compiled as well."""
    return keras.Model(model.input, model.output, name=model.name)


def _as_saved(network: Network) -> keras.Model:
    if any(layer.compute_dtype != "float32" for layer in network.model.layers):
        network = with_policy(network, "float32")
    return _uncompiled(network.model)


def read(path: Path) -> Network:
    """A network that `save` wrote.

    Raises:
        FileNotFoundError: no file is there.
        ValueError: the file is damaged, or was not written by transferkit.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}: expected a run folder or a .keras file.")
    try:
        note = _note(path)
        model = keras.models.load_model(path, compile=False, safe_mode=True) if note else None
    except Exception as error:  # whatever zipfile, json, h5py and Keras raise on a damaged file
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} cannot be read as a .keras file of ours: {first}") from error
    if note is None:
        raise ValueError(f"{path} holds no {NOTE}: expected a file that transferkit wrote.")
    return Network(model, note["pixels"], note["classes"], note["head"], note["base"], ("all weights loaded",))


def _note(path: Path) -> dict | None:
    """What `save` wrote beside the model, or None where it wrote nothing."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        if NOTE not in archive.namelist():
            return None
        note = json.loads(archive.read(NOTE))
    if note["format"] != FORMAT:
        raise ValueError(f"its {NOTE} has format {note['format']}, expected {FORMAT}: a newer transferkit wrote it.")
    pixels = {key: tuple(value) if isinstance(value, list) else value for key, value in note["pixels"].items()}
    return {"pixels": Pixels(**pixels), "classes": tuple(note["classes"]), "head": note["head"], "base": note["base"]}
