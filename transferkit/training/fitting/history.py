"""What the history of a training shows: the best epochs, plateaus, and when a phase is over.

These are functions of the rows alone, so a resumed run needs no saved state of callbacks.
"""


def score_epoch(row: dict) -> tuple[float, float]:
    """Sort key of epochs, higher is better: validation accuracy, then the negative validation loss."""
    return row["val_accuracy"], -row["val_loss"]


def find_best_epoch(history: list[dict]) -> dict:
    """The row of the epoch with the highest score, the first of equal ones; the history must have rows."""
    return max(history, key=score_epoch)


def rank_epochs(history: list[dict], count: int) -> list[int]:
    """Indices of the best `count` epochs, the best first. The row of the initial head is not an epoch."""
    indices = [index for index, row in enumerate(history) if row["epoch"]]
    return sorted(indices, key=lambda index: score_epoch(history[index]), reverse=True)[:count]


def find_kept_epoch(history: list[dict], keep: str) -> dict:
    """The row of the epoch whose weights are kept: the best one, or the last one for `keep` "last" and "mix"."""
    return find_best_epoch(history) if keep == "best" else history[-1]


def count_stalled_epochs(history: list[dict]) -> int:
    """Epochs since the best one; 0 if there are none."""
    return len(history) - 1 - history.index(find_best_epoch(history)) if history else 0


def count_rate_drops(history: list[dict], patience: int) -> int:
    """How often `patience` epochs passed without a new best one; after each time the count starts again."""
    drops, waited = 0, 0
    for epoch, row in enumerate(history):
        waited = 0 if row is find_best_epoch(history[: epoch + 1]) else waited + 1
        if waited == patience:
            drops, waited = drops + 1, 0
    return drops
