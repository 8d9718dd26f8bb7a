"""Which features of which network: the record, and the keys by which files and the cache tell features apart.

Nothing here loads Keras, so that features in the cache are found without it.
"""

import hashlib
import json
import os
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from transferkit import recipe, zoo
from transferkit.data import resizing
from transferkit.features.network_digest import identify_network, is_model_path
from transferkit.lookup import UnknownName, describe_type, list_known, show, suggest_nearest
from transferkit.weights.catalogue import is_path

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
        base = os.path.abspath(self.base) if os.path.exists(self.base) and is_model_path(self.base) else self.base
        return replace(
            self, base=base, weights=os.path.abspath(self.weights) if is_path(self.weights) else self.weights
        )

    def identity(self) -> str:
        """Identify the network and its weights; see `network_digest.identify_network`."""
        return identify_network(self.base, self.weights, self.pixels)

    def to_dict(self) -> dict:
        """The fields and the identity, as a file of features stores them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        base = self.base if isinstance(self.base, str) else self.base.name
        return values | {"base": base, "layer": list(self.layer), "identity": self.identity()}

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
    settings = [FORMAT, spec.identity(), layer, spec.pool, spec.crops, spec.flip, spec.size, spec.channels]
    settings += [resizing.NAME]  # others round differently
    settings += [spec.fit] if spec.fit not in (None, _known_fit(spec)) else []
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]


def _known_fit(spec: FeatureSpec) -> str | None:
    """The network's own fit, if no file is needed to know it: all public weights were trained on crops."""
    public = isinstance(spec.base, str) and not is_model_path(spec.base) and not is_path(spec.weights)
    return "crop" if public else None
