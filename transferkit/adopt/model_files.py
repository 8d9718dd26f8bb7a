"""Files of models of Keras 2 and 3, read without running code from them."""

import dataclasses
import io
import json
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import h5py
import keras

from transferkit import atomic, untrusted_files
from transferkit.adopt import array_assignment, keras2_graph, keras3_h5, saved_model, weight_limit
from transferkit.adopt.conversion import adopt_model
from transferkit.adopt.graph import UnsuitableModelError, check_is_float
from transferkit.keras_internals import undrawn_weights
from transferkit.lookup import first_line
from transferkit.network import Network
from transferkit.weights import hdf5
from transferkit.weights.weight_files import HDF5

UNKNOWN = "no more is known"  # of an error without a message
MEMBERS = "config.json", "metadata.json", "model.weights.h5"


class DiskFullError(OSError):
    """The disk is full; the file is not at fault."""


def load_network(path: Path, pixels: str = "") -> Network:
    """Load the file of any Keras model as a network, or a SavedModel folder, which can predict but not learn.

    Args:
        pixels: the pixel convention of the model, a key of `CONVENTIONS`; by default it is recognised.

    Raises:
        UnknownName: the pixel convention is neither recognised nor given.
        ValueError: the file is damaged, or does not hold a network for pictures.
    """
    path = Path(path)
    if saved_model.is_saved_model(path):
        return saved_model.load_saved_model(path, pixels)
    model, changes = _load_model(path)
    network = adopt_model(model, pixels, source=str(path))
    return dataclasses.replace(network, loaded=(*network.loaded, *changes))


def load_keras_model(path: Path) -> keras.Model:
    """Load the uncompiled model of a `.keras` or `.h5` file of Keras 2 or 3.

    Raises:
        ValueError: the file cannot be used.
    """
    return _load_model(Path(path))[0]


def _load_model(path: Path):
    """The model, and what had to be changed or guessed, for a message."""
    if path.is_dir():
        raise ValueError(f"{path} is not a SavedModel, for it holds no saved_model.pb: expected that or a .keras file.")
    with open(path, "rb") as file:
        is_hdf5 = file.read(len(HDF5)) == HDF5
    if not is_hdf5 and not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a file of a Keras model, or it is cut short: expected .keras or .h5.")
    if path.suffix not in ((".h5", ".hdf5") if is_hdf5 else (".keras",)):
        raise ValueError(f"{path} must be called {path.stem}{'.h5' if is_hdf5 else '.keras'}, for what it holds.")
    (hdf5.check_hdf5 if is_hdf5 else hdf5.check_keras_archive)(path)
    try:
        with undrawn_weights():
            return (_load_h5 if is_hdf5 else _load_archive)(path)
    except UnsuitableModelError as error:
        raise ValueError(f"{path} {error}") from error
    except DiskFullError:
        raise
    except Exception as error:  # json, h5py and Keras raise errors of any type
        raise ValueError(f"{path} is damaged: {type(error).__name__} ({first_line(error, UNKNOWN)}).") from error


def _load_h5(path: Path):
    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise UnsuitableModelError(
                f"holds weights and no network: give the network's name as --base and --weights {path}."
            )
        config, version = json.loads(file.attrs["model_config"]), file.attrs.get("keras_version", "1")
        room = weight_limit.limit_weights(path.stat().st_size)
        if _decode(version).startswith(("1", "2")):
            with room:
                model = keras2_graph.build_model(config)
            return model, keras2_graph.assign_keras2_weights(
                model, array_assignment.read_h5_group(file["model_weights"], model)
            )
        config = keras3_h5.with_modules(config)
        with room, _explain_keras_errors(config):
            model = keras3_h5.build_model(config)
        check_is_float(model)
        return model, array_assignment.assign_arrays(
            model, array_assignment.read_h5_group(file["model_weights"], model)
        )


def _load_archive(path: Path):
    with zipfile.ZipFile(path) as archive:
        missing = [member for member in MEMBERS if member not in archive.namelist()]
        if missing:
            raise UnsuitableModelError(f"is not a file of a Keras model: it lacks {missing[0]}.")
        config, about = (untrusted_files.from_json(untrusted_files.member(archive, member)) for member in MEMBERS[:2])
        room = weight_limit.limit_weights(archive.getinfo(MEMBERS[2]).file_size)
        if not _decode(about.get("keras_version", "3")).startswith("2"):
            with room, _explain_keras_errors(config):
                return keras.models.load_model(path, compile=False, safe_mode=True), []
        with room:
            model = keras2_graph.build_model(config)
        with h5py.File(io.BytesIO(archive.read(MEMBERS[2])), "r") as file:
            found = array_assignment.read_archive(file, config["config"]["layers"])
            array_assignment.check_complete(file, found)
            return model, keras2_graph.assign_keras2_weights(model, found)


@contextmanager
def _explain_keras_errors(config: dict):
    """Turn an error of Keras 3 over a configuration into one sentence."""
    try:
        yield
    except Exception as error:  # of any type, and of many lines
        if atomic.disk_full_reason(error):
            raise DiskFullError(
                f"Keras unpacks models in {tempfile.gettempdir()}, which has no room: make room there, or name another "
                "folder with TMPDIR."
            ) from error
        unknown = _find_unknown_layer(config)
        if unknown and unknown["class_name"] == "Lambda":
            raise UnsuitableModelError(
                f"has a Lambda layer {_layer_name(unknown)!r}, whose Python code is not run from a file: put a "
                "standard layer, such as Rescaling, in its place and save it again."
            ) from error
        if unknown:
            raise UnsuitableModelError(
                f"has a layer {_layer_name(unknown)!r} of class {unknown['class_name']!r}, which Keras does not have: "
                "--import MODULE imports a Python module that registers it, and runs its code."
            ) from error
        raise UnsuitableModelError(
            f"cannot be loaded by Keras {keras.__version__} ({first_line(error, UNKNOWN)})."
        ) from error


def _find_unknown_layer(config) -> dict | None:
    """The first layer of a configuration whose class Keras does not have, or which is a Lambda."""
    if isinstance(config, list):
        return next(filter(None, map(_find_unknown_layer, config)), None)
    if not isinstance(config, dict):
        return None
    kind, module = config.get("class_name"), config.get("module", "keras.layers")
    if isinstance(kind, str) and isinstance(config.get("config"), dict):
        ours = str(module).partition(".")[0] in ("keras", "builtins") and hasattr(keras.layers, kind)
        if kind == "Lambda" or (not ours and not str(module).startswith(("keras", "builtins"))):
            return config
        if "module" not in config and "inbound_nodes" in config and not hasattr(keras.layers, kind):
            return (
                config if not hasattr(keras, kind) and kind != "Functional" else _find_unknown_layer(config["config"])
            )
    return _find_unknown_layer(list(config.values()))


def _layer_name(entry: dict) -> str:
    return entry.get("name") or entry["config"].get("name", "")


def _decode(value) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
