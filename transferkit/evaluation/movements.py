"""Accuracy on pictures that are shifted or turned, as a curve over pixels and degrees.

A convolution follows a shift of its input; strides, pools and the classifier do not follow it exactly, and nothing in a
convolutional network follows a turn (Azulay and Weiss 2019, "Why do deep convolutional networks generalize so poorly to
small image transformations?"). What enters at the edge is the mirror image of the picture, without its last row or
column.
"""

from collections.abc import Sequence
from functools import partial
from itertools import count

import numpy as np
from scipy import ndimage

from transferkit.data.listing import Listing
from transferkit.evaluation.bootstrap import find_intervals
from transferkit.evaluation.metrics import wilson_interval
from transferkit.evaluation.predict import predict_changed
from transferkit.lookup import UnknownName
from transferkit.network import Network

MOST_STEPS = 10  # of a curve


def shift(picture: np.ndarray, down: int, right: int) -> np.ndarray:
    """Move a picture by whole pixels.

    Args:
        picture: (height, width, channels).
        down, right: pixels, less than the side; negative ones are up and left.
    """
    height, width = picture.shape[:2]
    padded = np.pad(picture, [(abs(down),) * 2, (abs(right),) * 2, (0, 0)], mode="reflect")
    top, left = abs(down) - down, abs(right) - right
    return padded[top : top + height, left : left + width]


def turn(picture: np.ndarray, degrees: float) -> np.ndarray:
    """Turn a picture about its centre, anticlockwise, bilinear; uint8 in and out."""
    turned = ndimage.rotate(picture.astype("float32"), degrees, reshape=False, order=1, mode="mirror")
    return np.clip(np.rint(turned), 0, 255).astype("uint8")


def list_points(most: int) -> list[int]:
    """The points of a curve from 0 to `most`.

    Example:
        >>> list_points(15)
        [0, 2, 4, 6, 8, 10, 12, 14, 15]
    """
    steps = (digit * 10**power for power in count() for digit in (1, 2, 5))
    step = next(step for step in steps if most / step < MOST_STEPS)
    return [*range(0, most, step), most]


def measure_movements(network: Network, listing: Listing, *, shift: int = 0, turn: int = 0) -> dict:
    """Measure the accuracy on shifted and turned pictures, at the size of the network's input.

    Args:
        network: with a classifier of the listing's classes.
        listing: pictures; intervals are over its groups if it has any.
        shift: the largest shift in pixels of the network's input, less than its sides; 0 measures none.
        turn: the largest angle in degrees, at most 180; 0 measures none.

    Returns:
        `shift` and `turn`, where asked for: a list of dicts of `pixels` or `degrees`, from 0 on; `accuracy`, the mean
        over the four directions or the two senses; `same`, the share of answers that are those without the movement;
        `ci95` of the accuracy, of as many independent pictures as there are, so rather too wide; and `n` pictures.

    Raises:
        UnknownName: the shift or the angle is out of range.
        ValueError: no picture can be read.

    Example:
        >>> measure_movements(run.network, run.held_out, shift=4)["shift"][4]["accuracy"]  # doctest: +SKIP
        0.83
    """
    if not 0 <= shift < min(network.pixels.shape):
        sides = "x".join(map(str, network.pixels.shape))
        raise UnknownName(f"Pictures of {sides} pixels are shifted by less than their sides, not by {shift}.")
    if not 0 <= turn <= 180:
        raise UnknownName(f"Pictures are turned by 0 to 180 degrees, not by {turn}.")
    curves = {"shift": _list_shifts(shift) if shift else {}, "turn": _list_turns(turn) if turn else {}}
    changes = [change for points in curves.values() for some in points.values() for change in some]
    predicted, rows = predict_changed(network, listing.paths, [lambda picture, row: picture, *changes], what="moved")
    plain, moved = predicted[:, :1], iter(predicted[:, 1:].T)
    labels = np.array(listing.labels)[rows][:, None]
    groups = [listing.groups[row] for row in rows] if listing.groups else ()
    found: dict[str, list] = {}
    for (name, points), unit in zip(curves.items(), ("pixels", "degrees"), strict=True):
        answers = {0: plain} | {at: np.stack([next(moved) for _ in some], 1) for at, some in points.items()}
        scores = [{unit: at} | _score(each, plain, labels, groups) for at, each in answers.items()]
        found |= {name: scores} if points else {}
    return found


def _list_shifts(most: int) -> dict:
    """The changes of each point of the curve but 0: in the four directions."""
    ways = ((1, 0), (-1, 0), (0, 1), (0, -1))
    return {at: [partial(_shifted, down=at * y, right=at * x) for y, x in ways] for at in list_points(most)[1:]}


def _shifted(picture, row, *, down, right):
    return shift(picture, down, right)


def _list_turns(most: int) -> dict:
    """The changes of each point of the curve but 0: in both senses."""
    return {at: [partial(_turned, degrees=angle) for angle in (at, -at)] for at in list_points(most)[1:]}


def _turned(picture, row, *, degrees):
    return turn(picture, degrees)


def _score(predicted: np.ndarray, plain: np.ndarray, labels: np.ndarray, groups: Sequence[str]) -> dict:
    """The figures of one point; arrays are (pictures, ways) and (pictures, 1)."""
    hits = (predicted == labels).mean(1)
    accuracy, n, interval = float(hits.mean()), len(hits), None
    if groups:
        n_groups = len(set(groups))
        interval = find_intervals(lambda draws: {"": draws @ hits / draws.sum(1)}, n, groups)[""]
    units = n_groups if groups else n  # where no draw differs, groups count as single pictures
    interval = interval or list(wilson_interval(accuracy * units, units))
    return {"accuracy": accuracy, "same": float((predicted == plain).mean()), "ci95": interval, "n": n}
