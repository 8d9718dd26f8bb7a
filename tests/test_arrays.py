"""Arrays in Python as a data source."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import transferkit as tk
from transferkit.data.sources.arrays import list_arrays


def opened(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.slow
def test_arrays(tiny, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 20, 24, 3), "uint8")
    found = list_arrays(images, ["dog", "cat"] * 6)
    assert found.classes == ("cat", "dog") and found.labels == (1, 0) * 6
    assert all(np.array_equal(opened(p), image) for p, image in zip(found.paths, images, strict=True))
    assert str(tmp_path / "home") in found.paths[0]
    assert tk.list_arrays(images, np.array([1, 0] * 6), classes=["cat", "dog"]) == found
    assert tk.list_arrays(images, np.array([7, 10] * 6)).classes == ("7", "10")
    for labels in (tf.constant([1, 0] * 6), np.array([[1], [0]] * 6), [tf.constant(1), np.int32(0)] * 6):
        assert list_arrays(tf.constant(images), labels, ["cat", "dog"]) == found
    alpha = np.zeros((8, 8, 4), "uint8")
    mixed = list_arrays([images[0], images[1, :9, :, 0], alpha, images[2, ..., :1]], [0, 1, 0, 1])
    assert [opened(path).shape for path in mixed.paths] == [(20, 24, 3), (9, 24), (8, 8, 4), (20, 24)]
    run = tk.finetune(tiny, *found.split(0.5), out=tmp_path / "run", weights="none", size=32, epochs=1, batch_size=4)
    assert run.metrics["n"] == 6


@pytest.mark.parametrize(
    ("images", "labels", "classes", "sentence"),
    [
        (np.zeros((2, 8, 8), "uint8"), [0], None, "2 pictures and 1 label:"),
        ([], [], None, "no pictures"),
        (np.zeros((2, 8, 8, 3)), [0, 1], None, r"Entry 0 of images is float64 \(8, 8, 3\): expected uint8"),
        (np.zeros((2, 8, 8, 2), "uint8"), [0, 1], None, r"uint8 \(8, 8, 2\)"),
        (None, None, None, "^images is None: expected uint8 pictures"),
        (np.zeros((2, 8, 8), "uint8"), np.int64(3), None, "^labels must be an array or a list, .* not of type ndarray"),
        (np.zeros((2, 8, 8), "uint8"), [0, "a"], None, "all names or all whole numbers, not 'a'"),
        (np.zeros((2, 8, 8), "uint8"), np.eye(2), None, "argmax"),
        (np.zeros((2, 8, 8), "uint8"), [0, 2], ["a", "b"], "Label 2 of picture 1 is not one of the 2 classes"),
        (np.zeros((2, 8, 8), "uint8"), ["a", "b"], ["a", "a"], "holds a name twice"),
    ],
)
def test_arrays_that_are_not_pictures(images, labels, classes, sentence):
    with pytest.raises(ValueError, match=sentence):
        list_arrays(images, labels, classes)
