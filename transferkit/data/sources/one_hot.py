"""One class for each row of a list: of columns of 0 and 1, one for each class; cells with several are refused."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from transferkit.console import say
from transferkit.data.sources.csv_text import Rows

COLUMN = "label (one-hot)"
VALUES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
SEPARATORS = "|;, "
PLURAL = re.compile(r"(labels|tags|classes|categories|targets)$", re.I)


def find_one_hot_columns(header: Iterable[str], rows: Rows) -> list[str]:
    """The columns, two or more, that hold 0 and 1 alone: one a class."""
    found = [name for name in header if {row[name].strip().lower() for _, row in rows} <= VALUES.keys()]
    return found if len(found) > 1 else []


def is_one_hot(columns: list[str], rows: Rows) -> bool:
    """Whether one of the columns is set in each row."""
    return bool(columns) and all(len(names) == 1 for names in _set(columns, rows))


def _set(columns: list[str], rows: Rows) -> list[list[str]]:
    return [[name for name in columns if VALUES.get(row[name].strip().lower())] for _, row in rows]


def add_label_column(path: Path, header: list[str], rows: Rows, classes: list[str]) -> tuple[list[str], Rows, str]:
    """The table with a column of the one class that is set in each row, and its name.

    Args:
        classes: the columns of 0 and 1.

    Raises:
        ValueError: a row has several classes, or none.
    """
    sets = _set(classes, rows)
    wrong = [(line, names) for (line, _), names in zip(rows, sets, strict=True) if len(names) != 1]
    if wrong:
        line, names = wrong[0]
        what = f"{' and '.join(names[:3])} are set" if names else "none is set"
        raise ValueError(
            f"{path}: {len(wrong)} of {len(rows)} rows do not have exactly one class: in line {line}, {what} of the "
            f"columns {', '.join(classes[:20])}; leave out such rows, or give --label-col."
        )
    say(f"{path.name}: its columns of 0 and 1 are read as one class each: {', '.join(classes[:20])}.")
    rows = [(line, row | {COLUMN: names[0]}) for (line, row), names in zip(rows, sets, strict=True)]
    return [*header, COLUMN], rows, COLUMN


def check_single_labels(path: Path, rows: Rows, column: str):
    """Raise `ValueError` if cells hold several labels: their parts are labels by themselves, or combined anew."""
    lines = {}
    for line, row in rows:
        lines.setdefault(row[column].strip(), line)
    cells = lines.keys() - {""}
    for separator in SEPARATORS:
        parts = {cell: [part.strip() for part in cell.split(separator)] for cell in cells if separator in cell}
        if not parts:
            continue
        alone = {cell: some for cell, some in parts.items() if all(part in cells for part in some)}
        counts = Counter(part for some in parts.values() for part in some)
        # of `haze primary`, `clear primary` and so on there are more cells than words; names hold no bars
        fewer = len(counts) < len(parts) and (separator == ";" or PLURAL.search(column))
        combined = fewer or (separator == "|" and max(counts.values()) > 1)
        found = alone or (parts if combined else {})
        if found:
            cell = min(found, key=lines.get)
            raise ValueError(
                f"{path}, line {lines[cell]}: {cell!r} in column {column!r} looks like several labels; a picture has "
                f"one class: leave out such rows, or, if this is one name, write it without {separator!r}."
            )
