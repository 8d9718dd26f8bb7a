"""`report.html` of a run: all that it knows as one page, from its files alone."""

import base64
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from transferkit import atomic
from transferkit.data.file_ranges import original_name
from transferkit.evaluation import plots
from transferkit.evaluation.calibration import find_rejection_threshold
from transferkit.recipe import BY_RULE, Recipe
from transferkit.report import page, sentences
from transferkit.runs import CALIBRATION, GRADCAM, Run

MAX_UNREADABLE = 20  # that are named
PRECISIONS = (0.9, 0.95, 0.99)  # of a table of `--reject`
SUSPECTS = "suspects.csv"  # of `check --labels --out RUN`
SHIFT = "shift.npz"  # of `evaluation.shift`, which loads Keras
UNLIKE = (
    "predict and evaluate say which pictures look unlike the training pictures: their features are farther from those "
    "of the nearest training picture than they are for 95% of the held-out pictures."
)


def write_run_page(run: Run, out: str | os.PathLike | None = None, advice: Sequence[str] = ()) -> Path:
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
    predictions, figures = run.predictions, run.metrics
    sections = page.measured_sections(figures, predictions) | {
        "measured": {"lines": sentences.describe_comparison(figures), "advice": advice},
        "folds": figures.get("folds"),
        "curves": _draw_curves(run),
        "shift": {"lines": [UNLIKE]} if (run.folder / SHIFT).exists() else {},
        "gradcam": _embed_gradcam(run),
        "suspects": _list_suspects(run),
        "data": _describe_data(run),
        "recipe": _list_knobs(run.recipe, run.choices),
        "environment": _describe_environment(run.folder) | {"seconds": figures["seconds"]},
        "next": _list_commands(run),
    }
    if sections["calibration"] and (run.folder / CALIBRATION).exists():
        is_crossed = figures["split"] == "val"  # see `calibration.cross_fit_temperatures`
        sections["calibration"] |= {"is_crossed": is_crossed} | _list_rejections(run.calibration)
    path = Path(out or run.folder / page.FILE)
    warnings = ["The training was interrupted."] if figures["interrupted"] else []
    page.write_page(path, str(run.folder), figures, sentences.describe_pictures(figures), sections, warnings)
    return path


def _draw_curves(run: Run) -> dict[str, str]:
    rows = run.history if (run.folder / "history.csv").exists() else []
    return {name: page.embed_figure(plots.draw_curve(rows, name)) for name in plots.CURVES} if rows else {}


def _list_rejections(calibration: dict) -> dict:
    """(wanted precision, lowest probability, fraction answered) of each of `PRECISIONS`."""
    confidences, hits = (np.array(calibration[name]) for name in ("confidences", "hits"))
    rows = [(precision, *find_rejection_threshold(confidences, hits, precision)) for precision in PRECISIONS]
    return {"rejection": rows, "rejection_n": len(hits)}


def _list_suspects(run: Run) -> dict:
    path = run.folder / SUSPECTS
    return page.list_pictures(atomic.read(path)) if path.exists() else {}


def _embed_gradcam(run: Run) -> dict:
    path = run.folder / GRADCAM
    return {"uri": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()} if path.exists() else {}


def _describe_data(run: Run) -> dict:
    """The pictures of each class in each split, those that could not be read, and how many are copies."""
    return {
        "classes": run.classes[: page.MAX_CLASSES],
        "more_classes": len(run.classes[page.MAX_CLASSES :]),
        "split": {name: part.counts() for name, part in run.splits.items()},
        "duplicates": sum(bool(name) for _, part in run.splits.items() for name in part.duplicate_sets),
        "unreadable": [(original_name(path), reason) for path, reason in run.unreadable],
        "most": MAX_UNREADABLE,
    }


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


def _describe_environment(folder: Path) -> dict:
    """What `environment.json` says for people."""
    return {name: value for name, value in atomic.read(folder / "environment.json").items() if name != "format"}
