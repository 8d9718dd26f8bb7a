"""Compare two classifiers on the same pictures."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from transferkit.evaluation.bootstrap import find_intervals
from transferkit.lookup import count_noun

LEVEL = 0.05  # below this p value, a difference is called clear


def compare_hits(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, classes, groups: Sequence[str] = ()
) -> dict:
    """How the second classifier differs from the first on the same pictures.

    Args:
        first, second: (n,), bool, whether each one's prediction is correct.
        labels: (n,), int.
        classes: names.
        groups: of each picture; the interval is then of a bootstrap over groups.

    Returns:
        `accuracy` (of both), `difference` (second minus first) with its `ci95` of a paired bootstrap, `only_first` and
        `only_second` (pictures that one alone predicts correctly), `p_value` (McNemar's exact test: how likely so
        unequal a pair is if both are equally good) and `per_class` (`n`, both accuracies, `difference`).

    Example:
        >>> hits = np.array([True, True, False]), np.array([True, False, False])
        >>> compare_hits(*hits, np.array([0, 1, 1]), ["cat", "dog"])["only_first"]
        1
    """
    change = second.astype(float) - first
    only_first, only_second = int((change < 0).sum()), int((change > 0).sum())
    intervals = find_intervals(lambda w: {"difference": w @ change / w.sum(1)}, len(labels), groups)
    differing = only_first + only_second
    return {
        "n": len(labels),
        "accuracy": [float(first.mean()), float(second.mean())],
        "difference": float(change.mean()),
        "ci95": intervals["difference"],
        "only_first": only_first,
        "only_second": only_second,
        "p_value": float(binomtest(only_second, differing, 0.5).pvalue) if differing else 1.0,
        "per_class": {
            name: {
                "n": int(of_class.sum()),
                "accuracy": [float(first[of_class].mean()), float(second[of_class].mean())],
                "difference": float(change[of_class].mean()),
            }
            for number, name in enumerate(classes)
            if (of_class := labels == number).any()
        },
    }


def describe_difference(figures: dict) -> str:
    """On how many pictures A and B differ, and whether that tells them apart.

    Args:
        figures: of `compare_hits`; with `groups`, the number of groups, the interval decides and not the test, which
            takes pictures as independent.

    Example:
        >>> describe_difference({"only_first": 3, "only_second": 9, "p_value": 0.146, "ci95": [-0.01, 0.13]})
        'A and B differ on 12 pictures: 9 are right only by B, 3 only by A (McNemar p = 0.15): no clear difference'
    """
    first, second, p_value, ends = (figures[name] for name in ("only_first", "only_second", "p_value", "ci95"))
    if not first + second:
        return "A and B are right on the same pictures"
    is_clear = ends is not None and (ends[0] > 0 or ends[1] < 0) if "groups" in figures else p_value < LEVEL
    verdict = f"{'B' if second > first else 'A'} is better" if is_clear else "no clear difference"
    counts = ((second, "B", first, "A"), (first, "A", second, "B"))[first > second]
    words = "{:,} {verb} right only by {}, {:,} only by {}".format(*counts, verb="is" if counts[0] == 1 else "are")
    p_text = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"
    return f"A and B differ on {count_noun(first + second, 'picture')}: {words} (McNemar {p_text}): {verdict}"
