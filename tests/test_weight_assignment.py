"""Tensors are assigned by name, with axes in Keras' order, all of them or none."""

import dataclasses

import keras
import numpy as np
import pytest
import torch_writer as writer

from transferkit import models, zoo
from transferkit.network import with_head
from transferkit.pixels import Pixels
from transferkit.weights.assign import assign_tensors, find_similar_networks, load_weights, tensor_names
from transferkit.weights.name_translation import Publisher
from transferkit.weights.weight_files import Weights, read_weights


def hidden(*between):
    """A map of 2 x 3 x 4, flattened, and two dense layers."""
    pictures = keras.Input((2, 3, 4))
    x = keras.layers.Flatten()(pictures)
    for layer in between:
        x = layer(x)
    x = keras.layers.ReLU()(keras.layers.Dense(5, name="fc1")(x))
    return keras.Model(pictures, keras.layers.Dense(6, name="fc2")(x))


def convolutional():
    pictures = keras.Input((2, 3, 4))
    x = keras.layers.ReLU()(keras.layers.Conv2D(5, (2, 3), name="fc1")(pictures))
    return keras.Model(pictures, keras.layers.Flatten()(keras.layers.Conv2D(6, 1, name="fc2")(x)))


MODELS = {
    "dense": hidden,
    "dense behind dropout": lambda: hidden(keras.layers.Dropout(0.5), keras.layers.Identity()),
    "convolutional": convolutional,
}
RANDOM = np.random.default_rng(0)
SHAPES = {"fc1.weight": (5, 24), "fc1.bias": (5,), "fc2.weight": (6, 5), "fc2.bias": (6,)}
TORCH = {name: RANDOM.normal(size=shape).astype("f4") for name, shape in SHAPES.items()}
FILES = {  # the same network in each form that files have
    "torch": ("torch", TORCH),
    "torch, convolutions": (
        "torch",
        TORCH
        | {"fc1.weight": TORCH["fc1.weight"].reshape(5, 4, 2, 3), "fc2.weight": TORCH["fc2.weight"][:, :, None, None]},
    ),
    "keras": (
        "keras",
        TORCH
        | {
            "fc1.weight": TORCH["fc1.weight"].reshape(5, 4, 2, 3).transpose(2, 3, 1, 0).reshape(24, 5),
            "fc2.weight": TORCH["fc2.weight"].T,
        },
    ),
    "keras, convolutions": (
        "keras",
        TORCH
        | {
            "fc1.weight": TORCH["fc1.weight"].reshape(5, 4, 2, 3).transpose(2, 3, 1, 0),
            "fc2.weight": TORCH["fc2.weight"].T[None, None],
        },
    ),
}


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("kind", MODELS)
def test_flattened_maps_dense_and_convolutional(kind, form):
    """torch flattens channels first."""
    model, (layout, tensors) = MODELS[kind](), FILES[form]
    assert assign_tensors(model, tensors, layout, source="x.pth") == 4
    images = RANDOM.normal(size=(3, 2, 3, 4)).astype("f4")
    flat = images.transpose(0, 3, 1, 2).reshape(3, -1)
    hidden = np.maximum(flat @ TORCH["fc1.weight"].T + TORCH["fc1.bias"], 0)
    expected = hidden @ TORCH["fc2.weight"].T + TORCH["fc2.bias"]
    np.testing.assert_allclose(model(images), expected, atol=1e-4)


def test_averaged_maps_are_a_plain_matrix():
    pictures = keras.Input((2, 3, 4))
    x = keras.layers.GlobalAveragePooling2D()(pictures)
    model = keras.Model(pictures, keras.layers.Dense(6, name="fc")(x))
    tensors = {"fc.weight": RANDOM.normal(size=(6, 4)).astype("f4"), "fc.bias": np.ones(6, "f4")}
    assign_tensors(model, tensors, "torch", source="x.pth")
    np.testing.assert_array_equal(model.get_layer("fc").kernel, tensors["fc.weight"].T)


@pytest.fixture(scope="module")
def resnet18():
    return zoo.build("resnet18", pixels=Pixels(), num_classes=1000)


def shapes_of(name, classes=1000):
    """Empty tensors as torchvision's file of a network has them."""
    model = zoo.build(name, pixels=Pixels(), num_classes=classes)
    return {
        name: np.broadcast_to(np.float32(0), tuple(variable.shape[i] for i in (3, 2, 0, 1)[-len(variable.shape) :]))
        if len(variable.shape) == 4
        else np.broadcast_to(np.float32(0), tuple(variable.shape)[::-1])
        for name, (_, variable) in tensor_names(model).items()
    }


def test_nothing_is_assigned_if_a_tensor_does_not_fit(resnet18):
    tensors, before = shapes_of("resnet18"), resnet18.get_layer("conv1").kernel.numpy()
    cases = {
        "it lacks 1 of the network's 102 tensors, fc.bias.": {"fc.bias": None},
        "it holds 1 of its 103 that the network has not, fc2.bias.": {"fc2.bias": np.zeros(3)},
        r"its fc.weight has shape \(1000, 511\), which gives \(511, 1000\)": {"fc.weight": np.zeros((1000, 511))},
        r"its bn1.bias has shape \(3,\), which gives \(3,\)": {"bn1.bias": np.zeros(3)},
    }
    for sentence, change in cases.items():
        changed = {name: value for name, value in (tensors | change).items() if value is not None}
        with pytest.raises(ValueError, match=f"^x.pth does not fit resnet18: {sentence}"):
            assign_tensors(resnet18, changed, "torch", source="x.pth")
    np.testing.assert_array_equal(resnet18.get_layer("conv1").kernel, before)


@pytest.mark.parametrize("classes", [1000, 37])
def test_the_wrong_network_is_named(resnet18, classes):
    tensors = shapes_of("resnet34", classes)
    assert find_similar_networks(tensors, "torch") == ["resnet34"]
    sentence = "^x.pth does not fit resnet18: it looks like resnet34; it holds 80 of its 182 that the network has not"
    with pytest.raises(ValueError, match=sentence):
        assign_tensors(resnet18, tensors, "torch", source="x.pth")
    assert find_similar_networks(shapes_of("resnet50", classes), "torch") == ["resnet50", "resnet50_paper"]
    keras_layout = {name: value.T if value.ndim == 2 else value for name, value in tensors.items()}
    assert find_similar_networks(keras_layout, "keras") == ["resnet34"]
    assert find_similar_networks({"a.bias": np.zeros(3)}, "torch") == []


def test_networks_with_the_same_shapes(resnet18):
    tensors, networks = shapes_of("resnet50"), ("resnet50_paper", "resnet101_paper")
    publisher = Publisher("theirs", "", "torch", {}, networks=networks, difference="where the first 1x1 has the stride")
    cases = [({}, "resnet50_paper or resnet101_paper"), (tensors, "resnet50_paper")]
    for held, names in cases:
        with pytest.raises(ValueError, match=f"^x.h5 does not fit resnet18: it is for {names}, where the first 1x1"):
            load_weights(resnet18, Weights(held, "torch", publisher=publisher), source="x.h5")


def test_auxiliary_heads_are_skipped(resnet18, monkeypatch):
    tensors, heads = shapes_of("resnet18"), {"aux2": 0.3, "aux1": 0.3}
    row = dataclasses.replace(zoo.variant("resnet18"), auxiliary_heads=heads)
    monkeypatch.setitem(zoo.variants(), "resnet18", row)
    more = {f"{head}.fc.{kind}": np.zeros(2) for head in ("aux1", "aux2") for kind in ("weight", "bias")}
    loaded = load_weights(resnet18, Weights(tensors | more, "torch", ("state_dict unwrapped",)), source="x.pth")
    assert loaded == ("102/102 tensors loaded", "state_dict unwrapped", "aux1, aux2 skipped: heads for training")
    with pytest.raises(ValueError, match="aux3.bias"):
        load_weights(resnet18, Weights(tensors | {"aux3.bias": np.zeros(2)}, "torch"), source="x.pth")


def test_variables_are_not_views_of_the_file(tmp_path):
    """The file may be changed, or removed, once it is loaded."""
    model = hidden()
    path = tmp_path / "weights.pth"
    path.write_bytes(writer.zip_bytes(TORCH))
    load_weights(model, read_weights(path), source="weights.pth")
    before = [weight.numpy().copy() for weight in model.weights]
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    for weight, expected in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_a_file_without_its_classifier_is_a_base_for_a_new_one(tiny, cli, pets, tmp_path):
    """As of self-supervised training: a network inside of a module, and no `fc`."""
    whole = models.load(tiny, "none")
    turned = {2: (1, 0), 4: (3, 2, 0, 1)}
    arrays = {
        f"backbone.{name}": np.asarray(value).transpose(turned.get(len(value.shape), (0,)))
        for name, (layer, value) in tensor_names(whole.model).items()
        if layer.name != "fc"
    } | {"projector.weight": np.ones((4, 4), "f4")}
    path = tmp_path / "moco.pth"
    path.write_bytes(writer.zip_bytes(arrays))
    network = models.load(tiny, path)
    assert network.classes == () and network.loaded[0] == "10/12 tensors loaded"
    assert network.loaded[-2:] == ("skipped, as not part of backbone: projector", "it has no classifier")
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("f4")
    new = with_head(network, ("cat", "dog"))
    features = [keras.Model(one.input, one.get_layer("fc").input) for one in (new.model, whole.model)]
    np.testing.assert_array_equal(*(one(pictures) for one in features))
    assert new.loaded[0] == "head 0 -> 2 new; 10/12 tensors loaded"
    status, _, err = cli("predict", tiny, pets, "--weights", path)
    assert status == 1 and "has no classifier" in err
    arrays.popitem()
    arrays.pop(next(iter(arrays)))
    path.write_bytes(writer.zip_bytes(arrays))
    with pytest.raises(ValueError, match=r"lacks 1 of the network's 10 tensors"):
        models.load(tiny, path)
