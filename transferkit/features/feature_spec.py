"""Which features of which network: the record, and the keys by which files and the cache tell features apart.

Nothing here loads Keras, so that features in the cache are found without it.
"""

import functools
import hashlib
import importlib.metadata
import json
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from transferkit import recipe, zoo
from transferkit.console import silenced
from transferkit.lookup import UnknownName, describe_type, list_known, show, suggest_nearest
from transferkit.weights.catalogue import find_weight_set, is_path
from transferkit.weights.fetch import fetch_weights

if TYPE_CHECKING:
    import keras

FORMAT = 3  # increased whenever the same settings give other features than before
POOLS = {
    "avg": "the mean of each map",
    "max": "the maximum of each map",
    "gem": "the generalised mean of each map, p = 3 (Radenovic et al. 2018, section 3.2)",
    "flatten": "all values as one vector",
    "none": "the map itself",
}

SETTINGS = ("layer", "pool", "crops", "flip", "l2", "size", "channels", "fit")


@dataclass(frozen=True)
class FeatureSpec:
    """Which features of which network to extract.

    Attributes:
        base: a network of `transferkit models`, a run folder, `keras:NAME`, a Keras model or the file of one.
        weights: of a network of `transferkit models`: "imagenet", a tag, "none" (fresh, from a fixed seed) or a file.
        layer: names of layers, cut points or prefixes of layers; their features are concatenated in this order.
        pool: a key of `POOLS`, how a map becomes a vector; vectors are not changed.
        crops: 1 (centre) or 5 (centre and corners); their features are averaged (Krizhevsky et al. 2012, section 4.1).
        flip: whether to average over the mirrored views too.
        l2: whether to divide the features of each layer by their Euclidean length.
        size: of the pictures in pixels: 224, or "192x320" (height x width); None for the network's own.
        channels: of the pictures, 1, 3 or 4; None for the network's own.
        fit: how pictures fill that size, a key of `pixels.FITS`; None for the network's own.
        pixels: what a foreign Keras model expects of pixels, a key of `pixels.CONVENTIONS`; "" to find out.

    Example:
        >>> FeatureSpec("vgg16", layer=("fc6", "fc7"), l2=True)
    """

    base: "str | keras.Model" = "resnet34"
    weights: str = "imagenet"
    layer: tuple[str, ...] = ("pooled",)
    pool: str = "avg"
    crops: int = 1
    flip: bool = False
    l2: bool = False
    size: int | str | None = None
    channels: int | None = None
    fit: str | None = None
    pixels: str = ""

    def __post_init__(self):
        if not isinstance(self.base, str) and not hasattr(self.base, "get_weights"):
            raise ValueError(f"base must be a name, a path or a Keras model, not {describe_type(self.base)}.")
        if not isinstance(self.layer, tuple):
            raise ValueError(f"layer must be a tuple of names of layers, not {show(self.layer)}.")
        if not self.layer or not all(isinstance(name, str) and name for name in self.layer):
            raise ValueError(f"layer must be one or more names of layers, not {self.layer!r}.")
        if len(set(self.layer)) < len(self.layer):
            raise ValueError(f"layer must not name a layer twice: {', '.join(self.layer)}.")
        if not isinstance(self.pool, str) or self.pool not in POOLS:
            raise UnknownName(
                f"No pooling is called {self.pool!r}.{suggest_nearest(POOLS, str(self.pool))}{list_known(POOLS)}"
            )
        if self.pool == "none" and len(self.layer) > 1:
            raise ValueError(
                "pool 'none' takes one layer, as maps have several shapes: name one layer, or take 'flatten'."
            )
        if self.crops not in (1, 5):
            raise ValueError(f"crops must be 1 (centre) or 5 (centre and corners), not {self.crops!r}.")
        for name in ("size", "channels", "fit"):
            recipe.check_value(name, getattr(self, name))

    @property
    def views(self) -> int:
        """The number of views of each picture."""
        return self.crops * (2 if self.flip else 1)

    def with_absolute_paths(self) -> "FeatureSpec":
        """The same with absolute paths, which are valid in any working directory."""
        base = os.path.abspath(self.base) if _is_path(self.base) else self.base
        return replace(
            self, base=base, weights=os.path.abspath(self.weights) if is_path(self.weights) else self.weights
        )

    def to_dict(self) -> dict:
        """The fields and the identity, as a file of features stores them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        base = self.base if isinstance(self.base, str) else self.base.name
        return values | {"base": base, "layer": list(self.layer), "identity": identity(self)}

    @classmethod
    def from_dict(cls, values: dict) -> "FeatureSpec":
        """The record that `to_dict` made into a dict."""
        names = {field.name for field in fields(cls)}
        known = {name: value for name, value in values.items() if name in names}
        return cls(**known | {"layer": tuple(values["layer"])})


def probe_layers(base) -> tuple[str, ...]:
    """The layers whose features a probe concatenates; for a network of the zoo, those that a new head sees."""
    is_ours = isinstance(base, str) and zoo.is_network(base)
    return (*zoo.variant(base).head_layers, "pooled") if is_ours else ("pooled",)


def find_differences(found: dict, expected: dict) -> str:
    """In which settings two notes of features differ, as text; "" if the features can be compared."""
    differences = [] if found.get("identity") == expected["identity"] else ["network or weights"]
    differences += [
        f"{name} ({found.get(name)} in place of {expected[name]})"
        for name in SETTINGS
        if found.get(name) != expected[name]
    ]
    return ", ".join(differences)


def cache_key(spec: FeatureSpec, layer: str) -> str:
    """The key of one layer's features in the cache. What happens after pooling is not part of it."""
    settings = [FORMAT, identity(spec), layer, spec.pool, spec.crops, spec.flip, spec.size, spec.channels]
    settings += [spec.fit] if spec.fit not in (None, _known_fit(spec)) else []
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]


def _known_fit(spec: FeatureSpec) -> str | None:
    """The network's own fit, if no file is needed to know it: all public weights were trained on crops."""
    public = isinstance(spec.base, str) and not _is_path(spec.base) and not is_path(spec.weights)
    return "crop" if public else None


def identity(spec: FeatureSpec) -> str:
    """Identify the network and its weights: equal texts mean equal features.

    Raises:
        UnknownName, FileNotFoundError, ValueError, OSError: the network or its weights are not found.
    """
    if not isinstance(spec.base, str):
        return _digest_model(spec.base)
    weights = _list_files(spec.weights) if is_path(spec.weights) else []
    base = _list_files(spec.base) if _is_path(spec.base) else []
    return _identify(spec.base, spec.weights, spec.pixels, tuple(map(_stamp_file, (*base, *weights))))


def _digest_model(model) -> str:
    """A digest of a model in memory as it is now: it may be trained further."""
    digest = hashlib.sha256(model.to_json().encode())
    for array in model.get_weights():
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


@functools.lru_cache(maxsize=64)
def _identify(base: str, weights: str, pixels: str, _stamps) -> str:
    if zoo.is_network(base):
        name = zoo.spell(base)
        return f"{name} {_identify_fresh() if weights == 'none' else _digest_weights(name.partition('(')[0], weights)}"
    if base.startswith("keras:"):
        parts = [base.lower(), _digest_path(Path(weights)) if os.path.isfile(weights) else weights, pixels]
        version = _identify_fresh() if weights == "none" else f"keras {_keras_version()}"
        return " ".join([*filter(None, parts), version])
    path = Path(base)
    if not path.exists():
        with silenced():
            from transferkit import models
        models.load(base, weights, pixels=pixels)  # raises the error that says what is wrong
    if weights != "imagenet":
        raise UnknownName(f"{base} contains its weights: omit --weights {weights}.")
    return " ".join(filter(None, [_digest_path(path), pixels]))


def _digest_weights(network: str, weights: str) -> str:
    if is_path(weights):
        if not os.path.isfile(weights):
            raise FileNotFoundError(f"There is no {weights}: expected a file of weights of {network}, a tag or none.")
        return _digest_path(Path(weights))
    chosen = find_weight_set(network, weights)
    return chosen.sha256 or chosen.md5 or _digest_path(fetch_weights(chosen))


def _identify_fresh() -> str:
    return f"fresh, keras {_keras_version()}"


def _keras_version() -> str:
    return importlib.metadata.version("keras")


def _is_path(base: str) -> bool:
    return not zoo.is_network(base) and not base.startswith("keras:") and os.path.exists(base)


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
