"""Accuracy on corrupted pictures (Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common
corruptions and perturbations").

The corruptions and their five strengths are those of ImageNet-C, with `gaussian_blur` of its extra ones as `blur`. Its
pictures have 224 pixels; here a blur is wider in proportion on larger ones. The published code is no longer maintained.
"""

import io
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageFilter

from transferkit.data.formats import open_image
from transferkit.data.listing import Listing
from transferkit.evaluation.metrics import wilson_interval
from transferkit.evaluation.predict import predict_changed
from transferkit.network import Network

STRENGTHS = (1, 2, 3, 4, 5)
SIZE = 224  # pixels of the published constants


def add_noise(picture: np.ndarray, strength: int, generator: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise."""
    deviation = 255 * (0.08, 0.12, 0.18, 0.26, 0.38)[strength - 1]
    return picture + generator.normal(scale=deviation, size=picture.shape)


def blur(picture: np.ndarray, strength: int, generator: np.random.Generator) -> np.ndarray:
    """Blur by a Gaussian."""
    deviation = (1, 2, 3, 4, 6)[strength - 1] * min(picture.shape[:2]) / SIZE
    return _from_image(_to_image(picture).filter(ImageFilter.GaussianBlur(deviation)))


def compress(picture: np.ndarray, strength: int, generator: np.random.Generator) -> np.ndarray:
    """Compress as JPEG."""
    file = io.BytesIO()
    _to_image(picture).save(file, "jpeg", quality=(25, 18, 15, 10, 7)[strength - 1])
    return _from_image(open_image(file.getvalue()))


def brighten(picture: np.ndarray, strength: int, generator: np.random.Generator) -> np.ndarray:
    """Raise the value of HSV: hue and saturation stay, as far as the range allows."""
    value = picture.max(-1, keepdims=True).astype("float64")
    raised = np.minimum(value + 255 * (0.1, 0.2, 0.3, 0.4, 0.5)[strength - 1], 255)
    # black has no hue, and becomes grey
    return np.where(value > 0, picture * raised / np.maximum(value, 1), raised)


def _to_image(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture)


def _from_image(image: Image.Image) -> np.ndarray:
    return np.asarray(image).reshape(image.height, image.width, -1)


CORRUPTIONS: dict[str, Callable] = {"noise": add_noise, "blur": blur, "jpeg": compress, "brightness": brighten}


def corrupt(picture: np.ndarray, name: str, strength: int, seed: int) -> np.ndarray:
    """Corrupt a picture.

    Args:
        picture: uint8, (height, width, 1, 3 or 4); alpha stays as it is.
        name: a key of `CORRUPTIONS`.
        strength: 1 to 5.
        seed: of the noise.

    Returns:
        uint8, of the same shape.
    """
    colors, alpha = np.split(picture, [3 if picture.shape[-1] == 4 else picture.shape[-1]], axis=-1)
    changed = CORRUPTIONS[name](np.ascontiguousarray(colors), strength, np.random.default_rng([seed, strength]))
    return np.concatenate((np.clip(np.rint(changed), 0, 255).astype("uint8"), alpha), axis=-1)


def measure_robustness(network: Network, listing: Listing, names: Sequence[str]) -> dict:
    """Measure the accuracy on corrupted pictures, at the size of the network's input.

    Args:
        network: with a classifier of the listing's classes.
        names: keys of `CORRUPTIONS`.

    Returns:
        `mean`, the mean accuracy of all corruptions and strengths, and `by_kind`: for each name a list of five dicts of
        `strength`, `accuracy`, `ci95` (Wilson) and `n`. The same pictures give the same figures each time.

    Raises:
        ValueError: no picture can be read.
    """
    seeds = [zlib.crc32(path.encode("utf-8", "surrogateescape")) for path in listing.paths]
    kinds = [(name, strength) for name in names for strength in STRENGTHS]

    def make_change(name, strength):
        return lambda picture, row: corrupt(picture, name, strength, seeds[row])

    changes = [make_change(*kind) for kind in kinds]
    predicted, rows = predict_changed(network, listing.paths, changes, what="corrupted")
    hits, n = (predicted == np.array(listing.labels)[rows][:, None]).sum(0), len(rows)
    by_kind: dict[str, list] = {name: [] for name in names}
    for (name, strength), hit in zip(kinds, hits.tolist(), strict=True):
        figures = {"accuracy": hit / n, "ci95": list(wilson_interval(hit, n)), "n": n}
        by_kind[name].append({"strength": strength} | figures)
    return {"mean": float(hits.mean() / n), "by_kind": by_kind}
