"""The catalogue of public weight sets."""

import os
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from transferkit.lookup import UnknownName, look_up
from transferkit.pixels import Pixels

FILES = (".pth", ".pt", ".safetensors", ".h5", ".keras")


@dataclass(frozen=True)
class WeightSet:
    """One public file of weights for one network.

    Attributes:
        network, tag: its network and its tag; `network.tag` is unique.
        source: who publishes it: "torchvision", "timm", or the Python package that carries it.
        file: name of the file.
        licence: as the source states it.
        pixels: its pixel convention.
        mb: size of the file in millions of bytes.
        bytes: the same, exactly, where it is known.
        sha256: of the file, in full or only its beginning; None where only the server states it.
        md5: of the file, in full, where the publisher states no SHA-256.
        url: address of the file; None for one that comes in a package.
        package, path: import name of the package that carries the file, and the path inside it.
        top1, top5: reported ImageNet accuracy in percent.
    """

    network: str
    tag: str
    source: str
    file: str
    licence: str
    pixels: Pixels
    mb: float
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    url: str | None = None
    package: str | None = None
    path: str | None = None
    top1: float | None = None
    top5: float | None = None


def weight_sets(network: str) -> tuple[WeightSet, ...]:
    """The public weight sets of a network, its default first; () for a network without any."""
    return _load_catalogue().get(network, ())


def find_weight_set(network: str, tag: str = "imagenet") -> WeightSet:
    """Find one weight set of a network.

    Args:
        network: name of the network.
        tag: in any case, with or without the network in front (`resnet18.a1_in1k`); "imagenet" is the first.

    Raises:
        UnknownName: the network has no set with that tag, or none at all.
    """
    known = {found.tag: found for found in weight_sets(network)}
    if not known:
        raise UnknownName(
            f"No public weights are known for {network}: give a file with --weights PATH,"
            " or train from scratch with --weights none."
        )
    tag = tag.lower().removeprefix(f"{network}.")
    return weight_sets(network)[0] if tag == "imagenet" else look_up(known, tag, f"weight set of {network}")


def is_path(weights: str | os.PathLike) -> bool:
    """Whether weights are given by a path, not by a tag."""
    return Path(weights).name != str(weights) or Path(weights).suffix in FILES


def networks_with_weights() -> tuple[str, ...]:
    """The networks that have public weight sets."""
    return tuple(_load_catalogue())


@cache
def _load_catalogue() -> dict[str, tuple[WeightSet, ...]]:
    facts = tomllib.loads(resources.files(__package__).joinpath("catalogue.toml").read_text("utf-8"))
    pixels = {name: _parse_pixels(row) for name, row in facts["pixels"].items()}
    return {
        network: tuple(
            _parse_weight_set(network, tag, {**facts["sources"][row["source"]], **row}, pixels)
            for tag, row in rows.items()
        )
        for network, rows in facts["sets"].items()
    }


def _parse_pixels(row: dict) -> Pixels:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return Pixels(**values)


def _parse_weight_set(network: str, tag: str, row: dict, pixels: dict[str, Pixels]) -> WeightSet:
    if "url" in row:
        row["url"] = row["url"].format(network=network, tag=tag, file=row["file"])
    row["mb"] = row["bytes"] / 1e6 if "bytes" in row else row["mb"]
    return WeightSet(**{"network": network, "tag": tag, **row, "pixels": pixels[row["pixels"]]})
