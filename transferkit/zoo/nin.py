"""Network in Network: Lin, Chen, Yan, "Network In Network" (2013).

`nin` is the network for ImageNet that Caffe's model zoo publishes, with Caffe's names; the paper's own take smaller
pictures. Each convolution is followed by two of 1x1 (`cccp`: the multilayer perceptron of section 3.1). The last map,
one for each class, is averaged over the places (section 3.2), so there is no `pooled` vector to put another head on;
`stage4` is the map below the last layer. Pools round their size up, as Caffe's do, which gives its 6x6 places.

Kernels start as everywhere here, not with Caffe's Gaussians, the classes as in All-CNN.

Knobs: `activation`; `pool` and `pool_size`; `dropout`, before the last block (section 3.2); `init`.
"""

from functools import partial

from transferkit.pixels import CONVENTIONS
from transferkit.zoo import layers
from transferkit.zoo.knobs import choose
from transferkit.zoo.variant import Variant


def conv_unit(x, filters, kernel, stride=1, *, act, padding=None, name):
    """A convolution and its activation."""
    x = layers.conv(x, filters, kernel, stride, padding=padding, bias=0.0, name=name)
    return layers.activation(x, act, name=f"relu_{name}")


def mlpconv(x, filters, kernel, stride=1, *, act, padding=None, names):
    """A layer of section 3.1: a convolution and two of 1x1, of the same width."""
    conv, *cccps = names
    x = conv_unit(x, filters, kernel, stride, act=act, padding=padding, name=conv)
    for name in cccps:
        x = conv_unit(x, filters, 1, act=act, name=name)
    return x


def build_logits(x, num_classes, *, activation, pool, pool_size, dropout):
    """The network of Caffe's model zoo. Cut points are after the pools."""
    block = partial(mlpconv, act=activation)
    halve = partial(layers.halve, pool=pool, size=pool_size, act=activation, ceil=True)
    x = block(x, 96, 11, 4, padding=0, names=("conv1", "cccp1", "cccp2"))
    x = layers.cut_point(halve(x, name="pool1"), "stage1")
    x = block(x, 256, 5, names=("conv2", "cccp3", "cccp4"))
    x = layers.cut_point(halve(x, name="pool2"), "stage2")
    x = block(x, 384, 3, names=("conv3", "cccp5", "cccp6"))
    x = layers.cut_point(halve(x, name="pool3"), "stage3")
    x = layers.Dropout(dropout, name="drop")(x)
    x = layers.cut_point(block(x, 1024, 3, names=("conv4", "cccp7")), "stage4")
    return layers.class_map_head(x, num_classes, activation, name="cccp8")


KNOBS = choose("activation", "pool", "pool_size", "dropout", "init")

VARIANTS = {
    "nin": Variant(
        build_logits, "cccp8", 7_595_176, 1_100_188_800, 1024, CONVENTIONS["caffe"], minimum=39, knobs=KNOBS
    ),
}
