"""Keras models as networks: same logits on the same pictures, and the original model unchanged."""

import keras
import numpy as np
import pytest
from keras import layers
from keras.applications import imagenet_utils

from transferkit import adopt, models
from transferkit.lookup import UnknownName
from transferkit.network import with_head, with_size
from transferkit.pixels import CONVENTIONS
from transferkit.training.fitting import freezing


def noise(side=32, channels=3, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, channels)).astype("float32")


def shaken(model):
    """The model with weights that tell its layers apart; fresh ones answer nearly the same to everything."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if weight.dtype == "float32":
            around = any(word in weight.name for word in ("gamma", "variance"))
            fan = np.prod(weight.shape[: 2 if weight.shape[-1] == 1 else -1])  # a map of its own in depthwise kernels
            spread = 0.1 if len(weight.shape) < 2 else (2 / fan) ** 0.5
            weight.assign(rng.normal(size=weight.shape) * spread + around)
    return model


def fed(pictures, convention):
    """Pictures as the users of a model scale them."""
    if convention in ("caffe", "tf", "torch"):
        return imagenet_utils.preprocess_input(pictures.copy(), mode=convention)
    return pictures / 255 if convention == "unit" else pictures


def logits_of(model, pictures):
    """What a model says before its softmax."""
    last = model.layers[-1]
    if isinstance(last, layers.Softmax | layers.Activation):
        return np.asarray(keras.Model(model.input, last.input)(pictures, training=False))
    squash, last.activation = last.activation, keras.activations.linear
    logits = np.asarray(model(pictures, training=False))
    last.activation = squash
    return logits


def same(network, model, convention="raw", side=32, *, tolerance=1e-5):
    """Whether a network's logits are those of the model, to a share of the largest."""
    pictures = noise(side, network.pixels.channels)
    wanted = logits_of(model, fed(pictures, convention))
    found = np.asarray(network.model(pictures))
    assert np.ptp(wanted, axis=0).max() > 20 * tolerance * np.abs(wanted).max()  # two pictures are told apart
    assert np.abs(found - wanted).max() < tolerance * np.abs(wanted).max()
    return True


def cnn(*first, classes=3, last="softmax", shape=(32, 32, 3)):
    return shaken(
        keras.Sequential(
            [
                keras.Input(shape),
                *first,
                layers.Conv2D(8, 3, activation="relu", name="one"),
                layers.MaxPooling2D(name="pool"),
                layers.Conv2D(8, 3, activation="relu", name="two"),
                layers.Flatten(name="flat"),
                layers.Dropout(0.5, name="drop"),
                layers.Dense(classes, activation=last, name="scores"),
            ],
            name="cnn",
        )
    )


def test_a_sequential_model():
    model = cnn(layers.Rescaling(1 / 255), layers.RandomFlip(), layers.RandomRotation(0.1))
    network = adopt.adopt_model(model)
    assert same(network, model)
    assert [layer.name for layer in network.model.layers] == [
        "pictures", "pixels", "one", "stage1", "pool", "two", "stage2", "flat", "pooled", "drop", "scores",
    ]  # fmt: skip
    assert (network.classes, network.has_class_names) == (("output 0", "output 1", "output 2"), False)
    assert (network.pixels.mean, network.pixels.std) == (CONVENTIONS["unit"].mean, CONVENTIONS["unit"].std)
    assert (network.pixels.crop, network.pixels.resize) == (32, 37)
    assert network.loaded == (
        "6/6 tensors loaded",
        "pixels: raw, by its own Rescaling",
        "skipped, as it is done outside the network: RandomFlip, RandomRotation",
    )


def test_the_original_model_is_unchanged():
    model = cnn(layers.Rescaling(1 / 255))
    model.compile("adam", "sparse_categorical_crossentropy")
    before, weights = model.to_json(), [np.array(weight) for weight in model.weights]
    other = with_head(adopt.adopt_model(model), ["a", "b"]).model
    for weight in other.weights:
        weight.assign(np.zeros(weight.shape))
    assert model.to_json() == before
    assert all(np.array_equal(old, new) for old, new in zip(weights, model.weights, strict=True))
    assert all(layer.output is not None for layer in model.layers)  # undefined where a layer was called again
    assert model.fit(noise(count=4), np.zeros(4), verbose=0)


@pytest.mark.parametrize(
    ("first", "convention", "said"),
    [
        ([layers.Normalization(mean=[120, 110, 100], variance=[3600, 2500, 1600])], "raw", "raw, by its own Norm"),
        ([layers.Normalization(mean=[0.5, 0.4, 0.4], variance=[0.1, 0.2, 0.1])], "unit", "unit, by its own Norm"),
        ([layers.Rescaling(1 / 127.5, -1)], "raw", "raw, by its own Rescaling"),
        ([layers.Rescaling(2.0, -1)], "unit", "unit, by its own Rescaling"),
        ([layers.Rescaling([1.0] * 3, [-123.0, -117.0, -104.0])], "raw", "raw, by its own Rescaling"),
        ([layers.Rescaling(255), layers.Rescaling(1 / 127.5, -1)], "unit", "unit, by its own Rescaling"),
        ([layers.Resizing(32, 32), layers.Rescaling(1 / 255)], "raw", "raw, by its own Rescaling"),
    ],
)
def test_scaling_inside_the_model(first, convention, said):
    model = cnn(*first)
    network = adopt.adopt_model(model)
    assert same(network, model, convention)
    assert network.loaded[1].startswith(f"pixels: {said}")
    assert not any(isinstance(layer, layers.Normalization) for layer in network.model.layers)


def test_a_normalization_that_was_adapted():
    scale = layers.Normalization()
    scale.adapt(noise(count=8) * 0.5 + 20)
    model = cnn(scale)
    scale.finalize_state()
    scale.adapt(noise(count=8) * 0.5 + 20)  # `shaken` touched it
    network = adopt.adopt_model(model)
    assert same(network, model)
    assert network.pixels.mean == pytest.approx(np.asarray(scale.mean).ravel(), rel=1e-5)


def test_unknown_preprocessing_is_asked_for_and_never_guessed():
    model = cnn()
    with pytest.raises(UnknownName, match="does not show how pixels are scaled for it: give --pixels torch, caffe, tf"):
        adopt.adopt_model(model)
    for convention in CONVENTIONS:
        assert same(adopt.adopt_model(model, convention), model, convention)
    assert adopt.adopt_model(model, "tf").loaded[1] == "pixels: tf, as told"
    halves = cnn(layers.Rescaling(0.5))
    with pytest.raises(UnknownName, match="give --pixels"):
        adopt.adopt_model(halves)
    assert same(adopt.adopt_model(halves, "tf"), halves, "tf")
    assert adopt.adopt_model(halves, "tf").loaded[1] == "pixels: tf, as told, then its own Rescaling"


def backbone(side=96):
    return keras.applications.MobileNetV2((side, side, 3), alpha=0.35, include_top=False, weights=None)


def transfer(front):
    """The transfer-learning model of the tutorials: augmentation, preprocessing, a nested network, a new head."""
    views = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.2)], name="views")
    pictures = keras.Input((96, 96, 3))
    x = backbone()(front(views(pictures)), training=False)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D(name="average")(x))
    neck = keras.Sequential([keras.Input((1280,)), layers.Dense(16, activation="relu", name="Conv1")], name="neck")
    return shaken(keras.Model(pictures, layers.Dense(5, activation="softmax")(neck(x))))


@pytest.mark.parametrize(
    "front", [keras.applications.mobilenet_v2.preprocess_input, keras.applications.resnet.preprocess_input]
)
def test_a_nested_network_with_operations_before_it(front):
    model = transfer(front)
    network = adopt.adopt_model(model)
    assert same(network, model, side=96)
    assert network.loaded[1] == "pixels: raw, by its own arithmetic"
    assert not any(isinstance(layer, keras.Model) for layer in network.model.layers)
    names = [layer.name for layer in network.model.layers]
    assert "block_1_expand" in names
    assert names.index("neck.Conv1") > names.index("Conv1")
    assert all(len(keras.tree.flatten(layer.output)) == 1 for layer in network.model.layers)
    assert [name for name in names if name.startswith("stage")] == [f"stage{n}" for n in range(1, 6)]
    released = freezing.unfreeze(network, "last-stage")
    assert released[0] == "block_13_depthwise"
    assert released[-1] == network.head


def test_a_nested_network_alone_is_only_a_hint():
    with pytest.raises(UnknownName, match=r"\(mobilenetv2_0.35_96 in it is one that Keras feeds tf\): give --pixels"):
        adopt.adopt_model(transfer(lambda x: x))
    assert same(adopt.adopt_model(model := transfer(lambda x: x), "tf"), model, "tf", 96)


@pytest.mark.parametrize(
    ("name", "convention"),
    [
        pytest.param("ResNet50V2", "tf", marks=pytest.mark.slow),
        ("VGG16", "caffe"),
        pytest.param("EfficientNetB0", "raw", marks=pytest.mark.slow),
        pytest.param("DenseNet121", "torch", marks=pytest.mark.slow),
    ],
)
def test_networks_of_keras_applications(name, convention):
    model = shaken(getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=9))
    network = adopt.adopt_model(model)
    assert same(network, model, convention, 64)
    names = [layer.name for layer in network.model.layers]
    assert [name for name in names if name.startswith("stage")] == [f"stage{n}" for n in range(1, 6)]
    assert "pooled" in names
    assert not any("flip" in operation.name for operation in network.model.operations)


def test_channels_are_reversed_by_an_operation_if_not_in_a_kernel(tmp_path):
    pictures = keras.Input((32, 32, 3))
    both = layers.Conv2D(4, 3, padding="same")(pictures), layers.MaxPooling2D(3, 1, "same")(pictures)
    x = layers.Concatenate()(both)
    model = shaken(keras.Model(pictures, layers.Dense(3, activation="softmax")(layers.Flatten()(x))))
    network = adopt.adopt_model(model, "caffe")
    assert same(network, model, "caffe")
    models.save(network, tmp_path / "my.keras")
    assert same(models.load_file(tmp_path / "my.keras"), model, "caffe")
    assert any("flip" in operation.name for operation in network.model.operations)


def test_a_convolution_as_the_classifier():
    pictures = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(layers.Rescaling(1 / 255)(pictures))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 1, name="scores")(layers.Dropout(0.5)(x)))
    model = shaken(keras.Model(pictures, layers.Softmax()(x)))
    network = adopt.adopt_model(model)
    assert same(network, model)
    assert (network.head, network.pixels.crop, len(network.classes)) == ("scores", 224, 4)
    changed = with_head(network, ["a", "b"]).model
    assert changed.output_shape == (None, 2)
    assert not np.asarray(changed(noise())).any()
    mobile = shaken(keras.applications.MobileNet((32, 32, 3), alpha=0.25, weights=None, classes=7))
    network = adopt.adopt_model(mobile)
    assert same(network, mobile, "tf")
    assert network.model.get_layer("pooled").output.shape == (None, 256)
    assert with_head(network, ["a", "b"]).model.output_shape == (None, 2)


def test_one_sigmoid_is_two_classes():
    model = cnn(layers.Rescaling(1 / 255), classes=1, last="sigmoid")
    network = adopt.adopt_model(model)
    chance = np.asarray(model(noise(), training=False))
    wanted = np.log(np.concatenate([1 - chance, chance], axis=1))
    np.testing.assert_allclose(keras.ops.log_softmax(network.model(noise())), wanted, atol=1e-5)
    assert network.loaded[2] == "its one output is taken for the logit of class 1 against class 0"
    several = adopt.adopt_model(cnn(layers.Rescaling(1 / 255), last="sigmoid"))
    assert several.loaded[2] == "its sigmoid outputs are taken for logits of classes that exclude one another"


def test_a_network_without_a_classifier():
    model = shaken(backbone())
    network = adopt.adopt_model(model)
    assert (network.classes, network.head) == ((), "head")
    assert network.loaded[:2] == ("260/262 tensors loaded", "pixels: tf, by the name mobilenetv2_0.35_96")
    pooled = keras.Model(network.model.input, network.model.get_layer("pooled").output)
    wanted = np.asarray(model(fed(noise(96), "tf"), training=False)).mean((1, 2))
    np.testing.assert_allclose(pooled(noise(96)), wanted, atol=1e-4)
    network = with_head(network, ["cat", "dog"])
    assert network.model.output_shape == (None, 2)
    assert network.loaded[0] == "head 0 -> 2 new; 260/262 tensors loaded"
    vector = keras.Sequential([cnn(layers.Rescaling(1 / 255)), layers.Dense(4, activation="relu")])
    assert adopt.adopt_model(vector).model.get_layer("pooled").output.shape == (None, 4)


@pytest.mark.slow
def test_grey_pictures_and_other_sizes():
    model = cnn(layers.Rescaling(1 / 255), shape=(32, 32, 1))
    network = adopt.adopt_model(model)
    assert same(network, model)
    assert network.pixels.channels == 1
    assert network.minimum == 32
    with pytest.raises(UnknownName, match="takes pictures of 32 pixels and no other size"):
        with_size(network, 48)
    free = keras.Model((whole := backbone()).input, layers.GlobalAveragePooling2D()(whole.output), name=whole.name)
    assert adopt.adopt_model(free).minimum == 1
    assert with_size(adopt.adopt_model(free), 64).model.output_shape == (None, 1)


def test_a_layer_used_twice_becomes_two():
    pictures = keras.Input((32, 32, 3))
    shared, act = layers.Conv2D(3, 3, padding="same", name="shared"), layers.ReLU(name="act")
    x = act(shared(act(shared(layers.Rescaling(1 / 255)(pictures)))))
    model = shaken(keras.Model(pictures, layers.Dense(3, activation="softmax")(layers.Flatten()(x))))
    network = adopt.adopt_model(model)
    assert same(network, model)
    assert {"shared", "shared_1", "act", "act_1"} < {layer.name for layer in network.model.layers}
    assert network.loaded[2] == "used several times, and now a layer each time: shared"


def test_mixed_precision_becomes_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = cnn(layers.Rescaling(1 / 127.5, -1))
    finally:
        keras.config.set_dtype_policy("float32")
    network = adopt.adopt_model(model)
    assert {layer.compute_dtype for layer in network.model.layers} == {"float32"}
    assert network.pixels.std == (127.5,) * 3
    assert same(network, model, tolerance=0.02)
