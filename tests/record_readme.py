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
    modules = [importlib.import_module(f"{zoo.__name__}.{each.name}") for each in pkgutil.iter_modules(zoo.__path__)]
    rows = sorted((_family_cells(each) for each in modules if hasattr(each, "VARIANTS")), key=lambda cells: cells[1])
    heads = ("family", "year", "networks", "parameters", "default public weights, with their ImageNet top-1 accuracy")
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ("---",) * len(heads), *rows))


def _family_cells(family) -> tuple[str, ...]:
    said, table = inspect.getdoc(family), family.VARIANTS
    title, year = re.split(r"[:.,]", said)[0], re.search(r"\b(?:19|20)\d\d\b", said)
    weights = [sets[0] for sets in map(weight_sets, table) if sets]
    sources = ", ".join(dict.fromkeys("Python packages" if each.package else each.source for each in weights))
    top1 = _span([f"{value:.1f}%" for value in sorted(each.top1 for each in weights if each.top1)])
    params = _span([_millions(count) for count in sorted(row.params for row in table.values())])
    return title, year[0] if year else "", _short(list(table)), params, " ".join((sources, top1)).strip() or "none"


def _millions(count: int) -> str:
    return (
        f"{count / 1e6:.0f} M" if count >= 10e6 else f"{count / 1e6:.1g} M" if count < 1e6 else f"{count / 1e6:.1f} M"
    )


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
