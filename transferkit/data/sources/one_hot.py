"""One class for each row of a list: one-hot columns are converted, and cells with several labels are refused."""

import re
from collections import Counter
from collections.abc import Iterable

from transferkit.console import say
from transferkit.data.sources.csv_text import Table
from transferkit.lookup import count_noun

COLUMN = "label (one-hot)"
VALUES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
SEPARATORS = "|;, "
PLURAL = re.compile(r"(labels|tags|classes|categories|targets)$", re.I)
MAX_SHOWN = 20  # columns in a message


def find_one_hot_columns(table: Table, columns: Iterable[str]) -> list[str]:
    """The columns, two or more, that hold nothing but 0 and 1: one a class."""
    found = [name for name in columns if {cell.lower() for cell in table.cells(name)} <= VALUES.keys()]
    return found if len(found) > 1 else []


def is_one_hot(table: Table, columns: list[str]) -> bool:
    """Whether exactly one of the columns is set in each row."""
    return bool(columns) and all(len(names) == 1 for names in _find_set_columns(table, columns))


def _find_set_columns(table: Table, columns: list[str]) -> list[list[str]]:
    return [[name for name in columns if VALUES.get(row[name].strip().lower())] for _, row in table.rows]


def add_label_column(table: Table, columns: list[str]) -> Table:
    """The table with a column `COLUMN`, the one class that is set in each row.

    Args:
        columns: the one-hot columns.

    Raises:
        ValueError: a row has several classes, or none.
    """
    sets = _find_set_columns(table, columns)
    wrong = [(line, names) for (line, _), names in zip(table.rows, sets, strict=True) if len(names) != 1]
    shown = ", ".join(columns[:MAX_SHOWN])
    if wrong:
        line, names = wrong[0]
        what = f"{' and '.join(names[:3])} are set" if names else "none is set"
        raise ValueError(
            f"{table.path}: {len(wrong)} of {count_noun(len(sets), 'row')} do not have exactly one class: in "
            f"line {line}, {what} of "
            f"the columns {shown}; remove such rows, or give --label-col."
        )
    say(f"{table.path.name}: its columns of 0 and 1 are read as one class each: {shown}.")
    return table.with_column(COLUMN, [names[0] for names in sets])


def check_single_labels(table: Table, column: str):
    """Raise `ValueError` if cells hold several labels: their parts are labels too, or recur in other cells."""
    lines: dict[str, int] = {}
    for line, row in table.rows:
        lines.setdefault(row[column].strip(), line)
    cells = lines.keys() - {""}
    for separator in SEPARATORS:
        parts_of = {cell: [part.strip() for part in cell.split(separator)] for cell in cells if separator in cell}
        if not parts_of:
            continue
        of_labels = {cell: parts for cell, parts in parts_of.items() if all(part in cells for part in parts)}
        counts = Counter(part for parts in parts_of.values() for part in parts)
        # of `haze primary`, `clear primary` and so on there are more cells than words; names hold no bars
        fewer_parts = len(counts) < len(parts_of) and (separator == ";" or PLURAL.search(column))
        are_combinations = fewer_parts or (separator == "|" and max(counts.values()) > 1)
        found = of_labels or (parts_of if are_combinations else {})
        if found:
            cell = min(found, key=lines.__getitem__)
            raise ValueError(
                f"{table.path}, line {lines[cell]}: {cell!r} in column {column!r} looks like several labels; a picture "
                f"has one class: remove such rows, or, if this is one name, write it without {separator!r}."
            )
