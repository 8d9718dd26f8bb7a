"""JPEG files of about 500x375 with the entropy of photographs: windows of scikit-learn's two sample pictures."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

CLASSES = ("a", "b")


def write_photos(folder: Path, count: int) -> Path:
    """Write `count` pictures in two class folders; a folder that has them is left as it is."""
    images = [Image.fromarray(image) for image in load_sample_images().images]
    for number in range(count):
        path = folder / CLASSES[number % 2] / f"{number:05d}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        image = images[number % 2]
        width = int(rng.integers(420, image.width + 1))
        height = width * 3 // 4
        left, top = rng.integers(0, image.width - width + 1), rng.integers(0, max(1, image.height - height + 1))
        window = image.crop((left, top, left + width, top + height)).resize((500, 375), Image.Resampling.BICUBIC)
        window.save(path, quality=90)
    return folder


def table(title: str, rows: list[tuple[str, float, str]]):
    """Print name, figure and unit; ratios are computed by the callers."""
    print(f"\n{title}")
    for name, figure, unit in rows:
        print(f"  {name:58} {figure:9.2f} {unit}")
