"""All-CNN: Springenberg, Dosovitskiy, Brox, Riedmiller, "Striving for Simplicity" (2014), tables 1 and 2.

Convolutions and ReLUs alone: strides in place of pools, and a map of classes, rectified as all else, whose average over
the places are the logits. So there is no `pooled` vector to put another head on; `stage3` is the map below the last
layer. The seventh convolution of All-CNN-C has no border, which gives the 6x6 places that are averaged in the paper.
All kernels, the last one's too, are Glorot's: the paper names none, and rectified zeros would never learn. Nor would a
class that all pictures begin below zero, so the biases of the classes start at 1, which the softmax does not see; with
zeros, accuracy stayed at 59% to 69% of the digits at every rate that was tried.

Knobs: `activation`; `dropout`, after each layer with a stride, and `input_dropout` (section 3.1).
"""

from functools import partial
from itertools import count

from transferkit.zoo import layers
from transferkit.zoo.resnet_cifar import PIXELS
from transferkit.zoo.variant import Knobs, Variant


def conv_unit(x, filters, kernel, stride=1, padding=None, *, act, numbers):
    """A convolution and its activation, the next of `numbers`."""
    number, init = next(numbers), "glorot_uniform"
    name = f"features.conv{number}"
    x = layers.conv(x, filters, kernel, stride, padding=padding, bias=0.0, init=init, name=name)
    return layers.activation(x, act, name=f"features.relu{number}")


def build_logits(x, num_classes, *, kernels, activation, dropout, input_dropout):
    """An All-CNN whose two first blocks have convolutions of `kernels`."""
    convolve = partial(conv_unit, act=activation, numbers=count(1))
    x = layers.Dropout(input_dropout, name="features.drop0")(x)
    for stage, filters in enumerate((96, 192), start=1):
        for kernel in kernels:
            x = convolve(x, filters, kernel)
        x = layers.cut_point(convolve(x, filters, 3, stride=2), f"stage{stage}")
        x = layers.Dropout(dropout, name=f"features.drop{stage}")(x)
    x = layers.cut_point(convolve(convolve(x, 192, 3, padding=0), 192, 1), "stage3")
    # Glorot's kernel is Keras' default
    x = layers.Conv2D(num_classes, 1, bias_initializer="ones", dtype="float32", name="classifier")(x)
    x = layers.Activation(activation, dtype="float32", name="scores")(x)
    return layers.GlobalAveragePooling2D(dtype="float32", name="logits")(x)


KNOBS: Knobs = {"activation": ("relu", "tanh"), "dropout": 0.5, "input_dropout": 0.2}


def _variant(kernels, params, multiply_adds):
    build = partial(build_logits, kernels=kernels)
    return Variant(build, "classifier", params, multiply_adds, 192, PIXELS, classes=10, minimum=9, knobs=KNOBS)


VARIANTS = {
    "allcnn_a": _variant((5,), 1_254_250, 181_145_088),
    "allcnn_b": _variant((5, 1), 1_300_618, 200_019_456),
    "allcnn_c": _variant((3, 3), 1_369_738, 270_798_336),
}
