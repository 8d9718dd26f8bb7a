"""What layers do on pictures: against NumPy and a gradient tape, and `inspect --data`."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from pictures import folder

from transferkit import adopt, models
from transferkit.explain import activity

RANDOM = np.random.default_rng(4)


def known(activation="relu", nested=False):
    """A network of one convolution, of whose four units the second is dead and the third is 0 in about a half."""
    kernel = RANDOM.normal(size=(3, 3, 3, 4)).astype("float32")
    pictures = keras.Input((8, 8, 3))
    x = layers.Rescaling(1 / 128, -1.0, name="pixels")(pictures)
    inner = keras.Input((8, 8, 3)) if nested else x
    y = layers.Conv2D(4, 3, activation=activation, name="conv")(inner)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.Dense(5, name="hidden")(layers.Flatten()(y))
    y = layers.ReLU(name="after")(y)
    x = keras.Model(inner, y, name="body")(x) if nested else y
    model = keras.Model(pictures, layers.Dense(3, name="fc")(x))
    body = model.get_layer("body") if nested else model
    body.get_layer("conv").set_weights([kernel, np.array([0, -1000, 0, 0.5], "float32")])
    body.get_layer("norm").set_weights([np.array(each, "float32") for each in ([2] * 4, [1] * 4, [0.3] * 4, [4] * 4)])
    return model


@pytest.fixture
def views():
    return RANDOM.integers(0, 256, (21, 8, 8, 3)).astype("uint8")  # a batch of 16, and some


LABELS = np.arange(21) % 3


@pytest.mark.parametrize("nested", [False, True])
def test_dead_units_zeros_and_moments_are_those_of_numpy(views, nested):
    model = known(nested=nested)
    found = {each.layer.rpartition("/")[2]: each for each in activity.measure_activity(adopt.adopt_model(model), views)}
    assert [name.split(".")[-1] for name in found] == ["conv", "hidden", "after", "fc"]
    conv = found[next(iter(found))]
    body = model.get_layer("body") if nested else model
    kernel, bias = body.get_layer("conv").get_weights()
    seen = np.lib.stride_tricks.sliding_window_view(views / 128.0 - 1, (3, 3), axis=(1, 2))
    values = np.maximum(np.einsum("nhwcij,ijcf->nhwf", seen, kernel) + bias, 0)
    assert conv.dead.tolist() == [False, True, False, False] and conv.dead_share == 0.25
    np.testing.assert_allclose(conv.largest, values.max((0, 1, 2)), rtol=1e-4)
    assert conv.zeros == pytest.approx((values == 0).mean(), abs=1e-3) and conv.zeros > 0.25
    assert conv.mean == pytest.approx(values.mean(), rel=1e-4) and conv.deviation == pytest.approx(
        values.std(), rel=1e-4
    )
    fc = found["fc"]
    assert (fc.dead, fc.zeros, fc.activation, fc.gradient) == (None, None, "", None)


def test_gradients_are_those_of_a_tape(views):
    model = known()
    model.get_layer("conv").trainable = False  # a frozen layer has a gradient too
    found = {each.layer: each for each in activity.measure_activity(adopt.adopt_model(model), views, LABELS)}
    kernels = {name: [each.value for each in model.get_layer(name).weights] for name in ("conv", "hidden", "fc")}
    with tf.GradientTape() as tape:
        tape.watch(kernels)
        chances = tf.nn.log_softmax(model(views.astype("float32"), training=False))
        loss = -tf.reduce_mean(tf.gather(chances, LABELS, batch_dims=1))
    for name, gradients in tape.gradient(loss, kernels).items():
        expected = np.sqrt(sum((np.asarray(each, "float64") ** 2).sum() for each in gradients))
        assert found[name].gradient == pytest.approx(expected, rel=1e-3) and expected > 0
    assert found["after"].gradient is None and not model.get_layer("conv").trainable


def test_a_saturated_tanh_is_not_called_dead(views):
    model = known("tanh")
    conv = activity.measure_activity(adopt.adopt_model(model), views)[0]
    assert conv.activation == "tanh" and conv.largest[1] == -1 and conv.dead is None and conv.dead_share is None


@pytest.mark.parametrize("name", ["simple_cnn(activation=sigmoid)", "nin", "resnet20_cifar", "mlp", "local_cnn"])
def test_every_layer_with_a_kernel_is_there(name):
    network = models.load(name, "none")
    pictures = RANDOM.integers(0, 256, (2, *network.pixels.shape, network.pixels.channels))
    found = activity.measure_activity(network, pictures, np.array([0, 1]))
    kernels = [each.name for each in network.model.layers if hasattr(each, "kernel")]
    assert [each.layer for each in found if each.gradient is not None] == kernels and kernels
    assert any(each.activation for each in found)


def test_the_warning_names_the_worst_layers():
    def row(name, dead):
        largest = np.array([0.0] * dead + [1.0] * (10 - dead))
        return activity.LayerActivity(name, "ReLU", "relu", largest, 0.5, 0.1, 0.1, None)

    rows = [row("a", 2), row("b", 3), row("c", 9)]
    sentence = activity.describe_dead(rows, 40)
    assert (
        "on these 40 pictures, which give them no gradient: c 90%, b 30%. Other" in sentence and "a 2" not in sentence
    )
    assert "and 1 more layer." in activity.describe_dead([*rows, *map(row, "defg", [3] * 4)], 40)
    assert activity.describe_dead(rows[:1], 40) == ""
    line = dataclasses.replace(rows[2], activation="")
    assert activity.describe_dead([line], 40) == ""


def test_the_command_and_its_figure(cli, finished, pets, tmp_path):
    status, out, err = cli("inspect", finished.folder, "--data", "own", "--json", "--out", "act.svg")
    document = json.loads(out)
    assert status == 0 and document["pictures"] == 4 and document["figure"] == "act.svg", err
    rows = {row["layer"]: row for row in document["layers"]}
    assert list(rows) == ["layer1.conv", "layer1.relu", "layer2.conv", "layer2.relu", "fc"]
    assert rows["layer1.relu"]["units"] == 8 and 0 <= rows["layer1.relu"]["dead"] <= 1 and rows["fc"]["gradient"] > 0
    assert "layer2.relu" in (tmp_path / "act.svg").read_text()
    status, out, err = cli("inspect", finished.folder, "--data", pets)
    assert status == 0 and out.split()[:3] == ["layer", "activation", "units"] and "24 of 24 pictures" in err


def test_pictures_of_other_classes_have_no_gradients(cli, finished, tmp_path):
    folder(tmp_path / "cows", {"cow": 2, "dog": 2})
    status, out, err = cli("inspect", finished.folder, "--data", "cows", "--json")
    assert status == 0 and "No gradients are measured" in err and "cow" in err
    assert all(row["gradient"] is None for row in json.loads(out)["layers"])


def test_outputs_without_names_are_the_classes_in_order(cli, tmp_path):
    folder(tmp_path / "digits", {str(digit): 1 for digit in range(10)})
    status, out, err = cli("inspect", "simple_cnn(width=2)", "--data", "digits", "--json")
    assert status == 0 and "taken as the classes of digits in their order" in " ".join(err.split())
    assert json.loads(out)["layers"][-1]["gradient"] > 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["lenet5", "--data", "own"], "lenet5 is no run: give a folder"),
        (["lenet5", "--data", "nowhere"], "There is no folder or file 'nowhere'"),
        (["lenet5", "nin", "--data", "own"], "--data shows one network: omit nin"),
        (["lenet5", "--out", "x.png"], "--out is the figure of --receptive-field LAYER IMAGE or --data"),
    ],
)
def test_wrong_usage_is_one_sentence(cli, words, sentence):
    status, out, err = cli("inspect", *words)
    assert (status, out) == (2, "") and sentence in " ".join(err.split())
