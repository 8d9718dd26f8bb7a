"""Which features of which network: the record that names them, and what tells them from all others.

Nothing here loads Keras: features that are in the cache come without it.
"""

import functools
import hashlib
import importlib.metadata
import json
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from transferkit import recipe, zoo
from transferkit.console import silenced
from transferkit.lookup import UnknownName, list_known, suggest_nearest
from transferkit.weights.catalogue import find_weight_set, is_path
from transferkit.weights.fetch import fetch_weights

FORMAT = 3  # grows whenever the same words come to mean other features
POOLS = {
    "avg": "the mean of each map",
    "max": "its greatest value",
    "gem": "its generalised mean, p = 3 (Radenovic et al. 2018, section 3.2)",
    "flatten": "all values in a row",
    "none": "the map itself",
}

SETTINGS = ("layer", "pool", "crops", "flip", "l2", "size", "channels", "fit")


@dataclass(frozen=True)
class FeatureSpec:
    """Features of a network.

    Attributes:
        base: a network of `transferkit models`, a run folder, `keras:NAME`, a Keras model or the file of one.
        weights: of a network's name: "imagenet", a tag, "none" (fresh ones, always the same) or a file.
        layer: names of layers, cut points or prefixes of layers, in the order their features are put side by side.
        pool: a key of `POOLS`, what becomes of a map; vectors stay as they are.
        crops: 1 is the centre, 5 the corners too; their features are averaged (Krizhevsky et al. 2012, section 4.1).
        flip: whether the mirrored views are averaged in as well.
        l2: whether the features of each layer are divided by their Euclidean length.
        size: side of the pictures in pixels, or "192x320", height x width; the network's own if None.
        channels: of the pictures; the network's own if None.
        fit: how pictures fill that size, a key of `pixels.FITS`; the network's own if None.
        pixels: what a foreign Keras model expects of pixels, where it does not show.
    """

    base: "str | keras.Model" = "resnet34"  # noqa: F821, Keras is not imported for a word
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
        if not self.layer or not all(isinstance(name, str) and name for name in self.layer):
            raise ValueError(f"layer must be the name of one layer or more, not {self.layer!r}.")
        if len(set(self.layer)) < len(self.layer):
            raise ValueError(f"layer holds a name twice: {', '.join(self.layer)}.")
        if not isinstance(self.pool, str) or self.pool not in POOLS:
            raise UnknownName(
                f"No pooling is called {self.pool!r}.{suggest_nearest(POOLS, str(self.pool))}{list_known(POOLS)}"
            )
        if self.pool == "none" and len(self.layer) > 1:
            raise ValueError("pool 'none' leaves maps of several shapes: name one layer, or take 'flatten'.")
        if self.crops not in (1, 5):
            raise ValueError(f"crops must be 1 (the centre) or 5 (the corners too), not {self.crops!r}.")
        for name in ("size", "channels", "fit"):
            recipe.check_value(name, getattr(self, name))

    @property
    def views(self) -> int:
        """Of each picture."""
        return self.crops * (2 if self.flip else 1)

    def anchored(self) -> "FeatureSpec":
        """The same, its files by absolute paths: it means them from any folder."""
        base = os.path.abspath(self.base) if _is_path(self.base) else self.base
        return replace(
            self, base=base, weights=os.path.abspath(self.weights) if is_path(self.weights) else self.weights
        )

    def told(self) -> dict:
        """All that is to be known of it, for a file."""
        words = {field.name: getattr(self, field.name) for field in fields(self)}
        base = self.base if isinstance(self.base, str) else self.base.name
        return words | {"base": base, "layer": list(self.layer), "identity": identity(self)}

    @classmethod
    def of(cls, told: dict) -> "FeatureSpec":
        """The record that `told` describes."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in told.items() if name in names} | {"layer": tuple(told["layer"])})


def probed_layers(base) -> tuple[str, ...]:
    """The layers whose features a probe sees side by side: of a network of the zoo those that a new head sees too."""
    several = isinstance(base, str) and zoo.is_network(base)
    return (*zoo.variant(base).head_layers, "pooled") if several else ("pooled",)


def other_features(there: dict, wanted: dict) -> str:
    """What of two notes is not the same, in words, for features that must be comparable; "" if all is."""
    other = [] if there.get("identity") == wanted["identity"] else ["network or weights"]
    other += [
        f"{name} ({there.get(name)} in place of {wanted[name]})" for name in SETTINGS if there.get(name) != wanted[name]
    ]
    return ", ".join(other)


def kind(spec: FeatureSpec, layer: str) -> str:
    """The name under which the cache keeps one layer's features. What is done after pooling is not in it."""
    told = [FORMAT, identity(spec), layer, spec.pool, spec.crops, spec.flip, spec.size, spec.channels]
    told += [spec.fit] if spec.fit not in (None, _public_fit(spec)) else []
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def _public_fit(spec: FeatureSpec) -> str | None:
    """The network's own fit where it needs no file to be known: all public weights were trained on crops."""
    public = isinstance(spec.base, str) and not _is_path(spec.base) and not is_path(spec.weights)
    return "crop" if public else None


def identity(spec: FeatureSpec) -> str:
    """Which network with which weights: equal for those that give the same features.

    Raises:
        UnknownName, FileNotFoundError, ValueError, OSError: there is no such network, or no such weights.
    """
    if not isinstance(spec.base, str):
        return _of_model(spec.base)
    weights = _files(spec.weights) if is_path(spec.weights) else []
    base = _files(spec.base) if _is_path(spec.base) else []
    return _identity(spec.base, spec.weights, spec.pixels, tuple(map(_stamp, (*base, *weights))))


def _of_model(model) -> str:
    """A model in memory, by what it does now: it may be trained further."""
    digest = hashlib.sha256(model.to_json().encode())
    for array in model.get_weights():
        digest.update(np.ascontiguousarray(array).view(np.uint8))
    return digest.hexdigest()


@functools.lru_cache(maxsize=64)
def _identity(base: str, weights: str, pixels: str, stamps) -> str:
    if zoo.is_network(base):
        name = zoo.spell(base)
        return f"{name} {_fresh() if weights == 'none' else _of_weights(name.partition('(')[0], weights)}"
    if base.startswith("keras:"):
        words = [base.lower(), _digest(Path(weights)) if os.path.isfile(weights) else weights, pixels]
        return " ".join([*filter(None, words), _fresh() if weights == "none" else f"keras {_keras()}"])
    path = Path(base)
    if not path.exists():
        with silenced():
            from transferkit import models
        models.load(base, weights, pixels=pixels)  # says what is wrong with it
    if weights != "imagenet":
        raise UnknownName(f"{base} has weights of its own: leave out --weights {weights}.")
    return " ".join(filter(None, [_digest(path), pixels]))


def _of_weights(network: str, weights: str) -> str:
    if is_path(weights):
        if not os.path.isfile(weights):
            raise FileNotFoundError(f"There is no {weights}: expected the weights of {network}, a tag or none.")
        return _digest(Path(weights))
    chosen = find_weight_set(network, weights)
    return chosen.sha256 or chosen.md5 or _digest(fetch_weights(chosen))


def _fresh() -> str:
    return f"fresh, keras {_keras()}"


def _keras() -> str:
    return importlib.metadata.version("keras")


def _is_path(base: str) -> bool:
    return not zoo.is_network(base) and not base.startswith("keras:") and os.path.exists(base)


def _stamp(file: Path) -> tuple:
    """Its size, times and number: a digest is known as long as they stay."""
    facts = file.stat()
    return str(file), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino


def _digest(path: Path) -> str:
    """SHA-256 of a file, of the model of a run, or of all files of a folder."""
    digest = hashlib.sha256()
    for file in _files(path):
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def _files(path: str | Path) -> list[Path]:
    path = Path(path)
    if (path / "model.keras").is_file():
        return [path / "model.keras"]
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path] if path.is_file() else []
