"""Occlusion: how the probability of a class falls where a square hides the picture."""

import keras
import numpy as np
from keras import ops

from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.evaluation.calibration import to_probabilities
from transferkit.explain.batches import compiled, map_batches
from transferkit.lookup import UnknownName


def occlusion(
    model: keras.Model,
    pictures: np.ndarray,
    classes: np.ndarray,
    *,
    square: int = 0,
    stride: int = 0,
    baseline=127.5,
    temperature: float = 1.0,
) -> np.ndarray:
    """By how much the probability of a class falls, for each place, under the squares that hide the place.

    Args:
        model: pictures (n, h, w, c) in 0..255 to logits.
        pictures: (n, h, w, c), 0..255.
        classes: (n,), the class to explain for each.
        square: side of the square in pixels; 0 is a fifth of the shorter side.
        stride: pixels between two squares; 0 is half of the square.
        baseline: colour of the square, 0..255, one number or one for each channel.
        temperature: logits are divided by it.

    Returns:
        (n, h, w), float32: the mean over the squares that hide a pixel. Negative where the class gains by hiding it.

    Raises:
        UnknownName: the square is larger than the pictures, or the stride than the square.

    Source: Zeiler and Fergus 2014, section 4.2 and figure 7 d.

    Example:
        >>> occlusion(model, pictures, np.array([3]), square=32, stride=16).shape  # doctest: +SKIP
        (1, 224, 224)
    """
    shape = pictures.shape[1:3]
    square = square or max(1, min(shape) // 5)
    stride = stride or max(1, square // 2)
    places = list_places(shape, square, stride)
    falls = occluded_probabilities(model, pictures, classes, places, square, baseline=baseline, temperature=temperature)
    falls = falls[:, :1] - falls[:, 1:]
    total, hidden = np.zeros((len(pictures), *shape)), np.zeros(shape)
    for number, (top, left) in enumerate(places):
        total[:, top : top + square, left : left + square] += falls[:, number, None, None]
        hidden[top : top + square, left : left + square] += 1
    return (total / hidden).astype("float32")


def list_places(shape: tuple[int, int], square: int, stride: int) -> list[tuple[int, int]]:
    """(top, left) of each square, row by row; the last ones end at the border, so that every pixel is hidden.

    Raises:
        UnknownName: the square is larger than the picture, or the stride than the square.
    """
    if square > min(shape):
        raise UnknownName(
            f"A square of {square} pixels is larger than the picture of {shape[0]}x{shape[1]} pixels that the network "
            f"sees: --square takes at most {min(shape)}."
        )
    if stride > square:
        raise UnknownName(
            f"A stride of {stride} pixels leaves gaps between squares of {square}: --stride takes at most {square}."
        )
    rows, columns = (sorted({*range(0, side - square, stride), side - square}) for side in shape)
    return [(top, left) for top in rows for left in columns]


def occluded_probabilities(
    model: keras.Model, pictures: np.ndarray, classes, places, square: int, *, baseline=127.5, temperature: float = 1.0
) -> np.ndarray:
    """The probability of the class of each picture, first unhidden, then with a square at each of `places`.

    Returns:
        (n, 1 + places), float64.
    """
    folded, (height, width) = fold_batchnorm(model), pictures.shape[1:3]
    colour, rows, columns = np.asarray(baseline, "float32"), np.arange(height)[:, None], np.arange(width)
    tops, lefts = np.array([(-square, -square), *places], "int32").T  # the first square is outside

    def hide(picture):
        def classify(top, left):
            top, left = top[:, None, None], left[:, None, None]
            inside = (rows >= top) & (rows < top + square) & (columns >= left) & (columns < left + square)
            return [folded(ops.where(inside[..., None], colour, picture), training=False)]

        return classify

    classify = compiled(lambda picture, top, left: hide(picture)(top, left))
    found = []
    for picture, label in zip(np.asarray(pictures, "float32"), classes, strict=True):
        view = ops.convert_to_tensor(picture)
        logits = map_batches(lambda top, left, view=view: classify(view, top, left), tops, lefts)[0]
        found.append(to_probabilities(logits, temperature)[:, label])
    return np.stack(found)
