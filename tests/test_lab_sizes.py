"""Experiments on sizes: the formula is Keras' size, and each figure is the one that is known by hand."""

import pytest

from transferkit.explain import arithmetic
from transferkit.explain.arithmetic import conv_output_size
from transferkit.lab.experiments import sizes


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ((3, 2), 2),
        ((224, 7, 2, 3), 112),  # ResNet
        ((224, 11, 4, 2), 55),  # AlexNet of torchvision
        ((227, 11, 4), 55),
        ((5, 3, 1, "full"), 7),
        ((5, 3, 2, 1), 3),
        ((5, 4, 2, "same"), 3),
        ((28, 3, 2, (0, 1)), 14),
        ((9, 3, 1, "valid", 4), 1),
        ((2, 3), 0),
    ],
)
def test_output_size(arguments, size):
    assert conv_output_size(*arguments) == size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 3), "not size 0, kernel 3"), ((5, 3, 1, "sam"), "not 'sam'"), ((5, 3, 1, -1), "numbers of zeros from 0")],
)
def test_output_size_of_wrong_numbers(arguments, message):
    with pytest.raises(ValueError, match=message):
        conv_output_size(*arguments)


def test_the_formula_gives_keras_sizes():
    rows = sizes.check_output_sizes(sizes=(3, 4, 7), kernels=(1, 2, 3)).rows
    assert {row[0] for row in rows} == {"valid", "same", "full", "1 on either side"}
    assert all(cases == right > 5 for _, cases, right in rows)


def test_a_wrong_formula_is_reported(monkeypatch):
    monkeypatch.setattr(arithmetic, "conv_output_size", lambda size, *others: size)
    rows = sizes.check_output_sizes(sizes=(3, 4, 7), kernels=(3,), strides=(1, 2)).rows
    assert all(right < cases for _, cases, right in rows)


def test_zero_padding_spoils_the_border():
    rows = {(row[0], row[1]): row[2:] for row in sizes.follow_border(depth=2, side=10).rows}
    assert rows[1, "zeros"] == (10, "36.0%", "55.6%")  # 36 of 100 places, and 5 of 9 values in the corner are zeros
    assert rows[2, "valid"] == (6, "0.0%", "0.0%")
    assert rows[2, "reflect"] == (10, "0.0%", "0.0%")


def test_a_stride_keeps_every_second_output():
    plain, wide = sizes.compare_strides(strides=((1, 1), (2, 3)), crop=20).rows
    assert plain[:3] == ("1, 1", "18x18", 18 * 18 * 9 * 3 * 8) and wide[:3] == ("2, 3", "9x6", 9 * 6 * 9 * 3 * 8)
    assert all(float(row[3]) < 1e-9 for row in (plain, wide))
    assert plain[4] == "0, 0" and wide[4] == "1, 1"
