"""Several runs in one table: their accuracies, the best first, and the knobs in which they differ."""

import os
from collections.abc import Sequence
from dataclasses import asdict

from transferkit import atomic, pages
from transferkit.lookup import UnknownName, count_noun
from transferkit.recipe import BY_RULE
from transferkit.report import sentences
from transferkit.runs import Run

FIGURES = ("accuracy", "ci95", "n", "balanced_accuracy", "loss", "seconds")


def compare_runs(runs: Sequence[Run]) -> tuple[list[dict], list[str]]:
    """A row for each run, the most accurate first, and what makes their figures less comparable.

    Args:
        runs: finished ones, two or more.

    Returns:
        Rows of `run`, `FIGURES` (None where a run has none), `pictures` (what was measured on) and `knobs`, those that
        are not the same in all runs. Then notes, a sentence each.

    Raises:
        FileNotFoundError: a run is not finished.
        UnknownName: there is one run only.

    Example:
        >>> compare_runs([load_run("runs/a"), load_run("runs/b")])[0][0]["knobs"]  # doctest: +SKIP
        {'epochs': 5}
    """
    if len({run.folder.resolve() for run in runs}) < 2:
        raise UnknownName(f"A leaderboard needs two or more runs, not {runs[0].folder} alone.")
    knobs = {run: _flatten(run) for run in runs}
    names = [name for name in knobs[runs[0]] if len({repr(values.get(name)) for values in knobs.values()}) > 1]
    rows: list[dict] = []
    for run in runs:
        held_out, figures = {row["path"] for row in run.predictions}, run.metrics
        rows.append(
            {
                "run": str(run.folder),
                **{name: figures.get(name) for name in FIGURES},
                "pictures": sentences.describe_pictures(figures),
                "knobs": {name: knobs[run].get(name) for name in names},
                "held_out": held_out,
            }
        )
    rows.sort(key=lambda row: -row["accuracy"])
    sets = [row.pop("held_out") for row in rows]
    notes = []
    if any(each != sets[0] for each in sets):
        notes.append("The runs were not measured on the same pictures, so small differences mean little.")
    return rows, notes


def write_leaderboard(rows: list[dict], notes: list[str], out: str | os.PathLike):
    """Write the page of what `compare_runs` returned."""
    content = {
        "title": f"{count_noun(len(rows), 'run')}",
        "rows": rows,
        "knobs": list(rows[0]["knobs"]),
        "notes": notes,
    }
    atomic.write(out, pages.render("leaderboard.html", **content))


def _flatten(run: Run) -> dict:
    """All knobs of a run by name; those that a rule chose have the value that it chose."""
    chosen = {choice["knob"]: choice["value"] for choice in run.choices}
    knobs = {name: value for section in asdict(run.recipe).values() for name, value in section.items()}
    return {name: chosen.get(name) if value is BY_RULE else value for name, value in knobs.items()}
