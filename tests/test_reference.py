"""Same logits as the public networks: recorded logits, torchvision itself, photographs."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reference_weights import (
    TORCHVISION_PIXELS,
    assert_near,
    build,
    fill,
    load_torchvision,
    pictures,
    torch_logits,
)
from sklearn.datasets import load_sample_images

from transferkit import models, zoo
from transferkit.weights.catalogue import find_weight_set, networks_with_weights
from transferkit.weights.local_files import find_weights

RECORDED = json.loads((Path(__file__).parent / "data" / "reference.json").read_text("utf-8"))
SLOW = {name for name, row in zoo.variants().items() if row.multiply_adds > 5e9}
NETWORKS = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in RECORDED["networks"]]


def of_size(model, side):
    """The same network for squares of another size, where hidden dense layers tie it to one."""
    if model.input_shape[1] in (None, side):
        return model
    other = zoo.build(model.name, pixels=zoo.variant(model.name).pixels, num_classes=1000, size=side)
    other.set_weights(model.get_weights())
    return other


@pytest.mark.parametrize("name", networks_with_weights())
def test_every_network_with_public_weights_is_recorded(name):
    """Its publisher's answers: with a wrong name, activation or order of branches ours would be others."""
    assert name in RECORDED["networks"], f"see CONTRIBUTING.md, and run: python tests/record_reference.py {name}"


@pytest.mark.parametrize("name", NETWORKS)
def test_recorded_logits(name):
    """Measured: 1e-6 to 9e-6 of the spread. With a wrong epsilon it would be 1e-2, with TensorFlow's padding 0.1."""
    recorded, model = RECORDED["networks"][name], build(name)
    assert fill(model) == recorded["tensors"]
    for size, expected in recorded["logits"].items():
        height, width = map(int, size.split("x"))
        logits = of_size(model, height)(pictures(len(expected), height, width), training=False)
        assert_near(logits[:, :: RECORDED["step"]], expected, 1e-4)


@pytest.mark.parametrize("name", RECORDED["networks"])
def test_recorded_parameters(name):
    assert zoo.variant(name).params == RECORDED["networks"][name]["parameters"]


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    if not importlib.util.find_spec("torchvision"):
        pytest.skip("torchvision is not installed")
    return torch


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("resnet18", "zip"),
        ("resnet18", "stream"),
        ("resnet50", "zip"),
        ("alexnet", "zip"),
        pytest.param("vgg11_bn", "stream", marks=pytest.mark.slow),
        ("googlenet", "stream"),  # with its heads for training, as in the public file
    ],
)
def test_torchvision(torch, name, container, tmp_path):
    """A file of its own initial weights, the norms' statistics moved by one step of training."""
    torch.manual_seed(0)
    options = {"transform_input": True, "init_weights": False} if name == "googlenet" else {}
    size = (224, 224) if zoo.has_fixed_size(name) else (64, 75)
    images, path = pictures(2, *size), tmp_path / "weights.pth"
    network = load_torchvision().models.get_model(name, weights=None, **options)
    torch_logits(network.train(), images, *TORCHVISION_PIXELS)
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=container == "zip")
    expected = torch_logits(network.eval(), images, *TORCHVISION_PIXELS)
    loaded = models.load(name, path)
    path.unlink()  # half a gigabyte
    assert_near(loaded.model(images, training=False), expected, 1e-4)
    skipped = any("aux1, aux2 skipped" in message for message in loaded.loaded)
    assert skipped == (name == "googlenet")


def packaged(name):
    """A network with the weights that come in its package."""
    if not find_weights(find_weight_set(name)):
        pytest.skip("the package of weights is not installed")
    network, count = models.load(name), RECORDED["networks"][name]["tensors"]
    assert network.loaded == (f"{count}/{count} tensors loaded",)
    return network


@pytest.mark.parametrize("name", RECORDED["public"])
def test_recorded_logits_of_public_weights(name):
    """At the native size. Measured: 3e-6 to 7e-6 of the spread."""
    network, expected = packaged(name), RECORDED["public"][name]
    images = pictures(len(expected), network.pixels.crop, network.pixels.crop)
    assert_near(network.model(images, training=False)[:, :: RECORDED["step"]], expected, 1e-4)


def test_photographs():
    """A temple by a lake and a flower, by a network whose weights come in a package."""
    network = packaged("efficientnet_lite0")
    photographs = [
        Image.fromarray(image).crop((106, 0, 533, 427)).resize((224, 224), Image.Resampling.BICUBIC)
        for image in load_sample_images().images
    ]
    logits = np.asarray(network.model(np.stack(photographs), training=False))
    assert [network.classes[index] for index in logits.argmax(axis=1)] == ["palace", "daisy"]
