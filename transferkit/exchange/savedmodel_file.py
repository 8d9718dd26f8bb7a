"""Write a Keras model as a SavedModel folder of TensorFlow, with one endpoint."""

from pathlib import Path

import keras


def write(model: keras.Model, path: str, files: dict[str, str], *, batch: int | None = None):
    """Write a model of one input; its endpoint is `serve`, which is the default signature too.

    Args:
        files: texts by name, for the folder `assets`.
        batch: number of pictures, if it is fixed.
    """
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = tf.TensorSpec((batch, *model.input.shape[1:]), model.input.dtype, name=model.input.name)
    archive.add_endpoint("serve", lambda pictures: model(pictures, training=False), [signature])
    archive.write_out(path, verbose=False)
    assets = Path(path) / "assets"
    assets.mkdir(exist_ok=True)
    for name, text in files.items():
        (assets / name).write_text(text, "utf-8")
