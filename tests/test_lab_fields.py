"""Experiments on receptive fields: their sizes and gaps are those that are known by hand."""

import numpy as np

from transferkit.lab.experiments import fields


def test_fields_of_dilated_stacks():
    rows = {row[0]: row[1:] for row in fields.compare_dilations(stacks=((1, 1, 1), (1, 2, 4), (2, 2, 2))).rows}
    assert rows["1, 1, 1"][1:4] == (7, 7, "100%")
    assert rows["1, 2, 4"][1:4] == (15, 15, "100%")
    assert rows["2, 2, 2"][1:4] == (13, 13, "29%")  # 7 x 7 of 13 x 13


def test_paths_are_counted():
    _, _, _, paths = fields.measure_field(fields.build_stack(9, [{"kernel_size": 3}] * 2))
    np.testing.assert_array_equal(paths, np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]))


def test_fields_grow():
    finding = fields.grow_fields(depths=(1, 2, 3))
    assert finding.rows == [(1, 3, 5, 3, 3), (2, 5, 9, 7, 7), (3, 7, 13, 15, 15)]
    assert "in 6 of 6 cases" in finding.sentence and "in 12 of 12" in finding.sentence
