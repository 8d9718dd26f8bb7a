"""Receptive fields and costs against the papers, manual counts, and gradients of the networks."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from reference_weights import build

from transferkit.explain import geometry


def chain(*steps):
    """A model of layers one after the other, all padded by hand or not at all."""
    x = pictures = keras.Input((None, None, 3))
    for step in steps:
        x = step(x)
    return keras.Model(pictures, x)


def fields(model, size=None):
    return {layer.name: (layer.receptive_field, layer.stride) for layer in geometry.measure_layers(model, size)}


def conv(kernel, stride=1, **more):
    return layers.Conv2D(2, kernel, stride, use_bias=False, **more)


def test_receptive_fields_of_alexnet():
    model = chain(
        conv(11, 4, name="conv1"),
        layers.MaxPooling2D(3, 2, name="pool1"),
        conv(5, padding="same", name="conv2"),
        layers.MaxPooling2D(3, 2, name="pool2"),
        conv(3, padding="same", name="conv3"),
        conv(3, padding="same", name="conv4"),
        conv(3, padding="same", name="conv5"),
        layers.MaxPooling2D(3, 2, name="pool5"),
    )
    found = list(fields(model, 227).values())[1:]
    assert [side for side, _ in found] == [11, 19, 51, 67, 99, 131, 163, 195]
    assert [stride for _, stride in found] == [4, 8, 8, 16, 16, 16, 16, 32]
    assert geometry.measure_layers(model, 227)[-1].output == (6, 6, 2)


def test_receptive_fields_of_vgg16():
    blocks = []
    for block, depth in enumerate((2, 2, 3, 3, 3), start=1):
        blocks += [conv(3, padding="same", name=f"conv{block}_{i + 1}") for i in range(depth)]
        blocks += [layers.MaxPooling2D(2, name=f"pool{block}")]
    found = fields(chain(*blocks))
    assert (found["conv5_3"], found["pool5"]) == ((196, 16), (212, 32))


@pytest.mark.parametrize(
    ("name", "sides"),  # by hand: a 3x3 convolution adds two strides of what it reads; the first of a stage reads finer
    [
        ("resnet18", [11, 43, 99, 211, 435]),
        ("resnet34", [11, 59, 179, 547, 899]),
        ("resnet50", [11, 35, 91, 267, 427]),
    ],
)
def test_resnets_stage_by_stage(name, sides):
    cuts = [layer for layer in geometry.measure_layers(build(name), 224) if layer.kind == "Identity"]
    assert [cut.receptive_field for cut in cuts] == sides
    assert [cut.stride for cut in cuts] == [4, 4, 8, 16, 32]
    assert [cut.output[0] for cut in cuts] == [56, 56, 28, 14, 7]


@pytest.mark.parametrize(("name", "side"), [("MobileNet", 315), ("ResNet50", 483), ("InceptionV3", 1311)])
def test_networks_of_keras_applications(name, side):
    """Table of Araujo, Norris and Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks"."""
    found = geometry.measure_layers(getattr(keras.applications, name)(weights=None))
    last = next(layer for layer in reversed(found) if layer.is_map)
    assert (last.receptive_field, last.stride) == (side, 32)


def mixed(x):
    """Strides, both paddings, dilation, uneven margins."""
    x = layers.ReLU()(layers.BatchNormalization()(conv(7, 2, padding="same")(x)))
    x = layers.MaxPooling2D(3, 2, padding="same")(layers.ZeroPadding2D(((0, 1), (2, 0)))(x))
    x = conv(3, padding="same", dilation_rate=2)(x)
    return layers.DepthwiseConv2D(2, 1, depth_multiplier=2)(x)


def branches(x):
    """An Inception module, then a residual block whose shortcut is a crop, then one whose shortcut is subsampled."""
    x = layers.AveragePooling2D(2, padding="same")(x)
    wide = [
        conv(1)(x),
        conv(3, padding="same")(x),
        conv((5, 1), padding="same")(x),
        layers.MaxPooling2D(3, 1, "same")(x),
    ]
    x = layers.Concatenate()(wide)
    x = layers.Add()([conv(3)(layers.SeparableConv2D(8, 3)(x)), conv(1)(layers.Cropping2D(((1, 3), (2, 2)))(x))])
    return layers.Add()([conv(3, 2, padding="same")(x), x[:, ::2, ::2]])


def operations(x):
    """The same with operations that are no layers."""
    kernel = np.ones((3, 3, 3, 3), "float32")
    x = ops.pad(x, [[0, 0], [2, 1], [0, 3], [0, 0]])
    x = ops.conv(x, kernel, strides=2, padding="same")
    x = ops.concatenate([ops.multiply(x, 2.0), ops.max_pool(x, 3, 1, "same")], -1)[..., 2:5]
    x = ops.depthwise_conv(x, kernel[..., :1], padding="valid", dilation_rate=2)
    return ops.average_pool(x[:, -9:-1, 1:], 2, 2, "valid") + 0.0


EXACT = {function.__name__: function for function in (mixed, branches, operations)}


def seen(model, size: int, axis: int) -> np.ndarray:
    """(lines, places): whether a place answers to a line of pixels across the picture. All weights are positive."""
    for weight in model.weights:
        weight.assign(abs(np.asarray(weight)))
    lines = np.zeros((size, size, size, 3), "float32")
    for line in range(size):
        lines[(line, line) if axis == 0 else (line, slice(None), line)] = 1
    answers = np.asarray(model(lines, training=False))
    return np.any(answers != 0, axis=(3, 2 - axis))


@pytest.mark.parametrize("size", [32, 37])
@pytest.mark.parametrize("name", EXACT)
def test_receptive_fields_are_the_pixels_with_a_gradient(name, size):
    pictures = keras.Input((None, None, 3))
    model = keras.Model(pictures, layers.Identity(name="end")(EXACT[name](pictures)))
    last = geometry.measure_layers(model, size)[-1]
    for axis, span in enumerate(last.spans):
        answers = seen(model, size, axis)
        assert answers.shape[1] == last.output[axis] > 2
        for place, lines in enumerate(answers.T):
            first, end = np.clip(span.at(place), 0, size)
            assert (lines.argmax(), size - lines[::-1].argmax()) == (first, end)


@pytest.mark.parametrize(
    "finer",
    [
        layers.Conv2DTranspose(2, 3, 2, padding="same", use_bias=False),
        layers.Conv2DTranspose(2, 4, 3, use_bias=False),
        layers.UpSampling2D(2),
        layers.UpSampling2D(3, interpolation="bilinear"),
    ],
    ids=lambda layer: layer.name,
)
def test_upsampling(finer):
    """Neighbours see more or less, by their phase: no place sees beyond its span, which is no wider than need be."""
    model = chain(conv(3, 2), finer, conv(3, padding="same"))
    last = geometry.measure_layers(model, 33)[-1]
    assert 2 / last.stride == {"conv2d_transpose": 2, "up_sampling2d": 2}.get(finer.name, 3)
    answers, widest = seen(model, 33, 0), 0
    for place, lines in enumerate(answers.T):
        found = np.flatnonzero(lines)
        first, end = last.spans[0].at(place)
        assert first <= found[0]
        assert found[-1] < end
        widest = max(widest, found[-1] - found[0] + 1)
    assert widest <= last.receptive_field <= widest + 2


def test_multiply_adds_of_every_kind():
    """By hand, on 8x8: kernel numbers times places of the output, or of the input of a transposed one."""
    found = geometry.measure_layers(
        chain(
            layers.Conv2D(8, 3, padding="same", name="full"),
            layers.Conv2D(8, 3, padding="same", groups=4, name="grouped"),
            layers.DepthwiseConv2D(3, 2, "same", name="depthwise"),
            layers.SeparableConv2D(4, 3, padding="same", name="separable"),
            layers.Conv2DTranspose(5, 3, 2, padding="same", name="transposed"),
            layers.Dense(7, name="each"),
            layers.GlobalAveragePooling2D(name="pooled"),
            layers.Dense(10, name="last"),
        ),
        8,
    )
    products = {layer.name: layer.multiply_adds for layer in found[1:]}
    assert products == {
        "full": 64 * 27 * 8,
        "grouped": 64 * 9 * 2 * 8,
        "depthwise": 16 * 9 * 8,
        "separable": 16 * (9 * 8 + 8 * 4),
        "transposed": 16 * 9 * 5 * 4,
        "each": 64 * 5 * 7,
        "pooled": 0,
        "last": 70,
    }


def test_vectors_have_the_whole_picture_as_receptive_field():
    model = chain(conv(3, 2), layers.GlobalAveragePooling2D(name="pooled"), layers.Dense(4, name="fc"))
    for layer in geometry.measure_layers(model, 16)[-2:]:
        assert (layer.receptive_field, layer.stride, layer.is_map, len(layer.output)) == (None, None, False, 1)


def test_a_map_times_a_broadcast_vector_is_a_map():
    """Squeeze and excitation: each place depends on all pixels, and still has its own."""
    x = pictures = keras.Input((None, None, 3))
    x = conv(3, 2)(x)
    x = layers.Multiply()([x, layers.Dense(2)(layers.GlobalAveragePooling2D(keepdims=True)(x))])
    last = geometry.measure_layers(keras.Model(pictures, conv(3)(x)), 16)[-1]
    assert (last.receptive_field, last.stride, last.is_map) == (None, 2, True)
    with pytest.raises(ValueError, match="it is the whole picture"):
        last.spans[0].at(0)


def test_without_a_size_positions_are_unknown():
    last = geometry.measure_layers(chain(conv(3, 2, padding="same"), conv(5)))[-1]
    assert (last.output, last.multiply_adds) == ((None, None, 2), None)
    assert (last.receptive_field, last.stride, last.spans[0].start) == (11, 2, None)


def test_sequential_nested_and_shared_layers():
    inner = keras.Sequential([keras.Input((None, None, 3)), conv(3, name="a"), layers.ReLU()], name="inner")
    assert [layer.name for layer in geometry.measure_layers(inner, 9)] == [layer.name for layer in inner.layers]
    shared = conv(3, name="shared")
    model = chain(inner, shared, shared)
    rows = [layer for layer in geometry.measure_layers(model, (9, 11)) if layer.multiply_adds]
    assert [layer.name for layer in rows] == ["inner/a", "shared", "shared"]
    assert [layer.params for layer in rows] == [54, 36, 0]
    assert [layer.receptive_field for layer in rows] == [3, 5, 7]
    assert rows[-1].output == (3, 5, 2)


def test_frozen_parameters_count():
    model = chain(conv(3), layers.BatchNormalization())
    model.trainable = False
    assert geometry.sum_costs(geometry.measure_layers(model, 8))[0] == 54 + 4


def test_errors():
    fixed = keras.Model(pictures := keras.Input((224, 224, 3)), conv(3)(pictures), name="vgg")
    with pytest.raises(ValueError, match="^vgg is built for pictures of 224x224, not 64x64.$"):
        geometry.measure_layers(fixed, 64)
    small = chain(layers.MaxPooling2D(3, 2, name="pool"), conv(5, name="conv"))
    with pytest.raises(ValueError, match=r"^conv of .* cannot work on 2x2: try larger pictures.$"):
        geometry.measure_layers(small, 6)
    with pytest.raises(ValueError, match="has no graph of layers"):
        geometry.measure_layers(keras.Sequential([layers.Dense(2)]))
