"""Writes README's tables: the networks, from those of the zoo, and the runs, from benchmarks/readme_runs.csv.

    .venv/bin/python tests/record_readme.py

A test fails if README.md differs from them.
"""

import csv
import importlib
import inspect
import pkgutil
import re

from documents import ROOT, fill_in

from transferkit import zoo
from transferkit.weights.catalogue import weight_sets

PATH = ROOT / "README.md"
RUNS = ROOT / "benchmarks" / "readme_runs.csv"


def networks_table() -> str:
    """A row for each family, the oldest first."""
    families = [importlib.import_module(f"{zoo.__name__}.{each.name}") for each in pkgutil.iter_modules(zoo.__path__)]
    rows = sorted(
        map(_family_cells, (family for family in families if hasattr(family, "VARIANTS"))), key=lambda row: row[1]
    )
    heads = "| family | year | networks | parameters | ImageNet top-1 of public weights |\n|---|---|---|---|---|\n"
    return heads + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _family_cells(family) -> tuple[str, ...]:
    said, table = inspect.getdoc(family), family.VARIANTS
    title = re.split(r"[:.]", said)[0].split(",")[0]
    year = re.search(r"\b(?:19|20)\d\d\b", said)
    top1 = [weights[0].top1 for weights in map(weight_sets, table) if weights and weights[0].top1]
    params = [f"{count / 1e6:.2g} M" for count in sorted(row.params for row in table.values())]
    accuracy = _span([f"{value:.1f}%" for value in sorted(top1)])
    return title, year[0] if year else "", _short(list(table)), _span(params), accuracy or "none"


def _span(values: list[str]) -> str:
    """The first and the last of sorted values."""
    return " to ".join(dict.fromkeys((values[0], values[-1]))) if values else ""


def _short(names: list[str]) -> str:
    """Names with what they share with the first one left out: "`vgg11`, `13`, `16`"."""
    word = re.match(r"[a-z]+", names[0])[0]
    return ", ".join(f"`{name.removeprefix(word) if number else name}`" for number, name in enumerate(names))


def runs_table() -> str:
    """A row for each measured run."""
    lines = ["| `transferkit` | accuracy on the test pictures | seconds |", "|---|---|---|"]
    with RUNS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        accuracy, low, high = (f"{float(row[name]):.1%}" for name in ("accuracy", "low", "high"))
        lines.append(f"| `{row['command']}` | {accuracy} (95%: {low} to {high}) | {row['seconds']} |")
    (pictures,), (cores,) = ({row[name] for row in rows} for name in ("pictures", "cores"))
    lines.insert(
        0,
        f"scikit-learn's handwritten digits, {pictures} of them for the test, on {cores} CPU cores, whole commands:\n",
    )
    return "\n".join(lines)


def source() -> str:
    """The page with its tables as they should be."""
    tables = {"networks": networks_table(), "runs": runs_table()}
    return fill_in(PATH.read_text("utf-8"), tables, "tests/record_readme.py")


if __name__ == "__main__":
    PATH.write_text(source(), "utf-8")
