"""Writes `tests/data/keras2.tar.xz` with Keras 2, small models, and `keras2-answers.npz`, what they say of a batch.

The models have much in common, and are a thirtieth as large in one archive.

Run it where Keras 2 is installed, never with our own code:

    pip install tf_keras==2.21.0
    TF_USE_LEGACY_KERAS=1 python tests/keras2_files.py tests/data
"""

import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

SIDE = 16


def batch() -> np.ndarray:
    """What every model is asked about: two pictures of whole numbers from 0 to 255."""
    return np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3)).astype("float32")


def sequential(k):
    return k.Sequential(
        [
            k.layers.Rescaling(1 / 255, input_shape=(SIDE, SIDE, 3)),
            k.layers.RandomFlip("horizontal"),
            k.layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2"),
            k.layers.BatchNormalization(),
            k.layers.MaxPooling2D(),
            k.layers.Flatten(),
            k.layers.Dropout(0.5),
            k.layers.Dense(3, activation="softmax"),
        ],
        name="small",
    )


def functional(k):
    given = k.Input((SIDE, SIDE, 3))
    x = k.layers.Normalization(mean=[120.0, 110.0, 100.0], variance=[60.0**2, 50.0**2, 40.0**2])(given)
    x = k.layers.Conv2D(4, 3, padding="same", name="stem")(x)
    y = k.layers.Conv2D(4, 1, name="left")(x)
    z = k.layers.Conv2D(4, 1, name="right")(x)
    x = k.layers.Concatenate()([k.layers.Add()([x, y]), z])
    x = k.layers.LeakyReLU(0.1)(x)
    x = k.layers.GlobalAveragePooling2D()(x)
    return k.Model(given, k.layers.Softmax()(k.layers.Dense(3, name="scores")(x)), name="branches")


def depthwise(k):
    given = k.Input((SIDE, SIDE, 3))
    x = k.layers.Rescaling(1 / 127.5, offset=-1)(given)
    x = k.layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    x = k.layers.BatchNormalization()(x)
    x = k.layers.SeparableConv2D(4, 3, strides=2)(x)
    x = k.layers.ReLU(6.0)(x)
    x = k.layers.Conv2DTranspose(4, 2, strides=2)(x)
    x = k.layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = k.layers.Conv2D(3, 1, name="scores")(x)
    return k.Model(given, k.layers.Activation("softmax")(k.layers.Flatten()(x)), name="depthwise")


def nested(k):
    inner_given = k.Input((SIDE, SIDE, 3))
    x = k.layers.BatchNormalization()(k.layers.Conv2D(4, 3, strides=2, name="conv")(inner_given))
    inner = k.Model(inner_given, k.layers.ReLU()(x), name="backbone")
    inner.trainable = False
    views = k.Sequential([k.layers.RandomFlip("horizontal"), k.layers.RandomRotation(0.1)], name="views")
    given = k.Input((SIDE, SIDE, 3))
    x = k.applications.mobilenet_v2.preprocess_input(views(given))
    x = inner(x, training=False)
    x = k.Sequential([k.layers.Conv2D(4, 3, name="conv"), k.layers.BatchNormalization()], name="neck")(x)
    x = k.layers.GlobalAveragePooling2D()(x)
    return k.Model(given, k.layers.Dense(1, activation="sigmoid")(x), name="nested")


def caffe(k):
    given = k.Input((SIDE, SIDE, 3))
    x = k.applications.vgg16.preprocess_input(given)
    x = k.layers.Conv2D(4, 3, activation="relu")(x)
    return k.Model(given, k.layers.Dense(3)(k.layers.GlobalMaxPooling2D()(x)), name="bgr")


def mixed(k):
    given = k.Input((SIDE, SIDE, 3))
    policy = k.mixed_precision.Policy("mixed_float16")
    x = k.layers.Conv2D(4, 3, dtype=policy)(k.layers.Rescaling(1 / 255, dtype=policy)(given))
    x = k.layers.GlobalAveragePooling2D(dtype=policy)(k.layers.BatchNormalization(dtype=policy)(x))
    return k.Model(given, k.layers.Dense(3, activation="softmax", dtype="float32")(x), name="mixed")


def hard(k):
    """Every way to a hard sigmoid but the recurrent ones, and other words that Keras 3 has with another meaning."""
    given = k.Input((SIDE, SIDE, 3))
    x = k.layers.Conv2D(4, 3)(k.layers.Rescaling(1 / 50, offset=-2)(given))
    twice = k.layers.Activation("hard_sigmoid")
    maps = [
        twice(twice(x)),
        k.activations.hard_sigmoid(x),
        k.layers.Conv2D(2, 3, activation="hard_sigmoid")(x),
        k.layers.Conv2DTranspose(2, 2, activation="hard_sigmoid")(x),
        k.layers.DepthwiseConv2D(3, activation="hard_sigmoid")(x),
        k.layers.SeparableConv2D(2, 3, activation=k.activations.hard_sigmoid)(x),
        k.layers.LeakyReLU(0.4)(k.layers.GroupNormalization(groups=1)(x)),
        k.layers.ThresholdedReLU(theta=0.3)(x),
        k.layers.Conv2D(2, 1, activation=k.layers.LeakyReLU(0.05))(x),
        k.layers.Dense(2, activation="hard_sigmoid")(x),
    ]
    x = k.layers.Concatenate()([k.layers.GlobalAveragePooling2D()(y) for y in maps])
    return k.Model(given, k.layers.Dense(3, activation="softmax")(x))


def recurrent(k):
    given = k.Input((SIDE, SIDE, 3))
    x = k.layers.Conv2D(2, 3, strides=2)(k.layers.Rescaling(1 / 50, offset=-2)(given))
    rows = k.layers.TimeDistributed(k.layers.Dense(4, activation="hard_sigmoid"))(k.layers.Reshape((7, 14))(x))
    both = k.layers.Bidirectional(k.layers.GRU(3, recurrent_activation="hard_sigmoid", return_sequences=True))
    y = both(rows)
    both.forward_layer.trainable = False  # an .h5 file has its weights after those of the other
    y, *state = k.layers.LSTM(2, recurrent_activation="hard_sigmoid", return_state=True)(y)
    z = k.layers.LSTM(2)(rows, initial_state=state)
    old = k.layers.GRU(2, reset_after=False, activation="hard_sigmoid", go_backwards=True)(rows)
    cells = k.layers.RNN(k.layers.LSTMCell(2, recurrent_activation="hard_sigmoid"))(rows)
    maps = k.layers.ConvLSTM2D(2, 3)(k.layers.Reshape((1, 7, 7, 2))(x))  # a hard sigmoid by default
    x = k.layers.Concatenate()([y, z, old, cells, k.layers.GlobalAveragePooling2D()(maps)])
    return k.Model(given, k.layers.Dense(3, activation="softmax")(x), name="recurrent")


def attention(k):
    from tf_keras.src.applications.convnext import LayerScale, StochasticDepth

    given = k.Input((SIDE, SIDE, 3))
    x = k.layers.Conv2D(4, 4, strides=4)(k.layers.Rescaling(1 / 50, offset=-2)(given))
    x = k.layers.SpatialDropout2D(0.2)(k.layers.experimental.SyncBatchNormalization()(x))
    x = k.layers.Reshape((16, 4))(k.layers.Add()([x, StochasticDepth(0.3)(LayerScale(0.1, 4)(x))]))
    inner_given = k.Input((16, 4))
    y = k.layers.MultiHeadAttention(2, 3)(inner_given, inner_given)
    y = k.layers.MultiHeadAttention(2, 3)(query=y, value=inner_given, key=y, use_causal_mask=True)
    inner = k.Model(inner_given, k.layers.SpatialDropout1D(0.1)(y), name="block")
    x = k.layers.LayerNormalization(epsilon=1e-6)(k.layers.Add()([x, inner(x)]))
    x = k.layers.GlobalAveragePooling1D()(k.layers.MultiHeadAttention(2, 3, use_bias=False)(x, x))
    return k.Model(given, k.layers.Dense(3, activation="softmax")(x), name="attention")


def norms(k):
    """Normalization within a model within a model, of all values at once, and in the midst of the network."""
    given = k.Input((SIDE, SIDE, 3))
    inner = k.Sequential([k.layers.Rescaling(1 / 255), k.layers.Normalization(), k.layers.Conv2D(4, 3)], name="inner")
    outer = k.Model(given, k.layers.Normalization(axis=None)(inner(given)), name="outer")
    given = k.Input((SIDE, SIDE, 3))
    late = k.Sequential([k.layers.Normalization(), k.layers.Conv2D(4, 3)], name="late")
    x = k.layers.GlobalAveragePooling2D()(k.layers.Normalization(axis=(1, 2, 3))(late(outer(given))))
    return k.Model(given, k.layers.Dense(3, activation="softmax")(x), name="norms")


def functions(k):
    import tensorflow as tf

    given = k.Input((SIDE, SIDE, 3))
    x = k.layers.Conv2D(4, 3)(k.layers.Rescaling(1 / 50, offset=-2)(given))
    x = tf.nn.softmax(x, axis=1) + tf.nn.silu(x, beta=2.0) + tf.nn.leaky_relu(x) + tf.nn.gelu(x, approximate=True)
    x = tf.clip_by_value(x, -0.5, 2.0) - tf.cast(tf.cast(4 * x, "int32"), "float32") / 4
    x = tf.reduce_mean(tf.reshape(x, (-1, 196, 4)), 1)
    return k.Model(given, k.layers.Dense(3, activation="softmax")(x), name="functions")


def lambda_layer(k):
    given = k.Input((SIDE, SIDE, 3))
    x = k.layers.Lambda(lambda pictures: pictures / 255)(given)
    return k.Model(given, k.layers.Dense(3)(k.layers.GlobalAveragePooling2D()(x)))


def function(k):
    import tensorflow as tf

    given = k.Input((SIDE, SIDE, 3))
    return k.Model(given, k.layers.Dense(3)(k.layers.GlobalAveragePooling2D()(tf.sin(given / 255.0))))


ONLY_H5 = ("caffe",)  # Keras 2 itself cannot write a slice into the other format
WHOLE = (sequential, functional, depthwise, nested, caffe, mixed, hard, recurrent, attention, norms, functions)
REFUSED = (lambda_layer, function)


def pack(models: Path, archive: Path):
    """Write the models of a folder into an archive; the same files give the same bytes."""
    with tarfile.open(archive, "w:xz", preset=9) as file:
        for path in sorted(models.glob("keras2-*")):
            member = tarfile.TarInfo(path.name)
            member.size = path.stat().st_size
            with path.open("rb") as content:
                file.addfile(member, content)


def main(folder: Path):
    with TemporaryDirectory() as place:
        write_models(Path(place), folder / "keras2-answers.npz")
        pack(Path(place), folder / "keras2.tar.xz")


def write_models(folder: Path, answers_path: Path):
    import tf_keras as k

    answers = {}
    for build in (*WHOLE, *REFUSED):
        k.backend.clear_session()
        k.utils.set_random_seed(1)
        model, rng = build(k), np.random.default_rng(2)
        for weight in model.weights:  # fresh statistics and biases would hide a mix-up
            if "float" in weight.dtype.name:
                statistic = "gamma" in weight.name or "variance" in weight.name
                weight.assign(rng.normal(size=weight.shape) * (0.1 if statistic else 0.2) + statistic)
        for layer in model._flatten_layers():
            if isinstance(layer, k.layers.Normalization):
                layer.finalize_state()
        for suffix in ("h5",) if build.__name__ in ONLY_H5 else ("h5", "keras"):
            model.save(folder / f"keras2-{build.__name__}.{suffix}")
        answers[build.__name__] = model.predict(batch(), verbose=0)
    np.savez(answers_path, **{build.__name__: answers[build.__name__] for build in WHOLE})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
