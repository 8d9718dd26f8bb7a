"""Identify a network and its weights by the content of their files, without loading Keras."""

import functools
import hashlib
import importlib.metadata
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from transferkit import bases, hub, zoo
from transferkit.weights.catalogue import find_weight_set, is_path

if TYPE_CHECKING:
    import keras


def identify_network(base: "str | keras.Model", weights: str, pixels: str) -> str:
    """Identify a network and its weights: equal texts mean equal outputs.

    Args:
        base, weights, pixels: as in `FeatureSpec`.

    Raises:
        UnknownName, FileNotFoundError, ValueError, OSError: the network or its weights are not found.
    """
    if not isinstance(base, str):
        return _digest_model(base)
    base = bases.find_local(base)
    files = [*(_list_files(base) if is_model_path(base) else []), *(_list_files(weights) if is_path(weights) else [])]
    return _identify(base, weights, pixels, tuple(map(_stamp_file, files)))


def _digest_model(model) -> str:
    """A digest of a model in memory as it is now: it may be trained further."""
    digest = hashlib.sha256(model.to_json().encode())
    for array in model.get_weights():
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


@functools.lru_cache(maxsize=64)
def _identify(base: str, weights: str, pixels: str, _stamps) -> str:
    bases.check_base(base, weights, pixels)
    if zoo.is_network(base):
        name = zoo.spell(base)
        return f"{name} {_identify_fresh() if weights == 'none' else _digest_weights(name.partition('(')[0], weights)}"
    if base.startswith("keras:"):
        parts = [base.lower(), _digest_path(Path(weights)) if os.path.isfile(weights) else weights, pixels]
        version = _identify_fresh() if weights == "none" else f"keras {_keras_version()}"
        return " ".join([*filter(None, parts), version])
    return " ".join(filter(None, [_digest_path(Path(base)), pixels]))


def _digest_weights(network: str, weights: str) -> str:
    if is_path(weights):
        if not os.path.isfile(weights):
            raise FileNotFoundError(f"There is no {weights}: expected a file of weights of {network}, a tag or none.")
        return _digest_path(Path(weights))
    chosen = find_weight_set(network, weights)
    return chosen.sha256 or chosen.md5 or _digest_path(bases.fetch_set(chosen))


def _identify_fresh() -> str:
    return f"fresh, keras {_keras_version()}"


def _keras_version() -> str:
    return importlib.metadata.version("keras")


def is_model_path(base: str) -> bool:
    """Whether a base is the path of a model or a run, or a name on the Hub, and not the name of an architecture."""
    return hub.is_hub(base) or not zoo.is_network(base) and not base.startswith("keras:") and os.path.exists(base)


def _stamp_file(file: Path) -> tuple:
    """The size, times and inode of a file: its digest is cached as long as they do not change."""
    facts = file.stat()
    return str(file), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino


def _digest_path(path: Path) -> str:
    """SHA-256 of a file, of the model of a run, or of all files of a folder."""
    digest = hashlib.sha256()
    for file in _list_files(path):
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def _list_files(path: str | Path) -> list[Path]:
    path = Path(path)
    if (path / "model.keras").is_file():
        return [path / "model.keras"]
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path] if path.is_file() else []
