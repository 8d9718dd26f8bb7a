"""Variations of the papers: knobs in a network's name, other sizes and other channels."""

import math

import keras
import numpy as np
import pytest
from reference_weights import assert_near, fill, pictures

from transferkit import models, zoo
from transferkit.lookup import UnknownName
from transferkit.network import Network, with_channels, with_head, with_size
from transferkit.pixels import Pixels

PIXELS = Pixels((120.0, 115.0, 100.0), (60.0, 59.0, 58.0), 64, 73)


def filled(name, num_classes=7):
    model = zoo.build(name, pixels=PIXELS, num_classes=num_classes)
    fill(model)
    return model


def network_of(model, **facts):
    return Network(model, PIXELS, tuple("abcdefg"), "fc", model.name, **facts)


def params(name):
    model = zoo.build(name, pixels=PIXELS, num_classes=zoo.variant(name).classes)
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def test_names_with_knobs():
    assert zoo.spell("resnet18") == zoo.spell("resnet18()") == "resnet18"
    assert zoo.spell("resnet18(shortcut=B)") == "resnet18"
    assert zoo.spell(" resnet18 ( shortcut = A,stem=small )") == "resnet18(stem=small, shortcut=a)"
    assert zoo.spell("resnet18(stem=small)", shortcut="a", output_stride=32) == "resnet18(stem=small, shortcut=a)"
    assert zoo.is_network("resnet18(stem=small)")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("resnt18(stem=small)", "No network is called 'resnt18'. Did you mean 'resnet18'"),
        ("resnet18(stm=small)", "No knob of resnet18 is called 'stm'. Did you mean 'stem'"),
        ("resnet18(stem=smal)", "No value of resnet18's stem is called 'smal'. Did you mean 'small'"),
        ("resnet18(stem=small", "lacks the closing bracket"),
        ("resnet18(stem)", "No value of resnet18's stem is called ''"),
    ],
)
def test_invalid_names(name, sentence):
    with pytest.raises(UnknownName, match=sentence.replace("(", r"\(").replace("?", r"\?")):
        zoo.spell(name)


def test_create_takes_knobs():
    model = models.create("resnet18", weights="none", num_classes=3, shortcut="a", stem="small")
    names = [layer.name for layer in model.layers]
    assert "maxpool" not in names and "layer2.0.downsample.0" not in names
    assert model.get_layer("conv1").kernel.shape == (3, 3, 3, 64)


def test_the_form_for_training_with_other_classes():
    model = models.create("googlenet", weights="none", num_classes=3, size=64, aux=True)
    assert {name: output.shape for name, output in model.output.items()} == dict.fromkeys(
        ("logits", "aux2", "aux1"), (None, 3)
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18(shortcut=a)", 11_515_688),
        ("resnet18(shortcut=c)", 12_043_816),
        ("resnet34(shortcut=a)", 21_623_848),
        ("resnet34(shortcut=c)", 22_716_840),
        ("resnet20_cifar(shortcut=b)", 269_722 + 2_752),
    ],
)
def test_shortcuts(name, expected):
    assert params(name) == expected


def test_option_a_is_subsampling_and_zeros():
    model = zoo.build("resnet20_cifar", pixels=PIXELS, num_classes=10)
    block = keras.Model(model.input, [model.get_layer("stage1").output, model.get_layer("layer2.0.add").input])
    below, (_, shortcut) = block(pictures(2, 32, 32))
    shortcut = np.asarray(shortcut)
    np.testing.assert_array_equal(shortcut[..., 8:24], np.asarray(below)[:, ::2, ::2])
    assert not shortcut[..., :8].any() and not shortcut[..., 24:].any()


@pytest.mark.parametrize("stride", [16, 8])
@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        pytest.param("resnet50", marks=pytest.mark.slow),
        pytest.param("resnet50_paper", marks=pytest.mark.slow),
    ],
)
def test_output_stride(name, stride):
    """The dense features, at every step of the old grid, are the old features."""
    coarse, fine = filled(name), filled(f"{name}(output_stride={stride})")
    images, step = pictures(1, 64, 96), 32 // stride
    at = [keras.Model(model.input, model.get_layer("stage4").output)(images) for model in (coarse, fine)]
    assert at[1].shape[1:3] == (64 // stride, 96 // stride)
    assert_near(np.asarray(at[1])[:, ::step, ::step], np.asarray(at[0]), 1e-4)


def test_small_stem_keeps_small_pictures():
    model = zoo.build("resnet18(stem=small)", pixels=PIXELS, num_classes=7)
    maps = keras.Model(model.input, model.get_layer("stage4").output)
    assert maps(pictures(1, 32, 32)).shape == (1, 4, 4, 512)


def test_tanh():
    model = zoo.build("resnet18(activation=tanh)", pixels=PIXELS, num_classes=7)
    assert not any(isinstance(layer, keras.layers.ReLU) for layer in model.layers)
    assert np.abs(keras.Model(model.input, model.get_layer("stage4").output)(pictures(1, 64, 64))).max() <= 1


def test_grey_pictures_have_the_logits_of_their_rgb_copies():
    grey = pictures(2, 64, 75)[..., :1]
    network = network_of(filled("resnet18"))
    single = with_channels(network, 1)
    expected = np.asarray(network.model(grey.repeat(3, axis=3)))
    np.testing.assert_array_equal(single.model(grey), expected)
    assert single.pixels.channels == 1 and single.model.input_shape[-1] == 1
    assert np.std(expected) > 0


def test_a_fourth_channel():
    network = network_of(filled("resnet18"))
    four = with_channels(network, 4)
    kernel, old = np.asarray(four.model.get_layer("conv1").kernel), np.asarray(network.model.get_layer("conv1").kernel)
    np.testing.assert_allclose(kernel, old[:, :, [0, 1, 2, 0]] * 0.75)
    images = pictures(2, 64, 75)
    assert four.model(np.concatenate([images, images[..., :1]], axis=3)).shape == (2, 7)


@pytest.mark.parametrize("channels", [2, 5])
def test_invalid_channels(channels):
    with pytest.raises(UnknownName, match=f"3 channels, not {channels}: expected 1, 3 or 4"):
        with_channels(network_of(filled("resnet18")), channels)


def test_channels_of_a_saved_run(tmp_path):
    network = with_channels(network_of(filled("resnet18")), 1)
    models.save(network, tmp_path / "grey.keras")
    again = models.load_file(tmp_path / "grey.keras")
    grey = pictures(2, 64, 75)[..., :1]
    assert again.pixels == network.pixels
    assert_near(again.model(grey), np.asarray(network.model(grey)), 1e-5)


@pytest.mark.slow
def test_weights_of_a_grey_run(tmp_path):
    network = with_channels(network_of(filled("resnet18")), 1)
    models.save(network, tmp_path / "grey.keras")
    again = models.load("resnet18", tmp_path / "grey.keras")
    grey = pictures(2, 64, 75)[..., :1]
    assert again.pixels.channels == 1 and again.classes == network.classes
    assert_near(again.model(grey), np.asarray(network.model(grey)), 1e-5)


def test_a_size_below_the_minimum():
    with pytest.raises(UnknownName, match="at least 40 pixels, not 39"):
        with_size(network_of(filled("resnet18"), minimum=40), 39)


def test_a_network_of_fixed_size():
    pictures = keras.Input((32, 32, 3))
    logits = keras.layers.Dense(7, name="fc")(keras.layers.Flatten()(pictures))
    network = network_of(keras.Model(pictures, logits, name="flat"))
    assert with_size(network, 32).model is network.model
    with pytest.raises(UnknownName, match="32 pixels and no other size"):
        with_size(network, 48)


def test_a_head_of_a_convolution_keeps_its_average():
    pictures = keras.Input((None, None, 3))
    maps = keras.layers.Conv2D(5, 1, name="fc")(pictures)
    average = keras.layers.GlobalAveragePooling2D(name="logits")(keras.layers.ReLU(name="relu")(maps))
    network = Network(keras.Model(pictures, average), PIXELS, tuple("abcde"), "fc", "conv")
    new = with_head(network, ["yes", "no"])
    assert new.model.output_shape == (None, 2)
    assert [layer.name for layer in new.model.layers][-3:] == ["fc", "relu", "logits"]
    assert new.classes == ("yes", "no")
