"""Which pictures of many are the same: by content, or nearly, by fingerprints.

Two pictures are nearly the same if the correlation of their luminances is at least 0.99 and their colours differ by 8
of 255 at most, on average. Brighter, smaller and recompressed copies are; the next frame of a burst often is; a crop is
not.

Neighbours are found in a tree over the lowest 27 frequencies. Distances there are never larger than those of the whole
fingerprints, so none is missed, and no picture is compared with all.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.fft import dctn
from scipy.spatial import cKDTree

from transferkit.data.audit.file_scan import GRID, LUMA, Look

CORRELATION = 0.99
COLOURS = 8.0
FLAT = 3.0  # standard deviation of luminances below which a picture has nothing to be told by
TINY = 32  # pixels of the shorter side: smaller ones are alike by nature
NEIGHBOURS = 16  # of each picture at most, so that a thousand frames of one scene stay a thousand lines
CHUNK = 4096
LOW = [(u, v) for u in range(7) for v in range(7) if 0 < u + v <= 6]


def copies(looks: Sequence[Look]) -> Iterator[list[int]]:
    """The places of pictures with equal bytes, in order, two and more."""
    groups = {}
    for place, one in enumerate(looks):
        if one.digest:
            groups.setdefault(one.digest, []).append(place)
    return (group for group in groups.values() if len(group) > 1)


def near(looks: Sequence[Look]) -> list[tuple[int, int]]:
    """(earlier, later) places of pictures that are nearly the same; of those with equal bytes, the first takes part."""
    first = {}
    for place, one in enumerate(looks):
        if one.fingerprint and one.side >= TINY:
            first.setdefault(one.digest, place)
    places = np.fromiter(first.values(), int)
    if len(places) < 2:
        return []
    prints = np.frombuffer(b"".join(looks[place].fingerprint for place in places), np.uint8).reshape(len(places), -1)
    told = prints[:, :LUMA].std(1) >= FLAT
    places, prints = places[told], prints[told]
    if len(places) < 2:
        return []
    pairs = _candidates(_frequencies(prints))
    kept = [pairs[at : at + CHUNK][_alike(prints, pairs[at : at + CHUNK])] for at in range(0, len(pairs), CHUNK)]
    return [(int(places[a]), int(places[b])) for a, b in np.concatenate(kept)] if kept else []


def _units(prints: np.ndarray) -> np.ndarray:
    """Luminances (n, 256) without their mean, of length 1, so that brightness and contrast do not count."""
    luma = prints[:, :LUMA].astype("float32")
    luma -= luma.mean(1, keepdims=True)
    return luma / np.linalg.norm(luma, axis=1, keepdims=True)


def _frequencies(prints: np.ndarray) -> np.ndarray:
    rows, columns = zip(*LOW, strict=True)
    found = np.empty((len(prints), len(LOW)), "float32")
    for at in range(0, len(prints), CHUNK):
        squares = _units(prints[at : at + CHUNK]).reshape(-1, GRID, GRID)
        found[at : at + CHUNK] = dctn(squares, axes=(1, 2), norm="ortho")[:, rows, columns]
    return found


def _candidates(points: np.ndarray) -> np.ndarray:
    """Pairs (m, 2), the smaller place first, of each point and its nearest within reach."""
    reach = np.sqrt(2 * (1 - CORRELATION)) + 1e-6
    most, tree, pairs = min(NEIGHBOURS, len(points)), cKDTree(points), []
    for at in range(0, len(points), CHUNK):
        _, found = tree.query(points[at : at + CHUNK], k=most, distance_upper_bound=reach, workers=-1)
        here = np.repeat(np.arange(at, at + len(found)), most)
        there = found.ravel()
        fits = (there < len(points)) & (there != here)  # a missing neighbour is the number of points
        pairs.append(np.sort(np.stack((here[fits], there[fits]), 1), 1))
    return np.unique(np.concatenate(pairs), axis=0)


def _alike(prints: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    a, b = prints[pairs[:, 0]], prints[pairs[:, 1]]
    correlation = (_units(a) * _units(b)).sum(1)
    colours = np.abs(a[:, LUMA:].astype("float32") - b[:, LUMA:]).mean(1)
    return (correlation >= CORRELATION) & (colours <= COLOURS)
