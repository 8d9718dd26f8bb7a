"""ZFNet: Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks" (2013), figure 3.

ZFNet is AlexNet with a smaller first kernel, strides of 2 in the first two layers, ungrouped convolutions, and
response normalisation after the pools. The paper does not state the padding; the padding here, with pools that round
sizes up, gives the maps of the figure: 110, 55, 26, 13 and 6 pixels. Kernels are initialised from a Gaussian of
standard deviation 0.01, biases with 0 (section 3.1).

Knobs: `widths=b` is the wider network of table 2, with 512, 1024 and 512 maps in the last three convolutions;
the others are those of AlexNet.
"""

from functools import partial

from transferkit.zoo import layers
from transferkit.zoo.alexnet import KNOBS, NAMES, PIXELS, SIZE_RULES, activate, classifier, gaussian_conv, respond
from transferkit.zoo.knobs import choose
from transferkit.zoo.variant import Variant

WIDTHS = {"a": (384, 384, 256), "b": (512, 1024, 512)}


def build_logits(x, num_classes, *, widths, activation, lrn, pool, pool_size, dropout, convolutional_head):
    halve = partial(layers.halve, pool=pool, size=pool_size, act=activation, ceil=True, convolve=gaussian_conv)
    x = activate(
        gaussian_conv(x, 96, 7, 2, padding=1, name="features.conv1"), activation, name="features.relu1", cut="conv1"
    )
    x = respond(halve(x, name="features.pool1"), lrn)
    x = layers.cut_point(x, "stem")
    x = activate(
        gaussian_conv(x, 256, 5, 2, padding=0, name="features.conv2"), activation, name="features.relu2", cut="conv2"
    )
    x = respond(halve(x, name="features.pool2"), lrn)
    x = layers.cut_point(x, "stage1")
    for number, width in enumerate(WIDTHS[widths], start=3):
        x = gaussian_conv(x, width, 3, name=f"features.conv{number}")
        x = activate(x, activation, name=f"features.relu{number}", cut=f"conv{number}")
    x = layers.cut_point(halve(x, name="features.pool5"), "stage2")
    return classifier(
        x,
        num_classes,
        6,
        NAMES,
        act=activation,
        dropout=dropout,
        convolutional_head=convolutional_head,
        std=0.01,
        head=layers.gaussian(0.01),
    )


VARIANTS = {
    "zfnet": Variant(
        build_logits,
        "classifier.fc8",
        62_357_608,
        1_168_032_896,
        4096,
        PIXELS,
        minimum=47,
        knobs=choose("widths", "lrn") | KNOBS,
        **SIZE_RULES,
    )
}
