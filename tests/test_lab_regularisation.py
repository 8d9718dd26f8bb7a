"""The experiment on regularisation."""

import numpy as np
import pytest

from transferkit.lab.experiments import regularisation


def test_a_shifted_picture_is_a_window_of_the_padded_one():
    pictures = np.random.default_rng(0).uniform(size=(50, 6, 5, 3))
    moved = regularisation.shift_at_random(pictures, 2, seed=1)
    assert moved.shape == pictures.shape
    found = set()
    for before, after in zip(pictures, moved, strict=True):
        rows, columns = np.arange(6), np.arange(5)
        fits = [
            (y, x)
            for y in range(-2, 3)
            for x in range(-2, 3)
            if np.array_equal(after, before[np.clip(rows + y, 0, 5)][:, np.clip(columns + x, 0, 4)])
        ]
        assert len(fits) == 1
        found.update(fits)
    assert len(found) > 15  # of 25 shifts
    assert not np.array_equal(moved, regularisation.shift_at_random(pictures, 2, seed=2))
    assert regularisation.shift_at_random(pictures, 0, seed=1) is pictures


def test_each_setting_switches_one_thing_off():
    full = regularisation.FULL
    for label, setting in regularisation.SETTINGS.items():
        off = [name for name in full if not setting[name]]
        assert len(off) == {"all three": 0, "none": 3}.get(label, 1)
        assert all(setting[name] == full[name] for name in full if name not in off)


def test_weight_decay_and_dropout_reach_the_network():
    model = regularisation._build(4, dropout=0.5, decay=0.01, shift=0)
    assert model.optimizer.weight_decay == 0.01
    assert model.get_layer("drop").rate == 0.5
    assert not regularisation._build(4, dropout=0, decay=0, shift=2).optimizer.weight_decay


@pytest.mark.slow
def test_a_small_run():
    settings = {name: regularisation.SETTINGS[name] for name in ("all three", "none")}
    finding = regularisation.ablate(2, rates=(0.05,), epochs=8, pictures=64, settings=settings, width=8)
    assert [row[0] for row in finding.rows] == ["all three", "none"]
    assert "test accuracy is" in finding.sentence
