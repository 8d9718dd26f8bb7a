"""Knobs that several families share: exact counts, what is computed, and what is refused."""

import json
import math
import re

import keras
import numpy as np
import pytest
import record_networks
from reference_weights import build, without_weights

from transferkit import bases, zoo
from transferkit.explain import geometry
from transferkit.lookup import UnknownName
from transferkit.zoo import knobs, layers

FAMILIES = ["alexnet_paper", "alexnet", "zfnet", "vgg11", "nin", "googlenet_paper", "lenet5", "allcnn_b", "resnet18"]
FAMILIES += ["plain20_cifar", "resnet20_cifar", "simple_cnn", "local_cnn", "mlp"]


def model_of(name, size=None):
    return zoo.build(name, pixels=zoo.variant(name).pixels, num_classes=zoo.variant(name).classes, size=size)


def params(name):
    with without_weights():
        return sum(math.prod(weight.shape) for weight in model_of(name).trainable_weights)


def cifar(blocks, channels, shortcut=0):
    """Parameters of a CIFAR ResNet by section 4.2; `channels` of the three stages."""
    before, total = 3, 0
    for width, layers_of in zip((channels[0], *channels), (1, *(2 * blocks,) * 3), strict=True):
        for _ in range(layers_of):
            total += 9 * before * width + 2 * width
            before = width
    return total + 10 * before + 10


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # every group sees half of the maps: twice the kernels of conv2, conv4 and conv5 without groups
        ("alexnet_paper(groups=1)", 60_965_224 + 25 * 48 * 256 + 9 * 192 * 384 + 9 * 192 * 256),
        ("alexnet(groups=2)", 61_100_840 - (25 * 64 * 192 + 9 * 384 * 256 + 9 * 256 * 256) // 2),
        ("alexnet_paper(lrn=false)", 60_965_224),
        ("alexnet_paper(pool=average)", 60_965_224),
        # a convolution of 3x3, or 2x2, from each map to each, in place of three pools
        ("alexnet_paper(pool=stride)", 60_965_224 + 9 * (96**2 + 2 * 256**2) + 96 + 2 * 256),
        ("alexnet(pool=stride, pool_size=2)", 61_100_840 + 4 * (64**2 + 192**2 + 256**2) + 64 + 192 + 256),
        ("vgg11(pool=stride)", 132_863_336 + sum(4 * c * c + c for c in (64, 128, 256, 512, 512))),
        ("nin(pool=stride)", 7_595_176 + sum(9 * c * c + c for c in (96, 256, 384))),
        ("lenet5(pool=stride)", 61_706 + sum(4 * c * c + c for c in (6, 16))),
        # batch norm has two numbers for each map, a bias is one
        ("resnet20_cifar(norm=none)", 269_722 - (7 * 16 + 6 * 32 + 6 * 64)),
        ("plain20_cifar(norm=group)", 269_722),
        ("resnet20_cifar(widen=2)", cifar(3, (32, 64, 128))),
        ("plain56_cifar(widen=0.5)", cifar(9, (8, 16, 32))),
        ("resnet18(norm=none)", 11_689_512 - 4_800),
        ("resnet18(dropout=0.3)", 11_689_512),
        # table 2 of All-CNN: 3x3 convolutions of 96 and 192 maps come and go
        ("allcnn_a(variant=base)", 1_254_250 - (9 * 96**2 + 96) - (9 * 192**2 + 192)),
        ("allcnn_b(variant=strided)", 1_300_618 - (9 * 96**2 + 96) - (9 * 192**2 + 192)),
        ("allcnn_c(variant=strided)", 1_369_738 - (9 * 96**2 + 96) - (9 * 192**2 + 192)),
        ("allcnn_c(variant=convpool)", 1_369_738),
    ],
)
def test_counts(name, expected):
    assert params(name) == expected


def test_counts_of_resnets_agree_with_the_formula():
    assert cifar(3, (16, 32, 64)) == 269_722 and cifar(9, (16, 32, 64)) == 853_018


@pytest.mark.parametrize("name", ["allcnn_a", "allcnn_b", "allcnn_c"])
@pytest.mark.parametrize("variant", knobs.KNOBS["variant"].values)
def test_maps_of_allcnn(name, variant):
    """All columns of table 2 have maps of 16 and 8 pixels after the two blocks."""
    with without_weights():
        model = model_of(f"{name}(variant={variant})")
    outputs = [model.get_layer(stage).output for stage in ("stage1", "stage2")]
    shapes = keras.Model(model.input, outputs).compute_output_shape((1, 32, 32, 3))
    assert [shape[1:] for shape in shapes] == [(16, 16, 96), (8, 8, 192)]


def every_value():
    """Each knob of each family at each of its values, at the others' defaults."""
    for family in FAMILIES:
        for name, knob in zoo.variant(family).knobs.items():
            numbers = {"init": (0.01,), "dropout": (0.3,), "widen": (0.5, 2), "depth": (1, 5), "kernel": (1, 4, 5)}
            some = {"hidden": ("7", "300-100-50"), "width": (3,), "input_dropout": (0.0,)}
            values = [*knob.values, *(numbers | some).get(name, ())] if name != "aux" else []
            if values := [value for value in values if value != knob.default]:  # tests/test_googlenet.py has the heads
                yield pytest.param(family, name, values, id=f"{family}-{name}")


@pytest.mark.parametrize(("family", "knob", "values"), list(every_value()))
def test_every_value_builds_and_computes_at_the_minimum_size(family, knob, values):
    for value in values:
        name = zoo.spell(family, **{knob: knobs.spell_value(value)})
        assert zoo.spell(name) == name != family
        side, fixed = zoo.minimum_size(name), zoo.has_fixed_size(name)
        with without_weights():
            model = model_of(name, side if fixed else None)
            rows = geometry.measure_layers(model, side)
        assert all(size > 0 for row in rows for size in row.output if size is not None)


def logits_of(name, images, seed=0):
    keras.utils.set_random_seed(seed)
    model = model_of(name)
    random = np.random.default_rng(0)
    head = model.get_layer(zoo.variant(name).head)
    head.set_weights([random.normal(0, 1, weight.shape) for weight in head.get_weights()])
    return np.asarray(model(images, training=False))


def test_stacked_layers_without_activation_are_one_linear_map():
    """Without activations and with averages, f(a x + (1 - a) y) = a f(x) + (1 - a) f(y); with ReLU it is not."""
    x, y = np.random.default_rng(0).uniform(0, 255, (2, 1, 32, 32, 3)).astype("float32")
    for activation, alike in (("none", True), ("relu", False)):
        name = f"simple_cnn(activation={activation}, pool=average, depth=2)"
        mixed = logits_of(name, 0.3 * x + 0.7 * y)
        expected = 0.3 * logits_of(name, x) + 0.7 * logits_of(name, y)
        assert np.allclose(mixed, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max()) is alike


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("side", [6, 7])
@pytest.mark.parametrize("act", ["relu", "tanh"])
def test_windows_of_pools(kind, size, side, act):
    """Against a loop; of an even side the last window of 3 has two pixels, one of them twice in the average."""
    x = np.random.default_rng(0).uniform(-9, 0 if act == "tanh" else 9, (1, side, side, 2)).astype("float32")
    x = np.maximum(x, 0) if act == "relu" else x  # of negative values a zero beside the border would be the maximum
    maps = keras.Input(x.shape[1:])
    found = np.asarray(keras.Model(maps, layers.halve(maps, pool=kind, size=size, act=act, ceil=True, name="pool"))(x))
    edged = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="edge")
    reduce = np.max if kind == "max" else np.mean
    starts = range(0, 2 * (side // 2), 2)
    rows = [[reduce(edged[:, i : i + size, j : j + size], axis=(1, 2)) for j in starts] for i in starts]
    np.testing.assert_allclose(found, np.moveaxis(np.array(rows), 2, 0), rtol=1e-5)


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        ("he", lambda i, o: math.sqrt(2 / i)),
        ("glorot", lambda i, o: math.sqrt(2 / (i + o))),
        ("0.05", lambda i, o: 0.05),
    ],
)
@pytest.mark.parametrize("name", ["simple_cnn", "local_cnn", "resnet20_cifar"])
def test_init(name, init, expected):
    """The deviation of every kernel that has enough numbers; of a locally connected one by what a unit sees."""
    model = model_of(f"{name}(init={init})")
    kernels = {layer.name: np.asarray(layer.kernel) for layer in model.layers if hasattr(layer, "kernel")}
    kernels = {layer: kernel for layer, kernel in kernels.items() if kernel.size > 2000}
    assert len(kernels) >= 2
    for layer, kernel in kernels.items():
        outputs = kernel.shape[-1]
        places = 1 if name == "local_cnn" else kernel[..., 0, 0].size
        inputs = kernel.shape[-2] * places
        # both fans of a locally connected unit count the 3x3 places of its kernel
        outputs *= 9 if name == "local_cnn" and kernel.ndim == 4 else places
        assert kernel.std() == pytest.approx(expected(inputs, outputs), rel=0.05), layer


def test_kernels_begin_as_the_family_has_them_outside_of_a_network_with_the_knob():
    before = build("lenet5").get_layer("features.c3").kernel
    model_of("lenet5(init=0.3)")
    after = model_of("lenet5").get_layer("features.c3").kernel
    assert np.asarray(after).std() == pytest.approx(np.asarray(before).std(), rel=0.2)


def test_norm_group():
    """As its definition, with a group of two maps for 16 (Wu, He 2018, equation 7)."""
    x = np.random.default_rng(0).normal(3, 2, (2, 5, 5, 16)).astype("float32")
    maps = keras.Input(x.shape[1:])
    found = np.asarray(keras.Model(maps, layers.normalise(maps, "group", name="n"))(x))
    grouped = x.reshape(2, 25, 8, 2)
    mean, var = grouped.mean((1, 3), keepdims=True), grouped.var((1, 3), keepdims=True)
    np.testing.assert_allclose(found, ((grouped - mean) / np.sqrt(var + 1e-5)).reshape(x.shape), rtol=1e-3, atol=1e-4)


def test_dropout_of_a_resnet_is_before_the_classifier():
    with without_weights():
        model = model_of("resnet18(dropout=0.3)")
        plain = model_of("resnet18")
    assert model.get_layer("fc").input is model.get_layer("drop").output
    assert model.get_layer("drop").input is model.get_layer("pooled").output and model.get_layer("drop").rate == 0.3
    assert "drop" not in [layer.name for layer in plain.layers]


def test_lrn_off_and_on():
    with without_weights():
        for name, count in {"alexnet_paper": 2, "alexnet_paper(lrn=false)": 0, "alexnet(lrn=true)": 2}.items():
            squares = [one for one in model_of(name).operations if one.name.startswith("square")]
            assert len(squares) == count


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("alexnet(pool=2)", ["No value of alexnet's pool is called '2'", "Did you mean pool_size=2?"]),
        ("alexnet(activation=sigmiod)", ["Did you mean 'sigmoid'?", "Known: none, relu, sigmoid, tanh"]),
        ("alexnet_paper(lrm=false)", ["No knob of alexnet_paper is called 'lrm'. Did you mean 'lrn'"]),
        ("vgg11(init=hee)", ["Did you mean 'he'?", "default, glorot, he, a number from 0 to below 1"]),
        ("vgg11(init=-1)", ["is called '-1'", "a number from 0 to below 1"]),
        ("vgg11(dropout=nan)", ["dropout of vgg11 must be a number from 0 to below 1, not 'nan'"]),
        ("simple_cnn(depth=9)", ["depth of simple_cnn must be a whole number from 1 to 5, not '9'"]),
        ("simple_cnn(depth=2.5)", ["must be a whole number from 1 to 5, not '2.5'"]),
        ("mlp(hidden=300-x)", ["hidden of mlp must be whole numbers from 1 to 8192 as 300-100, not '300-x'"]),
        ("resnet18(widen=0)", ["widen of resnet18 must be a number from 0.1 to below 10, not '0'"]),
    ],
)
def test_wrong_values(name, words):
    with pytest.raises(UnknownName) as error:
        zoo.spell(name)
    for part in words:
        assert part in str(error.value)


def test_zero_init_without_a_norm():
    with pytest.raises(UnknownName, match="zero_init=true sets the scale of a norm: expected norm=batch"):
        model_of("resnet18(norm=none, zero_init=true)")


@pytest.mark.parametrize("knob", ["stem=small", "activation=tanh", "norm=group", "widen=0.5", "init=he", "shortcut=a"])
def test_public_weights_are_refused_where_they_are_for_something_else(knob):
    name = f"resnet18({knob})"
    with pytest.raises(UnknownName, match=f"do not suit {knob}: expected resnet18 without it, .*--weights none"):
        bases.check_base(name)
    bases.check_base(name, "none")


@pytest.mark.parametrize(
    "name", ["resnet18(output_stride=8, dropout=0.2)", "vgg16(convolutional_head=true)", "googlenet(aux=true)"]
)
def test_public_weights_stay_where_they_compute_the_same(name):
    bases.check_base(name)


def test_inspect_lists_the_knobs(cli):
    status, out, _ = cli("inspect", "mlp(hidden=8)", "--json")
    assert status == 0 and json.loads(out)
    out = " ".join(cli("inspect", "mlp")[1].split())
    assert "hidden=512-512, whole numbers from 1 to 8192 as 300-100" in out
    assert "activation=relu|tanh|sigmoid|none" in out


def test_the_tables_in_the_docs_are_those_of_the_code():
    text = record_networks.PATH.read_text("utf-8")
    assert text == record_networks.source(), "run python tests/record_networks.py"
    small = {name: zoo.variant(name) for name in ("simple_cnn", "local_cnn", "mlp")}
    for name, row in small.items():
        assert re.search(rf"`{name}`.*\| {row.params:,} \| {row.multiply_adds:,} \|", text)
