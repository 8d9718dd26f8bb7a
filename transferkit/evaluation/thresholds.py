"""Rejected predictions and sets of classes, by thresholds from the validation pictures of a run."""

import math
from dataclasses import dataclass

import numpy as np

from transferkit.evaluation.calibration import estimate_precisions, find_conformal_threshold, find_rejection_threshold
from transferkit.lookup import count_noun


@dataclass(frozen=True)
class Thresholds:
    """Lowest probabilities.

    Attributes:
        reject: of a predicted class, below which its label is left empty; None to reject nothing.
        sets: of a class, from which on it is in a picture's set; None for no sets.
        lines: what they are, for people.
    """

    reject: float | None = None
    sets: float | None = None
    lines: tuple[str, ...] = ()


def choose_thresholds(calibration: dict, *, reject: float | None = None, sets: float | None = None) -> Thresholds:
    """Choose thresholds for a wanted precision and coverage.

    Args:
        calibration: as `calibration.record_confidences` returns it.
        reject: precision of the predictions that are not rejected, between 0 and 1; None to reject nothing.
        sets: fraction of the pictures whose set is to hold their class, between 0 and 1; None for no sets.

    Raises:
        ValueError: one is out of range, or cannot be had with these pictures.

    Example:
        >>> found = {"confidences": [0.9] * 30, "hits": [True] * 30, "label_probabilities": [0.9] * 30}
        >>> choose_thresholds(found, reject=0.95).reject
        0.9
    """
    lines, lowest, least = [], None, None
    if reject is not None:
        _check(reject, "reject", calibration)
        confidences, hits = np.array(calibration["confidences"]), np.array(calibration["hits"])
        lowest, kept = find_rejection_threshold(confidences, hits, reject)
        if not kept:
            highest = math.floor(100 * estimate_precisions(confidences, hits)[1].max()) / 100
            raise ValueError(
                f"reject {reject:g} is a precision that no prediction has on the "
                f"{count_noun(len(hits), 'validation picture')}: "
                f"expected at most {highest:g}."
            )
        lines.append(
            f"reject {reject:g}: labels with a probability below {lowest:.3f} are left empty, which keeps {kept:.0%} "
            f"of the {count_noun(len(hits), 'validation picture')}"
        )
    if sets is not None:
        _check(sets, "sets", calibration)
        least = find_conformal_threshold(np.array(calibration["label_probabilities"]), sets)
        lines.append(f"sets {sets:g}: the most likely class, and all with a probability of at least {least:.3f}")
    return Thresholds(lowest, least, tuple(lines))


def _check(fraction: float, name: str, calibration: dict):
    """Raise `ValueError` unless there are enough pictures for a fraction between 0 and 1."""
    if not 0 < fraction < 1:
        raise ValueError(f"{name} must be between 0 and 1, as 0.9, not {fraction!r}.")
    count, needed = len(calibration["hits"]), math.ceil(fraction / (1 - fraction) - 1e-9)
    if count < needed:
        raise ValueError(
            f"{name} {fraction:g} needs {needed:,} validation pictures, and the run has {count:,}: "
            f"expected at most {math.floor(100 * count / (count + 1)) / 100:g}."
        )


def apply_thresholds(rows: list[dict], thresholds: Thresholds, top: int | None) -> list[dict]:
    """Add `rejected` and `set` to predictions, None for unreadable pictures. A rejected one has the label "".

    Args:
        rows: of `predict.predict`; for sets with every class.
        top: number of most likely classes to keep; None for all.
    """
    done = []
    for row in rows:
        added, pairs = {"top": row["top"] and row["top"][:top]}, row["top"] or ()
        if thresholds.sets is not None:
            names = [name for name, probability in pairs if probability >= thresholds.sets]
            added["set"] = names or [row["label"]] if pairs else None
        if thresholds.reject is not None:
            added["rejected"] = row["probability"] < thresholds.reject if pairs else None
            added["label"] = "" if added["rejected"] else row["label"]
        done.append(row | added)
    return done
