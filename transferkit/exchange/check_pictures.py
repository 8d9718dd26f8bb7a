"""The pictures that an exported file is checked with, and others by which int8 is calibrated."""

import os
from dataclasses import dataclass

import numpy as np
from PIL import Image

from transferkit.data import decode, geometry, pillow_reader
from transferkit.data.listing import Listing
from transferkit.data.sources import resolve
from transferkit.network import Network

MOST = 200  # of each
SEED = 0  # of the choice


@dataclass(frozen=True)
class CheckPictures:
    """Pictures, decoded.

    Attributes:
        arrays: uint8 (height, width, channels), whole pictures.
        views: uint8 (n, height, width, channels), what the network sees of them.
        labels: numbers of their classes, or None where they are not known.
        calibration: uint8 (m, height, width, channels), views of other pictures; of a run, of its training pictures.
    """

    arrays: list[np.ndarray]
    views: np.ndarray
    labels: np.ndarray | None
    calibration: np.ndarray


def list_held_out(base: str) -> Listing | None:
    """The test pictures of a run, else its validation pictures; None if it is not a run folder."""
    if not os.path.isfile(os.path.join(base, "recipe.toml")):
        return None
    from transferkit.runs import load_run

    splits = load_run(base).splits
    return splits.test or splits.val


def find_pictures(base: str, network: Network, data=None, *, calibrate: bool = False) -> CheckPictures:
    """Read the pictures that a file is checked with, and if wanted those by which it is calibrated.

    Args:
        base: a run folder, a name or a file.
        data: pictures, with or without classes of the network; by default those that the run held out, or
            scikit-learn's two photographs. If a file is calibrated too, each half of them has one use.
        calibrate: whether there are views to calibrate by; of a run they are of its training pictures.

    Raises:
        ValueError: none of them can be read.
    """
    pictures, labels = _choose(*_list_pictures(base, network, data))
    others: list = []
    if calibrate and data is None and list_held_out(base) is not None:
        from transferkit.runs import load_run

        others, _ = _choose(list(load_run(base).splits.train.paths), None)
    elif calibrate:
        others, pictures = pictures[1::2], pictures[::2]
        labels = None if labels is None else labels[::2]
    read = [(row, array) for row, each in enumerate(pictures) if (array := _read(each, network)) is not None]
    if not read:
        raise ValueError("None of the pictures to check the file with can be read: give others as data.")
    rows, arrays = zip(*read, strict=True)
    calibration = [fit_as_pillow(array, network) for each in others if (array := _read(each, network)) is not None]
    empty = np.zeros((0, *network.pixels.shape, network.pixels.channels), np.uint8)
    return CheckPictures(
        list(arrays),
        np.stack([fit_as_pillow(array, network) for array in arrays]),
        None if labels is None else labels[list(rows)],
        np.stack(calibration) if calibration else empty,
    )


def _list_pictures(base: str, network: Network, data) -> tuple[list, np.ndarray | None]:
    """Paths or arrays, and the numbers of their classes, if all are classes of the network."""
    listing = list_held_out(base) if data is None else None
    if data is not None:
        try:
            listing = resolve.as_labelled(data, network.classes, "data")
        except ValueError:  # without classes, or with others than the network has
            return resolve.as_pictures(data, "data"), None
    if listing is not None:
        return list(listing.paths), np.array(listing.labels)
    from sklearn.datasets import load_sample_images

    return list(load_sample_images().images), None


def _choose(pictures: list, labels: np.ndarray | None) -> tuple[list, np.ndarray | None]:
    chosen = np.random.default_rng(SEED).permutation(len(pictures))[:MOST]
    return [pictures[row] for row in chosen], None if labels is None else labels[chosen]


def _read(picture: str | np.ndarray, network: Network) -> np.ndarray | None:
    """A picture as uint8 (height, width, channels of the network); None if it cannot be read."""
    channels = network.pixels.channels
    if isinstance(picture, np.ndarray):
        image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
        return pillow_reader.image_to_array(pillow_reader.convert_image(image, channels))
    try:
        return pillow_reader.read_picture(decode.read_path(picture), channels)
    except Exception:  # whatever Pillow raises on a damaged file: the check takes the others
        return None


def fit_as_pillow(array: np.ndarray, network: Network) -> np.ndarray:
    """The view of a decoded picture (h, w, c), uint8, that `predict` gives the network."""
    return geometry.cut_crops(array, np.array(array.shape[:2]), network.pixels, geometry.CENTRE_CROP)[0]
