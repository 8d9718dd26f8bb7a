"""A contact sheet: what a network will see of some pictures, drawn with Pillow."""

import numpy as np
import tensorflow as tf
from PIL import Image

from transferkit.data import grid, pipeline
from transferkit.data.augment.augmentation import Augmentation
from transferkit.data.listing import Listing
from transferkit.pixels import Pixels

CELL = 96  # pixels: the least side of a cell


def chosen(listing: Listing, each: int, *, seed: int = 0) -> Listing:
    """Up to `each` pictures of every class, the same for the same seed."""
    rows = np.random.default_rng(seed).permutation(len(listing))
    labels = np.array(listing.labels)[rows]
    return listing.take(sorted(row for label in range(len(listing.classes)) for row in rows[labels == label][:each]))


def draw(listing: Listing, pixels: Pixels, augmentation: Augmentation, *, views: int, seed: int = 0) -> Image.Image:
    """One row a picture: as evaluation sees it, then as so many epochs of training do.

    Grey pictures are drawn grey; of pictures with alpha, the white sheet shows through.

    Raises:
        ValueError: none of the pictures can be read.
    """
    readable = [int(row) for row, _ in pipeline.readable(listing.paths, pixels.channels)]
    if not readable:
        raise ValueError(f"None of the {len(listing)} pictures can be read.")
    listing = listing.take(readable)
    ((plain, _),) = pipeline.evaluation(listing.paths, pixels, batch_size=len(listing)).as_numpy_iterator()
    columns = [(plain, tf.one_hot(listing.labels, len(listing.classes)).numpy())]
    columns += pipeline.preview(listing, pixels, augmentation, seed=seed, epochs=range(views)).as_numpy_iterator()
    return _sheet(columns, [listing.classes[label] for label in listing.labels], listing.classes)


def _sheet(columns, names, classes) -> Image.Image:
    """Columns of (pictures, labels) side by side; the class is written below, where it is no longer the row's."""
    height, width = columns[0][0].shape[1:3]
    times = -(-CELL // max(height, width))  # small pictures in whole multiples, so that their pixels show

    def one(column: int, row: int):
        picture, text = columns[column][0][row], _shares(columns[column][1][row], classes)
        image = Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture)
        image = image.resize((times * width, times * height), Image.Resampling.NEAREST)
        return image, text if column == 0 or text != names[row] else ""

    rows = [[one(column, row) for column in range(len(columns))] for row in range(len(names))]
    return grid.draw(rows, times * max(height, width), ("evaluation", "training")[: len(columns)])


def _shares(label, classes) -> str:
    """'cat 70% dog 30%', or 'cat' where one class has all."""
    if label.max() > 0.995:
        return classes[label.argmax()]
    return " ".join(f"{classes[i]} {label[i]:.0%}" for i in np.argsort(-label)[:3] if label[i] > 0.005)
