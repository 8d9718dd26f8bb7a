"""AlexNet: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks" (2012).

`alexnet_paper` is figure 2: two groups of maps, local response normalisation (section 3.3), overlapping pools (3.4).
Its pictures of 224 pixels are padded by 2, which gives the first layer the 55 pixels of the figure. It is initialised
as in section 5: Gaussian kernels of standard deviation 0.01, and biases of 1 in the layers where the paper has them, so
that their ReLUs get positive inputs. `alexnet` is torchvision's, whose weights are public: one narrower tower without
response normalisation.

Knobs: `activation` (section 3.1), `lrn` (3.3), `pool` and `pool_size` (3.4), `groups` (3.5), `dropout` (4.2), `init`;
`convolutional_head` turns the hidden dense layers into equivalent convolutions, so that pictures may be larger than the
native size; features are averaged over all positions.
"""

from functools import partial
from typing import Any

from transferkit.pixels import CONVENTIONS
from transferkit.zoo import layers
from transferkit.zoo.knobs import choose
from transferkit.zoo.variant import Variant

PIXELS = CONVENTIONS["caffe"]  # the mean of ImageNet's training pictures is subtracted, without scaling


def gaussian_conv(x, filters, kernel, stride=1, *, name, padding=None, bias=0.0):
    """A convolution over all maps, initialised as in section 5."""
    return layers.conv(x, filters, kernel, stride, padding=padding, bias=bias, init=layers.gaussian(0.01), name=name)


def grouped_conv(x, filters, kernel, *, groups, convolve, name, **facts):
    """One convolution, or two, each from half of the maps to half of the maps, as on two GPUs (section 3.5).

    `Conv2D(groups=2)` is not used, because TensorFlow runs it many times slower on a CPU and cannot export it to ONNX.
    """
    from keras import ops

    if groups == 1:
        return convolve(x, filters, kernel, name=name, **facts)
    towers = enumerate(ops.split(x, groups, axis=-1))
    maps = [convolve(part, filters // groups, kernel, name=f"{name}.{tower}", **facts) for tower, part in towers]
    return layers.Concatenate(name=f"{name}.concat")(maps)


def activate(x, act, *, name, cut):
    """The activation after a layer with weights, and a cut point with the paper's name for the output."""
    return layers.cut_point(layers.activation(x, act, name=name), cut)


def respond(x, lrn):
    """Local response normalisation (section 3.3), if the knob has it."""
    return layers.local_response_norm(x) if lrn else x


def flatten_map(x, side, *, convolutional_head):
    """Flatten the last map for the dense layers, averaged to `side` x `side` positions as in torchvision.

    At the native size the averaging changes nothing; at other sizes the weights remain usable. With
    `convolutional_head` the map is returned as it is.
    """
    if convolutional_head:
        return x
    return layers.Flatten(name="flat")(layers.adaptive_average(x, side, name="avgpool"))


def hidden_layer(x, side, *, name, bias=0.0, std=None):
    """4096 units over `side` x `side` positions: a dense layer after `flat`, an equivalent convolution on a map.

    Args:
        std: standard deviation of the Gaussian initialiser of the kernel; None for Glorot's initialiser.
    """
    # one initialiser for each layer: an instance always returns the same values
    init = layers.gaussian(std) if std else "glorot_uniform"
    if len(x.shape) == 2:
        return layers.dense(x, 4096, bias=bias, init=init, name=name)
    return layers.conv(x, 4096, side, padding=0, bias=bias, init=init, name=name)


def feature_vector(x):
    """The feature vector; a map is averaged, which is exact, because the head after it is linear."""
    return layers.cut_point(x, "pooled") if len(x.shape) == 2 else layers.pooled(x)


def classifier(x, num_classes, side, names, *, act, dropout, convolutional_head, bias=0.0, std=None, head="zeros"):
    """The last three layers, with dropout after the two hidden ones (section 4.2); VGG and ZFNet use them too.

    Args:
        side: height and width of the last map at the native size.
        names: names of dense layer, activation and dropout, twice, then that of the head.
        bias, std: initial bias, and standard deviation of the initial kernel, of the hidden layers.
        head: initialiser of the last layer.
    """
    fc6, relu6, drop6, fc7, relu7, drop7, fc8 = names
    x = hidden_layer(flatten_map(x, side, convolutional_head=convolutional_head), side, bias=bias, std=std, name=fc6)
    x = layers.Dropout(dropout, name=drop6)(activate(x, act, name=relu6, cut="fc6"))
    x = activate(hidden_layer(x, 1, bias=bias, std=std, name=fc7), act, name=relu7, cut="fc7")
    x = layers.Dropout(dropout, name=drop7)(feature_vector(x))
    return layers.head(x, num_classes, init=head, name=fc8)


NAMES = [f"classifier.{kind}" for kind in ("fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8")]


def build_paper_logits(x, num_classes, *, activation, lrn, pool, pool_size, groups, dropout, convolutional_head):
    """The network of figure 2."""
    halve = partial(layers.halve, pool=pool, size=pool_size, act=activation, convolve=gaussian_conv)
    grouped = partial(grouped_conv, groups=groups, convolve=gaussian_conv, bias=1.0)
    x = gaussian_conv(x, 96, 11, 4, padding=2, name="features.conv1")
    x = respond(activate(x, activation, name="features.relu1", cut="conv1"), lrn)
    x = layers.cut_point(halve(x, name="features.pool1"), "stem")
    x = grouped(x, 256, 5, name="features.conv2")
    x = respond(activate(x, activation, name="features.relu2", cut="conv2"), lrn)
    x = layers.cut_point(halve(x, name="features.pool2"), "stage1")
    x = activate(gaussian_conv(x, 384, 3, name="features.conv3"), activation, name="features.relu3", cut="conv3")
    x = activate(grouped(x, 384, 3, name="features.conv4"), activation, name="features.relu4", cut="conv4")
    x = activate(grouped(x, 256, 3, name="features.conv5"), activation, name="features.relu5", cut="conv5")
    x = layers.cut_point(halve(x, name="features.pool5"), "stage2")
    return classifier(
        x,
        num_classes,
        6,
        NAMES,
        act=activation,
        dropout=dropout,
        convolutional_head=convolutional_head,
        bias=1.0,
        std=0.01,
        head=layers.gaussian(0.01),
    )


def build_torchvision_logits(x, num_classes, *, activation, lrn, pool, pool_size, groups, dropout, convolutional_head):
    """torchvision's network, with dropout before the hidden layers; kernels are initialised as He's and Glorot's."""
    conv = partial(layers.conv, bias=0.0)
    halve = partial(layers.halve, pool=pool, size=pool_size, act=activation)
    grouped = partial(grouped_conv, groups=groups, convolve=conv)
    x = activate(conv(x, 64, 11, 4, padding=2, name="features.0"), activation, name="features.1", cut="conv1")
    x = layers.cut_point(halve(respond(x, lrn), name="features.2"), "stem")
    x = activate(grouped(x, 192, 5, name="features.3"), activation, name="features.4", cut="conv2")
    x = layers.cut_point(halve(respond(x, lrn), name="features.5"), "stage1")
    x = activate(conv(x, 384, 3, name="features.6"), activation, name="features.7", cut="conv3")
    x = activate(grouped(x, 256, 3, name="features.8"), activation, name="features.9", cut="conv4")
    x = activate(grouped(x, 256, 3, name="features.10"), activation, name="features.11", cut="conv5")
    x = layers.cut_point(halve(x, name="features.12"), "stage2")
    x = layers.Dropout(dropout, name="classifier.0")(flatten_map(x, 6, convolutional_head=convolutional_head))
    x = activate(hidden_layer(x, 6, name="classifier.1"), activation, name="classifier.2", cut="fc6")
    x = layers.Dropout(dropout, name="classifier.3")(x)
    x = activate(hidden_layer(x, 1, name="classifier.4"), activation, name="classifier.5", cut="fc7")
    return layers.head(feature_vector(x), num_classes, name="classifier.6")


def least_size(knobs):
    """Hidden layers as convolutions need at least the native size; dense ones average the map to theirs."""
    return 224 if knobs["convolutional_head"] else 0


KNOBS = choose("activation", "pool", "pool_size", "dropout", "init", "convolutional_head")
# hidden dense layers need pictures of a fixed size
SIZE_RULES: dict[str, Any] = {"fixed_with": ("convolutional_head", False), "minimum_of": least_size}


def _variant(build, head, params, multiply_adds, pixels, **defaults):
    knobs = KNOBS | choose(**defaults)
    return Variant(build, head, params, multiply_adds, 4096, pixels, minimum=63, knobs=knobs, **SIZE_RULES)


VARIANTS = {
    "alexnet": _variant(
        build_torchvision_logits, "classifier.6", 61_100_840, 714_188_480, CONVENTIONS["torch"], lrn=False, groups=1
    ),
    "alexnet_paper": _variant(
        build_paper_logits, "classifier.fc8", 60_965_224, 724_406_816, PIXELS, lrn=True, groups=2
    ),
}
