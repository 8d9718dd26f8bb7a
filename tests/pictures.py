"""Small pictures and folders of them, made from seeds."""

from pathlib import Path

import numpy as np
from PIL import Image


def photo(width, height, seed=0, color=None) -> Image.Image:
    """Smooth colours with some noise; around one colour if it is given."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 8), max(2, width // 8), 3)).astype("uint8")
    pixels = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype("float64")
    if color is not None:
        pixels = 0.3 * pixels + 0.7 * np.array(color)
    return Image.fromarray((pixels + rng.normal(0, 4, pixels.shape)).clip(0, 255).astype("uint8"))


def folder(root: Path, counts: dict[str, int]) -> Path:
    """Class folders whose pictures differ in colour from class to class."""
    colors = [(230, 40, 40), (40, 60, 230), (40, 220, 60), (230, 220, 40)]
    for label, (name, count) in enumerate(counts.items()):
        for number in range(count):
            path = Path(root) / name / f"{number:03d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            width, height = (48, 36) if number % 2 else (36, 48)
            photo(width, height, seed=1000 * label + number, color=colors[label % 4]).save(path, quality=95)
    return Path(root)
