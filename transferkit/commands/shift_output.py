"""What `evaluate` says of pictures that are unlike the training pictures, and of corrupted ones."""

from transferkit.commands import result_output
from transferkit.lookup import UnknownName, look_up

KINDS = ("noise", "blur", "jpeg", "brightness")  # the keys of `corruptions.CORRUPTIONS`, which loads NumPy


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
    """Print what `evaluate` found of unlike and corrupted pictures, if it was measured."""
    from transferkit.evaluation.shift import describe

    if "unlike" in document:
        result_output.print_line(describe(document["unlike"]))
    if "corrupted" in document:
        _print_robustness(document["corrupted"])


def _print_robustness(found: dict):
    """Print the accuracy on corrupted pictures, by kind and strength; `found` is of `measure_robustness`."""
    from transferkit.console import stdout_console, table

    def cell(row):
        low, high = row["ci95"]
        return f"{row['accuracy']:.1%} ({low:.0%} to {high:.0%})"

    strengths = [f"strength {row['strength']}" for row in next(iter(found["by_kind"].values()))]
    rows = [
        (name, *map(cell, rows), f"{sum(row['accuracy'] for row in rows) / len(rows):.1%}")
        for name, rows in found["by_kind"].items()
    ]
    table(None, ("corrupted by", *strengths, "mean"), rows, stdout_console())
    result_output.print_line(f"mean accuracy on corrupted pictures {found['mean']:.1%}")
