"""Batch norm folding: same logits, and no folding across layers whose output is used."""

import gc
import weakref

import keras
import numpy as np
import pytest
from reference_weights import assert_near, build, fill, pictures

from transferkit.batchnorm_folding import fold_batchnorm, fold_once


def norms(model):
    return [layer.name for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        pytest.param("resnet50", marks=pytest.mark.slow),
        "efficientnet_lite0",
        "resnet20_cifar",
        pytest.param("googlenet", marks=pytest.mark.slow),
    ],
)
def test_same_logits(name):
    model = build(name)
    fill(model)
    images, fold = pictures(2, 64, 75), fold_batchnorm(build(name))
    assert norms(model) and not norms(fold)
    assert [layer.name for layer in fold.layers] == [layer.name for layer in model.layers]
    expected = np.asarray(model(images, training=False))
    assert_near(fold(images, training=False), expected, 1e-4)
    assert_near(fold.predict_on_batch(images), expected, 1e-4)


def test_a_bias_and_a_norm_without_scale_or_centre():
    x = keras.Input((8, 8, 3))
    y = keras.layers.Conv2D(4, 3, bias_initializer="random_normal", name="a")(x)
    y = keras.layers.BatchNormalization(scale=False, name="b")(y)
    y = keras.layers.DepthwiseConv2D(3, bias_initializer="random_normal", name="c")(y)
    y = keras.layers.BatchNormalization(center=False, name="d")(y)
    model = keras.Model(x, y)
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in model.weights])
    images = random.random((2, 8, 8, 3)).astype("float32")
    assert not norms(fold_batchnorm(model))
    assert_near(fold_batchnorm(model)(images), np.asarray(model(images, training=False)), 1e-5)


def test_layers_whose_output_is_used_are_not_folded():
    x = keras.Input((8, 8, 3))
    y = keras.layers.Conv2D(4, 3, padding="same", name="conv")(x)
    z = keras.layers.BatchNormalization(name="norm")(y)
    for outputs in ([y, z], keras.layers.Add()([y, z]), z + keras.ops.relu(y)):
        assert norms(fold_batchnorm(keras.Model(x, outputs))) == ["norm"]
    active = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    assert norms(fold_batchnorm(keras.Model(x, keras.layers.BatchNormalization(name="norm")(active)))) == ["norm"]


def test_a_copy_is_made_once_and_gets_new_weights():
    model, images = build.__wrapped__("efficientnet_lite0"), pictures(2, 64, 64)
    copy = fold_once(model)
    before = np.asarray(copy(images, training=False))
    fill(model)
    assert fold_once(model) is copy
    expected = np.asarray(model(images, training=False))
    assert_near(copy(images, training=False), expected, 1e-4)
    assert np.abs(before - expected).max() > 1e-2
    assert fold_batchnorm(model) is not copy  # which others may keep


def test_a_copy_is_freed_with_its_model():
    model, unnormed = build.__wrapped__("resnet20_cifar"), build.__wrapped__("lenet5")
    references = [weakref.ref(fold_once(each)) for each in (model, unnormed)]
    assert references[1]() is unnormed
    del model, unnormed
    gc.collect()
    gc.collect()  # a copy, a cycle of its own, is free once its model is
    assert [reference() for reference in references] == [None, None]
