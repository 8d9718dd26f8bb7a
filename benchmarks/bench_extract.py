"""`transferkit extract` as a user runs it: a second run against the first, and the peak memory of many pictures.

The second run has every feature in the cache, under another name of the file. Memory is that of a small network at 32
pixels, nothing kept: what could grow is what is held of pictures and features.

    python benchmarks/bench_extract.py [pictures of the first run]
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from photos import table, write_photos

COMMAND = (sys.executable, "-m", "transferkit", "extract", "--weights", "none")


def seconds(folder: Path, out: Path, home: Path) -> float:
    started = time.perf_counter()
    words = (*COMMAND, "--base", "resnet34", "--data", folder, "--out", out)
    subprocess.run(words, check=True, capture_output=True, env=os.environ | {"TRANSFERKIT_HOME": str(home)})
    return time.perf_counter() - started


def peak(folder: Path, out: Path) -> float:
    """Peak resident megabytes."""
    code = [sys.executable, __file__, "--child", str(folder), str(out)]
    return float(subprocess.run(code, check=True, capture_output=True, text=True).stdout.split()[-1])


def child(folder: str, out: str):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import transferkit as tk

    tk.extract_to(out, tk.FeatureSpec("resnet18", "none", size=32), tk.list_images(folder), cache=False)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main(pictures: int = 1000):
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        folder = write_photos(place / "photos", pictures)
        first, second = (seconds(folder, place / f"{i}.npz", place / "home") for i in range(2))
        table(
            f"extract of {pictures:,} photos, resnet34",
            [("first run", first, "s"), ("second run", second, "s"), ("first / second", first / second, "times")],
        )
        few = write_photos(place / "few", 1000)
        for copy in range(20):
            for path in few.glob("*/*"):
                link = place / "many" / path.parent.name / f"{copy}-{path.name}"
                link.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, link)
        small, large = peak(few, place / "few.parquet"), peak(place / "many", place / "many.parquet")
        rows = [("1,000 pictures", small, "MB"), ("20,000 pictures", large, "MB"), ("ratio", large / small, "times")]
        table("Peak memory", rows)


if __name__ == "__main__":
    child(*sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main(*map(int, sys.argv[1:]))
