"""Write the predictions of `predict`: a table on the terminal, or a file for other programs."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from transferkit.commands import result_output

FORMATS = ("table", "csv", "jsonl", "parquet")
TOP = {"table": 3, "csv": 1, "parquet": 1, "jsonl": 5, "json": 5}  # classes for each picture if --top is not given

FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # first characters of a cell that a spreadsheet computes


def choose_format(form: str | None, out: str | None, as_json: bool) -> str:
    """Choose the format from --format, --out and --json.

    Raises:
        UsageError: the options contradict each other.
    """
    if as_json:
        if form or out:
            raise click.UsageError("--json prints one document on standard output: omit --format and --out.")
        return "json"
    form = form or (Path(out).suffix[1:] if out else "table")
    if out and form not in FORMATS[1:]:
        raise click.UsageError(
            f"--out must end in .csv, .jsonl or .parquet, not {out}: give it such a suffix, or --format."
        )
    if form == "parquet" and not out:
        raise click.UsageError("--format parquet needs --out FILE.")
    if out and not os.access(folder := Path(out).absolute().parent, os.W_OK):  # before anything is computed
        raise click.UsageError(f"--out {out} cannot be written: {folder} does not exist or is not writable.")
    return form


def write_predictions(rows: list[dict], form: str, top: int, out: str | None, *, spreadsheet: bool = False):
    """Print the predictions, or write them to a file.

    Args:
        rows: of `evaluation.predict.predict`.
        form: "json" or one of `FORMATS`.
        top: number of classes for each picture.
        out: path of the file, or None for standard output.
        spreadsheet: whether to escape the cells of a CSV with `escape_formula`.
    """
    change = escape_formula if spreadsheet else None
    if form == "table":
        print_table(rows)
    elif form == "json":
        result_output.print_json(rows)
    elif not out:
        sys.stdout.write(_to_text(rows, form, top, change))
    else:
        from transferkit import atomic
        from transferkit.console import say

        if form == "parquet":
            atomic.write(out, lambda partial: _write_parquet(_to_columns(rows, top), partial))
        else:
            text = _to_text(rows, form, top, change).encode(atomic.ENCODING, atomic.ERRORS)
            atomic.write(out, lambda partial: partial.write_bytes(text))
        say(f"{out}: {len(rows):,} pictures")


def print_table(rows: list[dict]):
    """Print a table: each picture with its most probable class, and the next ones."""
    from transferkit.console import stdout_console, table

    def cell(row):
        if row["error"]:
            return f"cannot be read: {row['error']}"
        return ", ".join(f"{label} {percent(probability)}".rstrip() for label, probability in row["top"][1:])

    def percent(probability):
        return "" if probability is None else result_output.format_percent(probability)

    cells = [(row["path"], row["label"], percent(row["probability"]), cell(row)) for row in rows]
    table(None, ("picture", "label", "probability", "next"), cells, stdout_console())


def _to_columns(rows: list[dict], top: int) -> list[dict]:
    """Rows with columns path, label, probability and error, then label_2, probability_2 and so on."""
    lines = []
    for row in rows:
        line = {name: row[name] for name in ("path", "label", "probability", "error")}
        pairs = [*(row["top"] or ())[1:], *[(None, None)] * top]
        for place, (label, probability) in enumerate(pairs[: top - 1], start=2):
            line |= {f"label_{place}": label, f"probability_{place}": probability}
        lines.append(line)
    return lines


def escape_formula(cell):
    """Put an apostrophe before a cell that a spreadsheet would compute as a formula, as OWASP advises."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell


def _to_text(rows: list[dict], form: str, top: int, change: Callable | None = None) -> str:
    """The predictions as CSV, with each cell passed through `change` if given, or as lines of JSON."""
    if form == "jsonl":
        return "".join(f"{json.dumps(row)}\n" for row in rows)
    lines, file = _to_columns(rows, top), io.StringIO()
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
