"""Experiments on photographs: each finds a structure that was put into a picture, and none in noise."""

import numpy as np
import pytest

from transferkit.lab import jigsaw
from transferkit.lab.experiments import photographs

RANDOM = np.random.default_rng(2)
NOISE = RANDOM.uniform(0, 255, (60, 90, 3)).astype("float32")
TILED = np.tile(RANDOM.uniform(0, 255, (10, 15, 3)).astype("float32"), (6, 6, 1))
WAVES = np.stack(
    [128 + 127 * np.sin(np.add.outer(np.arange(60) / a, np.arange(90) / b)) for a, b in ((9, 31), (17, 13), (40, 23))],
    -1,
)


def test_neighbours_correlate_where_a_picture_is_smooth():
    assert photographs.correlate_neighbours(WAVES[..., 0], 1) > 0.99
    assert abs(photographs.correlate_neighbours(NOISE[..., 0], 1)) < 0.1


def test_places_of_photographs_are_alike():
    rows = photographs.compare_places(distances=(1,)).rows
    assert len(rows) == 16
    shuffled = {name: [float(row[2]) for row in rows if ("shuffled" in row[0]) == name] for name in (False, True)}
    assert min(shuffled[False]) > 0.7 > 0.05 > max(map(abs, shuffled[True]))


def test_a_repeated_patch_is_found():
    assert photographs.find_likeness(TILED, 0, queries=20) == pytest.approx(0, abs=1e-6)
    assert photographs.find_likeness(NOISE, 0, queries=20) > 0.5


def test_a_hole_in_a_repeated_pattern_is_filled_exactly():
    hole = np.zeros(TILED.shape[:2], bool)
    hole[20:32, 40:50] = True
    filled = photographs.fill_hole(np.where(hole[..., None], 0, TILED), hole)
    np.testing.assert_array_equal(filled, TILED)


def test_a_jigsaw_of_a_smooth_picture_is_solved_and_one_of_noise_is_not():
    right, nearest, mixed, restored = jigsaw.restore(WAVES, 10, 0)
    assert right == nearest == 1
    np.testing.assert_allclose(restored, WAVES)
    assert np.abs(mixed - WAVES).max() > 10
    assert jigsaw.restore(NOISE, 10, 0)[0] < 0.2


def test_the_score_counts_neighbours():
    order = np.arange(4)
    whole = [{0: (0, 0), 1: (0, 1), 2: (1, 0), 3: (1, 1)}]
    assert jigsaw.score(whole, order, (2, 2)) == 1
    assert jigsaw.score([{0: (5, 5), 1: (5, 6)}, {2: (0, 0)}, {3: (0, 0)}], order, (2, 2)) == 0.25
    assert jigsaw.score(whole, order[::-1], (2, 2)) == 0


def test_experiments_end_in_a_sentence():
    finding = photographs.search_patches(2, hole=8, step=8)
    assert len(finding.rows) == 8 and "of the true contrast" in finding.sentence
    finding = photographs.solve_jigsaws(2, sides=(100,))
    assert float(finding.rows[0][2].split()[0]) > 0.9 > float(finding.rows[1][2].split()[0])
