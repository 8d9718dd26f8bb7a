"""The formats of an exported model, each a row: how it is written, what runs it, what it can hold."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

FLOAT32, FLOAT16, INT8 = "float32", "float16", "int8"
LABELS = "labels.txt"  # in each export


@dataclass(frozen=True)
class Target:
    """A format.

    Attributes:
        write: from a model of `build_classifier`, a path, the labels, a dtype and views to calibrate by.
        suffix: of the file; "" is a folder.
        any_size: whether it fits pictures of any size to the network, or takes views of the network's size.
        dtypes: those it can be written in.
        packages: that write and run it; the extra with the format's name installs them.
        help: in one line.
    """

    write: Callable
    suffix: str
    any_size: bool
    dtypes: tuple[str, ...]
    packages: tuple[str, ...]
    help: str


def _write_keras(model, path: str, labels: Sequence[str], dtype: str, views):
    model.save(path)


def _write_savedmodel(model, path: str, labels: Sequence[str], dtype: str, views):
    from transferkit.exchange import savedmodel_file

    savedmodel_file.write(model, path, {LABELS: join_labels(labels)})


def _write_onnx(model, path: str, labels: Sequence[str], dtype: str, views):
    from transferkit.exchange import onnx_file

    onnx_file.write(model, path, {"labels": join_labels(labels)}, half=dtype == FLOAT16)


def _write_litert(model, path: str, labels: Sequence[str], dtype: str, views):
    from transferkit.exchange import litert_file

    litert_file.write(model, path, {LABELS: join_labels(labels)}, dtype, views)


def input_dtype(to: str, dtype: str) -> str:
    """dtype of the pictures of the model to write: a Keras file takes floats, and int8 is quantised from them."""
    return FLOAT32 if to == "keras" or dtype == INT8 else "uint8"


def join_labels(labels: Sequence[str]) -> str:
    """A label on each line, in the order of the outputs."""
    return "".join(f"{label}\n" for label in labels)


TARGETS = {
    "keras": Target(
        _write_keras, ".keras", False, (FLOAT32,), (), "one file that Keras alone loads; views of the network's size"
    ),
    "savedmodel": Target(
        _write_savedmodel, "", True, (FLOAT32,), (), "a folder for TensorFlow Serving; pictures of any size"
    ),
    "onnx": Target(
        _write_onnx,
        ".onnx",
        True,
        (FLOAT32, FLOAT16),
        ("tf2onnx", "onnx", "onnxruntime"),
        "one file for ONNX Runtime; pictures of any size",
    ),
    "litert": Target(
        _write_litert,
        ".tflite",
        False,
        (FLOAT32, FLOAT16, INT8),
        ("ai_edge_litert",),
        "one file for phones (TensorFlow Lite); views of the network's size",
    ),
}


def remove(path: Path):
    """Remove a file or folder that was written."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
