"""Unequal class sizes: the suggested weights, and balanced sampling."""

from collections import Counter

import numpy as np
import pytest
from pictures import folder
from scipy.special import softmax

from transferkit.data.epoch_order import EpochOrder
from transferkit.data.sources.resolve import find_splits
from transferkit.evaluation.predict import predict_outputs
from transferkit.recipe import Recipe, Train
from transferkit.training.fitting import head_init
from transferkit.training.job_records import TrainingJob
from transferkit.training.planning import advice, planner


def drawn(labels, *, epoch=0, **more):
    order = EpochOrder(labels, 6, 0, range(4), sampling="balanced", **more)
    return [int(row) for row in order.epoch_rows(epoch).numpy().ravel()]


def test_balanced_sampling_draws_equally_many_of_each_class():
    labels = (0,) * 20 + (1,) * 7 + (2,) * 3
    for epoch in range(3):
        rows = drawn(labels, epoch=epoch)
        assert Counter(labels[row] for row in rows) == {0: 10, 1: 10, 2: 10}
        times = Counter(rows)
        for label, most in ((0, 1), (1, 2), (2, 4)):  # the pictures of a class take turns
            of_class = [times[row] for row in range(30) if labels[row] == label]
            assert max(of_class) == most and max(of_class) - min(of_class) <= 1
    assert drawn(labels, epoch=0) != drawn(labels, epoch=1) and drawn(labels) == drawn(labels)


def test_a_class_without_pictures_is_skipped():
    assert Counter(drawn((0, 0, 0, 2))) == Counter([3, 3, 3, *range(3)])


def test_every_batch_and_micro_batch_is_balanced():
    labels = (0,) * 8 + (1,) * 4
    order = EpochOrder(labels, 4, 0, range(1), micro_batches=2, sampling="balanced")
    for batch in order.epoch_rows(0).numpy():
        assert [sum(labels[row] for row in part) for part in batch.reshape(2, 2)] == [1, 1]


@pytest.mark.parametrize(
    ("counts", "balance", "told"),
    [
        ({"cat": 9, "dog": 3}, "none", "Class cat has 9 pictures and class dog 3: with --balance weights"),
        ({"cat": 8, "dog": 3, "owl": 0}, "none", ""),
        ({"cat": 9, "dog": 3}, "sampling", ""),
    ],
)
def test_suggested_balance(counts, balance, told):
    found = list(advice.suggest_balance(counts, Train(balance=balance)))
    assert len(found) == bool(told) and "".join(found).startswith(told)


def test_the_plan_prints_the_suggestion(cli, tiny, tmp_path):
    data = folder(tmp_path / "data", {"cat": 12, "dog": 3})
    words = ("finetune", "--base", tiny, "--weights", "none", "--data", data, "--dry-run")
    assert "Class cat has 10 pictures and class dog 2: with --balance weights" in cli(*words)[2]
    assert "with --balance weights" not in cli(*words, "--balance", "focal")[2]


@pytest.mark.parametrize(
    "balance", ["none", "weights", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sampling", "focal"))]
)
def test_the_initial_regression_is_balanced_too(finished, tmp_path, balance):
    """An intercept without penalty makes the mean chance of a class its share, in the weights that were given."""
    data = folder(tmp_path / "data", {"ant": 18, "bee": 6})
    wanted = Recipe().override(base=str(finished.folder), size=32, balance=balance, keep="best")
    plan = planner.make_plan(wanted, find_splits(data))
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    head_init.fit_head(TrainingJob(plan, tmp_path / "run", {}))
    train, labels = plan.splits.train, np.array(plan.splits.train.labels)
    logits, _ = predict_outputs(plan.network.model, train.paths, plan.network.pixels)
    chances = softmax(logits, axis=1)
    if balance in ("weights", "sampling"):
        assert np.mean([chances[labels == label].mean(0) for label in (0, 1)], 0) == pytest.approx([0.5, 0.5], abs=0.02)
    else:
        assert chances.mean(0) == pytest.approx(np.bincount(labels) / len(labels), abs=0.02)
