"""`keras.layers`, and functions for the layers that several families share.

Keras is imported when the first layer is built, so that the table of networks can be read without loading TensorFlow.
Every layer has a name, because cut points and weights are found by name; convolutions, norms and dense layers have the
module paths of the public torch checkpoint.
"""

import math
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

_beginning: ContextVar[str | float] = ContextVar("_beginning", default="default")


@contextmanager
def kernels_begin(init):
    """All kernels of convolutions and dense layers that are built inside begin so: the knob `init` of all families."""
    token = _beginning.set(init)
    try:
        yield
    finally:
        _beginning.reset(token)


def kernel_init(own, fans=None):
    """The initialiser of a kernel: that of the knob, or the family's own.

    Args:
        own: the family's.
        fans: number of inputs and of outputs of a unit, where Keras would not find them from the kernel's shape.
    """
    init = _beginning.get()
    if init == "default":
        return own
    # one for each layer: an instance always returns the same values
    if isinstance(init, float):
        return gaussian(init)
    if fans:
        return gaussian(math.sqrt(2 / (fans[0] if init == "he" else sum(fans))))
    return {"he": "he_normal", "glorot": "glorot_uniform"}[init]


def __getattr__(name):
    if name.startswith("__"):  # the import system asks every module for `__path__`
        raise AttributeError(name)
    import keras

    return getattr(keras.layers, name)


def conv(x, filters, kernel, stride=1, *, name, padding=None, dilation=1, bias=None, init=None):
    """A convolution with the same padding on both sides, as in torch and Caffe.

    Args:
        padding: zeros on each side; by default `kernel // 2` times the dilation.
        bias: initial value of the bias; None for a convolution without bias.
        init: initialiser of the kernel; by default uniform with the variance of He et al. 2015, equation 14, which
            takes a third of the time of a Gaussian.
    """
    from keras import layers
    from keras.initializers import Constant, VarianceScaling

    whole = kernel // 2 * dilation
    padding = whole if padding is None else padding
    same = stride == 1 and padding == whole
    if padding and not same:  # TensorFlow's "same" puts the odd pixel of a stride on the other side
        x = layers.ZeroPadding2D(padding, name=f"{name}.pad")(x)
    return layers.Conv2D(
        filters,
        kernel,
        stride,
        "same" if same else "valid",
        dilation_rate=dilation,
        use_bias=bias is not None,
        kernel_initializer=kernel_init(init or VarianceScaling(2.0, "fan_out", "uniform")),
        bias_initializer=Constant(bias or 0.0),
        name=name,
    )(x)


def dense(x, units, *, name, bias=0.0, init="glorot_uniform"):
    """A hidden dense layer; `bias` is the initial value of the bias."""
    from keras import layers
    from keras.initializers import Constant

    return layers.Dense(units, kernel_initializer=kernel_init(init), bias_initializer=Constant(bias), name=name)(x)


def gaussian(std):
    """A Gaussian initialiser, as in the papers."""
    from keras.initializers import RandomNormal

    return RandomNormal(stddev=std)


def batch_norm(x, *, name, epsilon=1e-5, gamma="ones"):
    """Batch normalisation with torch's momentum (0.1 in torch is 0.9 in Keras); `gamma` is the scale's initialiser."""
    from keras import layers

    return layers.BatchNormalization(momentum=0.9, epsilon=epsilon, gamma_initializer=gamma, name=name)(x)


def local_response_norm(x, *, alpha=1e-4, k=2.0, size=5):
    """Divide each value by (k + alpha * the sum of squares of `size` neighbouring maps) ** 0.75, in float32.

    Krizhevsky et al. 2012, section 3.3, whose alpha Caffe and torch divide by `size`. A convolution with a band matrix
    sums the neighbours: it is faster than TensorFlow's own operation, and saved files load in any Keras.
    """
    import numpy as np
    from keras import ops

    channels = np.arange(x.shape[-1])
    band = alpha * (abs(channels[:, None] - channels) <= size // 2)
    x = ops.cast(x, "float32")  # 256 squared overflows in float16
    root = ops.rsqrt(k + ops.conv(ops.square(x), band[None, None].astype("float32")))
    return x * (root * ops.sqrt(root))  # s ** -0.75


def relu(x, *, name, ceiling=None):
    from keras import layers

    return layers.ReLU(max_value=ceiling, name=name)(x)


LINEAR = {"none": "linear"}  # the knob `activation` and Keras call it differently


def activation(x, kind, *, name):
    """An activation layer; `kind` is a value of the knob `activation`."""
    from keras import layers

    return relu(x, name=name) if kind == "relu" else layers.Activation(LINEAR.get(kind, kind), name=name)(x)


def normalise(x, kind, *, name, gamma="ones"):
    """The norm after a convolution; `kind` is a value of the knob `norm`. A group is of two maps, or more in 64 and
    more maps, which have 32 groups (Wu and He 2018, "Group Normalization", section 3)."""
    from keras import layers

    if kind == "none":
        return x
    if kind == "batch":
        return batch_norm(x, name=name, gamma=gamma)
    groups = math.gcd(x.shape[-1], min(32, max(1, x.shape[-1] // 2)))
    return layers.GroupNormalization(groups, epsilon=1e-5, gamma_initializer=gamma, name=name)(x)


def halve(x, *, pool="max", size=3, act="relu", name, ceil=False, convolve=None):
    """Halve the height and the width of maps: the knobs `pool` and `pool_size`.

    Args:
        pool: "max" or "average" of the windows, or "stride": a convolution of their size with an activation.
        size: side of the windows, which move by 2.
        act: the activation before the pool, and of the convolution.
        ceil: whether windows of 3 get one pixel of padding at the right and the bottom, which rounds the size up. It is
            the border again, or zeros where they do not change a maximum: after a ReLU.
        convolve: function that adds the convolution, as `conv`, which is the default.
    """
    from keras import layers, ops

    if ceil and size == 3 and (pool == "stride" or (pool, act) == ("max", "relu")):
        x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}.pad")(x)
    elif ceil and size == 3:
        x = ops.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="symmetric")
    if pool == "stride":
        x = (convolve or partial(conv, bias=0.0))(x, x.shape[-1], size, 2, padding=0, name=name)
        return activation(x, act, name=f"{name}.act")
    return (layers.MaxPooling2D if pool == "max" else layers.AveragePooling2D)(size, 2, name=name)(x)


def adaptive_average(x, side, *, name):
    """Average pooling to `side` x `side` positions, for maps of any size."""
    from keras import layers

    return layers.AdaptiveAveragePooling2D(side, name=name)(repeat_single_pixel(x, name=name))


def repeat_single_pixel(x, *, name):
    """Upsample a map of one pixel to 2x2, because in Keras 3.15 adaptive average pooling fails on one pixel when
    compiled."""
    from keras import layers

    return layers.UpSampling2D(2, name=f"{name}.repeat")(x) if tuple(x.shape[1:3]) == (1, 1) else x


def cut_point(x, name):
    """A cut point: an `Identity` layer that Keras' `get_layer(name)` finds, also in a saved model."""
    from keras import layers

    return layers.Identity(name=name)(x)


def pooled(x):
    """Global average pooling, the feature vector of a network without hidden dense layers."""
    from keras import layers

    return layers.GlobalAveragePooling2D(name="pooled")(x)


def head(features, num_classes, *, name, init="zeros"):
    """The classifier, with float32 logits. With a kernel of zeros, the default, the first loss is log(num_classes)."""
    from keras import layers

    return layers.Dense(num_classes, kernel_initializer=kernel_init(init), dtype="float32", name=name)(features)


def class_map_head(x, num_classes, act, *, name):
    """A classifier of 1x1 whose maps are activated, then averaged over the places: float32 logits.

    Kernels are Glorot's, as rectified zeros would never learn, and biases 1, as a class below zero would not either.
    """
    from keras import layers

    init = kernel_init("glorot_uniform")
    x = layers.Conv2D(num_classes, 1, kernel_initializer=init, bias_initializer="ones", dtype="float32", name=name)(x)
    x = layers.Activation(LINEAR.get(act, act), dtype="float32", name="scores")(x)
    return layers.GlobalAveragePooling2D(dtype="float32", name="logits")(x)
