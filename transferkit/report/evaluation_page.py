"""`report.html` of an evaluation, from the folder that `evaluate --out` writes."""

from pathlib import Path

from transferkit import atomic
from transferkit.evaluation import plots
from transferkit.lookup import count_noun
from transferkit.report import page, sentences

UNSEEN = "pictures that no network was trained on"


def write_evaluation_page(folder: Path) -> Path:
    """Write the page of an evaluation into its folder.

    The figures are those of the pictures that no network was trained on, if some were and some were not.

    Args:
        folder: with `metrics.json` and `predictions.csv`, as `run_evaluation.write_evaluation` writes them.

    Returns:
        The file.

    Raises:
        OSError, ValueError: a file cannot be read.
    """
    document = atomic.read(folder / "metrics.json")
    rows = atomic.read(folder / "predictions.csv")
    predictions = [row | {"probability": float(row["probability"])} for row in rows]
    unseen = document.get("unseen")
    figures = (unseen or document) | {"slices": document.get("slices")}
    sections = page.measured_sections(figures, predictions) | {
        "measured": {"lines": _describe_measured(document), "advice": ()},
        "shift": _describe_shift(document),
    }
    pictures = UNSEEN if unseen else sentences.PICTURES[document["split"]]
    title = " and ".join(document["networks"]) + (f" on {document['data']}" if document["data"] else "")
    path, warnings = folder / page.FILE, []
    if document["learned"] and not unseen:
        warnings.append(f"A network was trained on {document['learned']:,} of them, so the figures are too good.")
    page.write_page(path, title, figures, pictures, sections, warnings)
    return path


def _describe_measured(document: dict) -> list[str]:
    """Which networks, on which pictures, and how: a sentence each."""
    names = document["networks"]
    lines = [f"{names[0]}." if len(names) == 1 else f"The mean of the probabilities of {', '.join(names)}."]
    what = sentences.PICTURES[document["split"]]
    lines.append(f"{document['n']:,} {what} {'of ' + document['data'] if document['data'] else 'that they held out'}.")
    if document["scales"]:
        lines.append(f"Dense evaluation of whole pictures, at {', '.join(map(str, document['scales']))} pixels.")
    elif document["crops"] != "1":
        lines.append(f"Each picture was seen in {document['crops']} crops, whose probabilities were averaged.")
    if document.get("unseen"):
        lines.append(
            f"The figures are of the {document['unseen']['n']:,} that no network was trained on. Of all, "
            f"{document['accuracy']:.1%} are right; the mistakes below are of all."
        )
    if document.get("groups"):
        lines.append(f"Intervals are over {count_noun(document['groups'], 'group')}.")
    if document["unreadable"]:
        lines.append(f"Pictures that could not be read: {document['unreadable']:,}.")
    return lines


def _describe_shift(document: dict) -> dict:
    """How many pictures look unlike the training pictures, and the accuracies on corrupted and moved ones."""
    from transferkit.evaluation.shift import describe  # it loads Keras, as the evaluation has done

    unlike, corrupted = document.get("unlike"), document.get("corrupted")
    lines = [f"{describe(unlike)}."] if unlike else []
    if unlike and unlike["clear"]:
        lines.append("That is clearly more, so the figures of validation do not hold for them.")
    moved = document.get("moved")
    plot = page.embed_figure(plots.draw_movements(moved)) if moved else ""
    found = {"lines": lines, "corrupted": corrupted, "moved": moved, "plot": plot}
    return found if any(found.values()) else {}
