"""The principal axes of RGB over many pictures: ImageNet's, or fitted to the user's own."""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from transferkit import atomic, bounded

MOST_BYTES = 100_000  # of a file of axes


@dataclass(frozen=True)
class Axes:
    """Eigenvalues and eigenvectors of the covariance of RGB.

    Attributes:
        values: of pixels of 0 to 1, largest first: variances.
        vectors: rows R, G, B; the columns are the axes, of length 1. With rows taken for axes, red and blue would
            move against each other.
        pictures: how many they were fitted to; 0 where that is not known.
    """

    values: tuple[float, float, float]
    vectors: tuple[tuple[float, float, float], ...]
    pictures: int = 0

    def shifts(self) -> np.ndarray:
        """(3, 3): times three standard normal numbers and sigma, a shift of (R, G, B) in steps of 0..255.

        The formula takes the eigenvalue, not its root, so it depends on the scale of pixels: it is reckoned at 0 to 1,
        as in all public recipes, and 255 times the result is added at 0 to 255.
        """
        return 255 * np.array(self.vectors) * np.array(self.values)

    def deviations(self) -> np.ndarray:
        """(3, 3): as `shifts`, but by the roots of the eigenvalues, which are standard deviations of the pixels."""
        return 255 * np.array(self.vectors) * np.sqrt(self.values)

    def is_flat(self) -> bool:
        """Whether pixels stray by less than one of 255 steps, so that there are no colours to have axes."""
        return max(self.values) < 1 / 255**2


# of a sample of ImageNet's training pictures, as published with Facebook's ResNets (fb.resnet.torch)
IMAGENET = Axes(
    values=(0.2175, 0.0188, 0.0045),
    vectors=((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203)),
)


def fit_axes(batches: Iterable[np.ndarray]) -> Axes:
    """The axes of all pixels of batches of pictures (n, height, width, 3), uint8.

    Raises:
        ValueError: there is no picture.
    """
    pictures, count, total, products = 0, 0, np.zeros(3), np.zeros((3, 3))
    for batch in batches:
        pixels = np.asarray(batch, "float64").reshape(-1, 3) / 255
        pictures += len(batch)
        count, total, products = count + len(pixels), total + pixels.sum(0), products + pixels.T @ pixels
    if not count:
        raise ValueError("There is no picture that can be read, so there are no axes of its colours.")
    mean = total / count
    values, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    vectors = vectors * np.where(vectors.sum(0) < 0, -1, 1)  # either sign is right; one makes the file repeatable
    return Axes(tuple(values.tolist()), tuple(map(tuple, vectors.tolist())), pictures)


def save_axes(axes: Axes, path: str | os.PathLike):
    """Write the axes as JSON."""
    atomic.write(path, asdict(axes))


def load_or_imagenet(path: str) -> Axes:
    """Those of a file of `save`, or ImageNet's where none is given."""
    return load_axes(path) if path else IMAGENET


def load_axes(path: str | os.PathLike) -> Axes:
    """Read what `save` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
    """
    try:
        content = bounded.from_json(bounded.read_bytes(path, MOST_BYTES))
        values, vectors = np.array(content["values"], "float64"), np.array(content["vectors"], "float64")
        right = values.shape == (3,) and vectors.shape == (3, 3)
        right = (
            right and np.allclose(vectors.T @ vectors, np.eye(3), atol=0.01) and 0 <= values.min() <= values.max() <= 1
        )
    except (ValueError, KeyError, TypeError):
        right = False
    if not right:
        raise ValueError(f"{path} holds no axes of colours: expected the file that `transferkit data pca` writes.")
    return Axes(tuple(values.tolist()), tuple(map(tuple, vectors.tolist())))
