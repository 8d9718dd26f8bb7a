"""Weights of keras.applications and timm give the same logits in our networks as in theirs."""

import keras
import numpy as np
import pytest
from keras.applications.imagenet_utils import preprocess_input
from reference_weights import assert_near, pictures

from transferkit import models
from transferkit.pixels import CONVENTIONS
from transferkit.weights.name_translation import translate_names

FOLDED = "{} biases and an epsilon of 1.001e-05 folded into the norms"
REVERSED = "channels of the first kernel reversed, for RGB: the file has BGR"


def randomise(model, random):
    """Biases and statistics far from where they start; small variances in the end, so that the epsilon shows."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape, low = layer.gamma.shape, 1e-4 if "conv5_block3" in layer.name else 0.5
            variance = random.uniform(low, 3 * low, shape)
            gamma = np.sqrt(variance) * random.uniform(0.3, 0.6, shape)
            layer.set_weights([gamma, *random.normal(0, 0.3, (2, *shape)), variance])
        elif layer.weights:
            shape = layer.kernel.shape
            kernel = random.normal(0, np.sqrt(1 / np.prod(shape[:-1])), shape)
            layer.set_weights([kernel, random.normal(0, 0.3, layer.bias.shape)])


def compare(folder, name, ours, suffix, side, changes):
    random = np.random.default_rng(0)
    theirs = getattr(keras.applications, name)(weights=None, classifier_activation=None, input_shape=(side, side, 3))
    randomise(theirs, random)
    path = folder / f"weights{suffix}"
    (theirs.save_weights if suffix == ".weights.h5" else theirs.save)(path)
    network = models.load(ours, path)
    path.unlink()
    assert network.loaded[1:] == changes
    assert network.pixels == CONVENTIONS["caffe"]
    images = pictures(2, side, side)
    expected = theirs(preprocess_input(images.astype("f4"), mode="caffe"), training=False)
    assert_near(network.model(images, training=False), expected, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "suffix", [".h5", *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in (".weights.h5", ".keras"))]
)
def test_resnet50_of_keras_applications(tmp_path, suffix):
    changes = "names of keras.applications' ResNet turned into torchvision's", FOLDED.format(53), REVERSED
    compare(tmp_path, "ResNet50", "resnet50_paper", suffix, 96, changes)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [("ResNet101", 104), ("ResNet152", 155)])
def test_deeper_resnets_of_keras_applications(tmp_path, name, count):
    changes = "names of keras.applications' ResNet turned into torchvision's", FOLDED.format(count), REVERSED
    compare(tmp_path, name, f"{name.lower()}_paper", ".h5", 96, changes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["VGG16", "VGG19"])
def test_vggs_of_keras_applications(tmp_path, name):
    changes = "names of keras.applications' VGG turned into torchvision's", REVERSED
    compare(tmp_path, name, name.lower(), ".h5", 224, changes)


def test_indices_of_the_vggs_follow_from_the_file():
    blocks = {13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
    last = {13: 22, 16: 28, 19: 34}
    for depth, counts in blocks.items():
        names = [f"block{b}_conv{c}" for b, count in enumerate(counts, 1) for c in range(1, count + 1)]
        tensors = {f"{name}.weight": np.zeros((3, 3, 3, 1)) for name in names} | {"fc2.bias": np.zeros(1)}
        found, _, publisher = translate_names(tensors, "keras")
        assert list(found)[-2:] == [f"features.{last[depth]}.weight", "classifier.3.bias"]
        assert (publisher.pixels, publisher.networks) == ("caffe", ())


def test_resnet50_of_2015():
    random = np.random.default_rng(0)
    layers = {"conv1": "bn_conv1", "res2a_branch1": "bn2a_branch1", "res4f_branch2c": "bn4f_branch2c"}
    layers["res2a_branch2a"] = "bn2a_branch2a"
    tensors = {"fc1000.weight": random.normal(size=(4, 5))}
    for conv, norm in layers.items():
        tensors |= {f"{conv}.weight": random.normal(size=(1, 1, 3, 4)), f"{conv}.bias": random.normal(size=4)}
        for kind in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{norm}.{kind}"] = random.uniform(0.1, 1, 4)
    found, changes, publisher = translate_names(tensors, "keras")
    convs = ["conv1", "layer1.0.downsample.0", "layer3.5.conv3", "layer1.0.conv1"]
    norms = ["bn1", "layer1.0.downsample.1", "layer3.5.bn3", "layer1.0.bn1"]
    kinds = ["weight", "bias", "running_mean", "running_var"]
    assert found.keys() == {
        "fc.weight",
        *(f"{conv}.weight" for conv in convs),
        *(f"{norm}.{kind}" for norm in norms for kind in kinds),
    }
    old = tensors["bn4f_branch2c.running_mean"], tensors["res4f_branch2c.bias"]
    np.testing.assert_allclose(found["layer3.5.bn3.running_mean"], old[0] - old[1])
    variance = tensors["bn4f_branch2c.running_var"] + 1e-3
    np.testing.assert_allclose(found["layer3.5.bn3.running_var"] + 1e-5, variance)
    np.testing.assert_array_equal(found["conv1.weight"], tensors["conv1.weight"][:, :, ::-1])
    np.testing.assert_array_equal(found["layer1.0.conv1.weight"], tensors["res2a_branch2a.weight"])
    assert changes[1:] == ["4 biases and an epsilon of 0.001 folded into the norms", REVERSED]
    assert publisher.networks == ("resnet50_paper",)


def test_timms_vgg():
    names = ["features.0.weight", "pre_logits.fc1.weight", "pre_logits.fc2.bias", "head.fc.weight"]
    found, changes, publisher = translate_names(dict.fromkeys(names, np.ones(1)), "torch")
    assert list(found) == ["features.0.weight", "classifier.0.weight", "classifier.3.bias", "classifier.6.weight"]
    assert changes == ["names of timm's VGG turned into torchvision's"]
    assert publisher.pixels is None


def test_names_of_torchvision_stay():
    tensors = {"conv1.weight": np.ones((4, 3, 2, 2)), "bn1.running_mean": np.ones(4)}
    assert translate_names(tensors, "torch") == (tensors, [], None)


@pytest.mark.parametrize("layer", ["bn_data", "stage1_unit1_bn1", "conv2_block1_preact_bn"])
def test_pre_activation_networks_are_refused(layer):
    with pytest.raises(ValueError, match="pre-activation networks that are not in the zoo: take torchvision's"):
        translate_names({"conv0.weight": np.ones(1), f"{layer}.bias": np.ones(1)}, "keras")


def test_damaged_files_are_refused():
    kernel = {"conv2_block1_1_conv.weight": np.ones((1, 1, 2, 2)), "conv1_conv.weight": np.ones((1, 1, 3, 2))}
    cases = {
        "has 'conv1.weight' twice": {"conv1.weight": np.ones(2)},
        "no 'conv1.weight' of four dimensions": {"conv1_conv.weight": np.ones(2)},
        "the bias of 'conv1' has shape": {"conv1_conv.bias": np.ones((2, 1)), "conv1_bn.running_mean": np.ones((1, 2))},
    }
    for sentence, more in cases.items():
        with pytest.raises(ValueError, match=sentence):
            translate_names(kernel | more, "keras")
    del kernel["conv1_conv.weight"]
    with pytest.raises(ValueError, match="no 'conv1.weight'"):
        translate_names(kernel, "keras")
