"""Speed of `check` against a single-threaded loop of Pillow decoding and SHA-1, on JPEG files of 500x375 pixels.

python benchmarks/bench_check.py [pictures]
"""

import hashlib
import io
import resource
import sys
import tempfile
import time
from pathlib import Path

from figures import Figure, report
from photos import write_photos
from PIL import Image

from transferkit.data.audit import problems, scan
from transferkit.data.audit.scan import scan_files
from transferkit.data.listing import list_images

PICTURES, ROUNDS = 2000, 5


def decode_and_hash(paths):
    for path in paths:
        data = Path(path).read_bytes()
        hashlib.sha1(data).hexdigest()
        Image.open(io.BytesIO(data)).load()


def run_check(listing):
    scans = scan_files(listing.paths)
    return problems.find_problems({"train": listing}, dict(zip(listing.paths, scans, strict=True)))


def measure_time(call) -> tuple[float, float]:
    """Seconds of wall-clock time and of processor time, of all threads together."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def main(pictures: int = PICTURES):
    with tempfile.TemporaryDirectory() as temporary:
        listing = list_images(write_photos(Path(temporary) / "photos", pictures))
        rounds = []
        for number in range(ROUNDS):
            scan.cache_folder = lambda number=number: Path(temporary) / f"home{number}"  # an empty cache
            pillow_time = measure_time(lambda: decode_and_hash(listing.paths))
            first_time = measure_time(lambda: run_check(listing))
            rounds.append((pillow_time, first_time, measure_time(lambda: run_check(listing))))
        pillow, first, repeated = zip(*rounds, strict=True)
        peer, peak = "Pillow and SHA-1, one thread", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        figures = [
            Figure(peer, [pictures / wall for wall, _ in pillow], "pictures/s"),
            Figure("check, first run", [pictures / wall for wall, _ in first], "pictures/s", peer, "decoding"),
            Figure(
                "check, repeated run",
                [pictures / wall for wall, _ in repeated],
                "pictures/s",
                peer,
                "SQLite, and a stat of each file",
            ),
            Figure(f"{peer}, processor time", [cpu for _, cpu in pillow], "s of a processor"),
            Figure(
                "check, processor time",
                [cpu for _, cpu in first],
                "s of a processor",
                f"{peer}, processor time",
                "decoding",
            ),
            Figure("peak memory", [peak], "MB"),
        ]
        report(f"check, {pictures:,} files", figures)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
