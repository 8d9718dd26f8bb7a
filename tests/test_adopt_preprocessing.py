"""Preprocessing that is found inside a Keras model: all `keras.applications`, operations of a fixed size, errors."""

import inspect

import keras
import numpy as np
import pytest
from keras import layers, ops
from test_adopt import fed, noise, same, shaken

from transferkit import adopt
from transferkit.adopt import graph, preprocessing
from transferkit.adopt.preprocessing import UnknownPixels
from transferkit.keras_internals import application_names

# one network a family; those of DenseNet, EfficientNet, ResNetV2 and VGG are compared whole in test_adopt.py
QUICK = ("ConvNeXtTiny", "EfficientNetV2B0", "InceptionV3", "MobileNet", "MobileNetV3Small", "ResNet50", "Xception")
HUGE = ("ConvNeXtLarge", "ConvNeXtXLarge")  # gigabytes, of the same code as ConvNeXtTiny
NETWORKS = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in application_names()
    if name not in HUGE
]


def preprocess_input(build):
    """What Keras has its users do to the pictures for one of its networks."""
    functions = [getattr(one, "preprocess_input", None) for one in vars(keras.applications).values()]
    return next(one for one in functions if one and one.__module__ == inspect.unwrap(build).__module__)


@pytest.mark.parametrize("name", NETWORKS)
def test_pixels_of_the_networks_of_keras_applications(name):
    build, pictures = getattr(keras.applications, name), noise()
    model = build(weights=None, include_top=False)
    start = preprocessing.find_preprocessing(graph.flatten_model(model))
    affine, words = preprocessing.find_convention(model, start, "", source=name)
    wanted = preprocess_input(build)(pictures.copy())
    np.testing.assert_allclose(fed(pictures, words.removeprefix("pixels: ").partition(",")[0]), wanted, atol=1e-4)
    if not start.affine:  # what has to be done before the network is all that is done
        found = pictures * affine.scale + affine.offset
        np.testing.assert_allclose(found[..., ::-1] if affine.flip else found, wanted, atol=1e-4)


def classifier(side, scale):
    pictures = keras.Input((side, side, 3))
    x = layers.Conv2D(8, 3, activation="relu")(scale(pictures))
    return shaken(keras.Model(pictures, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x))))


def by_rows(x):
    """Operations that take one size alone."""
    x = ops.reshape(layers.Resizing(32, 32)(x), (-1, 32 * 32, 3))
    return layers.Rescaling(1 / 255)(ops.reshape(x, (-1, 32, 32, 3)))


def test_operations_after_a_resizing_are_evaluated_at_its_size():
    model = classifier(None, by_rows)
    network = adopt.adopt_model(model)
    assert network.loaded[1] == "pixels: raw, by its own arithmetic and Rescaling"
    assert network.pixels.crop == 32
    assert same(network, model)


def test_operations_of_unknown_size_are_part_of_the_network():
    mean_picture = np.full((48, 48, 3), 0.5, "float32")
    model = classifier(None, lambda x: ops.subtract(x, mean_picture))
    with pytest.raises(UnknownPixels):
        adopt.adopt_model(model)
    assert same(adopt.adopt_model(model, "unit"), model, "unit", side=48)


def test_an_error_is_not_taken_for_unknown_pixels(monkeypatch):
    """As a newer Keras may bring one: a scaling that is there would silently not be found."""

    def fails(*args, **kwargs):
        raise AttributeError("Keras has no such method.")

    monkeypatch.setattr(preprocessing, "rebuild_steps", fails)
    with pytest.raises(AttributeError, match="no such method"):
        adopt.adopt_model(classifier(32, layers.Rescaling(1 / 255)))
