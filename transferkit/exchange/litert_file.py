"""Write a Keras model as a LiteRT file (TensorFlow Lite), with files in it."""

import contextlib
import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np

from transferkit.exchange import savedmodel_file

CALIBRATION = 200  # views at most that the ranges of an int8 file are taken from


def write(model: keras.Model, path: str, files: dict[str, str], dtype: str, views: np.ndarray | None):
    """Write a model of one input of a known size. The file takes uint8 pictures.

    Args:
        model: of uint8 pictures; of float32 pictures for int8, where the input is quantised.
        files: texts by name. They are members of a zip archive at the end of the file, where the metadata of TensorFlow
            Lite are kept; interpreters do not read it.
        dtype: "float32"; "float16" for the weights; "int8" for weights and maps, whose ranges `views` give.
        views: (n, height, width, channels) in 0..255; for int8 only.
    """
    content = _quantize(model, views[:CALIBRATION]) if views is not None and dtype == "int8" else _convert(model, dtype)
    Path(path).write_bytes(content)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def _quantize(model: keras.Model, views: np.ndarray) -> bytes:
    views = views.astype("float32")
    views[:, 0, 0], views[:, -1, -1] = 0, 255  # so that a step of the input is a grey level
    with _normalisation_taken_out(model) as (scale, offset):
        return _convert(model, "int8", (views * scale + offset).astype("float32"))


@contextlib.contextmanager
def _normalisation_taken_out(model: keras.Model):
    """Yield (scale, offset) of a normalisation that is the same for each channel, which the model is then without.

    The quantisation of the input says as much, at no cost: a value is a scale times the distance from a zero point.
    As two operations on int8 maps of the picture's size it took a quarter of the time of `efficientnet_lite0`.
    """
    networks = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    layers = [layer for network in networks for layer in network.layers[1:2]]
    if not (layers and isinstance(layers[0], keras.layers.Rescaling) and _uniform(layers[0])):
        yield 1, 0
        return
    (layer,) = layers
    scale, offset = layer.scale, layer.offset
    layer.scale, layer.offset = 1, 0
    try:
        yield np.ravel(scale)[0], np.ravel(offset)[0]
    finally:
        layer.scale, layer.offset = scale, offset


def _uniform(layer: keras.layers.Rescaling) -> bool:
    return bool(np.ptp(layer.scale) == 0 and np.ptp(layer.offset) == 0)


def _convert(model: keras.Model, dtype: str, views: np.ndarray | None = None) -> bytes:
    import tensorflow as tf

    from transferkit.console import silenced

    with tempfile.TemporaryDirectory() as folder:
        savedmodel_file.write(model, folder, {}, batch=1)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if dtype != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if dtype == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if views is not None:
            converter.representative_dataset = lambda: ([view[None]] for view in views)
            converter.inference_input_type = tf.uint8
        with silenced():  # the converter prints its settings
            return converter.convert()
