"""The classifier of a foreign model: which layers a new head replaces."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy.special import softmax
from test_adopt import noise, shaken

import transferkit as tk
from transferkit import adopt, models
from transferkit.lookup import UnknownName
from transferkit.network import cut_network, find_head_input, has_dense_head, with_head


def ended(end) -> keras.Model:
    """A model of two convolutions, its end made by a function of their map."""
    pictures = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, 2, activation="relu", name="first")(layers.Rescaling(1 / 255)(pictures))
    return shaken(keras.Model(pictures, end(layers.Conv2D(16, 3, activation="relu", name="second")(x))))


def average(x):
    return layers.GlobalAveragePooling2D(name="average")(x)


def scores(x, count=5, **knobs):
    return layers.Dense(count, name="scores", **knobs)(average(x))


def of_map(x, count=5, **knobs):
    return layers.Conv2D(count, 1, name="scores", **knobs)(x)


def nested(x):
    top = [keras.Input((16,)), layers.Dense(5, name="scores"), layers.BatchNormalization(), layers.Softmax()]
    return keras.Sequential(top, name="top")(average(x))


def less_the_greatest(x):
    z = scores(x)
    return layers.Softmax()(z - ops.max(z, axis=-1, keepdims=True))


CLASSIFIERS = {  # whose outputs are probabilities
    "softmax layer": lambda x: layers.Softmax()(scores(x)),
    "softmax operation": lambda x: ops.softmax(scores(x)),
    "softmax twice": lambda x: layers.Softmax()(scores(x, activation="softmax")),
    "temperature layer": lambda x: layers.Softmax()(layers.Rescaling(0.5)(scores(x))),
    "temperature operation": lambda x: layers.Activation("softmax")(scores(x) / 2.0),
    "norm": lambda x: layers.Softmax()(layers.BatchNormalization(name="norm")(scores(x))),
    "layer norm": lambda x: layers.Softmax()(layers.LayerNormalization(name="norm")(scores(x, use_bias=False))),
    "unit norm": lambda x: layers.Softmax()(layers.UnitNormalization()(scores(x))),
    "clipped": lambda x: ops.clip(scores(x, activation="softmax"), 1e-7, 1.0),
    "dropout": lambda x: layers.Softmax()(layers.Dropout(0.5)(scores(x))),
    "less the greatest": less_the_greatest,
    "nested": nested,
    "dense on a map": lambda x: layers.Softmax()(average(layers.Dense(5, name="scores")(x))),
    "map of probabilities": lambda x: average(layers.Dense(5, name="scores", activation="softmax")(x)),
    "rectified map": lambda x: layers.Softmax()(average(of_map(x, activation="relu"))),
    "normed map": lambda x: layers.Softmax()(average(layers.BatchNormalization()(of_map(x)))),
    "greatest of a map": lambda x: layers.Softmax()(layers.GlobalMaxPooling2D()(of_map(x))),
    "larger kernel": lambda x: layers.Softmax()(average(layers.Conv2D(5, 3, 2, "same", name="scores")(x))),
    "whole map": lambda x: layers.Softmax()(layers.Flatten()(layers.Conv2D(5, 13, name="scores")(x))),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_new_head_has_the_inputs_of_the_old_one(name):
    """The same probabilities as the model; under a new head, the features of the model itself, made by plain Keras."""
    model = ended(CLASSIFIERS[name])
    network = adopt.adopt_model(model)
    wanted = np.asarray(model(noise(count=4), training=False))
    assert np.ptp(wanted, axis=0).max() > 1e-3
    np.testing.assert_allclose(softmax(np.asarray(network.model(noise(count=4))), axis=1), wanted, atol=1e-5)
    assert (network.head, len(network.classes), network.doubt) == ("scores", 5, "")
    assert has_dense_head(network)
    new = with_head(network, ["a", "b", "c"])
    assert new.model.output_shape == (None, 3)
    head = new.model.layers[-1]  # nothing follows
    assert (head.name, type(head), head.use_bias) == ("scores", layers.Dense, "layer norm" not in name)
    features = np.asarray(keras.Model(model.input, model.get_layer("second").output)(noise())).mean((1, 2))
    np.testing.assert_allclose(keras.Model(new.model.input, head.input)(noise()), features, rtol=1e-4, atol=1e-6)
    left = len(new.model.weights) - len(head.weights)
    assert new.loaded[0] == f"head 5 -> 3 new; {left}/{len(new.model.weights)} tensors loaded"


def test_replaced_layers_are_printed(tmp_path):
    network = adopt.adopt_model(ended(CLASSIFIERS["norm"]))
    assert network.loaded[2] == "part of its classifier, which a new head replaces: BatchNormalization"
    models.save(network, tmp_path / "kept.keras")  # as a run whose head was kept is
    again = with_head(models.load(tmp_path / "kept.keras"), ["a", "b", "c"])
    assert (again.loaded[0], again.model.layers[-1].name) == ("head 5 -> 3 new; 4/6 tensors loaded", "scores")


@pytest.mark.parametrize(
    "end",
    [
        lambda x: layers.BatchNormalization(name="norm")(scores(x)),
        lambda x: scores(x) / 2.0,
        lambda x: average(layers.Dense(5, name="scores")(x)),
    ],
)
def test_logits(end):
    model = ended(end)
    network = adopt.adopt_model(model)
    np.testing.assert_allclose(network.model(noise()), model(noise(), training=False), rtol=1e-4, atol=1e-5)
    assert find_head_input(with_head(network, ["a", "b", "c"])) in ("pooled", "stage2")


@pytest.mark.parametrize(
    "end",
    [
        lambda x: layers.Activation("sigmoid")(scores(x, 1)),
        lambda x: layers.Activation("sigmoid")(layers.Rescaling(0.5)(scores(x, 1))),
        lambda x: ops.sigmoid(layers.BatchNormalization()(scores(x, 1, use_bias=False))),
        lambda x: layers.Activation("sigmoid")(average(of_map(x, 1))),
        lambda x: layers.Activation("sigmoid")(average(of_map(x, 1, activation="relu"))),
    ],
)
def test_two_classes_by_one_unit(end):
    model = ended(end)
    network = adopt.adopt_model(model)
    chance = np.asarray(model(noise(), training=False))
    found = softmax(np.asarray(network.model(noise())), axis=1)
    np.testing.assert_allclose(found, np.concatenate([1 - chance, chance], axis=1), atol=1e-5)
    assert len(network.classes) == 2 and not network.has_class_names
    assert network.loaded[2] == "its one output is taken for the logit of class 1 against class 0"
    assert with_head(network, ["a", "b"]).model.layers[-1].units == 2


def test_sigmoid_outputs_after_a_norm():
    model = ended(lambda x: layers.Activation("sigmoid")(layers.BatchNormalization()(scores(x))))
    network = adopt.adopt_model(model)
    logits = np.asarray(network.model(noise()))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), model(noise(), training=False), atol=1e-5)
    assert network.loaded[2] == "its sigmoid outputs are taken for logits of classes that exclude one another"


@pytest.mark.parametrize(
    "end",
    [
        lambda x: layers.Dense(5, activation="relu")(average(x)),
        lambda x: layers.UnitNormalization()(scores(x)),
        lambda x: average(layers.BatchNormalization()(of_map(x))),
        lambda x: layers.LayerNormalization()(layers.Add()([x, of_map(x, 16)])),
        lambda x: layers.Multiply()([x, layers.Dense(16, activation="sigmoid")(x)]),
    ],
)
def test_features_are_not_a_classifier(end):
    """What is cut off, of length one, or a map, or ends in a gate: a new head goes on top."""
    network = adopt.adopt_model(ended(end))
    assert (network.classes, network.doubt, network.head) == ((), "", "head")


def two_averaged(x):
    left = layers.Dense(5, activation="softmax", name="left")(average(x))
    right = layers.Dense(5, activation="softmax", name="right")(layers.GlobalMaxPooling2D()(x))
    return layers.Average(name="both")([left, right])


DOUBTS = {
    "an ensemble": (two_averaged, "its outputs come from Dense 'left', Dense 'right' by way of Average 'both'"),
    "a norm alone": (
        lambda x: layers.LayerNormalization(name="norm")(scores(x)),
        "from Dense 'scores' by way of Layer",
    ),
    "a unit of tanh": (lambda x: scores(x, 1, activation="tanh"), "its outputs come from Dense 'scores' (the last"),
    "places": (lambda x: of_map(x, activation="softmax"), "its outputs come from Conv2D 'scores' (the last layer"),
}


@pytest.mark.parametrize("name", DOUBTS)
def test_an_unknown_classifier_is_asked_for(name, tmp_path):
    end, reason = DOUBTS[name]
    model = ended(end)
    network = adopt.adopt_model(model, source="my.keras")
    last = "second" if name in ("places", "an ensemble") else "average"
    assert network.doubt.startswith("my.keras does not show where its classifier begins, for ")
    assert reason in network.doubt and network.doubt.endswith(f"(the last layer before these is {last})")
    np.testing.assert_allclose(network.model(noise()), model(noise(), training=False), atol=1e-5)
    with pytest.raises(UnknownName, match="give --cut LAYER, the last layer to keep"):
        with_head(network, ["a", "b"])
    with pytest.raises(UnknownName, match="give --layer LAYER"):
        tk.FeatureExtractor(model, cache=False).transform([np.zeros((32, 32, 3), "uint8")])
    assert tk.FeatureExtractor(model, layer="second", cache=False).transform(noise().astype("uint8")).shape == (2, 16)
    new = with_head(cut_network(network, "second"), ["a", "b"])
    mark = "second" if name == "places" else "stage1"  # of the stage that ends there
    assert ([layer.name for layer in new.model.layers][-3:], new.doubt) == ([mark, f"pooled_{mark}", "head"], "")
    assert find_head_input(new) == mark
    assert new.loaded[0] == "head 0 -> 2 new; 4/6 tensors loaded" and new.loaded[-1] == f"cut after {mark}"
    with pytest.raises(UnknownName, match="does not show where its classifier begins"):
        tk.create(model, num_classes=3)
    assert tk.create(model, num_classes=3, cut="average" if last == "average" else "second").output_shape == (None, 3)


def test_any_base_can_be_cut(tiny):
    network = cut_network(models.load(tiny, "none"), "stage1")
    assert with_head(network, ["a", "b"]).model.count_params() == 3 * 3 * 3 * 8 + 4 * 8 + (8 + 1) * 2
    with pytest.raises(UnknownName, match="No layer of tiny is called 'stage3'. Did you mean 'stage"):
        cut_network(network, "stage3")


def test_the_command(cli, pets, tmp_path):
    ended(two_averaged).save(tmp_path / "my.keras")
    job = ["finetune", "--base", "my.keras", "--data", pets, "--dry-run", "--json"]
    status, _, err = cli(*job)
    assert (status, "give --cut LAYER, the last layer to keep" in err) == (2, True)
    status, out, err = cli(*job, "--cut", "second")
    plan = json.loads(out)
    assert (status, plan["weights"][0]) == (0, "head 0 -> 2 new; 4/6 tensors loaded")
    assert (plan["recipe"]["train"]["start"], plan["recipe"]["train"]["head_layers"]) == ("probe", "stage1")
    status, _, err = cli("lr-find", "--base", "my.keras", "--data", pets, "--cut", "secnd")
    assert status == 2 and "Did you mean 'second'?" in err
    status, _, err = cli("predict", "my.keras", next((pets / "cat").iterdir()))
    assert status == 1 and "so it cannot classify: transferkit finetune --base, with --cut LAYER" in err
    status, out, _ = cli("inspect", "my.keras")
    assert status == 0 and "does not show where its classifier begins" in out
