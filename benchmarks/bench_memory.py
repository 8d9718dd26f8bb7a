"""Peak memory of a training of a few epochs with 1,000 and with 10,000 files, each in a process of its own.

python benchmarks/bench_memory.py
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from photos import table, write_photos

SIZE = "32"  # of the network's pictures: the decoded files are what memory could grow with


def peak(folder: Path) -> float:
    """Peak resident megabytes of a fine-tuning of `folder`."""
    code = [sys.executable, __file__, "--child", str(folder)]
    return float(subprocess.run(code, check=True, capture_output=True, text=True).stdout.split()[-1])


def child(folder: str):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from transferkit.recipe import Recipe
    from transferkit.training import run_job
    from transferkit.training.planning import planner

    with tempfile.TemporaryDirectory() as out:
        job = Recipe().override(
            base="resnet18",
            data=folder,
            weights="none",
            size=int(SIZE),
            epochs=2,
            head_epochs=1,
            batch_size=32,
            bn="train",
        )
        run_job.train_plan(planner.make_plan(job), Path(out))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main():
    with tempfile.TemporaryDirectory() as place:
        few = peak(write_photos(Path(place) / "few", 1000))
        many = peak(write_photos(Path(place) / "many", 10_000))
    rows = [("1,000 files", few, "MB"), ("10,000 files", many, "MB"), ("10,000 / 1,000", many / few, "times")]
    table("Peak memory of a fine-tuning", rows)


if __name__ == "__main__":
    child(sys.argv[2]) if sys.argv[1:2] == ["--child"] else main()
