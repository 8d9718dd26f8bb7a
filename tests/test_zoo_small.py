"""LeNet-5 and the All-CNNs: statements of their papers that the tests of all networks do not cover."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from reference_weights import pictures

from transferkit import zoo


def build(name):
    row = zoo.variant(name)
    return zoo.build(name, pixels=row.pixels, num_classes=row.classes)


def count(weights):
    return sum(math.prod(weight.shape) for weight in weights)


def random_weights(model, scale=0.05):
    """Something in every weight, the biases and the head included."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(0, scale, weight.shape).astype("float32"))


def cut(model, name, entry="pictures"):
    """The network from one of its layers to another."""
    return keras.Model(model.get_layer(entry).output, model.get_layer(name).output)


def test_lenet_of_the_paper():
    """Section II.B: 60,000 trainable parameters, none of them in the paper's output layer, which is not implemented."""
    model = build("lenet5(c3=table, subsampling=trainable)")
    by_layer = {layer.name: count(layer.trainable_weights) for layer in model.layers}
    assert by_layer.pop("classifier.output") == 850
    assert sum(by_layer.values()) == 60_000
    assert by_layer["features.c1"] == 156 and by_layer["features.s2"] == 12 and by_layer["features.s4"] == 32
    assert sum(found for name, found in by_layer.items() if name.startswith("features.c3.")) == 1_516
    assert by_layer["features.c5"] == 48_120 and by_layer["classifier.f6"] == 10_164


def test_connections_of_c3():
    """Table I: 3 in a row, 4 in a row, 4 in two pairs, all."""
    model = build("lenet5(c3=table)")
    random_weights(model)
    body = cut(model, "c3", "s2")
    x = np.random.default_rng(0).normal(size=(1, 14, 14, 6)).astype("float32")
    before, seen = np.asarray(body(x)), np.zeros((16, 6), bool)
    for source in range(6):
        other = x.copy()
        other[..., source] += 1
        seen[:, source] = (np.asarray(body(other)) != before).any((0, 1, 2))
    rows = ["".join(map(str, np.flatnonzero(row))) for row in seen]
    assert rows[:6] == ["012", "123", "234", "345", "045", "015"]
    assert rows[6:12] == ["0123", "1234", "2345", "0345", "0145", "0125"]
    assert rows[12:] == ["0134", "1245", "0235", "012345"]
    assert seen.sum() == 60 and seen.sum(0).tolist() == [10] * 6


def test_lenet_activation_and_pixels():
    """Appendix A: 1 is mapped to 1; background is -0.1, ink 1.175 (section II.B)."""
    model = build("lenet5")
    images = np.array([0.0, 255.0]).reshape(2, 1, 1, 1) * np.ones((2, 32, 32, 1))
    assert np.unique(cut(model, "pixels")(images)).tolist() == pytest.approx([-0.1, 1.175])
    squash = cut(model, "f6", "classifier.f6")
    assert np.asarray(squash(np.full((1, 84), 1.0)))[0, 0] == pytest.approx(1, abs=1e-4)
    assert np.asarray(squash(np.full((1, 84), -50.0)))[0, 0] == pytest.approx(-1.7159)


def test_lenet_trainable_subsampling_starts_as_the_average():
    model, x = build("lenet5(subsampling=trainable)"), np.random.default_rng(0).normal(size=(1, 28, 28, 6))
    body = cut(model, "features.s2", "c1")
    np.testing.assert_allclose(body(x), x.reshape(1, 14, 2, 14, 2, 6).mean((2, 4)), rtol=1e-5, atol=1e-6)
    squashed = cut(model, "s2", "features.s2")(np.ones((1, 14, 14, 6)))
    np.testing.assert_allclose(squashed, np.ones((1, 14, 14, 6)), atol=1e-4)


@pytest.mark.parametrize("name", ["lenet5", "allcnn_a"])
def test_larger_pictures(name):
    assert build(name)(np.zeros((1, 45, 60, zoo.variant(name).pixels.channels))).shape == (1, 10)


def test_allcnn_last_layer_learns():
    """The map of classes is rectified: from a kernel of zeros nothing would come back."""
    keras.utils.set_random_seed(0)
    model = build("allcnn_c")
    images = pictures(4, 32, 32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(images, training=False)))
    assert np.abs(tape.gradient(loss, model.get_layer("classifier").kernel.value)).max() > 0
    assert np.asarray(model(images)).min() >= 0
    places = np.asarray(cut(model, "scores")(images))
    assert places.shape == (4, 6, 6, 10)
    np.testing.assert_allclose(model(images), places.mean((1, 2)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["lenet5(c3=table, subsampling=trainable)", "allcnn_b"])
def test_small_networks_are_saved_and_loaded(name, tmp_path):
    model = build(name)
    random_weights(model)
    model.save(tmp_path / "model.keras")
    images = np.random.default_rng(1).uniform(0, 255, (2, 32, 32, model.input_shape[-1])).astype("float32")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.std(again(images)) > 0
    np.testing.assert_allclose(again(images), model(images), rtol=1e-5, atol=1e-6)
