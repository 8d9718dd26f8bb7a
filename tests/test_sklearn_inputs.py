"""Valid values of `y` and `groups`."""

import numpy as np
import pytest

from transferkit.features.sklearn_inputs import check_groups, check_labels

NAN = float("nan")


@pytest.mark.parametrize(
    ("y", "dtype"),
    [
        (["b", "a", "b"], "<U1"),
        (np.array(["b", "a", "b"], object), "<U1"),
        ([3, 1, 3], int),
        ([np.int8(3), 1, 3], int),
        (np.array([[3], [1], [3]], "uint8"), "uint8"),
        (np.array([3, 1, 3], object), int),
        ([True, False, True], bool),
        (np.array([1.0, 0.0, 1.0], "float32"), "float32"),
    ],
)
def test_labels_keep_their_dtype(y, dtype):
    labels = check_labels(y, 3)
    assert labels.dtype == dtype and labels.shape == (3,)
    assert labels.tolist() == np.ravel(y).tolist()


@pytest.mark.parametrize(
    ("y", "sentence"),
    [
        (None, "y is None: expected 3 labels, one for each picture"),
        ([1, 2], r"The labels are of shape \(2,\): expected 3 labels, one for each picture"),
        (np.eye(3), "convert one-hot rows with argmax"),
        ("abc", r"The labels are of shape \(\)"),
        ([1, 2, NAN], "The label of picture 2 is nan: expected all names or all whole numbers"),
        (["a", "b", NAN], "The label of picture 2 is nan"),
        (["a", None, "b"], "The label of picture 1 is None"),
        (["a", "b", 1], "The label of picture 2 is 1"),
        ([1, 2, "b"], "The label of picture 2 is 'b'"),
        ([0.5, 1, 2], "The label of picture 0 is 0.5"),
        ([1, float("inf"), 2], "The label of picture 1 is inf"),
        ([b"a", b"b", b"a"], "The label of picture 0 is b'a'"),
    ],
)
def test_invalid_labels(y, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_labels(y, 3)


def test_groups():
    assert check_groups(np.array([3, 1, 3]), 3) == ("3", "1", "3")
    with pytest.raises(ValueError, match="The group of picture 1 is nan"):
        check_groups(["a", NAN, "b"], 3)
    with pytest.raises(ValueError, match="groups is None"):
        check_groups(None, 3)
