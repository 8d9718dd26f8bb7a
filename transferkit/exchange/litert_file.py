"""Write a Keras model as a LiteRT file (TensorFlow Lite), with files in it."""

import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np

from transferkit.exchange import savedmodel_file

CALIBRATION = 200  # views at most that the ranges of an int8 file are taken from


def write(model: keras.Model, path: str, files: dict[str, str], dtype: str, views: np.ndarray | None):
    """Write a model of one input of a known size.

    Args:
        files: texts by name. They are members of a zip archive at the end of the file, where the metadata of TensorFlow
            Lite are kept; interpreters do not read it.
        dtype: "float32"; "float16" for the weights; "int8" for weights and maps, whose ranges `views` give.
        views: (n, height, width, channels) in 0..255; for int8 only.
    """
    import tensorflow as tf

    from transferkit.console import silenced

    with tempfile.TemporaryDirectory() as folder:
        savedmodel_file.write(model, folder, {}, batch=1)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        with silenced():  # the converter prints its settings
            content = _convert(
                converter, dtype, views if views is None else views[:CALIBRATION].astype(model.input.dtype)
            )
    Path(path).write_bytes(content)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def _convert(converter, dtype: str, views: np.ndarray | None) -> bytes:
    import tensorflow as tf

    if dtype != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if dtype == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if dtype == "int8":
        converter.representative_dataset = lambda: ([view[None]] for view in views)  # type: ignore[union-attr]
    return converter.convert()
