"""Print results on standard output: JSON, lines, and the closing lines of a training."""

import json
import re
import shlex
import sys

from transferkit.lookup import count_noun

PAGES = ("report.html", "mistakes.png", "confusion.png", "curves.png")  # of a run, the most telling first

is_verbose = False  # --verbose
# of how the weights of a file became those of a network: what has no consequences that a user should know
DETAIL = re.compile(r"tensors loaded|weights loaded|unwrapped|prefix .* removed|skipped|names of .* turned|folded into")


def print_json(document):
    """Print one JSON document, in ASCII so that it is valid in any terminal and file."""
    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")


def notable(loaded: tuple[str, ...]) -> list[str]:
    """The parts of `Network.loaded` for people, without details unless --verbose asks for them."""
    parts = [part for line in loaded for part in line.split("; ")]
    return [part for part in parts if is_verbose or not DETAIL.search(part)]


def print_line(text: str):
    """Print a line of a result; line breaks and escape sequences in names are shown as codes."""
    from transferkit.console import say, stdout_console

    say(text, stdout_console())


def format_percent(fraction: float) -> str:
    return f"{fraction:.1%}"


def accuracy_line(figures: dict, pictures: str) -> str:
    """The accuracy with its interval; `pictures` says of which, as "test pictures"."""
    from transferkit.evaluation.metrics import describe_accuracy

    return describe_accuracy(figures, pictures)


def balanced_line(figures: dict) -> str:
    """The balanced accuracy, if the largest class has at least three times the pictures of the smallest; else ""."""
    counts = [scores["n"] for scores in figures["per_class"].values() if scores["n"]]
    if max(counts) < 3 * min(counts):
        return ""
    return f"balanced accuracy, the mean over the classes: {format_percent(figures['balanced_accuracy'])}"


def confusion_line(figures: dict) -> str:
    """The most frequent pairs of a true and another predicted class."""
    pairs = "; ".join(f"{label} as {predicted} ({count})" for label, predicted, count in figures["confused"])
    return f"most confused: {pairs or 'none'}"


def calibration_line(figures: dict) -> str:
    """By how much probabilities differ from the accuracy, and without the network's temperature if it has one."""
    line = f"expected calibration error {figures['ece']:.3f}"
    if figures.get("temperature", 1) == 1:
        return line
    return f"{line} ({figures['ece_uncalibrated']:.3f} without the temperature)"


def unreadable_line(count: int) -> str:
    return f"{count_noun(count, 'picture')} could not be read: skipped"


def print_run(run):
    """Print the closing lines of a training: its figures, what they suggest, and what to look at and do next."""
    from transferkit.training.next_steps import suggest_next_steps

    print_folds(run.metrics, run.folder) if "folds" in run.metrics else _print_figures(run)
    for sentence in suggest_next_steps(run):
        print_line(f"advice: {sentence}")
    for line in _next_lines(run.folder):
        print_line(line)


def look_at_line(folder, names) -> str:
    """Which of these files are in a folder; "" if none is."""
    found = [name for name in names if (folder / name).exists()]
    return f"look at: {', '.join(found)} in {folder}" if found else ""


def _next_lines(folder) -> list[str]:
    """What to look at, and the commands that go on with a run."""
    lines = list(filter(None, [look_at_line(folder, PAGES)]))
    if not (folder / "model.keras").exists():
        return [*lines, "next: the same command without --folds trains the network to use"]
    run = shlex.quote(str(folder))
    return [*lines, f"next: transferkit predict {run} PICTURE", f"      transferkit evaluate {run} --data FOLDER"]


def _print_figures(run):
    """Print the figures of a single training."""
    from transferkit.report import sentences

    figures = run.metrics
    print_line(accuracy_line(figures, sentences.describe_pictures(figures)))
    if balanced := balanced_line(figures):
        print_line(balanced)
    print_line(confusion_line(figures))
    print_line(calibration_line(figures))
    for line in sentences.describe_comparison(figures):
        print_line(line)
    if figures["unreadable"]:
        print_line(unreadable_line(figures["unreadable"]))
    print_line(f"{figures['seconds']:.0f} seconds; the run is in {run.folder}")


def print_folds(figures: dict, folder):
    """Print the closing lines of `--folds`."""
    from transferkit.report import sentences

    print_line(accuracy_line(figures, sentences.describe_pictures(figures)))
    print_line(confusion_line(figures))
    print_line(sentences.describe_folds(figures))
    if figures["unreadable"]:
        print_line(unreadable_line(figures["unreadable"]))
    print_line(f"{figures['seconds']:.0f} seconds; the runs are in {folder}")
