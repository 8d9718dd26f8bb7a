"""Near-duplicates that `check` finds: copies of photographs as people have them, and pairs of other pictures.

python benchmarks/bench_duplicates.py [PHOTOS [OTHER_FOLDER ...]]

PHOTOS is a folder of photographs, of which 311 are copied in each way; by default photographs cut from two samples. Of
the other folders, whose pictures differ, the near-duplicates that are found are counted for each million pairs.
"""

import os
import random
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from figures import Figure, report
from photos import write_photos
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from transferkit.cpus import available_cpus
from transferkit.data import pillow_reader
from transferkit.data.audit import duplicate_search
from transferkit.data.audit.file_scan import scan_file
from transferkit.data.sources.folder_walk import find_pictures

PHOTOS = 311


def crop(image: Image.Image, fraction: float) -> Image.Image:
    """Cut away a fraction of each side, half of it at either end."""
    across, down = round(image.width * fraction / 2), round(image.height * fraction / 2)
    return image.crop((across, down, image.width - across, image.height - down))


def turn(image: Image.Image) -> Image.Image:
    """Turn by 2 degrees; the corners become black."""
    return image.rotate(2, Image.Resampling.BICUBIC)


def add_caption(image: Image.Image) -> Image.Image:
    """Cover the lowest tenth with a white bar and a line of text."""
    image, height = image.copy(), max(8, image.height // 10)
    brush, top = ImageDraw.Draw(image), image.height - height
    brush.rectangle((0, top, image.width, image.height), fill="white")
    brush.text((4, top), "Photograph: somebody, 2024", fill="black", font=ImageFont.load_default(max(8, height * 0.7)))
    return image


COPIES = {  # name: (change, JPEG quality)
    "crop of 2%": (lambda image: crop(image, 0.02), 90),
    "crop of 5%": (lambda image: crop(image, 0.05), 90),
    "1.3 times brighter": (lambda image: ImageEnhance.Brightness(image).enhance(1.3), 90),
    "turned by 2 degrees": (turn, 90),
    "with a caption": (add_caption, 90),
    "JPEG quality 30": (lambda image: image, 30),
    "half the size": (lambda image: image.resize((image.width // 2, image.height // 2)), 90),
    "mirrored": (lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 90),
}


def find_copies(path: str, folder: Path) -> list[str]:
    """The names of the copies of a photograph that are found to be its near-duplicates."""
    with Image.open(path) as image:
        picture = pillow_reader.convert_image(image, 3).copy()
    original, found = scan_file(path), []
    for name, (change, quality) in COPIES.items():
        copy = folder / f"{name}.jpg"
        change(picture).save(copy, quality=quality)
        if duplicate_search.find_near_duplicates([original, scan_file(str(copy))]):
            found.append(name)
    return found


def main(photos: str = "", *others: str):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(photos) if photos else write_photos(Path(folder) / "photos", PHOTOS)
        paths = sorted(find_pictures(place, Counter()))
        random.Random(0).shuffle(paths)
        paths = paths[-PHOTOS:]  # the thresholds were chosen on the first half of photographs of materials
        counts = Counter(name for path in paths for name in find_copies(path, Path(folder)))
    figures = [Figure(name, [100 * counts[name] / len(paths)], "% found") for name in COPIES]
    for other in others:
        with ThreadPoolExecutor(available_cpus()) as threads:
            scans = list(threads.map(scan_file, find_pictures(Path(other), Counter())))
        pairs = len(scans) * (len(scans) - 1) / 2
        count = len(duplicate_search.find_near_duplicates(scans))
        name = f"pairs among the {len(scans):,} pictures of {os.path.basename(os.path.normpath(other))}"
        figures.append(Figure(name, [1e6 * count / pairs], "pairs per million"))
    report(f"near-duplicates of {len(paths)} photographs", figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
