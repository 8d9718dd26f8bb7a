"""`transferkit extract` as a user runs it: a repeated run against the first, and peak memory by number of pictures.

The repeated run finds every feature in the cache and writes another file. Memory is measured with a small network at 32
pixels and without the cache, so that it could grow only with the pictures and features that are held.

    python benchmarks/bench_extract.py [pictures of the first run [copies of the pictures whose memory is measured]]
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Figure, report
from photos import write_photos

COMMAND = (sys.executable, "-m", "transferkit", "extract", "--weights", "none")


def measure_seconds(folder: Path, out: Path, home: Path) -> float:
    started = time.perf_counter()
    command = (*COMMAND, "--base", "resnet34", "--data", folder, "--out", out)
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"TRANSFERKIT_HOME": str(home)})
    return time.perf_counter() - started


def measure_peak(folder: Path, out: Path) -> float:
    """Peak resident megabytes."""
    command = [sys.executable, __file__, "--child", str(folder), str(out)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def extract_in_child(folder: str, out: str):
    """Extract in this process, and print its peak memory."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import transferkit as tk

    tk.extract_to(out, tk.FeatureSpec("resnet18", "none", size=32), tk.list_images(folder), cache=False)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main(pictures: int = 1000, copies: int = 20):
    with tempfile.TemporaryDirectory() as folder_name:
        temporary = Path(folder_name)
        folder = write_photos(temporary / "photos", pictures)
        first, repeated = (measure_seconds(folder, temporary / f"{i}.npz", temporary / "home") for i in range(2))
        figures = [
            Figure("first run", [first], "s", bound="the forward pass"),
            Figure("repeated run", [repeated], "s", "first run", "the start of the program"),
        ]
        report(f"extract of {pictures:,} photos, resnet34", figures)
        few = write_photos(temporary / "few", 1000)
        for copy in range(copies):
            for path in few.glob("*/*"):
                link = temporary / "many" / path.parent.name / f"{copy}-{path.name}"
                link.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, link)
        small = measure_peak(few, temporary / "few.parquet")
        large = measure_peak(temporary / "many", temporary / "many.parquet")
    name = "1,000 pictures"
    figures = [
        Figure(name, [small], "MB"),
        Figure(f"{copies},000 pictures", [large], "MB", name, "the network and a batch"),
    ]
    report("peak memory of extract", figures)


if __name__ == "__main__":
    extract_in_child(*sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main(*map(int, sys.argv[1:]))
