"""Compare two runs on the same pictures: on what both held out, or on other labelled pictures."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from transferkit import atomic, runs
from transferkit.console import warn
from transferkit.data.class_matching import match_classes
from transferkit.data.grouping import groups_from_pattern
from transferkit.data.listing import Listing
from transferkit.data.sources import resolve
from transferkit.evaluation import mistakes
from transferkit.evaluation.comparison import compare_hits
from transferkit.evaluation.ensemble import order_classes
from transferkit.lookup import as_text, count_noun
from transferkit.recipe import Data
from transferkit.run_evaluation import find_learned, group_by_pattern, relative_paths

PAIRS = ("predicted", "probability")  # what `differ.csv` has of each run


def compare(
    run_a: "str | os.PathLike | runs.Run",
    run_b: "str | os.PathLike | runs.Run",
    data=None,
    *,
    group_by: str | None = None,
) -> dict:
    """Compare two runs on the same pictures; classes are matched by name.

    Args:
        run_a, run_b: runs or their folders.
        data: labelled pictures as of `Run.evaluate`, of which those that neither run was trained on are used. By
            default the pictures that both runs held out, with the predictions that their figures were measured by: of
            the networks as they were before the training on all pictures, if there was one.
        group_by: column of a list, or pattern on paths, of groups: the interval is then of a bootstrap over groups.

    Returns:
        Those of `comparison.compare_hits`, and `runs` (both folders), `split` ("test", "val" or "folds", of given
        pictures "all"), and `differ`: a row for each picture that one run alone predicts correctly, with `path`,
        `label`, and pairs of `predicted` and `probability`. Of grouped pictures, `groups` is the number of groups.

    Raises:
        FileNotFoundError: there is no such run, or it is not finished.
        ValueError: the runs differ in their classes, or there is no picture to compare them on.

    Example:
        >>> tk.compare("runs/a", "runs/b")["p_value"]  # doctest: +SKIP
        0.039
    """
    pair = [run if isinstance(run, runs.Run) else runs.load_run(run) for run in (run_a, run_b)]
    group_by = "" if group_by is None else as_text(group_by, "group_by")
    order_classes(pair[0].classes, pair[1].classes, str(pair[1].folder))
    if data is None:
        rows, split = [run.predictions for run in pair], _find_split(pair)
        groups = _held_out_groups(pair[0])
    else:
        listing = _find_pictures(pair, data, group_by)
        rows, split = [_predict(run, listing) for run in pair], "all"
        groups = dict(zip(map(os.path.realpath, listing.paths), listing.groups, strict=False))
    both = _pair_rows(rows, pair)
    paths = [row["path"] for row in both]
    grouped: Sequence[str] = ()
    if group_by and data is None:
        grouped = groups_from_pattern(relative_paths(paths), group_by)
    elif groups:
        grouped = [groups.get(os.path.realpath(path), "") for path in paths]
    hits = np.array([[predicted == row["label"] for predicted in row["predicted"]] for row in both])
    labels = np.array([pair[0].classes.index(row["label"]) for row in both])
    figures = compare_hits(hits[:, 0], hits[:, 1], labels, pair[0].classes, grouped)
    differ = [both[row] for first in (True, False) for row in np.flatnonzero((hits == (first, not first)).all(1))]
    counted = {"groups": len(set(grouped))} if grouped else {}
    return {"runs": [str(run.folder) for run in pair], "split": split} | figures | counted | {"differ": differ}


def _find_split(pair: Sequence["runs.Run"]) -> str:
    """What the predictions of both runs are of: "test" or "folds", if it is so for both; else "val"."""
    found = {run.metrics["split"] for run in pair}
    return found.pop() if len(found) == 1 else "val"


def _held_out_groups(run: "runs.Run") -> dict[str, str]:
    return {
        os.path.realpath(path): group
        for _, part in run.splits.items()
        for path, group in zip(part.paths, part.groups, strict=False)
    }


def _find_pictures(pair: Sequence["runs.Run"], data, group_by: str) -> Listing:
    """The labelled pictures that neither run was trained on, with labels into the classes of the first."""
    if isinstance(data, (str, os.PathLike)):
        listing = resolve.find_labelled(Data(data=os.fspath(data), group_by=group_by), pair[0].classes)[0]
    else:
        listing = resolve.as_labelled(data, pair[0].classes, "data")
        listing = group_by_pattern(listing, group_by)
    learned = find_learned(listing, pair)
    if len(learned) == len(listing):
        raise ValueError(
            f"{pair[0].folder} or {pair[1].folder} was trained on each of the {len(listing):,} pictures: give "
            "others, or none, to compare the runs on the pictures that both held out."
        )
    if learned:
        warn(
            f"Left out: {len(learned):,} of the {count_noun(len(listing), 'picture')}, as one of the runs was "
            "trained on them."
        )
    return listing.take(np.setdiff1d(np.arange(len(listing)), learned))


def _predict(run: "runs.Run", listing: Listing) -> list[dict]:
    from transferkit.evaluation.predict import evaluate

    return evaluate(run.network, listing.relabel(run.network.classes, "data"))[1]


def _pair_rows(rows: Sequence[list[dict]], pair: Sequence["runs.Run"]) -> list[dict]:
    """A row for each picture that both runs predicted, with pairs of `predicted` and `probability`.

    Raises:
        ValueError: there is none.
    """
    names = match_classes(pair[1].classes, pair[0].classes)
    others = {os.path.realpath(row["path"]): row for row in rows[1]}
    both, contradicted = [], 0
    for row in rows[0]:
        other = others.get(os.path.realpath(row["path"]))
        if other is None:
            continue
        if names[other["label"]] != row["label"]:
            contradicted += 1
            continue
        predicted = [row["predicted"], names[other["predicted"]]]
        probability = [row["probability"], other["probability"]]
        both.append({"path": row["path"], "label": row["label"], "predicted": predicted, "probability": probability})
    if contradicted:
        warn(f"Left out: {count_noun(contradicted, 'picture')} that the runs know by different labels.")
    if not both:
        raise ValueError(
            f"{pair[0].folder} and {pair[1].folder} held out no picture in common: give labelled pictures that neither "
            "was trained on (--data)."
        )
    return both


def write_comparison(folder: Path, figures: dict):
    """Write `comparison.json`, `differ.csv`, and `differ.png`, a sheet of the pictures on which the runs differ."""
    rows = [
        {"path": row["path"], "label": row["label"]}
        | {f"{key}_{letter}": row[key][number] for number, letter in enumerate("ab") for key in PAIRS}
        for row in figures["differ"]
    ]
    if rows:
        atomic.write(folder / "differ.csv", rows)
    if sheet := mistakes.draw_differences(figures["differ"]):
        atomic.write(folder / "differ.png", lambda path: mistakes.save_sheet(sheet, path))
    atomic.write(folder / "comparison.json", figures)
