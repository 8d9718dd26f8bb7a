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
PICTURES = {"lenet": 60_000, "resnet_cifar": 50_000, "allcnn": 50_000}  # of the data set of the paper; others ImageNet
IMAGENET = 1_281_167
RATE = 20e12  # operations a second that a training is assumed to reach on one GPU


def read_runs() -> list[dict]:
    return [json.loads(line) for line in RUNS.read_text("utf-8").splitlines()]


def margin(values: list[float]) -> float:
    """Half the 95% interval of a mean, by Student's distribution."""
    return float(t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5


def trained_table(rows: list[dict]) -> str:
    """A row for each recipe that was trained to its end, with the accuracies in the order of the seeds."""
    lines = ["| `transferkit` | accuracy with each seed | mean, 95% interval | seconds |", "|---|---|---|---|"]
    whole = [row for row in rows if "seed" in row]
    for command in dict.fromkeys(row["command"] for row in whole):
        runs = sorted((row for row in whole if row["command"] == command), key=lambda row: row["seed"])
        values = [row["accuracy"] for row in runs]
        seeds = ", ".join(f"{value:.1%}" for value in values)
        interval = f"{mean(values):.1%} ± {100 * margin(values):.1f}" if len(values) > 2 else ""
        seconds = median(row["seconds"] for row in runs)
        lines.append(f"| `{command}` | {seeds} | {interval} | {seconds:.0f} |")
    return "\n".join(lines)


def begun_table(rows: list[dict]) -> str:
    """A row for each recipe of a large data set: what it needs, and how far it was run."""
    heads = (
        "recipe",
        "pictures, epochs",
        "operations",
        "days at 20 TFLOP/s",
        "memory of a batch",
        "loss of each epoch",
    )
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|---|---|---|"]
    for row in rows:
        if "losses" in row:
            knobs = recipe_files.load(recipe_files.find_recipe(row["recipe"]))
            pictures, epochs = PICTURES.get(row["recipe"], IMAGENET), knobs.train.epochs
            operations = (
                6 * zoo.variant(knobs.model.base).multiply_adds * pictures * epochs
            )  # backward takes twice forward
            days = operations / RATE / 86_400
            cells = (
                f"`{row['recipe']}`",
                f"{pictures:,}, {epochs}",
                f"{operations:.1e}",
                f"{days:.2g}",
                f"{row['memory_gb']:.2g} GB, {knobs.train.batch_size} pictures",
                ", ".join(f"{loss:.2f}" for loss in row["losses"]),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def source() -> str:
    """The page with its tables as they should be."""
    rows = read_runs()
    tables = {"trained": trained_table(rows), "begun": begun_table(rows)}
    return fill_in(PATH.read_text("utf-8"), tables, "tests/record_recipes.py")


if __name__ == "__main__":
    PATH.write_text(source(), "utf-8")
