"""Files of Keras models of either version, read without running anything of theirs."""

import dataclasses
import io
import json
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import h5py
import keras

from transferkit import atomic, bounded
from transferkit.adopt import keras2_graph, keras3_h5, saved_model, variable_loading, weight_budget
from transferkit.adopt.conversion import adopted
from transferkit.adopt.graph import Unfit, check_is_float
from transferkit.network import Network
from transferkit.weights import hdf5
from transferkit.weights.weight_files import HDF5

SUFFIXES = (".keras", ".h5", ".hdf5")
MEMBERS = "config.json", "metadata.json", "model.weights.h5"


class NoRoom(OSError):
    """The disk is at fault, not the file."""


def from_file(path: Path, pixels: str = "") -> Network:
    """Make a network of the file of any Keras model, or of a SavedModel folder, which can predict and no more.

    Raises:
        UnknownName: what the model expects of pixels does not show, and `pixels` does not say it.
        ValueError: the file is damaged, or holds no network for pictures.
    """
    path = Path(path)
    if saved_model.is_one(path):
        return saved_model.network_of(path, pixels)
    model, changes = _loaded(path)
    network = adopted(model, pixels, source=str(path))
    return dataclasses.replace(network, loaded=(*network.loaded, *changes))


def load_keras(path: Path) -> keras.Model:
    """The uncompiled model of a `.keras` or `.h5` file of Keras 2 or 3.

    Raises:
        ValueError: one sentence, whatever is wrong with the file.
    """
    return _loaded(Path(path))[0]


def _loaded(path: Path):
    """The model, and what was not as it should be, for a person."""
    if path.is_dir():
        raise ValueError(f"{path} is no SavedModel, for it holds no saved_model.pb: expected that or a .keras file.")
    with open(path, "rb") as file:
        is_hdf5 = file.read(len(HDF5)) == HDF5
    if not is_hdf5 and not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no file of a Keras model, or it is cut short: expected .keras or .h5.")
    if path.suffix not in ((".h5", ".hdf5") if is_hdf5 else (".keras",)):
        raise ValueError(f"{path} must be called {path.stem}{'.h5' if is_hdf5 else '.keras'}, for what it holds.")
    (hdf5.check if is_hdf5 else hdf5.check_keras_archive)(path)
    try:
        return (_hdf5 if is_hdf5 else _archive)(path)
    except Unfit as error:
        raise ValueError(f"{path} {error}") from error
    except NoRoom:
        raise
    except Exception as error:  # json, h5py and Keras raise all sorts on what is none of theirs
        raise ValueError(f"{path} is damaged: {type(error).__name__} ({_first(error)}).") from error


def _hdf5(path: Path):
    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise Unfit(f"holds weights and no network: give the network's name as --base and --weights {path}.")
        config, version = json.loads(file.attrs["model_config"]), file.attrs.get("keras_version", "1")
        room = weight_budget.within(path.stat().st_size)
        if _text(version).startswith(("1", "2")):
            with room:
                model = keras2_graph.model_of(config)
            return model, keras2_graph.fill(model, variable_loading.of_group(file["model_weights"], model))
        config = keras3_h5.with_modules(config)
        with room, _explained(config):
            model = keras3_h5.model_of(config)
        check_is_float(model)
        return model, variable_loading.fill(model, variable_loading.of_group(file["model_weights"], model))


def _archive(path: Path):
    with zipfile.ZipFile(path) as archive:
        missing = [member for member in MEMBERS if member not in archive.namelist()]
        if missing:
            raise Unfit(f"is no file of a Keras model: it lacks {missing[0]}.")
        config, about = (bounded.from_json(bounded.member(archive, member)) for member in MEMBERS[:2])
        room = weight_budget.within(archive.getinfo(MEMBERS[2]).file_size)
        if not _text(about.get("keras_version", "3")).startswith("2"):
            with room, _explained(config):
                return keras.models.load_model(path, compile=False, safe_mode=True), []
        with room:
            model = keras2_graph.model_of(config)
        with h5py.File(io.BytesIO(archive.read(MEMBERS[2])), "r") as file:
            found = variable_loading.of_archive(file, config["config"]["layers"])
            variable_loading.check_all(file, found)
            return model, keras2_graph.fill(model, found)


@contextmanager
def _explained(config: dict):
    """Turn what Keras 3 raises over a configuration of its own into one sentence."""
    try:
        yield
    except Exception as error:  # of any type, and of many lines
        if atomic.disk_full_reason(error):
            raise NoRoom(
                f"Keras unpacks models in {tempfile.gettempdir()}, which has no room: make room there, or name another "
                "folder with TMPDIR."
            ) from error
        culprit = _culprit(config)
        if culprit and culprit["class_name"] == "Lambda":
            raise Unfit(
                f"has a Lambda layer {_called(culprit)!r}, whose Python code is not run from a file: put a standard "
                "layer, such as Rescaling, in its place and save it again."
            ) from error
        if culprit:
            raise Unfit(
                f"has a layer {_called(culprit)!r} of class {culprit['class_name']!r}, which is none of Keras' own: "
                "--import MODULE imports a Python module that registers it, and runs its code."
            ) from error
        raise Unfit(f"cannot be loaded by Keras {keras.__version__} ({_first(error)}).") from error


def _culprit(config) -> dict | None:
    """The first layer of a configuration that Keras cannot or may not make by itself."""
    if isinstance(config, list):
        return next(filter(None, map(_culprit, config)), None)
    if not isinstance(config, dict):
        return None
    kind, module = config.get("class_name"), config.get("module", "keras.layers")
    if isinstance(kind, str) and isinstance(config.get("config"), dict):
        ours = str(module).partition(".")[0] in ("keras", "builtins") and hasattr(keras.layers, kind)
        if kind == "Lambda" or (not ours and not str(module).startswith(("keras", "builtins"))):
            return config
        if "module" not in config and "inbound_nodes" in config and not hasattr(keras.layers, kind):
            return config if not hasattr(keras, kind) and kind != "Functional" else _culprit(config["config"])
    return _culprit(list(config.values()))


def _called(entry: dict) -> str:
    return entry.get("name") or entry["config"].get("name", "")


def _text(value) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _first(error: Exception) -> str:
    return (str(error).strip() or "no more is known").splitlines()[0].rstrip(".")
