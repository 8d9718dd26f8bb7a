"""Principal axes of RGB over many pictures: those of ImageNet, or fitted to other pictures."""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from transferkit import atomic, untrusted_files

MAX_BYTES = 100_000  # of a file of axes


@dataclass(frozen=True)
class Axes:
    """Eigenvalues and eigenvectors of the covariance of RGB.

    Attributes:
        values: eigenvalues, largest first: variances of pixels from 0 to 1.
        vectors: rows R, G, B; the columns are the axes, of length 1.
        pictures: number of pictures they were fitted to; 0 if unknown.
    """

    values: tuple[float, float, float]
    vectors: tuple[tuple[float, float, float], ...]
    pictures: int = 0

    def shifts(self) -> np.ndarray:
        """(3, 3) matrix: times three standard normal numbers and sigma, it is a shift of (R, G, B) in 0..255.

        The formula has the eigenvalue, not its root, so it depends on the scale of pixels: it is computed for 0 to 1,
        as in all public recipes, and multiplied by 255.
        """
        return 255 * np.array(self.vectors) * np.array(self.values)

    def deviations(self) -> np.ndarray:
        """`shifts` by the roots of the eigenvalues, which are standard deviations of the pixels."""
        return 255 * np.array(self.vectors) * np.sqrt(self.values)

    def is_flat(self) -> bool:
        """Whether pixels vary by less than one of 255 steps, so that their axes mean nothing."""
        return max(self.values) < 1 / 255**2


# of a sample of ImageNet's training pictures, as published with Facebook's ResNets (fb.resnet.torch)
IMAGENET = Axes(
    values=(0.2175, 0.0188, 0.0045),
    vectors=((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203)),
)


def fit_axes(batches: Iterable[np.ndarray]) -> Axes:
    """Fit the axes to all pixels.

    Args:
        batches: uint8 (n, height, width, 3).

    Raises:
        ValueError: there is no picture.
    """
    pictures, count, total, products = 0, 0, np.zeros(3), np.zeros((3, 3))
    for batch in batches:
        pixels = np.asarray(batch, "float64").reshape(-1, 3) / 255
        pictures += len(batch)
        count, total, products = count + len(pixels), total + pixels.sum(0), products + pixels.T @ pixels
    if not count:
        raise ValueError("There is no picture that can be read, so no axes of colour can be fitted.")
    mean = total / count
    values, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    vectors = vectors * np.where(vectors.sum(0) < 0, -1, 1)  # either sign is right; one makes the file repeatable
    return Axes(tuple(values.tolist()), tuple(map(tuple, vectors.tolist())), pictures)


def save_axes(axes: Axes, path: str | os.PathLike):
    """Write axes as JSON."""
    atomic.write(path, asdict(axes))


def load_or_imagenet(path: str) -> Axes:
    """Load the axes in a file; "" gives ImageNet's."""
    return load_axes(path) if path else IMAGENET


def load_axes(path: str | os.PathLike) -> Axes:
    """Load axes that `save_axes` wrote.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it does not hold axes.
    """
    try:
        content = untrusted_files.from_json(untrusted_files.read_bytes(path, MAX_BYTES))
        values, vectors = np.array(content["values"], "float64"), np.array(content["vectors"], "float64")
        is_valid = values.shape == (3,) and vectors.shape == (3, 3)
        is_valid = (
            is_valid
            and np.allclose(vectors.T @ vectors, np.eye(3), atol=0.01)
            and 0 <= values.min() <= values.max() <= 1
        )
    except (ValueError, KeyError, TypeError):
        is_valid = False
    if not is_valid:
        raise ValueError(f"{path} does not hold axes of colour: expected the file that `transferkit data pca` writes.")
    return Axes(tuple(values.tolist()), tuple(map(tuple, vectors.tolist())))
