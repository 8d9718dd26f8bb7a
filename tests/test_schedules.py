"""The learning rate of every step, and improvements in the history."""

import math

import keras
import numpy as np
import pytest

from transferkit.lookup import UnknownName
from transferkit.recipe import Train
from transferkit.training.fitting import history as epochs
from transferkit.training.fitting import schedules


def rates(steps=20, lr=0.5, **knobs):
    schedule = schedules.make_schedule(Train(**knobs), lr=lr, steps=steps)
    return np.array([float(schedule(step)) for step in range(steps)])


@pytest.mark.parametrize("name", schedules.DECAYS)
def test_the_warm_up_is_linear(name):
    rise = rates(schedule=name, warmup=0.2)[:5]
    assert rise == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_cosine():
    expected = [0.25 * (1 + math.cos(math.pi * step / 16)) for step in range(16)]
    assert rates(schedule="cosine", warmup=0.2)[4:] == pytest.approx(expected, abs=1e-7)


def test_polynomial():
    falling = rates(schedule="polynomial", warmup=0.0, power=2.0)
    assert falling == pytest.approx([0.5 * (1 - step / 20) ** 2 for step in range(20)], abs=1e-7)


@pytest.mark.parametrize("warmup", (0.0, 0.2))
def test_milestones_are_fractions_of_all_steps(warmup):
    dropped = rates(schedule="step", warmup=warmup, milestones="0.5, 0.75")
    assert dropped[4:] == pytest.approx([0.5] * 6 + [0.05] * 5 + [0.005] * 5)


def test_a_milestone_in_the_warm_up_waits_for_the_full_rate():
    dropped = rates(schedule="step", warmup=0.2, milestones="0.1,0.5")
    assert dropped[2:12] == pytest.approx([0.3, 0.4, 0.5] + [0.05] * 5 + [0.005] * 2)


@pytest.mark.parametrize("name", ("plateau", "constant"))
def test_constant(name):
    assert rates(schedule=name, warmup=0.0) == pytest.approx([0.5] * 20)


@pytest.mark.parametrize("warmup, peak", ((0.0, 5), (0.4, 8)))
def test_one_cycle(warmup, peak):
    cycle = rates(schedule="one_cycle", warmup=warmup)
    assert cycle[0] == pytest.approx(0.5 / 25)
    assert cycle[peak] == pytest.approx(0.5)
    assert np.all(np.diff(cycle[: peak + 1]) > 0) and np.all(np.diff(cycle[peak:]) < 0)
    last = schedules.make_schedule(Train(schedule="one_cycle", warmup=warmup), lr=0.5, steps=20)(20)
    assert float(last) == pytest.approx(0.5e-5, rel=1e-2)


@pytest.mark.parametrize("name", [*schedules.DECAYS, "one_cycle"])
def test_a_single_step_has_a_rate(name):
    assert rates(schedule=name, steps=1, warmup=0.9) == pytest.approx([0.5])


def test_a_schedule_has_a_config():
    schedule = schedules.make_schedule(Train(schedule="step", warmup=0.2), lr=0.5, steps=20)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert [float(again(step)) for step in range(20)] == [float(schedule(step)) for step in range(20)]


@pytest.mark.parametrize("text", ("", "0.5,0.3", "0.5,0.5", "0,0.5", "0.5,1", "half", "0.5;0.6", "nan", "0.5,"))
def test_milestones_must_be_increasing_fractions(text):
    with pytest.raises(UnknownName, match=r"^milestones must be increasing fractions .*0\.33,0\.67,0\.89', not "):
        schedules.make_schedule(Train(schedule="step", milestones=text), lr=0.1, steps=10)


def test_an_unknown_schedule_names_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'cosine'"):
        schedules.make_schedule(Train(schedule="cosin"), lr=0.1, steps=10)


def history(*accuracies):
    return [{"val_accuracy": accuracy, "val_loss": 1.0} for accuracy in accuracies]


def test_stalled_counts_from_the_first_best_epoch():
    assert [epochs.count_stalled_epochs(history(*rows)) for rows in ((), (0.1,), (0.1, 0.3), (0.3, 0.3, 0.1))] == [
        0,
        0,
        0,
        2,
    ]


def test_a_lower_loss_is_an_improvement():
    rows = history(0.5, 0.5)
    rows[1]["val_loss"] = 0.9
    assert epochs.count_stalled_epochs(rows) == 0
    assert epochs.count_rate_drops(rows, 1) == 0


def test_drops_count_plateaus():
    rows = history(0.5, 0.4, 0.5, 0.6, 0.6, 0.1, 0.2, 0.3, 0.5, 0.7)
    #      waited:   0,   1,   2,   0,   1,   2,   1,   2,   1,   0
    assert [epochs.count_rate_drops(rows[:epoch], 2) for epoch in range(11)] == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert epochs.count_rate_drops(rows, 6) == 0
    assert epochs.count_rate_drops(rows, 5) == 1


def test_drops_never_decrease():
    rows = history(*np.random.default_rng(0).random(40).round(1))
    counts = [epochs.count_rate_drops(rows[:epoch], 3) for epoch in range(41)]
    assert counts[-1] > 3 and set(np.diff(counts)) <= {0, 1}
