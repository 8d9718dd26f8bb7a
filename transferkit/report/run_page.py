"""`report.html`: a run as one page, from its files alone."""

import base64
import io
import os
import re
import shlex
from dataclasses import asdict
from pathlib import Path

from transferkit import atomic, pages
from transferkit.data.audit.html_page import THUMBNAIL_SIZE, picture_uri
from transferkit.data.file_ranges import original_name
from transferkit.evaluation import mistakes, plots
from transferkit.recipe import BY_RULE, Recipe
from transferkit.report import sentences
from transferkit.runs import Run

FILE = "report.html"
MAX_MATRIX = 30  # classes of a confusion matrix that is still read
MAX_CLASSES = 200  # rows of a table
MAX_PAIRS, MAX_MISTAKES, MAX_UNREADABLE = 20, 24, 20
SCORES = {  # of metrics.json, and the names of people
    "balanced_accuracy": "balanced accuracy",
    "top5": "top-5 accuracy",
    "loss": "loss (cross-entropy)",
    "ece": "expected calibration error",
}


def write_run_page(run: Run, out: str | os.PathLike | None = None, advice=()) -> Path:
    """Write the page of a finished run.

    Args:
        out: the file; by default `report.html` in the run.
        advice: sentences on what to do next.

    Returns:
        The file.

    Raises:
        FileNotFoundError: the run is not finished.

    Example:
        >>> write_run_page(load_run("runs/pets"), "pets.html")  # doctest: +SKIP
    """
    path = Path(out or run.folder / FILE)
    atomic.write(path, pages.render("run.html", **_collect(run), advice=advice))
    return path


def _collect(run: Run) -> dict:
    """The values of the template."""
    predictions, figures = run.predictions, run.metrics
    rows = run.history if (run.folder / "history.csv").exists() else []
    reliability = figures.get("reliability") or []
    return {
        "title": str(run.folder),
        "figures": figures,
        "pictures": sentences.describe_pictures(figures),
        "comparison": sentences.describe_comparison(figures),
        "scores": _list_scores(figures),
        "curves": {name: embed_figure(plots.draw_curve(rows, name)) for name in plots.CURVES} if rows else {},
        "matrix": _list_cells(figures["confusion"]) if len(run.classes) <= MAX_MATRIX else [],
        "classes": run.classes,
        "per_class": _list_classes(figures["per_class"]),
        "max_classes": MAX_CLASSES,
        "pairs": _list_pairs(predictions),
        "reliability": reliability,
        "reliability_plot": embed_figure(plots.draw_calibration(reliability)) if reliability else "",
        **_list_mistakes(predictions),
        "split": {name: part.counts() for name, part in run.splits.items()},
        "duplicates": _count_duplicates(run),
        "unreadable": [(original_name(path), reason) for path, reason in run.unreadable],
        "max_unreadable": MAX_UNREADABLE,
        "recipe": _list_knobs(run.recipe, run.choices),
        "environment": atomic.read(run.folder / "environment.json"),
        "commands": _list_commands(run),
    }


def _list_scores(figures: dict) -> list[tuple]:
    """(name, value, interval or None) of each score that is there."""
    intervals = figures.get("intervals", {})
    found = [
        (label, figures[name], intervals.get(name)) for name, label in SCORES.items() if figures.get(name) is not None
    ]
    macro = figures.get("macro", {})
    for name, label in (("f1", "F1"), ("precision", "precision"), ("roc_auc", "area under the ROC curve")):
        if macro.get(name) is not None:
            interval = intervals.get(name, intervals.get(f"macro_{name}"))
            found.append((f"{label}, mean over the classes", macro[name], interval))
    return found


def _list_cells(matrix) -> list[list[tuple[int, float]]]:
    """(count, fraction of its row) of each cell."""
    return [[(count, count / max(1, sum(row))) for count in row] for row in matrix]


def _list_classes(per_class: dict) -> list[tuple[str, dict]]:
    """The classes that have pictures, the lowest recall first."""
    return sorted(((name, row) for name, row in per_class.items() if row["n"]), key=lambda item: item[1]["recall"])


def _list_pairs(predictions: list[dict]) -> list[tuple[str, str, int]]:
    """(label, predicted, pictures) of the most confused pairs."""
    counts: dict[tuple[str, str], int] = {}
    for row in mistakes.rank_mistakes(predictions):
        pair = row["label"], row["predicted"]
        counts[pair] = counts.get(pair, 0) + 1
    return [(*pair, count) for pair, count in sorted(counts.items(), key=lambda item: -item[1])[:MAX_PAIRS]]


def _list_mistakes(predictions: list[dict]) -> dict:
    """The surest mistakes: those with a thumbnail, and how many there are in all and were looked for."""
    wrong = mistakes.rank_mistakes(predictions)
    shown = mistakes.load_thumbnails(wrong, MAX_MISTAKES, THUMBNAIL_SIZE)
    cells = [
        row | {"uri": picture_uri(picture), "name": "/".join(Path(original_name(row["path"])).parts[-2:])}
        for row, picture in shown
    ]
    return {"mistakes": cells, "wrong": wrong[:MAX_MISTAKES], "wrong_count": len(wrong)}


def _count_duplicates(run: Run) -> int:
    """Pictures that are a copy, or nearly one, of another."""
    return sum(bool(name) for _, part in run.splits.items() for name in part.duplicate_sets)


def _list_knobs(recipe: Recipe, choices: list[dict]) -> list[tuple[str, object, str]]:
    """(knob, value, reason) of the knobs that rules chose, and of those with another value than the default."""
    reasons = {choice["knob"]: choice["reason"] for choice in choices}
    chosen = {choice["knob"]: choice["value"] for choice in choices}
    found, defaults = [], asdict(Recipe())
    for section, knobs in asdict(recipe).items():
        for name, value in knobs.items():
            default = defaults[section][name]
            if name in reasons:
                found.append((name, chosen[name] if value is BY_RULE else value, reasons[name]))
            elif value != default and value is not BY_RULE:
                found.append(
                    (name, value, f"set; the default is {default}" if default and default is not BY_RULE else "set")
                )
    return found


def _list_commands(run: Run) -> list[tuple[str, str]]:
    """(what it does, the command) of what can be done with the run."""
    folder = shlex.quote(str(run.folder))
    found = []
    if run.metrics["interrupted"]:
        found.append(("Go on with the training", f"transferkit finetune --resume {folder}"))
    if (run.folder / "model.keras").exists():
        found.append(("Classify pictures", f"transferkit predict {folder} PICTURE"))
        found.append(("Measure it on other pictures", f"transferkit evaluate {folder} --data FOLDER"))
    recipe = shlex.quote(str(run.folder / "recipe.toml"))
    found.append(("Train again with the same knobs", f"transferkit finetune --recipe {recipe}"))
    return [*found, ("Make this page again", f"transferkit report {folder}")]


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
