"""List networks and their public weights, and download them by name."""

import dataclasses
import fnmatch
from pathlib import Path

from transferkit import zoo
from transferkit.lookup import UnknownName, as_text, suggest_known
from transferkit.weights.catalogue import WeightSet, find_weight_set, weight_sets
from transferkit.weights.local_files import find_weights
from transferkit.zoo import LIST
from transferkit.zoo.published import published_errors


def list_models(pattern: str = "*") -> list[dict]:
    """List the networks and the public weights that load into them.

    Args:
        pattern: a shell pattern, such as "resnet*", or a part of the name; case is ignored.

    Returns:
        A dict for each network: `name`, `params`, `multiply_adds` (of one picture), `size` (native, in pixels),
        `features` (number of features) and `weights`, a list of dicts with `tag`, `source`, `licence`, `top1` (percent,
        or None) and `available` (whether the file is on this machine); the first is the default; and `published`, a
        list of dicts with the fields of `zoo.published.PublishedError`: what the papers report.

    Raises:
        UnknownName: no network matches.

    Example:
        >>> [net["name"] for net in list_models("resnet*_cifar")][:2]
        ['resnet20_cifar', 'resnet32_cifar']
    """
    table, pattern = zoo.variants(), as_text(pattern, "pattern")
    glob = pattern.lower() if any(sign in pattern for sign in "*?[") else f"*{pattern.lower()}*"
    names = [name for name in table if fnmatch.fnmatchcase(name, glob)]
    if not names:
        raise UnknownName(f"No network matches {pattern!r}.{suggest_known(table, pattern.strip('*?'), LIST)}")
    return [_describe(name) for name in names]


def _describe(name: str) -> dict:
    row = zoo.variants()[name]
    weights = [
        {
            "tag": each.tag,
            "source": each.source,
            "licence": each.licence,
            "top1": each.top1,
            "available": find_weights(each) is not None,
        }
        for each in weight_sets(name)
    ]
    return {
        "name": name,
        "params": row.params,
        "multiply_adds": row.multiply_adds,
        "size": row.size,
        "features": row.features,
        "weights": weights,
        "published": [dataclasses.asdict(each) for each in published_errors() if each.network.split("(")[0] == name],
    }


def parse_weight_set(name: str) -> WeightSet:
    """Find the weight set "NETWORK.TAG", or the default one of "NETWORK"."""
    network, _, tag = as_text(name, "name").partition(".")
    zoo.variant(network)
    return find_weight_set(network, tag or "imagenet")


def download_weights(name: str) -> Path:
    """Download the public weights of a network into the cache folder, if they are not on this machine.

    Args:
        name: "resnet50" for the default set of a network, or "resnet50.a1_in1k" for a set by its tag.

    Returns:
        The path of the file. Its digest has been checked.

    Raises:
        UnknownName: the network or the set does not exist.
        OSError: the file could not be downloaded.
        ValueError: the file is not that of the catalogue.

    Example:
        >>> download_weights("resnet50.a1_in1k")  # doctest: +SKIP
    """
    from transferkit.weights.fetch import fetch_weights  # requests is slow to import

    return fetch_weights(parse_weight_set(name))
