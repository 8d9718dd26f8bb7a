"""Whole models saved by Keras 3, `.keras` and `.h5`, against the model that was saved."""

from types import SimpleNamespace

import h5py
import keras
import numpy as np
import pytest
from keras import layers, ops
from test_adopt import noise, shaken

import transferkit as tk
from transferkit import models
from transferkit.keras_internals import application_layers, flatten_layers

MEAN, VARIANCE = (120.0, 110.0, 100.0), (76.0**2, 60.0**2, 50.0**2)
SUFFIXES = pytest.mark.parametrize("suffix", ["keras", "h5"])


def given():
    return keras.Input((32, 32, 3))


def model(start, x):
    while len(x.shape) > 2:
        x = (layers.GlobalAveragePooling2D if len(x.shape) == 4 else layers.GlobalAveragePooling1D)()(x)
    return keras.Model(start, layers.Dense(3)(x))


def first(start):
    return layers.Conv2D(4, 3, name="stem")(layers.Rescaling(1 / 50, -2.0)(start))


def normed(x, axis=-1):
    """A Normalization with statistics that `adapt` could have given."""
    layer = layers.Normalization(axis)
    y = layer(x)
    shape = tuple(layer.adapt_mean.shape)
    mean, variance = (MEAN, VARIANCE) if shape[-1:] == (3,) else (MEAN[0], VARIANCE[0])
    layer.adapt_mean.assign(np.broadcast_to(mean, shape))
    layer.adapt_variance.assign(np.broadcast_to(variance, shape))
    layer.finalize_state()
    return y


def within(x, depth):
    """A Normalization and a convolution, so many models deep, the outermost a Sequential."""
    start = keras.Input(x.shape[1:])
    inner = keras.Model(start, layers.Conv2D(4, 3)(normed(start)), name="inner0")
    for number in range(1, depth):
        start = keras.Input(x.shape[1:])
        inner = keras.Model(start, inner(start), name=f"inner{number}")
    return keras.Sequential([keras.Input(x.shape[1:]), inner], name="outer")(x)


def sequential_in_sequential():
    start = given()
    inner = keras.Sequential([keras.Model(start, normed(start)), layers.Conv2D(4, 3)])
    return keras.Sequential([given(), inner, layers.GlobalAveragePooling2D(), layers.Dense(3)])


def in_the_midst():
    start = given()
    return model(start, within(50 * layers.Conv2D(3, 3)(layers.Rescaling(1 / 50, -2.0)(start)), 1))


def of_all_values(*axis):
    start = given()
    return model(start, layers.Conv2D(4, 3)(normed(start, axis or None)))


def transfer():
    """As in the guide of Keras: augmentation, preprocessing in operations, a frozen part, a new head."""
    start = given()
    x = keras.applications.mobilenet_v2.preprocess_input(layers.RandomFlip()(start))
    inner = given()
    y = layers.BatchNormalization()(layers.Conv2D(4, 3, name="one")(inner))
    y = layers.Conv2D(4, 3, padding="same", name="three")(layers.Conv2D(4, 3, padding="same", name="two")(y))
    base = keras.Model(inner, y, name="base")
    base.get_layer("two").trainable = False  # an .h5 file has its weights after those of "three"
    return model(start, base(x, training=False))


def operations():
    start = given()
    x = first(start)[:, 1:-1, ::2]
    x = ops.concatenate([x, ops.sigmoid(x)], axis=-1)
    x = keras.activations.relu(ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), negative_slope=0.1, max_value=2.0)
    x = ops.where(x > 0.1, x, x * 2) * (ops.relu6(x + 3.0) / 6.0)
    x = layers.Multiply()([x, layers.Add()([x, layers.Activation("hard_sigmoid")(x)])])  # layers of the same names
    x = ops.reshape(x, (-1, x.shape[1] * x.shape[2], 8))
    return model(start, ops.max(ops.softmax(x, axis=1) * x, axis=1) - 1.0 / (2.0 + ops.mean(x, axis=(1,))))


def attention():
    start = given()
    x = layers.Reshape((30, 120))(layers.SpatialDropout2D(0.2)(first(start)))
    x = layers.Dense(8)(x)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    return model(start, x)


def recurrent():
    start = given()
    x = layers.TimeDistributed(layers.Dense(6))(layers.Reshape((4, 900))(first(start)))
    x = layers.Bidirectional(layers.GRU(5, return_sequences=True))(x)
    return model(start, layers.LSTM(4)(x))


def axes():
    """Axes that are lists, which Keras' own reader of `.h5` forgets."""
    start = given()
    x = layers.UnitNormalization(axis=[1, 2])(layers.LayerNormalization(axis=[1, 3])(first(start)))
    return model(start, layers.Conv2D(4, 3)(layers.Softmax(axis=[1, 2])(x)))


def scaled():
    LayerScale = application_layers()["LayerScale"]

    start = given()
    x = first(start)
    return model(start, layers.Add()([x, LayerScale(0.5, 4)(x), LayerScale(0.5, 4)(layers.DepthwiseConv2D(1)(x))]))


def adapted_by_lora():
    start = given()
    many, head = layers.Dense(8), layers.Dense(3)
    whole = keras.Model(start, head(layers.GlobalAveragePooling2D()(many(layers.Conv2D(4, 3)(first(start))))))
    whole.layers[3].enable_lora(1)
    many.enable_lora(2, lora_alpha=3)
    head.enable_lora(2)
    return whole


WHOLE = {
    "sequential in sequential": sequential_in_sequential,
    "two deep": lambda: model(start := given(), within(start, 2)),
    "three deep": lambda: model(start := given(), within(start, 3)),
    "in the midst": in_the_midst,
    "of all values": of_all_values,
    "of each value": lambda: of_all_values(1, 2, 3),
    "transfer": transfer,
    "operations": operations,
    "attention": attention,
    "recurrent": recurrent,
    "axes": axes,
    "scaled": scaled,
    "lora": adapted_by_lora,
}


def shaken_but_for_statistics(whole):
    """Random weights; the statistics that were set are kept."""
    kept = {id(v) for layer in flatten_layers(whole) if isinstance(layer, layers.Normalization) for v in layer.weights}
    shaken(SimpleNamespace(weights=[variable for variable in whole.weights if id(variable) not in kept]))
    return whole


@SUFFIXES
@pytest.mark.parametrize("name", WHOLE)
def test_logits_equal_those_of_the_saved_model(tmp_path, name, suffix):
    whole = shaken_but_for_statistics(WHOLE[name]())
    whole.save(path := tmp_path / f"my.{suffix}")
    network, wanted = models.load(path, pixels="raw"), whole(noise(), training=False)
    np.testing.assert_allclose(network.model(noise()), wanted, atol=3e-6 * np.abs(wanted).max())
    assert not any("order" in line for line in network.loaded)


def test_statistics_are_those_of_the_file(tmp_path, cli, listing):
    """What the file says of `adapt_mean` is what pixels are scaled by, whichever file and command it is."""
    whole = shaken_but_for_statistics(model(start := given(), within(start, 2)))
    features = []
    for path in (tmp_path / "my.keras", tmp_path / "my.h5"):
        whole.save(path)
        pixels = models.load(path).pixels
        np.testing.assert_allclose(pixels.mean, MEAN, rtol=1e-6)
        np.testing.assert_allclose(pixels.std, np.sqrt(VARIANCE), rtol=1e-6)
        features.append(tk.FeatureExtractor(str(path), cache=False).transform(listing))
        assert cli("inspect", path)[0] == 0
    assert np.ptp(features[0]) > 0.1
    np.testing.assert_allclose(*features, rtol=1e-6, atol=1e-6)


def test_statistics_of_keras_2_are_those_of_its_file(keras2):
    path = keras2 / "keras2-norms.h5"
    with h5py.File(path) as file:
        mean, variance = (file[f"model_weights/outer/normalization/{key}:0"][()] for key in ("mean", "variance"))
    pixels = models.load(path).pixels
    np.testing.assert_allclose(pixels.mean, 255 * mean, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(pixels.std, 255 * np.sqrt(variance), rtol=1e-5)


@SUFFIXES
def test_integers_are_refused(tmp_path, suffix):
    whole = model(start := given(), layers.Dense(8, name="many")(first(start)))
    whole.get_layer("many").quantize("int8")
    whole.save(path := tmp_path / f"my.{suffix}")
    with pytest.raises(
        ValueError, match="a layer '.*' quantized to int8, which cannot be trained on, expected float"
    ) as e:
        models.load(path, pixels="raw")
    assert (str(e.value).startswith(f"{path} "), "\n" in str(e.value)) == (True, False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV3Small", "EfficientNetB0", "ConvNeXtTiny"])
def test_networks_of_keras_in_a_model(tmp_path, name):
    base = getattr(keras.applications, name)(input_shape=(32, 32, 3), include_top=False, weights=None)
    whole = model(start := given(), base(start))
    for layer in base.layers:
        if isinstance(layer, layers.Normalization) and layer.weights:
            layer.adapt_mean.assign(MEAN)
            layer.adapt_variance.assign(VARIANCE)
            layer.finalize_state()
    whole = shaken_but_for_statistics(whole)
    whole.save(path := tmp_path / "my.h5")
    network, wanted = models.load(path, pixels="raw"), whole(noise(), training=False)
    np.testing.assert_allclose(network.model(noise()), wanted, atol=1e-5 * np.abs(wanted).max())
