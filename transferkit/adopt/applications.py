"""The networks of `keras.applications`, by their names there."""

import contextlib
import dataclasses
import os
import re
import sys
from collections import Counter
from pathlib import Path

import h5py
import keras

from transferkit import base_names
from transferkit.adopt import variable_loading
from transferkit.adopt.conversion import adopt_model
from transferkit.adopt.graph import UnsuitableModelError
from transferkit.keras_internals import snake_case
from transferkit.lookup import UnknownName, first_line
from transferkit.network import Network
from transferkit.weights import hdf5
from transferkit.weights.weight_files import HDF5

PREFIX = "keras:"


def names() -> list[str]:
    """The names that may follow `keras:`."""
    return [name for name in dir(keras.applications) if name[0].isupper()]


def load_application(base: str, weights: str, pixels: str = "") -> Network:
    """Load a network of keras.applications.

    Args:
        base: `keras:` and its name, in any case.
        weights: "imagenet" (downloaded by Keras), "none" (fresh), or the path of a weights file of the network.
        pixels: the pixel convention of the weights, where it is not that of Keras' own.

    Raises:
        UnknownName: the network or the weights are not known.
        FileNotFoundError: there is no file at the path.
        ValueError: the file is damaged or does not fit.
        OSError: the weights could not be downloaded.
    """
    name = base_names.find_application(base)
    build = getattr(keras.applications, name)
    source = f"{PREFIX}{name}"
    if weights == "none":
        return dataclasses.replace(_adopt_application(build(weights=None), pixels, f"{source} (fresh)"), loaded=())
    if weights == "imagenet":
        return _adopt_application(_download_pretrained(build, source), pixels, f"{source} (imagenet)")
    path = Path(weights)
    if not path.is_file() and path.name == weights and not path.suffix:
        raise UnknownName(f"{source} has no weights called {weights!r}: expected imagenet, none or the path of a file.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}: expected the weights of {source}, imagenet or none.")
    return _adopt_application(_load_weights_file(build, path, source), pixels, f"{source} ({path})")


def _adopt_application(model: keras.Model, pixels: str, source: str) -> Network:
    _renumber_layers(model)
    return adopt_model(model, pixels, source=source)


def _renumber_layers(model: keras.Model):
    """Number the layers within their network, not within the process as Keras does: runs refer to layers by name."""
    counts: Counter[str] = Counter()
    for layer in model.layers:
        kind = re.sub(r"_\d+$", "", layer.name)
        if kind == snake_case(type(layer).__name__):
            layer.name = f"{kind}_{counts[kind]}" if counts[kind] else kind
            counts[kind] += 1


def _download_pretrained(build, source: str) -> keras.Model:
    """Build the network with the weights that Keras downloads, or finds in its folder."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras reports downloads on standard output, which is for results
            return build(weights="imagenet")
    except (AttributeError, NameError, TypeError):  # a bug, not a failed download
        raise
    except Exception as error:  # `get_file` raises bare exceptions
        folder = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")) / "models"
        found = re.search(r"(https?://\S+?):? (?:(\S+) -- )?(.*)", str(error))
        where, why = (found[1], found[3] or found[2]) if found else ("its address", str(error) or type(error).__name__)
        raise OSError(
            f"The imagenet weights of {source} could not be downloaded from {where} ({first_line(why)}): put the "
            f"file into {folder}, or give one with --weights PATH."
        ) from error


def _load_weights_file(build, path: Path, source: str) -> keras.Model:
    """Build the network with the weights of a file: whole, with another number of classes, or without a classifier."""
    with open(path, "rb") as file:
        if file.read(len(HDF5)) != HDF5:
            raise ValueError(f"{path} is not a weights file of {source}: expected .h5 or .weights.h5.")
    hdf5.check_hdf5(path)
    problems = []
    with h5py.File(path, "r") as file:
        root = file.get("model_weights", file)
        model = build(weights=None)
        found = _read_arrays(root, model)
        width = found[-1].value.size if found else 1000  # of the classifier's bias, if it has one
        for knobs in ({}, {"classes": width}, {"include_top": False}):
            model = build(weights=None, **knobs) if knobs else model
            try:
                found = _read_arrays(root, model)
                variable_loading.check_complete(root, found)
                variable_loading.assign_arrays(model, found)
                return model
            except UnsuitableModelError as error:
                problems.append(error)
    raise ValueError(f"{path} is not a weights file of {source}: it {problems[0]}") from problems[0]


def _read_arrays(root: h5py.Group, model: keras.Model) -> list[variable_loading.StoredArray]:
    """Read the arrays of a checked file, in the layout of Keras 2 or 3."""
    if "layer_names" in root.attrs or "layer_names0" in root.attrs:
        return variable_loading.read_h5_group(root, model)
    return variable_loading.read_archive(root, model.get_config()["layers"])
