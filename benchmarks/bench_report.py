"""How long the page of a run takes, and how large it is: a run of 1,000 pictures in 30 classes, most of them mistaken.

python benchmarks/bench_report.py [pictures]

The goals are under 20 s for the whole process of `transferkit report`, and under 3 MB. Two sample pictures are cut into
photographs and put into classes without a system, so there are as many thumbnails, pairs and cells as a page can have.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from photos import print_table, write_photos

PICTURES, CLASSES = 1000, 30
TRAIN = ("--base", "efficientnet_lite0", "--size", "64", "--quality", "fast")


def run(*words) -> tuple[float, float]:
    """Seconds that a command takes, and seconds of a processor."""
    started, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-m", "transferkit", *map(str, words)], check=True, capture_output=True)
    after = os.times()
    computed = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, computed


def main(pictures: int = PICTURES):
    with tempfile.TemporaryDirectory() as place:
        data, out = Path(place) / "data", Path(place) / "run"
        for number, path in enumerate(sorted(write_photos(Path(place) / "photos", pictures).rglob("*.jpg"))):
            folder = data / ("train", "val")[number % 2] / f"class {number // 2 % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            path.rename(folder / path.name)
        run("finetune", *TRAIN, "--data", data, "--out", out)
        seconds, computed = run("report", out)
        rows = [("transferkit report", seconds, "s"), ("of a processor", computed, "s")]
        rows.append(("report.html", (out / "report.html").stat().st_size / 1e6, "MB"))
        print_table(f"{pictures:,} pictures", rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
