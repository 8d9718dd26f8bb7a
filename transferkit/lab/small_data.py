"""Data of the experiments: scikit-learn's 1,797 handwritten digits and its two photographs, as pictures in 0..255."""

from dataclasses import dataclass

import numpy as np

SIDE = 32  # of a digit as a network of the zoo takes it


@dataclass(frozen=True)
class Split:
    """Pictures (n, h, w, 3) in 0..255 and labels (n,), of training and of test."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    def first(self, count: int) -> "Split":
        """The same test pictures with the first `count` of training."""
        return Split(self.train[:count], self.train_labels[:count], self.test, self.test_labels)


def load_digits(seed: int = 0, *, side: int = SIDE, test: int = 597) -> Split:
    """The digits, 8x8 enlarged to `side` by linear interpolation.

    Args:
        seed: of the division, in which each class has its share.
        side: of a picture, in pixels.
        test: number of test pictures; the other of the 1,797 are for training, in random order.
    """
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    digits = datasets.load_digits()
    pictures = np.stack([_enlarge(image * (255 / 16), side) for image in digits.images])
    pictures = np.repeat(pictures[..., None], 3, axis=-1)
    train, held_out, train_labels, test_labels = train_test_split(
        pictures, digits.target, test_size=test, stratify=digits.target, random_state=seed
    )
    return Split(train, train_labels, held_out, test_labels)


def _enlarge(image: np.ndarray, side: int) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(image.astype("float32")).resize((side, side), Image.Resampling.BILINEAR))


def load_photograph(name: str = "china") -> np.ndarray:
    """One of scikit-learn's photographs, "china" (a temple) or "flower": (427, 640, 3), float32 in 0..255."""
    from sklearn.datasets import load_sample_image

    return load_sample_image(f"{name}.jpg").astype("float32")


def place_digits(digits: np.ndarray, seed: int, *, side: int = SIDE, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Each picture somewhere on a black canvas.

    Args:
        digits: (n, h, w, c).
        seed: of the places.
        side: of the canvas, in pixels.
        step: places are multiples of it.

    Returns:
        The canvases (n, side, side, c), and the upper left corners (n, 2) of the pictures.
    """
    size = digits.shape[1]
    corners = np.random.default_rng(seed).integers(0, (side - size) // step + 1, (len(digits), 2)) * step
    canvases = np.zeros((len(digits), side, side, digits.shape[-1]), "float32")
    for canvas, digit, (top, left) in zip(canvases, digits, corners, strict=True):
        canvas[top : top + size, left : left + size] = digit
    return canvases, corners


def load_moved_digits(seed: int = 0, *, size: int = 20, side: int = SIDE) -> Split:
    """The digits, `size` pixels large, each at a random place of a picture of `side` pixels."""
    split = load_digits(seed, side=size)
    train, test = (
        place_digits(part, 2 * seed + number, side=side)[0] for number, part in enumerate((split.train, split.test))
    )
    return Split(train, split.train_labels, test, split.test_labels)
