"""How long the page of a run takes, and how large it is: a run of 1,000 pictures in 30 classes, most of them mistaken.

python benchmarks/bench_report.py [pictures] [rounds]

The goals are under 20 s for the whole process of `transferkit report`, and under 3 MB. Two sample pictures are cut into
photographs and put into classes without a system, so there are as many thumbnails, pairs and cells as a page can have.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Figure, report
from photos import write_photos

PICTURES, CLASSES, ROUNDS = 1000, 30, 3
TRAIN = ("--base", "efficientnet_lite0", "--size", "64", "--quality", "fast")


def run(*words) -> tuple[float, float]:
    """Seconds that a command takes, and seconds of a processor."""
    started, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-m", "transferkit", *map(str, words)], check=True, capture_output=True)
    after = os.times()
    computed = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, computed


def main(pictures: int = PICTURES, rounds: int = ROUNDS):
    with tempfile.TemporaryDirectory() as place:
        data, out = Path(place) / "data", Path(place) / "run"
        for number, path in enumerate(sorted(write_photos(Path(place) / "photos", pictures).rglob("*.jpg"))):
            folder = data / ("train", "val")[number % 2] / f"class {number // 2 % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            path.rename(folder / path.name)
        run("finetune", *TRAIN, "--data", data, "--out", out)
        seconds, computed = zip(*(run("report", out) for _ in range(rounds)), strict=True)
        figures = [
            Figure("transferkit report", seconds, "s"),
            Figure("transferkit report, processor time", computed, "s of a processor"),
            Figure("report.html", [(out / "report.html").stat().st_size / 1e6], "MB"),
        ]
        report(f"the page of a run of {pictures:,} pictures", figures)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
