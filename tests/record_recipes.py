"""Writes the tables of `docs/recipes.md` from what `benchmarks/recipe_runs.py` recorded and from the recipes.

    .venv/bin/python tests/record_recipes.py

A test fails if the file differs from them.
"""

import json
from statistics import mean, median, stdev

from documents import ROOT, fill_in
from scipy.stats import t

from transferkit import recipe_files, zoo

PATH = ROOT / "docs" / "recipes.md"
RUNS = ROOT / "benchmarks" / "recipe_runs.jsonl"
IMAGENET, CIFAR = 1_281_167, 50_000  # training pictures
LARGE = {"alexnet": IMAGENET, "vgg": IMAGENET, "googlenet": IMAGENET, "resnet": IMAGENET}
LARGE |= {"resnet_cifar": CIFAR, "allcnn": CIFAR}
RATE = 20e12  # operations a second that a training is assumed to reach on one GPU


def read_runs() -> list[dict]:
    return [json.loads(line) for line in RUNS.read_text("utf-8").splitlines()]


def margin(values: list[float]) -> float:
    """Half the 95% interval of a mean, by Student's distribution."""
    return float(t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def trained_table(runs: list[dict]) -> str:
    """A row for each recipe that was trained to its end, with the accuracies in the order of the seeds."""
    rows, whole = [], sorted((run for run in runs if "seed" in run), key=lambda run: run["seed"])
    for command in dict.fromkeys(run["command"] for run in whole):
        own = [run for run in whole if run["command"] == command]
        values = [run["accuracy"] for run in own]
        interval = f"{mean(values):.1%} ± {100 * margin(values):.1f}" if len(values) > 2 else ""
        seconds = f"{median(run['processor_seconds'] for run in own):.0f}"
        rows.append((f"`{command}`", ", ".join(f"{value:.1%}" for value in values), interval, seconds))
    heads = ("`transferkit`", "accuracy, seeds from 0", "mean, 95% interval", "processor seconds")
    where = "; ".join(dict.fromkeys(run["hardware"] for run in whole))
    return f"On {where}:\n\n{table(heads, rows)}"


def needs_table(runs: list[dict]) -> str:
    """A row for each recipe of a large data set: what it needs, and how far it was run."""
    begun, rows = {run["recipe"]: run for run in runs if "losses" in run}, []
    for name, pictures in LARGE.items():
        knobs = recipe_files.load(recipe_files.find_recipe(name))
        once = 6 * zoo.variant(knobs.model.base).multiply_adds  # two forward, and backward twice that
        operations = once * pictures * knobs.train.epochs
        memory, losses = "", "not begun"
        if run := begun.get(name):
            memory = f"{run['memory_gb']:.2g} GB"
            losses = f"`{run['command']}`: loss by epoch {', '.join(f'{loss:.2f}' for loss in run['losses'])}"
        cells = (f"{pictures:,}, {knobs.train.epochs}", f"{operations:.1e}", f"{operations / RATE / 3600:.3g}")
        rows.append((f"`{name}`", *cells, f"{knobs.train.batch_size} pictures {memory}".strip(), losses))
    heads = ("recipe", "pictures, epochs", "operations", "hours at 20 TFLOP/s", "batch, memory", "how far it was run")
    return table(heads, rows)


def source() -> str:
    """The page with its tables as they should be."""
    runs = read_runs()
    tables = {"trained": trained_table(runs), "needs": needs_table(runs)}
    return fill_in(PATH.read_text("utf-8"), tables, "tests/record_recipes.py")


if __name__ == "__main__":
    PATH.write_text(source(), "utf-8")
