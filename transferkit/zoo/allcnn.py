"""All-CNN: Springenberg, Dosovitskiy, Brox, Riedmiller, "Striving for Simplicity" (2014), tables 1 and 2.

The networks consist of convolutions and ReLUs only, with strides in place of pools. The last convolution has a map for
each class; the logits are the averages of its rectified values. So there is no `pooled` vector for a new head; `stage3`
is the map before the last layer. The seventh convolution of All-CNN-C has no padding, which gives the 6x6 positions
that the paper averages.

All kernels, also the last one, have Glorot's initialiser: the paper names none, and with zeros the last ReLU would pass
no gradient. It would not pass one either for a class whose inputs are negative for all pictures, so the biases of the
classes start at 1, which does not change the softmax. With zeros, the accuracy on digits stayed at 59% to 69% at every
learning rate that was tried.

Knobs: `activation`; `init`; `dropout`, after each pool or what is in its place, and `input_dropout` (section 3.1);
`variant`, the columns of table 2: "all" has a convolution with a stride in place of each pool, "base" the pool,
"strided" a stride in the convolution before it, "convpool" one more convolution and the pool. Pools round sizes up;
`width`, the maps of the first block, 96 in the paper.
"""

from functools import partial
from itertools import count

from transferkit.zoo import layers
from transferkit.zoo.knobs import choose
from transferkit.zoo.resnet_cifar import PIXELS
from transferkit.zoo.variant import Variant


def conv_unit(x, filters, kernel, stride=1, padding=None, *, act, numbers):
    """A convolution and its activation, named by the next of `numbers`."""
    number, init = next(numbers), "glorot_uniform"
    name = f"features.conv{number}"
    x = layers.conv(x, filters, kernel, stride, padding=padding, bias=0.0, init=init, name=name)
    return layers.activation(x, act, name=f"features.relu{number}")


# {column of table 2: whether a convolution is added, the stride of the last one of a block, whether a pool follows}
COLUMNS = {"all": (True, 2, False), "base": (False, 1, True), "strided": (False, 2, False), "convpool": (True, 1, True)}


def build_logits(x, num_classes, *, kernels, activation, dropout, input_dropout, variant, width):
    """An All-CNN whose first two blocks have convolutions with these kernel sizes."""
    convolve = partial(conv_unit, act=activation, numbers=count(1))
    added, stride, pools = COLUMNS[variant]
    *before, last = (*kernels, 3) if added else kernels
    x = layers.Dropout(input_dropout, name="features.drop0")(x)
    for stage, filters in enumerate((width, 2 * width), start=1):
        for kernel in before:
            x = convolve(x, filters, kernel)
        x = convolve(x, filters, last, stride)
        x = layers.halve(x, ceil=True, name=f"features.pool{stage}") if pools else x
        x = layers.cut_point(x, f"stage{stage}")
        x = layers.Dropout(dropout, name=f"features.drop{stage}")(x)
    x = layers.cut_point(convolve(convolve(x, 2 * width, 3, padding=0), 2 * width, 1), "stage3")
    return layers.class_map_head(x, num_classes, activation, name="classifier")


def least_size(knobs):
    """Two pools that leave the 3x3 pixels which the convolution without padding needs."""
    return 12 if COLUMNS[knobs["variant"]][2] else 9


KNOBS = choose("activation", "dropout", "input_dropout", "variant", "init", width=96)


def _variant(kernels, params, multiply_adds):
    build = partial(build_logits, kernels=kernels)
    row = partial(Variant, build, "classifier", params, multiply_adds, 192, PIXELS, classes=10, knobs=KNOBS)
    return row(minimum=9, minimum_of=least_size)


VARIANTS = {
    "allcnn_a": _variant((5,), 1_254_250, 181_145_088),
    "allcnn_b": _variant((5, 1), 1_300_618, 200_019_456),
    "allcnn_c": _variant((3, 3), 1_369_738, 270_798_336),
}
