"""The answer of `predict`: on the terminal, or in a file that other programs read."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from transferkit.commands import options

FORMATS = ("table", "csv", "jsonl", "parquet")
TOP = {"table": 3, "csv": 1, "parquet": 1, "jsonl": 5, "json": 5}  # labels of each picture where --top is not given

FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet computes


def choose_format(form: str | None, out: str | None, as_json: bool) -> str:
    """The one format that --format, --out and --json mean.

    Raises:
        UsageError: they contradict each other.
    """
    if as_json:
        if form or out:
            raise click.UsageError("--json is one document on standard output: leave out --format and --out.")
        return "json"
    form = form or (Path(out).suffix[1:] if out else "table")
    if out and form not in FORMATS[1:]:
        raise click.UsageError(f"--out {out} is none of .csv, .jsonl and .parquet: give it such a suffix, or --format.")
    if form == "parquet" and not out:
        raise click.UsageError("--format parquet needs --out FILE.")
    if out and not os.access(folder := Path(out).absolute().parent, os.W_OK):  # before all is computed
        raise click.UsageError(f"--out {out} cannot be written: {folder} is not there, or may not be written to.")
    return form


def write_predictions(rows: list[dict], form: str, top: int, out: str | None, *, spreadsheet: bool = False):
    """Print the rows of `evaluation.predict.predict`, or write them to a file.

    Args:
        spreadsheet: the cells of a CSV are made harmless; see `harmless`.
    """
    change = escape_formula if spreadsheet else None
    if form == "table":
        print_table(rows)
    elif form == "json":
        options.print_json(rows)
    elif not out:
        sys.stdout.write(_text(rows, form, top, change))
    else:
        from transferkit import atomic
        from transferkit.console import say

        if form == "parquet":
            atomic.write(out, lambda partial: _write_parquet(_flat(rows, top), partial))
        else:
            text = _text(rows, form, top, change).encode(**atomic.ENCODING)
            atomic.write(out, lambda partial: partial.write_bytes(text))
        say(f"{out}: {len(rows):,} pictures")


def print_table(rows: list[dict]):
    """A table of the answers: the label, and the next ones."""
    from transferkit.console import stdout_console, table

    def cell(row):
        if row["error"]:
            return f"cannot be read: {row['error']}"
        return ", ".join(f"{label} {percent(chance)}".rstrip() for label, chance in row["top"][1:])

    def percent(chance):
        return "" if chance is None else options.format_percent(chance)

    cells = [(row["path"], row["label"], percent(row["probability"]), cell(row)) for row in rows]
    table(None, ("picture", "label", "probability", "next"), cells, stdout_console())


def _flat(rows: list[dict], top: int) -> list[dict]:
    """Columns path, label, probability and error, then label_2, probability_2 and so on."""
    lines = []
    for row in rows:
        line = {name: row[name] for name in ("path", "label", "probability", "error")}
        pairs = [*(row["top"] or ())[1:], *[(None, None)] * top]
        for place, (label, chance) in enumerate(pairs[: top - 1], start=2):
            line |= {f"label_{place}": label, f"probability_{place}": chance}
        lines.append(line)
    return lines


def escape_formula(cell):
    """A cell that no spreadsheet takes for a formula, by an apostrophe before it, as OWASP advises."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell


def _text(rows: list[dict], form: str, top: int, change: Callable | None = None) -> str:
    """The answer as CSV, each cell changed by a function perhaps, or as lines of JSON."""
    if form == "jsonl":
        return "".join(f"{json.dumps(row)}\n" for row in rows)
    lines, file = _flat(rows, top), io.StringIO()
    writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: change(cell) for name, cell in line.items()} if change else line for line in lines)
    return file.getvalue()


def _write_parquet(lines: list[dict], path: Path):
    import pyarrow
    from pyarrow import parquet

    from transferkit import atomic

    kinds = {"probability": pyarrow.float32()}  # the others are text, empty or not
    names = {name: kinds.get(name.partition("_")[0], pyarrow.string()) for name in lines[0]}
    lines = [line | {"path": atomic.utf8_text(line["path"])} for line in lines]
    parquet.write_table(pyarrow.Table.from_pylist(lines, schema=pyarrow.schema(names.items())), path)
