"""The networks answer as the public ones do: torchvision's recorded answers, torchvision itself, a real photograph."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from reference_weights import SIZES, fill, load_torchvision, pictures, torchvision_logits
from test_zoo import assert_near

from transferkit import models, zoo
from transferkit.pixels import Pixels
from transferkit.weights import files
from transferkit.weights.assign import assign
from transferkit.weights.catalogue import weight_set
from transferkit.weights.fetch import locate

RECORDED = json.loads((Path(__file__).parent / "data" / "resnet_reference.json").read_text("utf-8"))
SLOW = {"resnet101", "resnet152"}
NETWORKS = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in RECORDED["networks"]]


@pytest.mark.parametrize("name", NETWORKS)
def test_recorded_logits(name):
    """Measured: the differences are 1e-6 of the spread. A norm's epsilon of 1e-3 makes them 1e-2 or more."""
    recorded = RECORDED["networks"][name]
    model = zoo.build(name, pixels=Pixels(), num_classes=1000)
    assert fill(model) == recorded["tensors"]
    for size, expected in recorded["logits"].items():
        logits = np.asarray(model(pictures(*SIZES[size]), training=False))
        assert_near(logits[:, :: RECORDED["step"]], np.array(expected), 1e-4)


@pytest.mark.parametrize("name", RECORDED["networks"])
def test_recorded_parameters(name):
    assert zoo.variant(name).params == RECORDED["networks"][name]["parameters"]


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    try:
        load_torchvision()
    except ImportError:
        pytest.skip("torchvision is not installed")
    return torch


@pytest.mark.parametrize("container", ["zip", "stream"])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvision(torch, name, container, tmp_path):
    """A file of its own initial weights, the norms' statistics moved by one step of training."""
    torch.manual_seed(0)
    images, path = pictures(2, 64, 75), tmp_path / "weights.pth"
    network = load_torchvision().models.get_model(name, weights=None)
    torchvision_logits(network.train(), images)
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=container == "zip")
    model = zoo.build(name, pixels=Pixels(), num_classes=1000)
    tensors, layout = files.read(path)
    assign(model, tensors, layout, source=path.name)
    expected = torchvision_logits(network.eval(), images)
    assert_near(np.asarray(model(images, training=False)), expected, 1e-4)
