"""LeNet-5: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition" (1998).

The network is that of section II.B in today's form: C3 is connected to all maps, sub-sampling is average pooling, and
the last layer is dense. The paper's output, distances to fixed drawings of the characters, is not implemented, because
such drawings exist for the ten digits only. C5 is a convolution whose map is averaged, so pictures may be larger than
32 pixels.

Pictures are grey, white ink on black: -0.1 for the background and 1.175 for ink (II.B). Kernels have Glorot's
initialiser: from the paper's, uniform within 2.4 / fan-in, plain gradient descent makes no progress (the paper scaled
its step sizes by curvature).

Knobs: `activation`, where tanh is the paper's 1.7159 tanh(2x / 3); `c3=table` connects each map of C3 to some maps of
S2, as table I; `pool` is what S2 and S4 take of 2x2 pixels; `subsampling=trainable` adds a coefficient (initially 1), a
bias and an activation for each map of them; `init`.
"""

from functools import partial

from transferkit.pixels import Pixels
from transferkit.zoo import layers
from transferkit.zoo.knobs import choose
from transferkit.zoo.variant import Variant

# table I: the maps of S2 that each of the 16 maps of C3 is connected to
TABLE = (
    *("012", "123", "234", "345", "045", "015"),
    *("0123", "1234", "2345", "0345", "0145", "0125", "0134", "1245", "0235"),
    "012345",
)


def scaled_activation(x, kind, *, number):
    """The activation of layer `number`; tanh is scaled so that it maps 1 to 1 and -1 to -1 (appendix A)."""
    name = f"features.squash{number}"
    if kind != "tanh":
        return layers.activation(x, kind, name=name)
    x = layers.activation(layers.Rescaling(2 / 3, name=f"{name}.slope")(x), kind, name=f"{name}.tanh")
    return layers.Rescaling(1.7159, name=f"{name}.amplitude")(x)


def conv(x, filters, *, name):
    return layers.conv(x, filters, 5, padding=0, bias=0.0, init="glorot_uniform", name=name)


def full_c3(x, *, name):
    """C3 with every map connected to all maps of S2."""
    return conv(x, 16, name=name)


def table_c3(x, *, name):
    """C3 with a convolution for each map, over the maps that it is connected to."""
    from keras import ops

    seen = [ops.take(x, [int(source) for source in sources], axis=-1) for sources in TABLE]
    maps = [conv(sources, 1, name=f"{name}.{index}") for index, sources in enumerate(seen)]
    return layers.Concatenate(name=f"{name}.concat")(maps)


def subsample(x, kind, *, pool, trainable, number):
    """A pool of 2x2; with `trainable` a coefficient and a bias for each map, and the activation."""
    name = f"features.s{number}"
    if not trainable:
        return layers.halve(x, pool=pool, size=2, act=kind, name=name)
    x = layers.halve(x, pool=pool, size=2, act=kind, name=f"{name}.average")
    x = layers.DepthwiseConv2D(1, depthwise_initializer="ones", name=name)(x)
    return scaled_activation(x, kind, number=number)


C3 = {"full": full_c3, "table": table_c3}


def build_logits(x, num_classes, *, activation, c3, pool, subsampling):
    """The network of figure 2."""
    halve = partial(subsample, pool=pool, trainable=subsampling == "trainable")
    x = layers.cut_point(scaled_activation(conv(x, 6, name="features.c1"), activation, number=1), "c1")
    x = layers.cut_point(layers.cut_point(halve(x, activation, number=2), "s2"), "stage1")
    x = layers.cut_point(scaled_activation(C3[c3](x, name="features.c3"), activation, number=3), "c3")
    x = layers.cut_point(layers.cut_point(halve(x, activation, number=4), "s4"), "stage2")
    x = layers.cut_point(scaled_activation(conv(x, 120, name="features.c5"), activation, number=5), "c5")
    x = layers.GlobalAveragePooling2D(name="features.average")(x)
    x = layers.cut_point(scaled_activation(layers.dense(x, 84, name="classifier.f6"), activation, number=6), "f6")
    return layers.head(layers.cut_point(x, "pooled"), num_classes, name="classifier.output")


VARIANTS = {
    "lenet5": Variant(
        build_logits,
        "classifier.output",
        61_706,
        416_520,
        84,
        Pixels((20.0,), (200.0,), 32, 32),
        classes=10,
        minimum=32,
        knobs=choose("c3", "subsampling", "init", activation="tanh", pool="average"),
    )
}
