"""The networks of `keras.applications`, by their names there."""

import contextlib
import dataclasses
import os
import re
import socket
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import h5py
import keras

from transferkit import base_names, bases
from transferkit.adopt import array_assignment
from transferkit.adopt.conversion import adopt_model
from transferkit.adopt.graph import UnsuitableModelError
from transferkit.cache_folder import cache_folder
from transferkit.console import say
from transferkit.keras_internals import snake_case, wrapped_get_file
from transferkit.lookup import first_line
from transferkit.network import Network
from transferkit.weights import hdf5
from transferkit.weights.weight_files import HDF5

TIMEOUT = 10.0  # seconds without an answer of the server


class _NotHereError(Exception):
    """The weights are not on this machine, and may not be downloaded."""


def load_application(base: str, weights: str, pixels: str = "", *, download: bool = True) -> Network:
    """Load a network of keras.applications.

    Args:
        base: `keras:` and its name, in any case.
        weights: "imagenet" (downloaded by Keras), "none" (fresh), or the path of a weights file of the network.
        pixels: the pixel convention of the weights, where it is not that of Keras' own.
        download: whether imagenet weights may be downloaded; else fresh ones stand in for them.

    Raises:
        UnknownName: the network is not known.
        ValueError: the file is damaged or does not fit.
        OSError: the weights could not be downloaded.
    """
    name = base_names.find_application(base)
    build, source = getattr(keras.applications, name), f"{base_names.PREFIX}{name}"
    if weights == "none":
        return dataclasses.replace(_adopt_application(build(weights=None), pixels, f"{source} (fresh)"), loaded=())
    if weights != "imagenet":
        path = Path(weights)
        return _adopt_application(_load_weights_file(build, path, source), pixels, f"{source} ({path})")
    try:
        return _adopt_application(_load_pretrained(build, source, download), pixels, f"{source} (imagenet)")
    except _NotHereError:
        network = _adopt_application(build(weights=None), pixels, f"{source} (imagenet)")
        return dataclasses.replace(
            network, loaded=bases.describe_absent(len(network.model.weights), "from keras.applications")
        )


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


def _load_pretrained(build, source: str, download: bool) -> keras.Model:
    """Build the network with the weights that are on this machine, or else that Keras downloads."""
    folder, timeout = cache_folder() / "keras", socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(TIMEOUT)  # Keras sets none
        with (
            contextlib.redirect_stdout(sys.stderr),  # Keras reports downloads on standard output, which is for results
            wrapped_get_file(partial(_get_file, folder=folder, download=download)),
        ):
            return build(weights="imagenet")
    except (AttributeError, NameError, TypeError, _NotHereError):  # a bug, not a failed download
        raise
    except Exception as error:  # `get_file` raises bare exceptions
        found = re.search(r"(https?://\S+?):? (?:(\S+) -- )?(.*)", str(error))
        where, why = (found[1], found[3] or found[2]) if found else ("its address", str(error) or type(error).__name__)
        raise OSError(
            f"The imagenet weights of {source} could not be downloaded from {where} ({first_line(why)}): put the "
            f"file into {folder / 'models'}, or give one with --weights PATH.{bases.suggest_available()}"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def _get_file(get_file, fname=None, origin=None, *, folder: Path, download: bool, **kwargs) -> str:
    """`get_file` with the file in our cache folder, or in that of Keras if it is there already."""
    keras_folder = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"))
    name = fname or os.path.basename(origin)
    chosen = next((place for place in (folder, keras_folder) if os.path.isfile(place / "models" / name)), None)
    if chosen is None and not download:
        raise _NotHereError
    if chosen is None:
        say(f"{name} has a licence of its own, which its file does not state: see https://keras.io/api/applications/")
    with contextlib.suppress(OSError):  # without the folder, Keras takes one in /tmp
        folder.mkdir(parents=True, exist_ok=True)
    return get_file(fname, origin, **kwargs | {"cache_dir": str(chosen or folder)})


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
                array_assignment.check_complete(root, found)
                array_assignment.assign_arrays(model, found)
                return model
            except UnsuitableModelError as error:
                problems.append(error)
    raise ValueError(f"{path} is not a weights file of {source}: it {problems[0]}") from problems[0]


def _read_arrays(root: h5py.Group, model: keras.Model) -> list[array_assignment.StoredArray]:
    """Read the arrays of a checked file, in the layout of Keras 2 or 3."""
    if "layer_names" in root.attrs or "layer_names0" in root.attrs:
        return array_assignment.read_h5_group(root, model)
    return array_assignment.read_archive(root, model.get_config()["layers"])
