"""What the pages of a run and of an evaluation share: their sections, of figures and predictions."""

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from transferkit import atomic, pages
from transferkit.data.audit.html_page import THUMBNAIL_SIZE, picture_uri
from transferkit.data.file_ranges import original_name
from transferkit.evaluation import mistakes, plots
from transferkit.evaluation.metrics import MAX_CONFUSION, wilson_interval

FILE = "report.html"
SECTIONS = {  # templates in pages/sections/, in the order of a page, and their headings
    "measured": "What was measured",
    "folds": "Folds",
    "scores": "Scores",
    "curves": "Curves",
    "classes": "Classes",
    "confusion": "Confusion",
    "calibration": "Calibration",
    "slices": "Slices",
    "shift": "Other pictures",
    "mistakes": "The surest mistakes",
    "gradcam": "Where it looked",
    "suspects": "Likely wrong labels",
    "data": "Data",
    "recipe": "Recipe",
    "environment": "Environment",
    "next": "What to do next",
}
MAX_MATRIX = 30  # classes of a confusion matrix that is still read
MAX_CLASSES = 200  # rows of a table
MAX_PAIRS, MAX_THUMBNAILS = 20, 24
SCORES = {  # of metrics.json, and the names of people
    "balanced_accuracy": "balanced accuracy",
    "top5": "top-5 accuracy",
    "loss": "loss (cross-entropy)",
    "ece": "expected calibration error",
}
MEANS = {  # of `macro`, with their names in `intervals`
    "f1": ("F1", "macro_f1"),
    "precision": ("precision", "macro_precision"),
    "roc_auc": ("area under the ROC curve", "roc_auc"),
    "average_precision": ("average precision", "average_precision"),
}


def write_page(path: Path, title: str, figures: dict, pictures: str, sections: dict, warnings: Sequence[str] = ()):
    """Write a page.

    Args:
        figures: with `accuracy`, `ci95` and `n`, for the headline.
        pictures: of which they are.
        sections: what the templates of `SECTIONS` need, by name; empty ones are left out.
        warnings: sentences below the headline.
    """
    shown = [(name, heading, sections[name]) for name, heading in SECTIONS.items() if sections.get(name)]
    content = {"title": title, "figures": figures, "pictures": pictures, "warnings": warnings, "sections": shown}
    atomic.write(path, pages.render("report.html", **content))


def measured_sections(figures: dict, predictions: list[dict]) -> dict:
    """The sections of what was measured.

    Args:
        figures: as in `metrics.json`; an earlier version wrote fewer.
        predictions: rows of `path`, `label`, `predicted` and `probability`.
    """
    rows = sorted(list_classes(figures), key=lambda item: item[1]["recall"])
    return {
        "scores": _list_scores(figures),
        "classes": {"rows": rows[:MAX_CLASSES], "more": len(rows[MAX_CLASSES:])},
        "confusion": _describe_confusion(figures),
        "calibration": _describe_calibration(figures),
        "slices": figures.get("slices"),
        "mistakes": list_pictures(mistakes.rank_mistakes(predictions)),
    }


def list_classes(figures: dict) -> list[tuple[str, dict]]:
    """(name, figures) of each class that has pictures; an earlier version wrote no `recall_ci95`."""
    return [
        (name, {"recall_ci95": wilson_interval(row["recall"] * row["n"], row["n"])} | row)
        for name, row in figures["per_class"].items()
        if row["n"]
    ]


def _list_scores(figures: dict) -> list[tuple]:
    """(name, value, interval or None) of each score that is there."""
    intervals, macro, binary = (figures.get(name) or {} for name in ("intervals", "macro", "binary"))
    found = [(label, figures.get(name), intervals.get(name)) for name, label in SCORES.items()]
    found += [
        (f"{label}, mean over the classes", macro.get(name), intervals.get(key)) for name, (label, key) in MEANS.items()
    ]
    found += [
        (f"{name} of {binary.get('positive')}", binary.get(name), binary.get(f"{name}_ci95"))
        for name in ("sensitivity", "specificity")
    ]
    return [row for row in found if row[1] is not None]


def _describe_confusion(figures: dict) -> dict:
    """The matrix, with (count, fraction of its row) in each cell, and the confused pairs: (label, predicted, count)."""
    classes, matrix = list(figures["per_class"]), figures["confusion"]
    pairs = figures["confused"]
    if matrix:
        counts = np.array(matrix)
        np.fill_diagonal(counts, 0)
        most = np.argsort(-counts, axis=None, kind="stable")[: min(MAX_PAIRS, np.count_nonzero(counts))]
        places = zip(*np.unravel_index(most, counts.shape), strict=True)
        pairs = [(classes[label], classes[predicted], int(counts[label, predicted])) for label, predicted in places]
    is_small = matrix and len(classes) <= MAX_MATRIX
    return {
        "classes": classes,
        "most": MAX_CONFUSION,
        "matrix": [[(count, count / max(1, sum(row))) for count in row] for row in matrix] if is_small else [],
        "pairs": pairs,
    }


def _describe_calibration(figures: dict) -> dict:
    """The reliability with its plot, and the temperature if there is one; empty for folds and earlier versions."""
    if not figures.get("reliability"):
        return {}
    found = {name: figures.get(name) for name in ("temperature", "ece", "ece_uncalibrated", "reliability")}
    plot = embed_figure(plots.draw_calibration(figures["reliability"]))
    return found | {"plot": plot, "is_crossed": False, "rejection": []}


def list_pictures(rows: list[dict]) -> dict:
    """The first pictures of rows with a `path`.

    Returns:
        `count` of all rows, `shown` (the first ones), and `cells`: these with a thumbnail in `uri`, and a `name`.
    """
    cells = [
        row | {"uri": picture_uri(picture), "name": "/".join(Path(original_name(row["path"])).parts[-2:])}
        for row, picture in mistakes.load_thumbnails(rows, MAX_THUMBNAILS, THUMBNAIL_SIZE)
    ]
    return {"count": len(rows), "shown": cells or rows[:MAX_THUMBNAILS], "cells": cells}


def embed_figure(figure) -> str:
    """A matplotlib figure as a data URI of an SVG, whose black is white where the page is dark."""
    import matplotlib

    file = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", file.getvalue().decode(), flags=re.S)
    theme = "svg{color:#1c1c1c}text{fill:currentColor}@media(prefers-color-scheme:dark){svg{color:#ececec}}"
    text = text.replace("#000000", "currentColor").replace("#ffffff", "none")
    text = re.sub(r"(<svg.*?>)", rf"\1<style>{theme}</style>", text.strip(), count=1, flags=re.S)
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()
