"""The arithmetic of a network by hand: each formula gives what was measured, and none is missing."""

from math import floor

import keras
import pytest
from keras import layers
from reference_weights import build, without_weights

from transferkit import models, zoo
from transferkit.explain import arithmetic
from transferkit.explain.geometry import measure_layers

QUICK = ("lenet5", "alexnet_paper", "nin", "resnet20_cifar")


def lines(model, size=None):
    """{layer: {quantity: (text, value)}}"""
    found = arithmetic.work_out(model, measure_layers(model, size))
    return {each.layer.name: {line.quantity: (line.text, line.value) for line in each.formulas} for each in found}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in zoo.variants()]
)
def test_every_layer_of_every_network_is_explained(name):
    with without_weights():
        network = models.load(name, "none")
        records = measure_layers(network.model, network.pixels.shape)
        found = arithmetic.work_out(network.model, records)
    for each in found:
        values = {line.quantity: line.value for line in each.formulas}
        for line in each.formulas:
            assert eval(line.text, {"floor": floor, "max": max}) == line.value
        if each.layer.params:
            assert values["parameters"] == each.layer.params
        if "Conv" in each.layer.kind or each.layer.kind in ("MaxPooling2D", "AveragePooling2D"):
            facts = each.layer.output[0], each.layer.receptive_field, each.layer.stride
            assert tuple(values[quantity] for quantity in ("output", "field", "stride")) == facts


def test_the_first_layers_of_alexnet_as_in_the_notes():
    with without_weights():
        found = lines(build("alexnet_paper"), 224)
    assert found["features.conv1"] == {
        "output": ("floor((224 + 2 * 2 - 11) / 4) + 1", 55),
        "field": ("1 + (11 - 1) * 1", 11),
        "stride": ("1 * 4", 4),
        "parameters": ("11 * 11 * 3 * 96 + 96", 34_944),
    }
    assert found["features.pool1"]["field"] == ("11 + (3 - 1) * 4", 19)
    assert found["features.conv2.concat"]["maps"] == ("128 + 128", 256)


def test_dilation_uneven_padding_and_rectangles():
    x = pictures = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, dilation_rate=2, padding="same", use_bias=False, name="dilated")(x)
    x = layers.ZeroPadding2D(((0, 1), (2, 0)))(x)
    x = layers.MaxPooling2D(3, 2, name="uneven")(x)
    model = keras.Model(pictures, layers.BatchNormalization(name="norm")(x))
    found = lines(model, (10, 12))
    assert found["dilated"]["kernel height"] == ("(3 - 1) * 2 + 1", 5)
    assert found["dilated"]["output height"] == ("floor((10 + 2 * 2 - 5) / 1) + 1", 10)
    assert found["dilated"]["parameters"] == ("3 * 3 * 3 * 4", 108)
    assert found["uneven"]["output height"] == ("floor((10 + 1 - 3) / 2) + 1", 5)
    assert found["uneven"]["output width"] == ("floor((12 + 2 - 3) / 2) + 1", 6)
    assert found["norm"]["parameters"] == ("2 * 4", 8)


def test_the_command(cli):
    status, out, _ = cli("inspect", "resnet20_cifar", "--step-by-step")
    assert status == 0 and "    output        floor((32 + 2 * 1 - 3) / 1) + 1 = 32\n" in out
    assert "bn1" not in out and "bn1" in cli("inspect", "resnet20_cifar", "--step-by-step", "--all")[1]
    assert '"floor((32 + 2 * 1 - 3) / 1) + 1"' in cli("inspect", "resnet20_cifar", "--step-by-step", "--json")[1]
