"""Runs the recipes, and records what came out in recipe_runs.jsonl, from which docs/recipes.md has its tables.

    .venv/bin/python benchmarks/recipe_runs.py [RECIPE ...]      # without, all
    .venv/bin/python tests/record_recipes.py

Recipes that two cores manage are trained to the end, with three seeds, on scikit-learn's digits. Those of large data
sets are planned for all their classes, and begun on pieces of scikit-learn's two photographs. What is recorded is not
run again: delete its line to repeat it.
"""

import csv
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from transferkit.console import say
from transferkit.data.example_digits import write_digits

PATH = Path(__file__).with_suffix(".jsonl")
SEEDS = (0, 1, 2)
WHOLE = {
    "lenet": "train --recipe lenet --data digits",
    "lenet_digits": "train --recipe lenet_digits --data digits",
    "resnet20_digits": "train --recipe resnet20_digits --data digits",
    "allcnn_digits": "train --recipe allcnn_digits --data digits",
    "googlenet_digits": "train --recipe googlenet_digits --data digits",
    "digits": "finetune --recipe digits --data digits",
    "fast": "finetune --base efficientnet_lite0 --recipe fast --data digits",
}
BEGUN = {
    "resnet_cifar": "train --recipe resnet_cifar --data photographs --batch-size 16 --epochs 5",
    "allcnn": "train --recipe allcnn --data photographs --batch-size 16 --epochs 5",
    "alexnet": "train --recipe alexnet --data photographs --size 64 --batch-size 16 --epochs 5",
    "vgg": "train --recipe vgg --data photographs --size 64 --batch-size 16 --epochs 5",
    "googlenet": "train --recipe googlenet --data photographs --size 96 --batch-size 16 --epochs 5 --ema 0",
    "resnet": "train --recipe resnet --data photographs --size 64 --batch-size 16 --epochs 5",
}
CLASSES = {"resnet_cifar": 10, "allcnn": 10}  # of the data set that a recipe is for; others 1,000
PIECE = 64  # pixels


def read_rows() -> list[dict]:
    return [json.loads(line) for line in PATH.read_text("utf-8").splitlines()] if PATH.exists() else []


def write_pieces(folder: Path):
    """Cut scikit-learn's two photographs, of a palace and of a flower, into sixty pieces each, without overlap."""
    for name, photograph in zip(("palace", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for row in range(photograph.shape[0] // PIECE):
            for column in range(photograph.shape[1] // PIECE):
                rows, columns = (slice(number * PIECE, (number + 1) * PIECE) for number in (row, column))
                Image.fromarray(photograph[rows, columns]).save(folder / name / f"{row}-{column}.png")


def write_noise(folder: Path, classes: int):
    """Two pictures for each class, as a plan asks for: a plan depends on the classes and not on the pictures."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"{label:04d}").mkdir(parents=True)
        for number in range(2):
            noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / f"{label:04d}" / f"{number}.png")


def call(place: str, command: str) -> tuple[str, dict]:
    """Run a command in a process; its standard output, and its seconds on the clock and of the processors."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [sys.executable, "-m", "transferkit", *command.split()]
    environment = os.environ | {"TRANSFERKIT_HOME": f"{place}/home"}
    ended = subprocess.run(words, cwd=place, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - begin
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return ended.stdout, {"seconds": round(seconds), "processor_seconds": round(processor)}


def train_whole(place: str, command: str, seed: int) -> dict:
    """Train a recipe to its end; the accuracy on the test pictures."""
    write_digits(Path(place) / "digits")
    _, spent = call(place, f"{command} --seed {seed} --out run")
    figures = json.loads((Path(place) / "run" / "metrics.json").read_text("utf-8"))
    assert figures["split"] == "test"
    return {"seed": seed, "accuracy": round(figures["accuracy"], 7), "pictures": figures["n"]} | spent


def begin_training(place: str, command: str, classes: int) -> dict:
    """Plan a recipe for all classes of its data set, and train it for a few steps; the loss of each epoch."""
    write_noise(Path(place) / "noise", classes)
    words = command.split()
    plan, _ = call(place, f"{' '.join(words[:3])} --data noise --dry-run --json")
    memory = max(phase["memory_gb"] for phase in json.loads(plan)["phases"])
    write_pieces(Path(place) / "photographs")
    _, spent = call(place, f"{command} --out run")
    with (Path(place) / "run" / "history.csv").open(encoding="utf-8", newline="") as file:
        losses = [round(float(row["loss"]), 3) for row in csv.DictReader(file)]
    return {"memory_gb": memory, "losses": losses} | spent


def hardware() -> str:
    """The processor, and how many of its threads this process has."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {len(os.sched_getaffinity(0))} threads"


def record(name: str, seed: int | None):
    """Run a recipe and add a line to the record: to its end with a seed, without one its first steps."""
    command = BEGUN[name] if seed is None else WHOLE[name]
    with tempfile.TemporaryDirectory() as place:
        if seed is None:
            found = begin_training(place, command, CLASSES.get(name, 1000))
        else:
            found = train_whole(place, command, seed)
    row = {"recipe": name, "command": command} | found | {"hardware": hardware()}
    with PATH.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    say(json.dumps(row))


def main(*names: str):
    done = {(row["recipe"], row.get("seed")) for row in read_rows()}
    jobs = [(name, seed) for seed in SEEDS for name in WHOLE] + [(name, None) for name in BEGUN]
    for name, seed in jobs:
        if (name, seed) not in done and (not names or name in names):
            record(name, seed)


if __name__ == "__main__":
    main(*sys.argv[1:])
