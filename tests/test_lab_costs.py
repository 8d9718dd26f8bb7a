"""Experiments on costs: the numbers of the course notes, and sums that the whole networks confirm."""

import pytest

from transferkit.explain.geometry import measure_layers
from transferkit.lab.experiments import costs
from transferkit.lab.fitting import build


def test_weights_of_dense_local_and_convolutional_layers():
    finding = costs.count_sharing()
    rows = [row[1:4] for row in finding.rows]
    assert rows[:3] == [(25, 30, 25), (15, 20, 15), (3, 4, 15)]
    assert rows[3][:2] == (524_288, 524_800)
    assert rows[4][0] == 1_572_864
    assert rows[5:] == [(1_048_576, 1_049_600, 1_048_576), (9_216, 10_240, 9_216), (9, 10, 9_216)]
    assert "divides the weights by 1,024 and the multiply-adds by 1;" in finding.sentence


def test_costs_grow_with_pictures_and_maps():
    finding = costs.grow_costs(sides=(16, 32), widths=(1, 2))
    rows = {row[0]: row[1:] for row in finding.rows}
    assert rows["mlp at 32 pixels"][0] - rows["mlp at 16 pixels"][0] == (32**2 - 16**2) * 3 * 512
    assert rows["simple_cnn(top=average) at 16 pixels"] == rows["simple_cnn(top=average) at 32 pixels"]
    assert rows["resnet20_cifar at 32 pixels"] == (269_722, 40_551_040)
    assert "all 2 sizes" in finding.sentence


def test_times_of_sparse_kernels():
    finding = costs.time_sparse(2, zeros=(0.0, 0.9), maps=8, side=8, repeats=2)
    assert [row[0] for row in finding.rows] == ["0% zeros", "90% zeros", "2 of 8 maps"]
    assert finding.rows[0][2] == "1.00 ± 0.00"
    assert all(float(row[1].split()[0]) > 0 for row in finding.rows)


def test_costs_of_inception_modules():
    rows = costs.compare_inceptions().rows
    assert rows[0] == ("3a", "28x28x192", 387_296, 163_696, 303_464_448, 128_049_152, 416, 256)
    network = measure_layers(build("googlenet_paper", side=224), 224)
    modules = [layer for layer in network if layer.name.startswith("inception")]
    assert sum(layer.params for layer in modules) == sum(row[3] for row in rows)
    assert sum(layer.multiply_adds for layer in modules) == sum(row[5] for row in rows)


@pytest.mark.parametrize("name", ["weight-counts", "inception-cost"])
def test_columns_are_distinct(name):
    columns = costs.EXPERIMENTS[name].function().columns
    assert len(set(columns)) == len(columns)
