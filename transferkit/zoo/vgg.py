"""VGG: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2014), table 1.

The layers have torchvision's names; torchvision does not have `vgg11_lrn` (A-LRN) and `vgg16c` (C), whose layers are
named alike. In the `_bn` networks, batch norm follows each convolution, which keeps its bias.

Kernels, also those of net A, have Glorot's initialiser, with which section 3.1 found pre-training unnecessary. With the
variance of 0.01 that is printed for A, features are about 400,000 times as large as the pixels, and training fails. The
`_bn` networks are initialised as torchvision's: He's initialiser, and a Gaussian in the dense layers.

Deeper networks may also be initialised as in section 3.1, from the first four convolutions and the three dense layers
of a trained net A; the layers between them have fresh weights. Each convolution of A initialises the one at the same
position of the same block, which has the same width.

Knobs: those of AlexNet, but for two, whose networks are rows here or meaningless; `pool_size` is 2.
`convolutional_head` is section 3.2's dense evaluation.
"""

from functools import partial
from itertools import count

from transferkit.pixels import CONVENTIONS
from transferkit.zoo import layers
from transferkit.zoo.alexnet import KNOBS, PIXELS, SIZE_RULES, activate, classifier
from transferkit.zoo.knobs import choose
from transferkit.zoo.variant import Variant

# kernel sizes of the convolutions, a tuple for each block
A = (3,), (3,), (3, 3), (3, 3), (3, 3)
B = ((3, 3),) * 5
C = (3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)
D = (3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)
E = (3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)
NAMES = [f"classifier.{index}" for index in range(7)]


def plain_conv(x, filters, kernel, indices):
    """A convolution without norm."""
    return layers.conv(x, filters, kernel, bias=0.0, init="glorot_uniform", name=f"features.{next(indices)}")


def conv_with_norm(x, filters, kernel, indices):
    """A convolution and its batch norm."""
    x = layers.conv(x, filters, kernel, bias=0.0, name=f"features.{next(indices)}")
    return layers.batch_norm(x, name=f"features.{next(indices)}")


def build_logits(
    x,
    num_classes,
    *,
    blocks,
    convolve,
    activation,
    pool,
    pool_size,
    dropout,
    convolutional_head,
    respond=False,
    std=None,
):
    """The network of a column of table 1.

    Args:
        blocks: kernel sizes of each block.
        convolve: function that adds a convolution, with its norm if it has one.
        respond: whether local response normalisation follows the first layer.
        std: see `alexnet.hidden_layer`.
    """
    indices = count()
    for block, (filters, kernels) in enumerate(zip((64, 128, 256, 512, 512), blocks, strict=True), start=1):
        for number, kernel in enumerate(kernels, start=1):
            x = convolve(x, filters, kernel, indices)
            x = activate(x, activation, name=f"features.{next(indices)}", cut=f"conv{block}_{number}")
            if respond and block == 1:
                x = layers.local_response_norm(x)
                next(indices)
        x = layers.halve(x, pool=pool, size=pool_size, act=activation, ceil=True, name=f"features.{next(indices)}")
        x = layers.cut_point(x, f"stage{block}")
    return classifier(
        x,
        num_classes,
        7,
        NAMES,
        act=activation,
        dropout=dropout,
        convolutional_head=convolutional_head,
        std=std,
    )


def convolution_names(blocks):
    """`{(block, number): name}` of the convolutions of a network without norms; each is followed by a ReLU."""
    named: dict[tuple[int, int], str] = {}
    before = 0
    for block, kernels in enumerate(blocks, start=1):
        named |= {(block, number): f"features.{before + 2 * number - 2}" for number in range(1, len(kernels) + 1)}
        before += 2 * len(kernels) + 1  # the pool
    return named


def layers_from_a(blocks):
    """The layers of a network that net A's weights may initialise, `{layer: layer of A}` (section 3.1)."""
    ours, first = convolution_names(blocks), convolution_names(A)
    return {ours[place]: first[place] for place in list(first)[:4]} | {name: name for name in NAMES[::3]}


def _variant(blocks, params, multiply_adds, pixels=CONVENTIONS["torch"], convolve=plain_conv, std=None, respond=False):
    knobs = KNOBS | choose(pool_size=2)
    build = partial(build_logits, blocks=blocks, convolve=convolve, respond=respond, std=std)
    row = partial(Variant, build, NAMES[-1], params, multiply_adds, 4096, pixels, minimum=32, knobs=knobs, **SIZE_RULES)
    deeper = convolve is plain_conv and blocks is not A
    return row(grows_from="vgg11", grown=layers_from_a(blocks)) if deeper else row()


_bn_variant = partial(_variant, convolve=conv_with_norm, std=0.01)
VARIANTS = {
    "vgg11": _variant(A, 132_863_336, 7_609_090_048),
    "vgg13": _variant(B, 133_047_848, 11_308_466_176),
    "vgg16": _variant(D, 138_357_544, 15_470_264_320),
    "vgg19": _variant(E, 143_667_240, 19_632_062_464),
    "vgg11_bn": _bn_variant(A, 132_868_840, 7_609_090_048),
    "vgg13_bn": _bn_variant(B, 133_053_736, 11_308_466_176),
    "vgg16_bn": _bn_variant(D, 138_365_992, 15_470_264_320),
    "vgg19_bn": _bn_variant(E, 143_678_248, 19_632_062_464),
    "vgg11_lrn": _variant(A, 132_863_336, 7_609_090_048, PIXELS, respond=True),
    "vgg16c": _variant(C, 133_638_952, 11_770_888_192, PIXELS),
}
