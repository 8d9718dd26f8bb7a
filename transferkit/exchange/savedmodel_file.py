"""Write a Keras model as a SavedModel folder of TensorFlow, with one endpoint."""

import os
import tempfile
from pathlib import Path

import keras


def write(model: keras.Model, path: str, files: dict[str, str], *, batch: int | None = None):
    """Write a model of one input; its endpoint is `serve`, which is the default signature too.

    Args:
        files: texts by name, for the folder `assets`.
        batch: number of pictures, if it is fixed.
    """
    import tensorflow as tf

    signature = tf.TensorSpec((batch, *model.input.shape[1:]), model.input.dtype, name=model.input.name)
    module = tf.Module()  # not Keras' ExportArchive, which saves the weights twice
    module.variables_of_model = [variable.value for variable in model.variables]
    module.serve = tf.function(lambda pictures: model(pictures, training=False), input_signature=[signature])
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text, "utf-8")
        module.files = [tf.saved_model.Asset(os.path.join(folder, name)) for name in files]
        tf.saved_model.save(module, path, signatures={"serving_default": module.serve})
