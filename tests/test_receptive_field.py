"""The field of a unit on a picture: the empirical one lies in the theoretical one."""

import numpy as np
import pytest

from transferkit import models, zoo
from transferkit.explain import receptive_field
from transferkit.lookup import UnknownName
from transferkit.network import cut_points, find_output

QUICK = ("lenet5", "nin", "resnet20_cifar", "allcnn_a")


def noise(pixels):
    return np.random.default_rng(0).integers(0, 256, (*pixels.shape, pixels.channels)).astype("uint8")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in zoo.variants()]
)
def test_the_empirical_field_lies_in_the_theoretical_one(name):
    network = models.load(name, "none")
    picture = noise(network.pixels)
    maps = [cut for cut in cut_points(network.model) if len(find_output(network.model, cut).shape) == 4]
    for cut in {maps[0], maps[len(maps) // 2], maps[-1]}:
        field = receptive_field.find_field(network, cut, picture)
        outside = np.ones(picture.shape[:2], bool)
        (top, bottom), (left, right) = field.box
        outside[max(top, 0) : bottom, max(left, 0) : right] = False
        assert field.gradient.max() == pytest.approx(1) and not field.gradient[outside].any()
        assert 0 < field.effective_side <= max(field.sides)


def test_the_first_layer_by_hand():
    network = models.load("lenet5", "none")
    field = receptive_field.find_field(network, "c1", noise(network.pixels))
    assert (field.place, field.box, field.sides) == ((14, 14), ((14, 19), (14, 19)), (5, 5))
    assert (field.gradient[14:19, 14:19] > 0).all() and (field.gradient > 0).sum() == 25
    figure = receptive_field.draw_field(field, noise(network.pixels), "lenet5")
    assert [axes.get_title() for axes in figure.axes][0] == "theoretical field: 5 x 5 pixels"
    assert figure.axes[0].patches[0].get_bbox().bounds == (13.5, 13.5, 5, 5)


def test_a_layer_without_a_map():
    network = models.load("lenet5", "none")
    with pytest.raises(UnknownName, match="f6 of .* gives a vector of 84 numbers, not a map"):
        receptive_field.find_field(network, "f6", noise(network.pixels))
