"""Experiments on depth, shortcuts and auxiliary heads."""

import numpy as np
import pytest

from transferkit.lab import measures, trainings
from transferkit.lab.experiments import auxiliary_heads, depth
from transferkit.lab.stacks import build_stack


def test_a_stack_has_as_many_convolutions_as_it_says():
    for number in (1, 5):
        model = build_stack(number, width=4)
        kernels = 9 * 3 * 4 + 4 + (number - 1) * (9 * 4 * 4 + 4)
        assert model.count_params() == kernels + 4 * 4 * 4 * 10 + 10


def test_without_their_weight_heads_change_no_gradient_of_what_is_above_them():
    model = build_stack(6, width=4, heads=(2, 4))
    split = trainings.draw_split(0, 16)
    norms = [
        measures.gradient_norms(model, split.train, split.train_labels, weights={"logits": 1.0, **heads})
        for heads in ({}, {"aux1": 0.0, "aux2": 0.0}, {"aux1": 0.3, "aux2": 0.3}, {"aux1": 0.3})
    ]
    without, zero, both, first = (np.array(list(each.values())) for each in norms)
    assert zero == pytest.approx(without, rel=1e-4)
    assert both[4:] == pytest.approx(without[4:], rel=1e-4)  # above aux2
    assert first[2:] == pytest.approx(without[2:], rel=1e-4)  # above aux1
    assert abs(both[:4] / without[:4] - 1).min() > 0.01


@pytest.mark.slow
def test_small_runs_of_the_experiments_on_depth():
    small = {"rates": (0.03,), "epochs": 1, "pictures": 64}
    degraded = depth.show_degradation(2, depths=(20,), widen=0.25, **small)
    assert [row[0] for row in degraded.rows] == ["plain20", "resnet20"]
    assert "plain20 against plain20: no difference found (+0.0 ± 0.0 points)" in degraded.sentence
    assert [row[0] for row in depth.sweep_depth(2, depths=(1, 3), **small).rows] == [1, 3]
    shortcuts = depth.compare_shortcuts(2, widen=0.25, **small)
    counts = {row[0]: row[1] for row in shortcuts.rows}
    assert counts["plain"] == counts["option A"] < counts["option B"] < counts["option C"]
    heads = auxiliary_heads.train_heads(2, depth=3, **small)
    assert [row[0] for row in heads.rows][0] == "head aux1, after 1 convolutions"


@pytest.mark.slow
def test_gradients_of_googlenet_before_the_first_head_grow_with_the_heads():
    finding = auxiliary_heads.compare_gradients(
        2, network="googlenet(aux=true, init=glorot, dropout=0)", side=32, pictures=4
    )
    assert float(finding.rows[-1][1]) == pytest.approx(float(finding.rows[-1][2]), rel=0.02)  # above both heads
