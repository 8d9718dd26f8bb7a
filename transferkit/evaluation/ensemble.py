"""Probabilities of one network, or the mean of several, on one view of each picture or on several."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from transferkit.data.class_matching import match_classes
from transferkit.evaluation import calibration

if TYPE_CHECKING:
    from transferkit.network import Network

MAX_SHOWN = 3  # names of classes in a message


@dataclass(frozen=True)
class Views:
    """The views of a picture over which probabilities are averaged.

    Attributes:
        crops: a key of `multi_view.CROPS`.
        scales: shorter sides in pixels for dense evaluation, which takes no crops; () for none.
    """

    crops: str = "1"
    scales: tuple[int, ...] = ()


def predict_probabilities(
    networks: Sequence["Network"],
    paths: Sequence[str],
    views: Views = Views(),  # noqa: B008, it is frozen
) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the probabilities of several networks.

    Args:
        networks: with classifiers of the same classes, in any order.
        paths: of the pictures.

    Returns:
        Probabilities (m, classes) float64, in the order of the first network's classes, and their rows (m,) in
        `paths`; pictures that one of the networks cannot read have none.

    Raises:
        ValueError: a network has no classifier, or other classes than the first.

    Example:
        >>> predict_probabilities([run.network for run in runs], paths, Views(crops="10"))  # doctest: +SKIP
    """
    orders = [order_classes(networks[0].classes, network.classes, network.base) for network in networks]
    found = [_predict_views(network, paths, views) for network in networks]
    rows = reduce(np.intersect1d, [each for _, each in found])
    parts = [
        probabilities[np.searchsorted(each, rows)][:, order]
        for (probabilities, each), order in zip(found, orders, strict=True)
    ]
    return np.mean(parts, 0), rows


def _predict_views(network: "Network", paths: Sequence[str], views: Views) -> tuple[np.ndarray, np.ndarray]:
    from transferkit.evaluation import multi_view, predict

    if views.scales:
        return multi_view.predict_dense(network, paths, views.scales)
    if views.crops != "1":
        return multi_view.predict_crops(network, paths, views.crops)
    model = predict.require_classifier(network).model
    logits, rows = predict.predict_outputs(model, paths, network.pixels, what="evaluation")
    return calibration.to_probabilities(logits, network.temperature), rows


def order_classes(first: Sequence[str], second: Sequence[str], where: str) -> list[int]:
    """The position of each class of `first` in `second`, by name.

    Args:
        where: what has the classes `second`, for the message.

    Raises:
        ValueError: they are not the same classes.

    Example:
        >>> order_classes(["cat", "dog"], ["Dog", "cat"], "the second")
        [1, 0]
    """
    matches = match_classes(second, first)
    missing, more = set(first) - set(matches.values()), set(second) - set(matches)
    if missing or more:
        sides = [f"{word} {_join(names)}" for word, names in (("lacks", missing), ("has also", more)) if names]
        raise ValueError(f"The networks must have the same classes, and {where} {' and '.join(sides)}.")
    position = {matches[name]: number for number, name in enumerate(second)}
    return [position[name] for name in first]


def _join(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(map(repr, names[:MAX_SHOWN])) + f" and {len(names) - MAX_SHOWN:,} more" * (len(names) > MAX_SHOWN)
