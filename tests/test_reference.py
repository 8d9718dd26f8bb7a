"""The networks answer as the public ones do: recorded answers, torchvision itself, real photographs."""

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
from transferkit.weights import files
from transferkit.weights.assign import assign
from transferkit.weights.catalogue import weight_set
from transferkit.weights.fetch import locate

RECORDED = json.loads((Path(__file__).parent / "data" / "reference.json").read_text("utf-8"))
SLOW = {"resnet101", "resnet152"}
NETWORKS = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in RECORDED["networks"]]


@pytest.mark.parametrize("name", NETWORKS)
def test_recorded_logits(name):
    """Measured: 1e-6 to 3e-6 of the spread. With a wrong epsilon it would be 1e-2, with TensorFlow's padding 0.1."""
    recorded = RECORDED["networks"][name]
    assert fill(build(name)) == recorded["tensors"]
    for size, expected in recorded["logits"].items():
        height, width = map(int, size.split("x"))
        logits = build(name)(pictures(len(expected), height, width), training=False)
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


@pytest.mark.parametrize("container", ["zip", "stream"])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvision(torch, name, container, tmp_path):
    """A file of its own initial weights, the norms' statistics moved by one step of training."""
    torch.manual_seed(0)
    images, path = pictures(2, 64, 75), tmp_path / "weights.pth"
    network = load_torchvision().models.get_model(name, weights=None)
    torch_logits(network.train(), images, *TORCHVISION_PIXELS)
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=container == "zip")
    tensors, layout, _ = files.read(path)
    assign(build(name), tensors, layout, source=path.name)
    expected = torch_logits(network.eval(), images, *TORCHVISION_PIXELS)
    assert_near(build(name)(images, training=False), expected, 1e-4)


@pytest.mark.skipif(not locate(weight_set("efficientnet_lite0")), reason="the package of weights is not installed")
def test_photographs():
    """A temple by a lake and a flower, by the network whose weights come in a package."""
    network = models.load("efficientnet_lite0")
    assert network.loaded == ("247/247 tensors loaded", "49 num_batches_tracked left out")
    photographs = [
        Image.fromarray(image).crop((106, 0, 533, 427)).resize((224, 224), Image.Resampling.BICUBIC)
        for image in load_sample_images().images
    ]
    logits = np.asarray(network.model(np.stack(photographs), training=False))
    assert [network.classes[index] for index in logits.argmax(axis=1)] == ["palace", "daisy"]
