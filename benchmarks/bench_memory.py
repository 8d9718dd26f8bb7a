"""Peak memory of fine-tuning for two epochs with 1,000 and with 10,000 files, each in a separate process.

python benchmarks/bench_memory.py
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import Figure, report
from photos import write_photos

SIZE = "32"  # of the network's pictures, small: memory could grow only with the decoded files


def measure_peak(folder: Path) -> float:
    """Peak resident megabytes of fine-tuning on `folder`."""
    command = [sys.executable, __file__, "--child", str(folder)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def train_in_child(folder: str):
    """Fine-tune in this process, and print its peak memory."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from transferkit.recipe import Recipe
    from transferkit.training import run_job
    from transferkit.training.planning import planner

    with tempfile.TemporaryDirectory() as out:
        recipe = Recipe().override(
            base="resnet18",
            data=folder,
            weights="none",
            size=int(SIZE),
            epochs=2,
            head_epochs=1,
            batch_size=32,
            bn="train",
        )
        run_job.train_plan(planner.make_plan(recipe), Path(out))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main():
    with tempfile.TemporaryDirectory() as temporary:
        few = measure_peak(write_photos(Path(temporary) / "few", 1000))
        many = measure_peak(write_photos(Path(temporary) / "many", 10_000))
    figures = [
        Figure("1,000 files", [few], "MB"),
        Figure("10,000 files", [many], "MB", "1,000 files", "the network and a batch"),
    ]
    report("peak memory of fine-tuning", figures)


if __name__ == "__main__":
    train_in_child(sys.argv[2]) if sys.argv[1:2] == ["--child"] else main()
