"""JPEG files of 500x375 pixels that compress like photographs: crops of scikit-learn's two sample pictures."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

CLASSES = ("a", "b")


def write_photos(folder: Path, count: int) -> Path:
    """Write `count` pictures into two class folders, without those that exist."""
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


def print_table(title: str, rows: list[tuple[str, float, str]]):
    """Print a title, and the name, value and unit of each row."""
    print(f"\n{title}")
    for name, value, unit in rows:
        print(f"  {name:58} {value:9.2f} {unit}")
