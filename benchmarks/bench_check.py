"""`check` against one thread that decodes each file with Pillow and takes its SHA-1, on JPEG files of about 500x375.

python benchmarks/bench_check.py [pictures]
"""

import hashlib
import io
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from photos import table, write_photos
from PIL import Image

from transferkit.data.audit import problems, scan
from transferkit.data.audit.scan import scan_files
from transferkit.data.listing import list_images

PICTURES, ROUNDS = 2000, 5


def plain(paths):
    for path in paths:
        data = Path(path).read_bytes()
        hashlib.sha1(data).hexdigest()
        Image.open(io.BytesIO(data)).load()


def check(listing):
    looks = scan_files(listing.paths)
    return problems.find_problems({"train": listing}, dict(zip(listing.paths, looks, strict=True)))


def timed(call) -> tuple[float, float]:
    """Seconds on the wall, and of both cores."""
    wall, busy = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - busy


def main(pictures: int = PICTURES):
    with tempfile.TemporaryDirectory() as place:
        listing = list_images(write_photos(Path(place) / "photos", pictures))
        rounds = []
        for number in range(ROUNDS):
            scan.cache_folder = lambda number=number: Path(place) / f"home{number}"  # nothing is known yet
            of_plain = timed(lambda: plain(listing.paths))
            of_check = timed(lambda: check(listing))
            rounds.append((of_plain, of_check, timed(lambda: check(listing))))
        wall = [statistics.median(pictures / one[which][0] for one in rounds) for which in range(3)]
        rows = [
            ("Pillow and SHA-1, one thread", wall[0], "pictures/s"),
            ("check, first time", wall[1], "pictures/s"),
            ("check, again", wall[2], "pictures/s"),
            ("check / Pillow, rate", statistics.median(a[0] / b[0] for a, b, _ in rounds), "times"),
            ("Pillow / check, seconds of processor", statistics.median(a[1] / b[1] for a, b, _ in rounds), "times"),
            ("most memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MiB"),
        ]
        table(f"check, {pictures:,} files", rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
