"""Write the predictions of `predict`: a table on the terminal, or a file for other programs."""

import csv
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from transferkit.commands import result_output
from transferkit.lookup import count_noun

FORMATS = ("table", "csv", "json", "jsonl", "parquet")
TOP = {"table": 3, "csv": 1, "parquet": 1, "jsonl": 5, "json": 5}  # classes for each picture if --top is not given

COLUMNS = ("path", "label", "probability", "error")  # of each picture in CSV and Parquet, before those of other classes
ADDED = ("unlike", "rejected", "set")  # columns of a run with a shift.npz, of --reject and --sets
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # first characters of a cell that a spreadsheet computes


def choose_format(form: str | None, out: str | None, as_json: bool) -> str:
    """Choose the format from --format, --out and --json.

    Raises:
        UsageError: the options contradict each other.
    """
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json is --format json: omit it, or --format {form}.")
    form = "json" if as_json else form or (Path(out).suffix[1:] if out else "table")
    if out and form not in FORMATS[1:]:
        raise click.UsageError(
            f"--out must end in .csv, .json, .jsonl or .parquet, not {out}: give it such a suffix, or --format."
        )
    if form == "parquet" and not out:
        raise click.UsageError("--format parquet needs --out FILE.")
    if out and not os.access(folder := Path(out).absolute().parent, os.W_OK):  # before anything is computed
        raise click.UsageError(f"--out {out} cannot be written: {folder} does not exist or is not writable.")
    return form


@dataclass(frozen=True)
class Shown:
    """What to show of each picture: the `top` best classes, or every one of `classes` if there are any."""

    top: int
    classes: tuple[str, ...] = ()


def write_predictions(rows: list[dict], form: str, shown: Shown, out: str | None, *, spreadsheet: bool = False):
    """Print the predictions, or write them to a file.

    Args:
        rows: of `evaluation.predict.predict`.
        form: one of `FORMATS`.
        out: path of the file, or None for standard output.
        spreadsheet: whether to escape the cells of a CSV with `escape_formula`.
    """
    if form == "table":
        return print_table(rows)
    from transferkit import atomic
    from transferkit.console import say

    rows = [_with_probabilities(row) for row in rows] if shown.classes and form.startswith("json") else rows
    if not out:
        sys.stdout.write(_to_text(rows, form, shown, spreadsheet))
        return
    if form == "parquet":
        atomic.write(out, lambda partial: _write_parquet(rows, shown, partial))
    else:
        text = _to_text(rows, form, shown, spreadsheet).encode(atomic.ENCODING, atomic.ERRORS)
        atomic.write(out, lambda partial: partial.write_bytes(text))
    say(f"{out}: {count_noun(len(rows), 'picture')}")


def say_unlike(rows: list[dict], shift):
    """Say how many pictures look unlike the training pictures, and the most unlike ones of them.

    Args:
        rows: of `evaluation.predict.predict`, with `unlike`.
        shift: the run's `Shift`.
    """
    import numpy as np

    from transferkit.console import say
    from transferkit.evaluation.shift import describe

    known = [row for row in rows if row["unlike"] is not None]
    found = sorted((row for row in known if row["unlike"] > 1), key=lambda row: -row["unlike"])
    if found:
        names = ", ".join(os.path.basename(row["path"]) for row in found[:3])
        more = f" and {len(found) - 3:,} more" if len(found) > 3 else ""
        say(f"{describe(shift.summarise(np.array([row['unlike'] for row in known])))}: {names}{more}")


def _with_probabilities(row: dict) -> dict:
    """A row with `probabilities`, {class: probability} in falling order, in place of `top`."""
    return _own_columns(row) | {"probabilities": row["top"] and dict(row["top"])}


def _own_columns(row: dict) -> dict:
    """The columns of a picture before those of other classes."""
    return {name: row[name] for name in (*COLUMNS, *ADDED) if name in row}


def print_table(rows: list[dict]):
    """Print a table: each picture with its most probable class, and the next ones."""
    from transferkit.console import stdout_console, table

    def cell(row):
        if row["error"]:
            return f"cannot be read: {row['error']}"
        pairs = row["top"] if row.get("rejected") else row["top"][1:]
        return ", ".join(f"{label} {percent(probability)}".rstrip() for label, probability in pairs)

    def percent(probability):
        return "" if probability is None else result_output.format_percent(probability)

    cells = [[row["path"], row["label"], percent(row["probability"]), cell(row)] for row in rows]
    names = ["picture", "label", "probability", "next"]
    if "rejected" in rows[0]:
        names.append("rejected")
        cells = [[*line, "yes" if row["rejected"] else ""] for line, row in zip(cells, rows, strict=True)]
    if "set" in rows[0]:
        names.append("set")
        cells = [[*line, _join(row["set"])] for line, row in zip(cells, rows, strict=True)]
    table(None, names, cells, stdout_console())


def _to_columns(rows: list[dict], shown: Shown) -> list[dict]:
    """Rows with `COLUMNS` and `ADDED`, then label_2, probability_2 and so on, or the probability of each class."""
    own = _own_columns(rows[0])
    lines, columns = [], {name: f"class {name}" if name in own else name for name in shown.classes}
    for row in rows:
        line = _own_columns(row)
        if "set" in line:
            line["set"] = _join(line["set"])
        pairs = [*(row["top"] or ())[1:], *[(None, None)] * shown.top]
        for place, (label, probability) in enumerate(pairs[: shown.top - 1], start=2):
            line |= {f"label_{place}": label, f"probability_{place}": probability}
        probabilities = dict(row["top"] or ())
        lines.append(line | {column: probabilities.get(name) for name, column in columns.items()})
    return lines


def _join(names: list[str] | None) -> str | None:
    """A set of classes in a cell, as "cat|dog"."""
    return None if names is None else "|".join(names)


def escape_formula(cell):
    """Put an apostrophe before a cell that a spreadsheet would compute as a formula, as OWASP advises."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell


def _to_text(rows: list[dict], form: str, shown: Shown, spreadsheet: bool) -> str:
    """The predictions as a JSON document, as lines of JSON, or as CSV."""
    if form == "json":
        return f"{json.dumps(rows, indent=1)}\n"
    if form == "jsonl":
        return "".join(f"{json.dumps(row)}\n" for row in rows)
    lines, file = _to_columns(rows, shown), io.StringIO()
    table = [list(lines[0]), *(line.values() for line in lines)]
    csv.writer(file, lineterminator="\n").writerows(
        [map(escape_formula, row) for row in table] if spreadsheet else table
    )
    return file.getvalue()


def _write_parquet(rows: list[dict], shown: Shown, path: Path):
    import pyarrow
    from pyarrow import parquet

    from transferkit import atomic

    texts = {"path", "label", "error", *(f"label_{place}" for place in range(2, shown.top + 1))}
    texts |= {"set"} & set(rows[0])
    lines = _to_columns(rows, shown)
    names = {name: pyarrow.string() if name in texts else pyarrow.float32() for name in lines[0]}
    names |= {"rejected": pyarrow.bool_()} if "rejected" in rows[0] else {}
    lines = [line | {"path": atomic.utf8_text(line["path"])} for line in lines]
    parquet.write_table(pyarrow.Table.from_pylist(lines, schema=pyarrow.schema(names.items())), path)
