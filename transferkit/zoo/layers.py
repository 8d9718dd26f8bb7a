"""`keras.layers`, and the few layers of our own wording that the families share.

Keras is imported at the first layer built, not here: naming a network, or asking for the table of
networks, must not load TensorFlow. Every layer is named, because layers are found, cut at and given
their weights by name; a convolution, a norm and a dense layer bear the module path of the public
torch checkpoint.
"""


def __getattr__(name):
    if name.startswith("__"):  # the import system asks every module for `__path__`
        raise AttributeError(name)
    import keras

    return getattr(keras.layers, name)


def conv(x, filters, kernel, stride=1, *, name):
    """A convolution without bias, padded as torch pads `kernel // 2`, He-initialised (He et al. 2015, eq. 14)."""
    from keras import layers
    from keras.initializers import VarianceScaling

    padding = "same"
    if stride > 1 and kernel > 1:  # TensorFlow's "same" puts the odd pixel on the other side
        padding = "valid"
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}.pad")(x)
    he = VarianceScaling(2.0, "fan_out", "untruncated_normal")
    return layers.Conv2D(filters, kernel, stride, padding, use_bias=False, kernel_initializer=he, name=name)(x)


def norm(x, *, name, epsilon=1e-5):
    """Batch normalisation with torch's momentum (0.1 there, 0.9 here)."""
    from keras import layers

    return layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name=name)(x)


def relu(x, *, name, ceiling=None):
    from keras import layers

    return layers.ReLU(max_value=ceiling, name=name)(x)


def mark(x, name):
    """A cut point: an `Identity` that plain `get_layer(name)` finds, in a saved model too."""
    from keras import layers

    return layers.Identity(name=name)(x)


def pooled(x):
    """Global average pooling, the feature vector of a network without hidden dense layers."""
    from keras import layers

    return layers.GlobalAveragePooling2D(name="pooled")(x)


def head(features, num_classes, *, name):
    """The classifier: float32 logits. Its kernel starts at zero, so the first loss is log(num_classes)."""
    from keras import layers

    return layers.Dense(num_classes, kernel_initializer="zeros", dtype="float32", name=name)(features)
