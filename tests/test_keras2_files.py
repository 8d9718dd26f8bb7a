"""Weight files of Keras 2, written by old and new versions, are read by layer names."""

import h5py
import numpy as np
import pytest
from test_weight_files import refused, same

from transferkit.weights.weight_files import read_weights


def write(path, layers, *, root=None, split=False, text=False):
    """A file of `{layer: {weight name: array}}`, the lists of names in pieces or as text where told."""
    with h5py.File(path, "w") as file:
        place = file.create_group(root) if root else file

        def list_names(group, key, names):
            names = [name if text else name.encode() for name in names]
            for number, name in enumerate(names if split else ()):
                group.attrs[f"{key}{number}"] = [name]
            if not split:
                group.attrs[key] = names

        list_names(place, "layer_names", list(layers))
        for layer, weights in layers.items():
            group = place.create_group(layer)
            list_names(group, "weight_names", list(weights))
            for name, array in weights.items():
                group[name] = array
    return path


def numbered(*shape):
    return np.arange(np.prod(shape), dtype="f4").reshape(shape)


LAYERS = {
    "input_1": {},
    "part1_conv1": {"part1_conv1_W_1:0": numbered(3, 3, 3, 4), "part1_conv1_b_1:0": numbered(4)},
    "pre": {
        "pre/beta:0": numbered(3),
        "pre/moving_mean:0": numbered(3) + 1,
        "pre/moving_variance:0": numbered(3) + 2,
    },
    "bn": {
        "bn_gamma:0": numbered(4),
        "bn_beta:0": numbered(4) + 1,
        "bn_running_mean:0": numbered(4) + 2,
        "bn_running_std:0": numbered(4) + 3,
    },
    "again": {"again_1/depthwise_kernel:0": numbered(3, 3, 4, 1), "again_1/pointwise_kernel:0": numbered(1, 1, 4, 2)},
    "net": {
        "conv2/kernel:0": numbered(1, 1, 4, 2),
        "net/inner/bias:0": numbered(2),
        "net/net/inner/kernel": numbered(2, 2),
    },
    "scope/dense": {"scope/dense/kernel:0": numbered(2, 5)},
    "prelu": {"prelu/alpha:0": numbered(5)},
    "dropout": {"seed_generator_1/seed_generator_state:0": np.zeros(2, "u4")},
}
EXPECTED = {
    "part1_conv1.weight": numbered(3, 3, 3, 4),
    "part1_conv1.bias": numbered(4),
    "pre.bias": numbered(3),
    "pre.running_mean": numbered(3) + 1,
    "pre.running_var": numbered(3) + 2,
    "bn.weight": numbered(4),
    "bn.bias": numbered(4) + 1,
    "bn.running_mean": numbered(4) + 2,
    "bn.running_var": numbered(4) + 3,
    "again.weight": numbered(3, 3, 4, 1),
    "again.pointwise": numbered(1, 1, 4, 2),
    "conv2.weight": numbered(1, 1, 4, 2),
    "inner.bias": numbered(2),
    "inner.weight": numbered(2, 2),
    "scope/dense.weight": numbered(2, 5),
    "prelu.alpha": numbered(5),
}


@pytest.mark.parametrize("root", [None, "model_weights"])
@pytest.mark.parametrize(("split", "text"), [(False, False), (True, True)])
def test_names_of_all_versions(tmp_path, root, split, text):
    found = read_weights(write(tmp_path / "weights.h5", LAYERS, root=root, split=split, text=text))
    assert (found.layout, found.changes) == ("keras", ())
    same(found.tensors, EXPECTED)


def test_damaged_files(tmp_path):
    def content(change):
        layers = {"conv": {"conv/kernel:0": numbered(2)}, "dense": {"dense/bias:0": numbered(2)}}
        path = write(tmp_path / "file.h5", layers)
        with h5py.File(path, "r+") as file:
            change(file)
        return path.read_bytes()

    def lost_layer(file):
        del file["conv"]

    def lost_array(file):
        del file["conv/conv/kernel:0"]

    def array_for_layer(file):
        lost_layer(file)
        file["conv"] = numbered(2)

    def one_name_twice(file):
        file.attrs["layer_names"] = [b"conv", b"conv"]

    def texts(file):
        lost_array(file)
        file["conv/conv/kernel:0"] = "text"

    cases = {lost_layer: "lists a layer 'conv'", array_for_layer: "lists a layer 'conv'", lost_array: "no array"}
    cases |= {one_name_twice: "two layers called 'conv'", texts: "where numbers were expected"}
    for change, sentence in cases.items():
        refused(tmp_path, content(change), sentence)


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_files_of_the_installed_keras(tmp_path, suffix):
    import keras

    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv1")(images)
    x = keras.layers.BatchNormalization(name="bn1")(keras.layers.Dropout(0.5)(x))
    x = keras.Sequential([keras.layers.Dense(5, name="inner")], name="nested")(x)
    model = keras.Model(images, x)
    (model.save if suffix == ".h5" else model.save_weights)(path := tmp_path / f"model{suffix}")
    found = read_weights(path).tensors
    assert sorted(found) == sorted(
        ["conv1.weight", "conv1.bias", "inner.weight", "inner.bias"]
        + [f"bn1.{kind}" for kind in ("weight", "bias", "running_mean", "running_var")]
    )
    np.testing.assert_array_equal(found["inner.weight"], model.get_layer("nested").layers[0].kernel)


def test_qubvels_resnets_are_refused(tmp_path):
    path = write(tmp_path / "resnet18_imagenet_1000.h5", {"bn_data": {"bn_data/beta:0": numbered(3)}})
    with pytest.raises(ValueError, match="is of qubvel's ResNets, .* take torchvision's weights"):
        read_weights(path)
