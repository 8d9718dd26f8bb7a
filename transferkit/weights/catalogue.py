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

IMAGENET_TERMS = "+imagenet-terms"  # ending of a licence, see catalogue.toml
FILES = (".pth", ".pt", ".safetensors", ".h5", ".keras")


@dataclass(frozen=True)
class WeightSet:
    """A public weight file of a network.

    Attributes:
        network, tag: names of the network and of the weight set; `network.tag` is unique.
        source: the publisher: "torchvision", "timm", or the Python package that contains the file.
        file: name of the file.
        licence: licence as the source states it.
        pixels: pixel convention of the weights.
        mb: size of the file in millions of bytes.
        bytes: exact size of the file, if known.
        sha256: SHA-256 of the file or its beginning; None if only the server states it.
        md5: MD5 of the file, if the publisher states no SHA-256.
        url: address of the file; None for a file in a package.
        package, path: import name of the package that contains the file, and the path in it.
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
    """The public weight sets of a network, the default first; () if it has none."""
    return _load_catalogue().get(network, ())


def find_weight_set(network: str, tag: str = "imagenet") -> WeightSet:
    """Find one weight set of a network.

    Args:
        network: name of the network.
        tag: tag of the set, with or without the network's name (`resnet18.a1_in1k`); case is ignored. "imagenet" is
            the first set.

    Raises:
        UnknownName: the network has no set with that tag, or has no sets.
    """
    known = {found.tag: found for found in weight_sets(network)}
    if not known:
        raise UnknownName(
            f"No public weights are known for {network}: give a file with --weights PATH,"
            " or train from scratch with --weights none."
        )
    tag = tag.lower().removeprefix(f"{network}.")
    return (
        weight_sets(network)[0]
        if tag == "imagenet"
        else look_up(known, tag, f"weight set of {network}", f"transferkit models --filter {network}")
    )


def describe_licence(weight_set: WeightSet) -> str:
    """The licence of a weight set as a line for people.

    Example:
        >>> describe_licence(find_weight_set("resnet34", "a1_in1k"))
        'Their licence, as timm states it: apache-2.0.'
    """
    stated = weight_set.licence.removesuffix(IMAGENET_TERMS)
    more = "; the terms of ImageNet, on which they were trained, may hold too" if stated != weight_set.licence else ""
    return f"Their licence, as {weight_set.source} states it: {stated}{more}."


def is_path(weights: str | os.PathLike) -> bool:
    """Whether weights are given by a path and not by a tag."""
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
