"""What `evaluate` says of pictures that are unlike the training pictures, and of corrupted and moved ones."""

from transferkit.commands import result_output
from transferkit.lookup import UnknownName, look_up

KINDS = ("noise", "blur", "jpeg", "brightness")  # the keys of `corruptions.CORRUPTIONS`, which loads NumPy
MOVEMENTS = {"shift": "pixels", "turn": "degrees"}


def parse_corruptions(text: str) -> tuple[str, ...]:
    """The names in a list that is separated by commas.

    Raises:
        UnknownName: there is no such corruption, or none is given.

    Example:
        >>> parse_corruptions("noise, blur")
        ('noise', 'blur')
    """
    names = tuple(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
    if not names:
        raise UnknownName(f"--corrupt takes {', '.join(KINDS)}, separated by commas, not {text!r}.")
    for name in names:
        look_up(dict.fromkeys(KINDS), name, "corruption")
    return names


def measure_unlike(run, network, listing) -> dict | None:
    """Tell how many pictures look unlike the training pictures of a run, with a warning if clearly more than expected.

    Returns:
        What `Shift.summarise` does, of at most `shift.PICTURES` pictures; None if the run has no `shift.npz`.
    """
    from transferkit.console import warn
    from transferkit.evaluation import shift

    model = run and shift.load_shift_model(run.folder, network)
    if not model:
        return None
    found = model.shift.summarise(model.shift.measure(shift.compute_thinned(network, listing.paths)))
    if found["clear"]:
        warn(f"{shift.describe(found)}: the figures of validation do not hold for them.")
    return found


def print_shift(document: dict):
    """Print what `evaluate` found of unlike, corrupted and moved pictures, if it was measured."""
    from transferkit.evaluation.shift import describe

    if "unlike" in document:
        result_output.print_line(describe(document["unlike"]))
    if "corrupted" in document:
        _print_robustness(document["corrupted"])
    for name, unit in MOVEMENTS.items():
        if rows := document.get("moved", {}).get(name):
            _print_curve(rows, name, unit)


def _print_robustness(found: dict):
    """Print the accuracy on corrupted pictures, by kind and strength; `found` is of `measure_robustness`."""
    from transferkit.console import stdout_console, table

    strengths = [f"strength {row['strength']}" for row in next(iter(found["by_kind"].values()))]
    rows = []
    for name, scores in found["by_kind"].items():
        accuracies = [row["accuracy"] for row in scores]
        rows.append((name, *(f"{accuracy:.1%}" for accuracy in (*accuracies, sum(accuracies) / len(accuracies)))))
    table(None, ("corrupted by", *strengths, "mean"), rows, stdout_console())
    result_output.print_line(f"mean accuracy on corrupted pictures {found['mean']:.1%}")


def _print_curve(rows: list[dict], name: str, unit: str):
    """Print the accuracy on moved pictures; `rows` are of `measure_movements`."""
    from transferkit.console import stdout_console, table

    cells = [
        (row[unit], f"{row['accuracy']:.1%}", "{:.1%} to {:.1%}".format(*row["ci95"]), f"{row['same']:.1%}")
        for row in rows
    ]
    table(None, (f"{name} ({unit})", "accuracy", "95%", "same answer"), cells, stdout_console())
