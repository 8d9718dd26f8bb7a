"""Measure runs and networks on labelled pictures, together as an ensemble, and write what was found to a folder."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from transferkit import atomic, run_writing
from transferkit.data.file_ranges import container_file
from transferkit.data.grouping import groups_from_pattern
from transferkit.data.listing import Listing
from transferkit.data.picture_facts import FACTS, measure_facts
from transferkit.data.sources import resolve
from transferkit.data.sources.folder_walk import common_folder, relative_path
from transferkit.evaluation import ensemble
from transferkit.evaluation.slices import score_slices
from transferkit.evaluation.weighted_scores import score_probabilities
from transferkit.lookup import UnknownName, join_or, quote, suggest_nearest
from transferkit.recipe import Data

if TYPE_CHECKING:
    from transferkit.network import Network
    from transferkit.runs import Run

MOST_PROBABILITIES = 20_000_000  # numbers of probabilities.csv: some 200 MB


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        figures: of all readable pictures, of `predict.measure`; with `slices` by name if there are any, of the unseen
            pictures if there are any.
        unseen: the same figures of the pictures that no network was trained on; None if these are all or none.
        judged: the readable pictures that no network was trained on, if there are any, else all readable ones: those by
            which a network is judged, in slices, when corrupted and when moved.
        predictions: a row for each readable picture: path, label, predicted, probability.
        probabilities: (n, classes), in the same order.
        classes: their names.
    """

    figures: dict
    unseen: dict | None
    judged: Listing
    predictions: list[dict]
    probabilities: np.ndarray
    classes: tuple[str, ...]


def find_held_out(given: Sequence["Run"], group_by: str = "") -> tuple[Listing, str]:
    """The pictures that all runs held out: of one run its test pictures, else its validation pictures.

    Args:
        group_by: pattern on the paths of the pictures, for groups.

    Returns:
        A listing with the classes of the first run, and "test" or "val" ("val" if any run has no test pictures).

    Raises:
        FileNotFoundError: none of them is there any more.
        ValueError: the runs held out no picture in common, or a run has none: see `Run.held_out`.
    """
    held_out = [run.held_out for run in given]
    common = set.intersection(*(set(map(os.path.realpath, listing.paths)) for listing in held_out))
    if not common:
        raise ValueError(f"{_join(given)} held out no picture in common: give --data with pictures for all of them.")
    listing = held_out[0].take([row for row, path in enumerate(held_out[0].paths) if os.path.realpath(path) in common])
    if not any(os.path.exists(container_file(path)) for path in listing.paths):
        raise FileNotFoundError(
            f"None of the {len(listing):,} pictures that {_join(given)} held out is there any more, as "
            f"{listing.paths[0]}: give --data with others."
        )
    return group_by_pattern(listing, group_by), "test" if all(run.splits.test for run in given) else "val"


def _join(given: Sequence["Run"]) -> str:
    return " and ".join(str(run.folder) for run in given)


def group_by_pattern(listing: Listing, pattern: str) -> Listing:
    """The listing with groups by a pattern on the paths below the folder of all; unchanged if there is no pattern."""
    return replace(listing, groups=groups_from_pattern(relative_paths(listing.paths), pattern)) if pattern else listing


def relative_paths(paths: Sequence[str]) -> list[str]:
    """The paths below the folder that holds them all."""
    root = common_folder(paths)
    return [relative_path(path, root) for path in paths]


def find_learned(listing: Listing, given: Sequence["Run"]) -> list[int]:
    """The rows of the pictures that one of the runs was trained on."""
    return sorted({row for run in given for row in run.find_learned(listing)})


def read_columns(source: Data, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """For each name that is not a picture's fact, the cells of this column of a list: {name: {path: cell}}.

    Raises:
        UnknownName: there is no such column, or the source is not a list.
    """
    columns = [name for name in names if name not in FACTS]
    if columns and (not source.data or resolve.source_kind(source.data) != "manifest"):
        raise UnknownName(
            f"--slice takes {join_or(FACTS)}, or a column of a CSV file, which {source.data or 'the data'} is not; not "
            f"{quote(columns[0])}.{suggest_nearest(FACTS, columns[0])}"
        )
    try:
        found = {name: resolve.find_column(source, name) for name in columns}
    except UnknownName as error:
        raise UnknownName(f"{error} --slice also takes {join_or(FACTS)}.") from None
    return {name: {os.path.realpath(path): cell for path, cell in cells.items()} for name, cells in found.items()}


def evaluate_networks(
    networks: Sequence["Network"],
    listing: Listing,
    *,
    views: ensemble.Views,
    learned: Sequence[int] = (),
    slices: Sequence[str] = (),
    columns: Mapping[str, Mapping[str, str]] | None = None,
) -> Evaluation:
    """Compare the mean of networks' probabilities with the labels of a listing.

    Args:
        networks: with classifiers; the listing has the classes of the first.
        views: of each picture.
        learned: rows of pictures that a network was trained on.
        slices: names of `columns` or `picture_facts.FACTS`, by which accuracy is measured apart.
        columns: of `read_columns`.

    Raises:
        ValueError: the networks differ in their classes, or no picture can be read.
    """
    from transferkit.evaluation.predict import measure

    probabilities, rows = ensemble.predict_probabilities(networks, listing.paths, views)
    figures, predictions = measure(probabilities, rows, listing)
    is_unseen = ~np.isin(rows, list(learned))
    chosen = np.flatnonzero(is_unseen) if is_unseen.any() else np.arange(len(rows))
    judged, unseen = listing.take(rows[chosen]), None
    if len(chosen) < len(rows):
        unseen = measure(probabilities[chosen], np.arange(len(judged)), judged)[0]
    if len(networks) == 1 and views == ensemble.Views():
        figures |= _compare_uncalibrated(probabilities, np.array(listing.labels)[rows], networks[0].temperature)
    if slices:
        shown = [predictions[row] for row in chosen]
        values = _find_values([row["path"] for row in shown], slices, columns or {})
        hits = np.array([row["label"] == row["predicted"] for row in shown])
        figures["slices"] = {name: score_slices(values[name], hits) for name in slices}
    return Evaluation(figures, unseen, judged, predictions, probabilities, listing.classes)


def _compare_uncalibrated(probabilities: np.ndarray, labels: np.ndarray, temperature: float) -> dict:
    """The temperature, and the calibration error without it."""
    scores = probabilities**temperature  # softmax(z / t) to the power of t is in proportion to exp(z)
    plain = score_probabilities(scores / scores.sum(1, keepdims=True), labels, np.ones((1, len(labels))))
    return {"temperature": temperature, "ece_uncalibrated": float(plain["ece"][0])}


def _find_values(paths: Sequence[str], slices, columns) -> dict:
    """What each picture is sliced by: {name: values}."""
    values = {name: [cells.get(os.path.realpath(path), "") for path in paths] for name, cells in columns.items()}
    return values | (measure_facts(paths) if set(slices) & set(FACTS) else {})


def write_evaluation(folder: Path, evaluation: Evaluation, document: dict):
    """Write `metrics.json`, `predictions.csv`, `probabilities.csv`, `confusion.csv` and the plots to a folder.

    With `moved` in the document there is `movements.png` too.

    Args:
        folder: it exists.
        document: for `metrics.json`.
    """
    from transferkit.evaluation import plots

    classes, confusion = evaluation.classes, evaluation.figures["confusion"]
    run_writing.write_predictions(folder, evaluation.predictions, confusion, classes)
    if confusion:
        rows = [[name, *row] for name, row in zip(classes, confusion, strict=True)]
        atomic.write(folder / "confusion.csv", lambda path: _write_table(["label", *classes], rows, path))
        atomic.write(
            folder / "confusion_normalised.png",
            lambda path: plots.draw_confusion(confusion, classes).savefig(path),
        )
    if evaluation.probabilities.size <= MOST_PROBABILITIES:
        lines = (
            [row["path"], row["label"], *(f"{value:.6f}" for value in probabilities)]
            for row, probabilities in zip(evaluation.predictions, evaluation.probabilities, strict=True)
        )
        atomic.write(folder / "probabilities.csv", lambda path: _write_table(["path", "label", *classes], lines, path))
    reliability = evaluation.figures["reliability"]
    atomic.write(folder / "reliability.png", lambda path: plots.draw_calibration(reliability).savefig(path))
    if moved := document.get("moved"):
        atomic.write(folder / "movements.png", lambda path: plots.draw_movements(moved).savefig(path, dpi=100))
    atomic.write(folder / "metrics.json", document)


def _write_table(header: list[str], rows: Iterable[list], path: Path):
    with open(path, "w", encoding=atomic.ENCODING, errors=atomic.ERRORS, newline="") as file:
        csv.writer(file).writerows([header])
        csv.writer(file).writerows(rows)
