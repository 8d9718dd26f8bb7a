"""A real data set that comes with a dependency: scikit-learn's 1,797 handwritten digits, 8x8, grey."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_digits(folder: Path, *, most: int | None = None):
    """Write the digits as PNG files in class folders: a fifth to `folder/test`, the rest to `folder/train`.

    Args:
        most: how many, from the start.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images[:most], digits.target[:most], strict=True)):
        path = Path(folder) / ("test" if number % 5 == 4 else "train") / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * (255 / 16)).astype(np.uint8)).save(path)
