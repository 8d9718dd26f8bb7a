"""Both forms of GoogLeNet, with and without auxiliary heads, against the paper's table and torchvision."""

import importlib.util
import math

import keras
import numpy as np
import pytest
from reference_weights import assert_near, fill, fill_torch, load_torchvision, pictures, without_weights

from transferkit import zoo
from transferkit.lookup import UnknownName
from transferkit.pixels import CONVENTIONS
from transferkit.weights.assign import assign_tensors
from transferkit.zoo.googlenet import STAGES, VARIANTS

WEIGHTS = VARIANTS["googlenet"].loss_weights
BOTH = pytest.mark.parametrize("name", ["googlenet", "googlenet_paper"])


def build(name, size=None, classes=1000):
    return zoo.build(name, pixels=zoo.variant(name).pixels, num_classes=classes, size=size)


def count(model, prefix=""):
    layers = [layer for layer in model.layers if layer.name.startswith(prefix)]
    return sum(math.prod(weight.shape) for layer in layers for weight in layer.trainable_weights)


@pytest.mark.parametrize(
    ("name", "params", "first", "channels"),
    [
        ("googlenet", 6_624_904, 155_872, 256),
        ("googlenet_paper", 6_998_552, 163_696, 256),
        ("googlenet(aux=true)", 13_004_888, 155_872, 256),
        ("googlenet_paper(aux=true)", 13_378_280, 163_696, 256),
        ("googlenet_paper(inception=naive)", 97_526_008, 387_296, 416),
    ],
)
def test_counts(name, params, first, channels):
    """Of all, of 3a, and the maps that 3a passes on."""
    with without_weights():
        model = build(name)
    assert count(model) == params
    assert count(model, "inception3a.") == first
    assert model.get_layer("inception_3a").output.shape[-1] == channels


@BOTH
def test_sizes(name):
    """Table 1: 28, 14 and 7 pixels; the maps are the sum of the branches'."""
    model = build(name)
    names = ["stem"] + [f"inception_{module}" for modules in STAGES for module in modules]
    cut = keras.Model(model.input, [model.get_layer(name).output for name in names])
    shapes = cut.compute_output_shape((1, 224, 224, 3))
    sides = [28] * 3 + [14] * 5 + [7] * 2
    maps = [192, 256, 480, 512, 512, 512, 528, 832, 832, 1024]
    assert [tuple(shape) for shape in shapes] == [
        (1, side, side, channels) for side, channels in zip(sides, maps, strict=True)
    ]
    for stage, last in enumerate(("3b", "4e", "5b"), start=1):
        assert model.get_layer(f"stage{stage}").input is model.get_layer(f"inception_{last}").output


@pytest.mark.parametrize(
    ("name", "least", "side"),
    [
        ("googlenet(aux=true)", 15, 1),
        ("googlenet_paper(aux=true)", 79, 2),
    ],
)
def test_minimum_size_of_the_auxiliary_heads(name, least, side):
    model = build(name, size=least, classes=5)
    cut = keras.Model(model.input, model.get_layer("stage3").output)
    assert cut.compute_output_shape((1, least, least, 3)) == (1, side, side, 1024)
    keras.tree.map_structure(
        lambda logits: np.testing.assert_equal(logits.shape, (1, 5)), model(pictures(1, least, least))
    )
    with pytest.raises(UnknownName, match=f"at least {least} pixels"):
        build(name, size=least - 1)


@pytest.mark.parametrize("name", ["googlenet_paper", pytest.param("googlenet", marks=pytest.mark.slow)])
def test_losses_of_the_three_heads(name):
    """They count 1, 0.3 and 0.3, and go down."""
    model = build(f"{name}(aux=true)", size=96, classes=10)
    model.compile(
        keras.optimizers.SGD(0.001),
        loss={output: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for output in WEIGHTS},
        loss_weights=WEIGHTS,
    )
    images, labels = pictures(4, 96, 96), dict.fromkeys(WEIGHTS, np.arange(4))
    history = model.fit(images, labels, epochs=3, verbose=0).history
    assert history["loss"][0] == pytest.approx(1.6 * math.log(10), rel=1e-5)  # kernels of zero: no opinion yet
    assert history["loss"][-1] < history["loss"][0]
    found = model.evaluate(images, labels, verbose=0, return_dict=True)
    parts = {output: found[f"{output}_loss"] for output in WEIGHTS}
    assert len(set(parts.values())) == 3
    assert found["loss"] == pytest.approx(sum(WEIGHTS[output] * loss for output, loss in parts.items()), rel=1e-5)


@pytest.mark.parametrize("name", ["googlenet", pytest.param("googlenet_paper", marks=pytest.mark.slow)])
def test_auxiliary_heads_are_removed(name):
    model, plain = build(f"{name}(aux=true)"), build(name)
    fill(model)
    fill(plain)
    kept = keras.Model(model.input, model.output["logits"])
    assert not any(layer.name.startswith("aux") for layer in kept.layers)
    assert [layer.name for layer in kept.layers] == [layer.name for layer in plain.layers]
    images = pictures(1, 224, 224)
    np.testing.assert_array_equal(kept(images), plain(images))
    assert np.std(plain(images)) > 0


def test_tanh():
    model = build("googlenet(activation=tanh)")
    assert not any(isinstance(layer, keras.layers.ReLU) for layer in model.layers)
    assert model.get_layer("inception5b.branch4.1.relu").activation is keras.activations.tanh


@pytest.mark.slow
def test_dropout():
    for name, rate in (("googlenet", 0.2), ("googlenet_paper", 0.4), ("googlenet_paper(dropout=0.7)", 0.7)):
        assert build(name).get_layer("drop").rate == rate
    for head in ("aux1", "aux2"):
        assert build("googlenet(aux=true)").get_layer(f"{head}.dropout").rate == 0.7


@pytest.fixture
def torchvision():
    pytest.importorskip("torch")
    if not importlib.util.find_spec("torchvision"):
        pytest.skip("torchvision is not installed")
    return load_torchvision()


def as_in_the_paper(network):
    """torchvision's network made that of table 1 and of Caffe's replica."""
    from torch import nn

    for name, unit in list(network.has_class_names_modules()):
        if hasattr(unit, "bn"):
            side = 5 if name.endswith("branch3.1") else unit.conv.kernel_size[0]
            unit.conv = nn.Conv2d(
                unit.conv.in_channels, unit.conv.out_channels, side, unit.conv.stride, padding=side // 2
            )
            unit.bn = nn.Identity()
    network.maxpool1 = nn.Sequential(network.maxpool1, nn.LocalResponseNorm(5))
    network.maxpool2 = nn.Sequential(nn.LocalResponseNorm(5), network.maxpool2)
    network.maxpool4 = nn.MaxPool2d(3, 2, ceil_mode=True)
    network.transform_input = False
    return network


def torch_outputs(network, x, pool):
    """All three outputs without dropout and with the norms' averages: torch has the heads only while it trains."""
    import torch

    halfway = {}
    for head, module in (("aux1", network.inception4a), ("aux2", network.inception4d)):
        module.register_forward_hook(lambda _, __, output, head=head: halfway.update({head: output}))
    with torch.inference_mode():
        outputs = {"logits": network.eval()(torch.from_numpy(x).permute(0, 3, 1, 2))}
        for name, maps in halfway.items():
            head = getattr(network, name)
            outputs[name] = head.fc2(torch.relu(head.fc1(torch.flatten(head.conv(pool(maps)), 1))))
    return {name: output.numpy() for name, output in outputs.items()}


@pytest.mark.parametrize("size", [97, 224])
@BOTH
def test_torchvision(torchvision, name, size):
    """Measured: 1e-6 to 3e-6 of the spread, in all outputs."""
    from torch.nn import functional

    network = torchvision.models.googlenet(weights=None, aux_logits=True, transform_input=True, init_weights=False)
    pool = lambda x: functional.adaptive_avg_pool2d(x, 4)  # noqa: E731
    images = pictures(2, size, size)
    x = (images / np.float32(255) - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    if name == "googlenet_paper":
        network = as_in_the_paper(network)
        pool = lambda x: functional.avg_pool2d(x, 5, 3)  # noqa: E731
        x = images - np.float32(CONVENTIONS["caffe"].mean)
        for head in (network.aux1, network.aux2):  # one place of 6 pixels, 16 of 14
            head.fc1 = type(head.fc1)(128 if size == 97 else 2048, 1024)
    tensors = fill_torch(network)
    model = build(f"{name}(aux=true)", size=size)
    assign_tensors(model, tensors, "torch", source="torchvision")
    expected = torch_outputs(network, x, pool)
    for output, logits in model(images, training=False).items():
        assert_near(logits, expected[output], 1e-4)
