"""JPEG files of 500x375 pixels that compress like photographs: mosaics of four windows of scikit-learn's two.

Mosaics, as single windows of two photographs would nearly all be near-duplicates of each other.
"""

import sys
import types
from collections.abc import Callable
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
        window = Image.new("RGB", (500, 375))
        for corner in ((0, 0), (250, 0), (0, 188), (250, 188)):
            image = images[rng.integers(2)]
            left, top = rng.integers(0, image.width - 250), rng.integers(0, image.height - 188)
            window.paste(image.crop((left, top, left + 250, top + 188)), corner)
        window.save(path, quality=90)
    return folder


def load_by_torchvision(folder: Path, batch: int, make_steps: Callable, **knobs):
    """A torchvision loader with two workers, or None where torchvision is missing, which is said.

    Args:
        make_steps: make_steps(transforms), the transforms of a picture.
        knobs: of `DataLoader`.
    """
    try:
        sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("unused"))
        from torch.utils.data import DataLoader
        from torchvision import datasets, transforms
    except ImportError:
        print("torchvision is not installed (see CONTRIBUTING.md): it is skipped")
        return None
    data = datasets.ImageFolder(folder, transforms.Compose(make_steps(transforms)))
    return DataLoader(data, batch, num_workers=2, persistent_workers=True, **knobs)
