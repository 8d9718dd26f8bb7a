"""Facts of pictures that say where a classifier fails: size, brightness, and sharpness."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from transferkit.cpus import available_cpus
from transferkit.data import pillow_reader
from transferkit.data.file_ranges import read_bytes

FACTS = ("size", "brightness", "blur")
SIDE = 256  # pixels: the shorter side at which brightness and blur are measured; smaller pictures are not enlarged


def measure_facts(paths: Sequence[str]) -> dict[str, np.ndarray]:
    """Measure pictures.

    Returns:
        For each of `FACTS`, (n,) float64, NaN for unreadable pictures: `size`, the shorter side in pixels;
        `brightness`, the mean luminance, 0 to 255; `blur`, the variance of the Laplacian of the luminance at 256
        pixels, which is low in a blurred picture (Pech-Pacheco et al. 2000, "Diatom autofocusing", section 3).
    """
    with ThreadPoolExecutor(available_cpus()) as threads:
        rows = list(threads.map(_measure, paths))
    return dict(zip(FACTS, np.array(rows, "float64").reshape(-1, len(FACTS)).T, strict=True))


def _measure(path: str) -> tuple[float, float, float]:
    try:
        picture, size = pillow_reader.read_shrunk(read_bytes(path), 1, lambda size: SIDE * size / min(size))
    except Exception:  # Pillow's readers raise nearly anything on damaged files
        return (np.nan,) * 3
    image = Image.fromarray(picture[..., 0])
    scale = min(1.0, SIDE / min(image.size))
    sides = [max(1, round(side * scale)) for side in image.size]
    grey = np.asarray(image.resize(sides, Image.Resampling.BOX), "float64")
    return float(min(size)), float(grey.mean()), _laplacian_variance(grey)


def _laplacian_variance(grey: np.ndarray) -> float:
    """The variance of the sum of each pixel's four neighbours less four times itself, inside the border."""
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1]
    return float((grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner).var())
