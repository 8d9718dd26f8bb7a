"""Comparisons of two classifiers against SciPy and by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from transferkit.evaluation.comparison import compare_hits

RANDOM = np.random.default_rng(0)
FIRST, SECOND = RANDOM.random(300) < 0.8, RANDOM.random(300) < 0.85
LABELS = RANDOM.integers(0, 3, 300)


def test_difference_and_test_are_scipys():
    found = compare_hits(FIRST, SECOND, LABELS, ["a", "b", "c", "none"])
    b, c = (FIRST & ~SECOND).sum(), (~FIRST & SECOND).sum()
    assert (found["only_first"], found["only_second"]) == (b, c)
    assert found["difference"] == pytest.approx((c - b) / 300)
    assert found["p_value"] == pytest.approx(2 * binomtest(min(b, c), b + c, 0.5, alternative="less").pvalue)
    paired = (SECOND.astype(float) - FIRST,)
    expected = bootstrap(paired, np.mean, n_resamples=2000, method="percentile", rng=0).confidence_interval
    assert found["ci95"] == pytest.approx([expected.low, expected.high], abs=0.015)
    assert sum(row["n"] for row in found["per_class"].values()) == 300 and "none" not in found["per_class"]
    of_b = LABELS == 1
    assert found["per_class"]["b"]["accuracy"] == [FIRST[of_b].mean(), SECOND[of_b].mean()]


def test_equal_classifiers_do_not_differ():
    found = compare_hits(FIRST, FIRST, LABELS, list("abc"))
    assert (found["difference"], found["p_value"], found["ci95"]) == (0.0, 1.0, None)
