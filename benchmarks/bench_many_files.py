"""Time and peak memory of 10,000 and of 100,000 pictures of 32x32: listed, audited, split, and trained for one step.

python benchmarks/bench_many_files.py [few] [many]

Each job is a process of its own, with a cache of its own. What grows with the pictures should grow tenfold.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from figures import Figure, report
from PIL import Image

CLASSES, SIZE = 10, 32


def write_pictures(folder: Path, count: int) -> Path:
    """PNG files with noise around a colour of their class: no two are alike."""
    random = np.random.default_rng(0)
    for number in range(count):
        label = number % CLASSES
        path = folder / f"class{label}" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.normal(25 * label, 40, (SIZE // 4, SIZE // 4, 3)).clip(0, 255).astype("uint8")
        Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path, compress_level=1)
    return folder


def plan_and_step(folder: str):
    """Plan a training and take its first step in this process; print the seconds and the peak memory after each."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    started = time.perf_counter()
    from transferkit.recipe import Recipe
    from transferkit.training.fitting import fit_phase
    from transferkit.training.fitting.checkpoints import State
    from transferkit.training.job_records import TrainingJob
    from transferkit.training.planning import planner

    def report():
        print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    knobs = {"data": folder, "weights": "none", "size": SIZE, "head_epochs": 0, "batch_size": 32, "augment": "none"}
    plan = planner.make_plan(Recipe().override(base="simple_cnn", **knobs))
    report()
    with tempfile.TemporaryDirectory() as out:
        job = TrainingJob(plan, Path(out), {})
        (job.folder / "checkpoints").mkdir()
        phase = plan.phases[-1]
        with fit_phase.prepare_phase(job, phase) as data:
            model = fit_phase.compile_phase(plan, State(), phase, data)
            batches, _ = data.make_batches(fit_phase.make_order(plan, State(), data, phase.epochs))
            model.fit(batches, steps_per_epoch=1, shuffle=False, verbose=0)
    report()


def run_job(folder: Path, home: str) -> list[float]:
    """What `plan_and_step` prints, in a process of its own."""
    command = [sys.executable, __file__, "--child", str(folder)]
    environment = os.environ | {"TRANSFERKIT_HOME": home}
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return [float(word) for word in output.split()[-4:]]


def main(*counts: int):
    with tempfile.TemporaryDirectory() as temporary:
        for count in counts or (10_000, 100_000):
            folder = write_pictures(Path(temporary) / f"{count}", count)
            for name in ("first", "repeated"):
                planned, plan_peak, whole, peak = run_job(folder, f"{temporary}/home{count}")
                figures = [
                    Figure("list, audit, split", [planned], "s"),
                    Figure("list, audit, split: peak memory", [plan_peak], "MB"),
                    Figure("trained for one step", [whole - planned], "s"),
                    Figure("trained for one step: peak memory", [peak], "MB"),
                ]
                report(f"{count:,} pictures, {name} run", figures)


if __name__ == "__main__":
    plan_and_step(sys.argv[2]) if sys.argv[1:2] == ["--child"] else main(*map(int, sys.argv[1:]))
