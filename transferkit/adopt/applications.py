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

from transferkit.adopt import variable_loading
from transferkit.adopt.conversion import adopted
from transferkit.adopt.graph import Unfit
from transferkit.keras_internals import snake_case
from transferkit.lookup import UnknownName, known, nearest
from transferkit.network import Network
from transferkit.weights import hdf5
from transferkit.weights.weight_files import HDF5

PREFIX = "keras:"


def names() -> list[str]:
    """What may stand after `keras:`."""
    return [name for name in dir(keras.applications) if name[0].isupper()]


def application(base: str, weights: str, pixels: str = "") -> Network:
    """A network of keras.applications.

    Args:
        base: `keras:` and its name, in letters of any case.
        weights: "imagenet" (those that Keras downloads), "none" (fresh), or the path of a file of that network.
        pixels: what these weights expect, where it is not what Keras' own do.

    Raises:
        UnknownName: there is no such network, or no such weights.
        FileNotFoundError: no file is at the path.
        ValueError: the file is damaged or does not fit.
        OSError: the weights could not be downloaded.
    """
    asked = base.removeprefix(PREFIX)
    name = {name.lower(): name for name in names()}.get(asked.lower())
    if name is None:
        raise UnknownName(
            f"No network of keras.applications is called {asked!r}.{nearest(names(), asked)}{known(names())}"
        )
    build = getattr(keras.applications, name)
    source = f"{PREFIX}{name}"
    if weights == "none":
        return dataclasses.replace(_network(build(weights=None), pixels, f"{source} (fresh)"), loaded=())
    if weights == "imagenet":
        return _network(_downloaded(build, source), pixels, f"{source} (imagenet)")
    path = Path(weights)
    if not path.is_file() and path.name == weights and not path.suffix:
        raise UnknownName(f"{source} has no weights called {weights!r}: expected imagenet, none or the path of a file.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}: expected the weights of {source}, imagenet or none.")
    return _network(_from_file(build, path, source), pixels, f"{source} ({path})")


def _network(model: keras.Model, pixels: str, source: str) -> Network:
    _number(model)
    return adopted(model, pixels, source=source)


def _number(model: keras.Model):
    """Give layers that Keras numbers through a process, as `conv2d_94`, a number in their network: runs go by names."""
    counts = Counter()
    for layer in model.layers:
        kind = re.sub(r"_\d+$", "", layer.name)
        if kind == snake_case(type(layer).__name__):
            layer.name = f"{kind}_{counts[kind]}" if counts[kind] else kind
            counts[kind] += 1


def _downloaded(build, source: str) -> keras.Model:
    """The network with the weights that Keras fetches, or finds in its folder."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # of a download Keras tells there; standard output is the answer's
            return build(weights="imagenet")
    except (AttributeError, NameError, TypeError):  # a fault in Keras' code, or ours, is no download that failed
        raise
    except Exception as error:  # `get_file` raises bare exceptions
        folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"
        found = re.search(r"(https?://\S+?):? (?:(\S+) -- )?(.*)", str(error))
        where, why = (found[1], found[3] or found[2]) if found else ("its address", str(error) or type(error).__name__)
        raise OSError(
            f"The imagenet weights of {source} could not be downloaded from {where} ({why.splitlines()[0]}): put the "
            f"file into {folder}, or give one with --weights PATH."
        ) from error


def _from_file(build, path: Path, source: str) -> keras.Model:
    """The network with the weights of a file: whole, with another number of classes, or without a classifier."""
    with open(path, "rb") as file:
        if file.read(len(HDF5)) != HDF5:
            raise ValueError(f"{path} is no weights file of {source}: expected .h5 or .weights.h5.")
    hdf5.check(path)
    problems = []
    with h5py.File(path, "r") as file:
        root = file.get("model_weights", file)
        model = build(weights=None)
        found = _arrays(root, model)
        width = found[-1][2].size if found else 1000  # of the classifier's bias, if it has one
        for knobs in ({}, {"classes": width}, {"include_top": False}):
            model = build(weights=None, **knobs) if knobs else model
            try:
                found = _arrays(root, model)
                variable_loading.check_all(root, found)
                variable_loading.fill(model, found)
                return model
            except Unfit as error:
                problems.append(error)
    raise ValueError(f"{path} is no weights file of {source}: it {problems[0]}") from problems[0]


def _arrays(root: h5py.Group, model: keras.Model) -> variable_loading.Found:
    """What a checked file holds, in the layout of either version."""
    if "layer_names" in root.attrs or "layer_names0" in root.attrs:
        return variable_loading.of_group(root, model)
    return variable_loading.of_archive(root, model.get_config()["layers"])
