"""Accuracy of training on real pictures: faults in views, learning rates or sizes reduce it without an error."""

import runpy
from pathlib import Path

import pytest

from transferkit.weights.catalogue import find_weight_set
from transferkit.weights.local_files import find_weights

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "bench_quality.py"


@pytest.mark.slow
def test_accuracy_on_digits(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARK.parent)
    benchmark = runpy.run_path(str(BENCHMARK))
    if not find_weights(find_weight_set(benchmark["BASE"])):
        pytest.skip("the package of weights is not installed")
    knobs, least = benchmark["JOBS"]["all"]
    assert benchmark["accuracy"](knobs, tmp_path) >= least
