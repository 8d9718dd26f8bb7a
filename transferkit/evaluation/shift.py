"""Whether pictures look unlike the training pictures: how far their features are from the nearest of those."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import keras
import numpy as np
from keras import layers
from scipy.spatial.distance import cdist
from scipy.stats import betabinom

from transferkit import bases, zoo
from transferkit.atomic import write
from transferkit.console import warn
from transferkit.evaluation.predict import predict_outputs, require_classifier
from transferkit.lookup import count_noun
from transferkit.network import Network, find_head_input

FILE = "shift.npz"
WIDTH = 256  # of the projected features; with `PICTURES` the file has 1 MB
PICTURES = 2000  # of each split: more change little, and take time
EXPECTED = 0.05  # of new pictures of the same kind are beyond the threshold
CLEARLY = 0.001  # probability of as many or more among pictures of the same kind, below which a share is not chance


@dataclass(frozen=True)
class Shift:
    """What the training pictures look like to a network.

    The distance of a picture is that of its features, divided by their length, to the nearest training picture (Sun et
    al. 2022, "Out-of-distribution detection with deep nearest neighbors", with k = 1), after a random projection. The
    threshold is the 95th percentile of pictures that were held out.

    Attributes:
        bank: features of training pictures, (n, WIDTH), float16.
        held_out: sorted distances of held-out pictures, (m,), float32.
    """

    bank: np.ndarray
    held_out: np.ndarray

    @property
    def rank(self) -> int:
        """Of the threshold in `held_out`, from 1: a new picture of the same kind is beyond it with 5%, or less."""
        return min(len(self.held_out), math.ceil((1 - EXPECTED) * (len(self.held_out) + 1)))

    def measure(self, features: np.ndarray) -> np.ndarray:
        """Distances of features (n, width) over the threshold, (n,): above 1, a picture looks unlike the others."""
        threshold = max(float(self.held_out[self.rank - 1]), 1e-6)  # zero where all are copies
        return measure_distances(embed(features), self.bank) / threshold

    def probability(self, count: int, n: int) -> float:
        """The probability that `count` or more of n pictures of the same kind are beyond the threshold.

        The chance of one picture is Beta distributed, as the threshold is of a sample, so the count is beta-binomial.
        """
        m = len(self.held_out)
        return float(betabinom.sf(count - 1, n, m + 1 - self.rank, self.rank))

    def summarise(self, unlike: np.ndarray) -> dict:
        """Of results of `measure`: `n`, the `count` and `share` that look unlike, `p`, and whether that is `clear`."""
        n, count = len(unlike), int((unlike > 1).sum())
        p = self.probability(count, n)
        return {"n": n, "count": count, "share": count / max(1, n), "p": p, "clear": p < CLEARLY}

    def save(self, path: Path):
        """Write the file."""
        write(path, lambda partial: _save(partial, bank=self.bank, held_out=self.held_out))


def _save(path: Path, **arrays):
    with open(path, "wb") as file:  # a path would get the suffix .npz
        np.savez(file, **arrays)


def load_shift(run: Path) -> Shift | None:
    """The `shift.npz` of a run folder, or None where it has none, as of an earlier version.

    Raises:
        ValueError: it is damaged.
    """
    path = run / FILE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            shift = Shift(np.asarray(arrays["bank"], "float16"), np.asarray(arrays["held_out"], "float32"))
        if (
            shift.bank.shape[1:] != (WIDTH,)
            or not len(shift.bank)
            or shift.held_out.ndim != 1
            or not len(shift.held_out)
        ):
            raise ValueError("its arrays have other shapes")
    except Exception as error:  # NumPy and zipfile raise nearly anything on damaged files
        raise ValueError(f"{path} cannot be read ({error}): delete it to go on without it.") from None
    return shift


@dataclass(frozen=True)
class ShiftModel:
    """What `predict.predict` needs to tell how unlike pictures are: a `Shift`, and the model of `with_features`."""

    shift: Shift
    model: keras.Model


def load_shift_model(run: str | Path, network: Network) -> ShiftModel | None:
    """The shift model of a run's network, or None if there is none; a damaged file is a warning."""
    try:
        shift = load_shift(Path(run))
    except ValueError as error:
        warn(str(error))
        return None
    return ShiftModel(shift, with_features(network)) if shift else None


def find_shift_model(base: str, network: Network) -> ShiftModel | None:
    """The shift model of a network by its name or path; the file `model.keras` of a run has its shift.npz beside it."""
    if zoo.is_network(base):
        return None
    place = bases.find_local(base)
    return load_shift_model(os.path.dirname(place) if os.path.isfile(place) else place, network)


@cache
def _projection(width: int) -> np.ndarray:
    """A random matrix (width, WIDTH) that keeps distances within some 5% (Johnson and Lindenstrauss 1984)."""
    return np.random.RandomState(0).normal(size=(width, WIDTH)).astype("float32") / math.sqrt(WIDTH)


def embed(features: np.ndarray) -> np.ndarray:
    """Features (n, width), divided by their length and projected: (n, WIDTH), float32."""
    lengths = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return (features / lengths) @ _projection(features.shape[1])


def measure_distances(embedded: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """The distance (n,) of each row (n, WIDTH) to the nearest of a bank (m, WIDTH)."""
    bank = bank.astype("float32")
    parts = [cdist(embedded[at : at + 512], bank).min(1) for at in range(0, len(embedded), 512)]
    return np.concatenate(parts or [np.zeros(0)])


def with_features(network: Network) -> keras.Model:
    """A model from pictures to the network's logits and its pooled features, side by side."""
    model = require_classifier(network).model
    names = {layer.name for layer in model.layers}
    features = model.get_layer("pooled" if "pooled" in names else find_head_input(network)).output
    if len(features.shape) == 4:
        features = layers.GlobalAveragePooling2D()(features)
    return keras.Model(model.input, layers.Concatenate(dtype="float32")([model.output, features]))


def compute_features(network: Network, groups: Sequence[Sequence[str]], what: str) -> list[np.ndarray]:
    """The pooled features of the readable pictures in each group of paths, each (n, width)."""
    paths, ends = [path for group in groups for path in group], np.cumsum([len(group) for group in groups])
    outputs, rows = predict_outputs(with_features(network), paths, network.pixels, what=what)
    return np.split(outputs[:, len(network.classes) :], np.searchsorted(rows, ends[:-1]))


def compute_thinned(network: Network, paths) -> np.ndarray:
    """As `compute_features`, of at most `PICTURES` of the pictures."""
    return compute_features(network, [_thin(paths)], "likeness")[0]


def fit_shift(evaluated: Network, saved: Network, train, held_out) -> Shift:
    """Measure what training pictures look like.

    Args:
        evaluated: the network that was not trained on `held_out`.
        saved: the network that will be used; after a refit another one. Its own distances of `held_out` would be too
            small, so they are the other's, times how much farther its training pictures are from each other.
        train, held_out: paths, of which at most `PICTURES` are used, evenly over the list.
    """
    train, held_out = _thin(train), _thin(held_out)
    bank, new = map(embed, compute_features(evaluated, (train, held_out), "likeness"))
    distances = np.sort(measure_distances(new, bank))
    if saved.model is not evaluated.model:
        before, (bank,) = _measure_spread(bank), map(embed, compute_features(saved, (train,), "training pictures"))
        distances *= _measure_spread(bank) / before
    return Shift(bank.astype("float16"), distances.astype("float32"))


def _measure_spread(bank: np.ndarray) -> float:
    """The 95th percentile of the distances of pictures of a bank to the nearest other one."""
    between = cdist(bank, bank)
    np.fill_diagonal(between, np.inf)
    nearest = between.min(1) if len(bank) > 1 else np.ones(1)
    return max(float(np.quantile(nearest, 1 - EXPECTED)), 1e-6)  # zero where all are copies


def _thin(paths) -> list[str]:
    return [paths[i] for i in np.linspace(0, len(paths) - 1, min(PICTURES, len(paths))).astype(int)]


def describe(summary: dict) -> str:
    """The line of a summary.

    Example:
        >>> describe({"n": 40, "count": 3, "share": 0.075})
        '3 of 40 pictures (7.5%) look unlike the training pictures; of pictures of the same kind, 5% do'
    """
    pictures = f"{summary['count']:,} of {count_noun(summary['n'], 'picture')} ({summary['share']:.1%})"
    return f"{pictures} look unlike the training pictures; of pictures of the same kind, {EXPECTED:.0%} do"
