"""AlexNet, ZFNet, VGG, NiN, LeNet, All-CNN: statements of their papers that the tests of all networks do not cover."""

import importlib.util
import itertools
import math

import keras
import numpy as np
import pytest
from reference_weights import (
    TORCHVISION_PIXELS,
    assert_near,
    load_torchvision,
    pictures,
    torch_logits,
    torch_shape,
    without_weights,
)

from transferkit import zoo
from transferkit.keras_internals import producer
from transferkit.pixels import Pixels
from transferkit.weights.assign import assign_tensors, tensor_names

CLASSICS = [name for name in zoo.variants() if name.startswith(("alexnet", "zfnet", "vgg", "lenet", "allcnn"))]
FIXED = [name for name in CLASSICS if zoo.has_fixed_size(name)]


def build(name, size=None):
    row = zoo.variant(name)
    return zoo.build(name, pixels=row.pixels, num_classes=row.classes, size=size)


def count(weights):
    return sum(math.prod(weight.shape) for weight in weights)


def multiply_adds(model, side):
    found = [layer for layer in model.layers if any(weight.name == "kernel" for weight in layer.weights)]
    body = keras.Model(model.input, [layer.output for layer in found])
    shapes = body.compute_output_shape((1, side, side, model.input_shape[-1]))
    return sum(math.prod(one.kernel.shape) * math.prod(shape[1:-1]) for one, shape in zip(found, shapes, strict=True))


def cut(model, name, entry="pictures"):
    """The network from one of its layers to another."""
    return keras.Model(model.get_layer(entry).output, model.get_layer(name).output)


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("zfnet(widths=b)", 107_627_624, 2_476_704_896),
        ("zfnet(convolutional_head=true)", 62_357_608, 1_168_032_896),
        ("alexnet(convolutional_head=true, activation=tanh)", 61_100_840, 714_188_480),
        ("alexnet_paper(convolutional_head=true)", 60_965_224, 724_406_816),
        ("vgg16(convolutional_head=true, dropout=0)", 138_357_544, 15_470_264_320),
        ("lenet5(activation=relu)", 61_706, 416_520),
        ("lenet5(c3=table)", 61_706 - 900, 416_520 - 90_000),
        ("allcnn_c(activation=tanh, dropout=0, input_dropout=0)", 1_369_738, 270_798_336),
    ],
)
def test_counts_of_knobs(name, params, expected):
    with without_weights():
        model = build(name)
        assert count(model.trainable_weights) == params
        assert multiply_adds(model, zoo.variant(name).size) == expected


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("alexnet", {"conv1": 55, "stem": 27, "conv2": 27, "stage1": 13, "conv5": 13, "stage2": 6}),
        ("alexnet_paper", {"conv1": 55, "stem": 27, "conv2": 27, "stage1": 13, "conv5": 13, "stage2": 6}),
        ("zfnet", {"conv1": 110, "stem": 55, "conv2": 26, "stage1": 13, "conv5": 13, "stage2": 6}),
        ("vgg16c", {"conv1_2": 224, "stage1": 112, "stage2": 56, "stage3": 28, "conv5_3": 14, "stage5": 7}),
        ("vgg11_lrn", {"conv1_1": 224, "stage1": 112, "stage5": 7}),
        ("nin", {"conv1": 54, "stage1": 27, "stage2": 13, "stage3": 6, "scores": 6}),
    ],
)
def test_maps_of_the_papers(name, sides):
    with without_weights():
        model = build(name)
    body = keras.Model(model.input, [model.get_layer(layer).output for layer in sides])
    shapes = body.compute_output_shape((1, zoo.variant(name).size, zoo.variant(name).size, model.input_shape[-1]))
    assert {layer: shape[1] for layer, shape in zip(sides, shapes, strict=True)} == sides


def expected_cuts(name):
    if name == "lenet5":
        return ["c1", "s2", "stage1", "c3", "s4", "stage2", "c5", "f6", "pooled"]
    if name.startswith("allcnn"):
        return ["stage1", "stage2", "stage3"]
    if not name.startswith("vgg"):
        first = ["conv1", "stem", "conv2", "stage1", "conv3", "conv4", "conv5", "stage2"]
        return [*first, "fc6", "fc7", "pooled"]
    depths = {"11": (1, 1, 2, 2, 2), "13": (2,) * 5, "16": (2, 2, 3, 3, 3), "19": (2, 2, 4, 4, 4)}[name[3:5]]
    blocks = [[f"conv{i}_{j}" for j in range(1, depth + 1)] + [f"stage{i}"] for i, depth in enumerate(depths, start=1)]
    return [*itertools.chain(*blocks), "fc6", "fc7", "pooled"]


@pytest.mark.parametrize("name", CLASSICS)
def test_cut_points(name):
    """The papers' names, in order, after the activation: so layers with weights have others."""
    with without_weights():
        model = build(name)
    marks = [layer for layer in model.layers if isinstance(layer, keras.layers.Identity)]
    assert [layer.name for layer in marks] == expected_cuts(name)
    activated = [layer for layer in marks if layer.name.startswith(("conv", "fc", "c1", "c3", "c5", "f6"))]
    kinds = {type(producer(layer.input)) for layer in activated}
    assert kinds <= {keras.layers.ReLU, keras.layers.Rescaling}  # the tanh of LeNet is scaled
    assert all(layer.name.startswith(("features.", "classifier")) for layer in model.layers if layer.weights)
    if "pooled" in expected_cuts(name):
        assert model.get_layer("pooled").output.shape == (None, zoo.variant(name).features)
        assert model.get_layer("pooled").input is marks[-2].output


@pytest.mark.parametrize("name", CLASSICS)
def test_mixed_precision(name):
    """The normalisation of pixels, what is squared, and the logits are float32."""
    with without_weights():
        keras.config.set_dtype_policy("mixed_float16")
        try:
            model = build(name)
        finally:
            keras.config.set_dtype_policy("float32")
    row = zoo.variant(name)
    exact = {layer.name for layer in model.layers if layer.compute_dtype == "float32"}
    assert exact - {"scores", "logits"} == {"pixels", row.head}
    assert model.output.dtype == "float32"
    squares = [operation for operation in model.operations if operation.name.startswith("square")]
    assert all(operation.output.dtype == "float32" for operation in squares)
    assert len(squares) == {"alexnet_paper": 2, "zfnet": 2, "vgg11_lrn": 1}.get(name, 0)


@pytest.fixture(scope="module")
def alexnet_paper():
    return build("alexnet_paper")


@pytest.mark.parametrize(("entry", "layer"), [("stem", "conv2"), ("conv3", "conv4"), ("conv4", "conv5")])
def test_each_group_is_connected_to_its_half(alexnet_paper, entry, layer):
    body = cut(alexnet_paper, layer, entry)
    x = np.random.default_rng(0).uniform(0, 9, (1, *body.input_shape[1:])).astype("float32")
    half, out = x.shape[-1] // 2, body.output_shape[-1] // 2
    other = x.copy()
    other[..., :half] = 0
    before, after = np.asarray(body(x)), np.asarray(body(other))
    assert np.array_equal(before[..., out:], after[..., out:])
    assert not np.allclose(before[..., :out], after[..., :out])


def test_the_third_layer_is_connected_to_both_groups(alexnet_paper):
    """Section 3.5."""
    body = cut(alexnet_paper, "features.conv3", "stage1")
    x = np.random.default_rng(0).uniform(0, 9, (1, *body.input_shape[1:])).astype("float32")
    other = x.copy()
    other[..., :128] = 0
    assert (np.abs(np.asarray(body(x) - body(other))) > 0).mean() > 0.99


def test_initialisation_of_the_paper(alexnet_paper):
    """Section 5."""
    kernels = {layer.name: np.asarray(layer.kernel) for layer in alexnet_paper.layers if layer.weights}
    biases = {layer.name: np.unique(np.asarray(layer.bias)).tolist() for layer in alexnet_paper.layers if layer.weights}
    for name, kernel in kernels.items():
        assert abs(kernel.mean()) < 1e-3 and kernel.std() == pytest.approx(0.01, rel=0.02), name
    assert not np.allclose(kernels["features.conv4.0"], kernels["features.conv4.1"])
    zero = {"features.conv1", "features.conv3", "classifier.fc8"}
    assert biases == {name: [0.0 if name in zero else 1.0] for name in kernels}


def test_saved_and_loaded(alexnet_paper, tmp_path):
    """Groups and response normalisation are operations of Keras, so a file of them needs nothing of ours."""
    body = cut(alexnet_paper, "stage2")
    body.save(tmp_path / "body.keras")
    images = pictures(1, 224, 224)
    again = keras.models.load_model(tmp_path / "body.keras", safe_mode=True)
    np.testing.assert_allclose(again(images), body(images), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "alexnet",
        pytest.param("alexnet_paper", marks=pytest.mark.slow),
        pytest.param("zfnet", marks=pytest.mark.slow),
        pytest.param("vgg11_bn", marks=pytest.mark.slow),
    ],
)
def test_convolutional_head(name):
    """The same kernels in another shape: the same logits at the native size, and an average beyond it."""
    images, dense, free = pictures(2, 224, 224), build(name), build(f"{name}(convolutional_head=true)")
    for one, other in zip(dense.weights, free.weights, strict=True):
        other.assign(np.asarray(one).reshape(other.shape))
    head, random = free.get_layer(zoo.variant(name).head), np.random.default_rng(0)
    start = random.normal(0, 0.01, (4096, 1000)), random.normal(0, 0.01, 1000)
    head.set_weights(start)
    dense.get_layer(head.name).set_weights(start)
    assert free.input_shape == (None, None, None, 3)
    assert free.get_layer("pooled").output.shape == (None, 4096)
    assert_near(free(images, training=False), np.asarray(dense(images, training=False)), 1e-5)
    large = pictures(1, 288, 320)
    places = np.asarray(cut(free, "fc7")(large, training=False))
    assert places.shape[1] > 1 and places.shape[2] > places.shape[1]
    assert_near(free(large, training=False), np.asarray(head(places)).mean((1, 2)), 1e-5)


@pytest.fixture
def torchvision():
    pytest.importorskip("torch")
    if not importlib.util.find_spec("torchvision"):
        pytest.skip("torchvision is not installed")
    return load_torchvision()


@pytest.mark.parametrize("name", [name for name in FIXED if not name.endswith(("paper", "zfnet", "lrn", "16c"))])
def test_torchvision_names(torchvision, name):
    import torch

    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None).state_dict()
    with without_weights():
        ours = {key: torch_shape(variable) for key, (_, variable) in tensor_names(build(name)).items()}
    assert {key: tuple(value.shape) for key, value in theirs.items() if "num_batches" not in key} == ours


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("alexnet", (63, 160, 288)),
        pytest.param("vgg11", (32, 160, 288), marks=pytest.mark.slow),
        pytest.param("vgg11_bn", (96,), marks=pytest.mark.slow),
    ],
)
def test_torchvision_at_other_sizes(torchvision, name, sizes):
    network = torchvision.models.get_model(name, weights=None, num_classes=50).eval()
    tensors = {
        key: value.numpy() for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")
    }
    for size in sizes:
        model = zoo.build(name, pixels=Pixels(), num_classes=50, size=size)
        assign_tensors(model, dict(tensors), "torch", source="torchvision")
        images = pictures(2, size, size)
        assert_near(model(images, training=False), torch_logits(network, images, *TORCHVISION_PIXELS), 1e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alexnet(dropout=0.3)", [("flat", 0.3), ("fc6", 0.3)]),
        ("alexnet_paper(dropout=0.3)", [("fc6", 0.3), ("pooled", 0.3)]),
        ("zfnet", [("fc6", 0.5), ("pooled", 0.5)]),
        ("vgg16", [("fc6", 0.5), ("pooled", 0.5)]),
        ("vgg16(convolutional_head=true)", [("fc6", 0.5), ("pooled", 0.5)]),
        ("alexnet(convolutional_head=true)", [("stage2", 0.5), ("fc6", 0.5)]),
        ("allcnn_c", [("pixels", 0.2), ("stage1", 0.5), ("stage2", 0.5)]),
        ("allcnn_c(dropout=0.4, input_dropout=0)", [("pixels", 0.0), ("stage1", 0.4), ("stage2", 0.4)]),
        ("lenet5", []),
    ],
)
def test_positions_of_dropout(name, expected):
    with without_weights():
        model = build(name)
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [(producer(layer.input).name, layer.rate) for layer in dropouts] == expected


@pytest.mark.parametrize("name", ["alexnet", "alexnet_paper", "zfnet", "vgg13_bn", "allcnn_a"])
def test_tanh(name):
    with without_weights():
        model = build(f"{name}(activation=tanh)")
    assert not any(isinstance(layer, keras.layers.ReLU) for layer in model.layers)
    kinds = [layer.activation for layer in model.layers if isinstance(layer, keras.layers.Activation)]
    assert kinds and set(kinds) == {keras.activations.tanh}
