"""Print what `evaluate` measured: a table of classes, lines of figures, and tables of slices."""

from pathlib import Path

import click

from transferkit.commands import help_pages, result_output
from transferkit.commands.result_output import format_percent, print_line
from transferkit.lookup import count_noun

UNSEEN = "pictures that the run was not trained on"
PICTURES = {"all": "pictures", "val": "validation pictures", "test": "test pictures"}  # by split
FILES = ("report.html", "mistakes.png", "confusion.png", "confusion_normalised.png", "reliability.png", "movements.png")
MOST_CLASSES = 20  # in the table
UNITS = {"size": "size (shorter side, pixels)", "brightness": "brightness (0 to 255)", "blur": "blur (low: blurred)"}
group_by_option = click.option(
    "--group-by",
    help="Column, or pattern on paths, of groups, as patients: intervals are then over groups.",
    cls=help_pages.Option,
    group="data",
)


def print_evaluation(result, split: str, out: str | None):
    """Print an evaluation.

    Args:
        result: a `run_evaluation.Evaluation`.
        split: of the pictures, a key of `PICTURES`.
        out: the folder that it was written to.
    """
    figures = result.figures
    if result.unseen:
        print_line(result_output.accuracy_line(result.unseen, UNSEEN))
    _print_classes(figures["per_class"])
    print_line(result_output.accuracy_line(figures, PICTURES[split]))
    for line in _describe(figures):
        print_line(line)
    for name, rows in figures.get("slices", {}).items():
        _print_slices(name, rows)
    if out:
        print_line(result_output.look_at_line(Path(out), FILES))


def check_accuracy(figures: dict, least: float | None):
    """Raise `ValueError` if the accuracy is below the wanted one."""
    if least is not None and figures["accuracy"] < least:
        raise ValueError(f"The accuracy is {figures['accuracy']:.4g}, below the wanted {least:g} (--min-accuracy).")


def _print_classes(per_class: dict):
    from transferkit.console import stdout_console, table

    names = ("precision", "recall", "f1", "roc_auc")
    known = {name: scores for name, scores in per_class.items() if scores["n"]}
    shown = list(known)
    if len(known) > MOST_CLASSES:
        shown = sorted(known, key=lambda name: known[name]["f1"])[:MOST_CLASSES]
        print_line(f"the {MOST_CLASSES} classes of {len(known):,} with the least F1:")
    rows = [
        (name, *("" if known[name][key] is None else f"{known[name][key]:.3f}" for key in names), known[name]["n"])
        for name in shown
    ]
    table(None, ("class", "precision", "recall", "f1", "roc auc", "pictures"), rows, stdout_console())


def _describe(figures: dict) -> list[str]:
    """The lines of figures below the accuracy."""
    intervals, macro = figures["intervals"], figures["macro"]

    def interval(name):
        ends = intervals.get(name)
        return f" (95%: {ends[0]:.3f} to {ends[1]:.3f})" if ends else ""

    lines = [f"top-5 {format_percent(figures['top5'])}"] if figures["top5"] is not None else []
    lines += [f"macro F1 {macro['f1']:.3f}{interval('macro_f1')}"]
    if macro["roc_auc"] is not None:
        precision = f"average precision {macro['average_precision']:.3f}{interval('average_precision')}"
        lines += [f"macro ROC-AUC {macro['roc_auc']:.3f}{interval('roc_auc')}", f"macro {precision}"]
    else:
        lines += ["all pictures are of one class: ROC-AUC and average precision need two"]
    if binary := figures.get("binary"):
        lines += [_describe_rate(binary, name) for name in ("sensitivity", "specificity")]
    lines += [f"loss {figures['loss']:.3f}", result_output.calibration_line(figures)]
    lines += filter(None, [result_output.balanced_line(figures), result_output.confusion_line(figures)])
    if "groups" in figures:
        lines += [f"intervals are over {count_noun(figures['groups'], 'group')}"]
    if figures["unreadable"]:
        lines += [result_output.unreadable_line(figures["unreadable"])]
    return lines


def _describe_rate(binary: dict, name: str) -> str:
    low, high = binary[f"{name}_ci95"]
    return f"{name} for {binary['positive']!r} {format_percent(binary[name])} (95%: {low:.1%} to {high:.1%})"


def _print_slices(name: str, rows: list[dict]):
    from transferkit.console import stdout_console, table

    cells = [
        (row["value"], format_percent(row["accuracy"]), "{:.1%} to {:.1%}".format(*row["ci95"]), row["n"])
        for row in rows
    ]
    table(None, (UNITS.get(name, name), "accuracy", "95%", "pictures"), cells, stdout_console())
