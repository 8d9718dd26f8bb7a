"""GoogLeNet: Szegedy et al., "Going Deeper with Convolutions" (2014).

`googlenet` is torchvision's, whose weights are public: it has batch norm with epsilon 1e-3 in place of biases and
response normalisation, 3x3 kernels in the 5x5 branch, and 2x2 windows in the last pool. `googlenet_paper` is table 1:
5x5 kernels, biases, local response normalisation. What the paper does not state is as in Caffe's replica: constants of
the response normalisation, pools that round sizes up, Xavier's initialiser, and initial biases of 0.2. The layers of
both have torchvision's names.

Knobs: `inception`, "reduced" (figure 2b) or "naive" (2a); `activation`; `lrn`, of the stem; `dropout`, before the
classifier; `init`; `aux` is the form for training with auxiliary heads, which has three outputs (section 5).
`keras.Model(model.input, model.output["logits"])` is the network for inference. The auxiliary heads have hidden dense
layers, so pictures must have a fixed size.
"""

from collections.abc import Callable
from functools import partial

from transferkit.lookup import UnknownName
from transferkit.pixels import CONVENTIONS
from transferkit.zoo import layers
from transferkit.zoo.knobs import choose
from transferkit.zoo.variant import Variant

# table 1, one row for each module: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool proj
STAGES = (
    {"3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64)},
    {
        "4a": (192, 96, 208, 16, 48, 64),
        "4b": (160, 112, 224, 24, 64, 64),
        "4c": (128, 128, 256, 24, 64, 64),
        "4d": (112, 144, 288, 32, 64, 64),
        "4e": (256, 160, 320, 32, 128, 128),
    },
    {"5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128)},
)
HEADS = {"4a": "aux1", "4d": "aux2"}  # the auxiliary head after each of these modules
HEAD_WEIGHTS = {"aux2": 0.3, "aux1": 0.3}  # weights in the loss


def conv_with_norm(x, filters, kernel, stride=1, *, act, name):
    """A convolution, its batch norm and its activation."""
    x = layers.conv(x, filters, kernel, stride, name=f"{name}.conv")
    x = layers.batch_norm(x, epsilon=1e-3, name=f"{name}.bn")
    return layers.activation(x, act, name=f"{name}.relu")


def conv_with_bias(x, filters, kernel, stride=1, *, act, name):
    """A convolution with a bias, and its activation. Caffe's "xavier" is uniform with a variance of 1 / fan-in."""
    x = layers.conv(x, filters, kernel, stride, bias=0.2, init="lecun_uniform", name=f"{name}.conv")
    return layers.activation(x, act, name=f"{name}.relu")


def reduced_inception(x, widths, *, unit, large, name):
    """The module of figure 2b: 1x1 convolutions reduce the inputs of the larger ones and the output of the pool."""
    one, three_reduced, three, five_reduced, five, pooled = widths
    branches = [
        unit(x, one, 1, name=f"{name}.branch1"),
        unit(unit(x, three_reduced, 1, name=f"{name}.branch2.0"), three, 3, name=f"{name}.branch2.1"),
        unit(unit(x, five_reduced, 1, name=f"{name}.branch3.0"), five, large, name=f"{name}.branch3.1"),
        unit(layers.MaxPooling2D(3, 1, "same", name=f"{name}.branch4.0")(x), pooled, 1, name=f"{name}.branch4.1"),
    ]
    return layers.Concatenate(name=f"{name}.concat")(branches)


def naive_inception(x, widths, *, unit, large, name):
    """The module of figure 2a: all branches take all maps, and the pool returns all of them."""
    one, _, three, _, five, _ = widths
    branches = [
        unit(x, one, 1, name=f"{name}.branch1"),
        unit(x, three, 3, name=f"{name}.branch2.1"),
        unit(x, five, large, name=f"{name}.branch3.1"),
        layers.MaxPooling2D(3, 1, "same", name=f"{name}.branch4.0")(x),
    ]
    return layers.Concatenate(name=f"{name}.concat")(branches)


INCEPTIONS = {"reduced": reduced_inception, "naive": naive_inception}


def adaptive_average_pool(x, *, name):
    """Average pooling to 4x4 positions for maps of any size; for 14 pixels, windows of 4 start at 0, 3, 7 and 10."""
    return layers.adaptive_average(x, 4, name=name)


def average_pool(x, *, name):
    """Average pooling, 5x5 windows with stride 3 (section 5): 4x4 positions for a map of 14x14."""
    if min(x.shape[1:3]) < 5:
        raise UnknownName("The auxiliary heads of googlenet_paper need pictures of at least 79 pixels.")
    return layers.AveragePooling2D(5, 3, name=name)(x)


def auxiliary_head(x, num_classes, *, unit, pool, act, name):
    """An auxiliary classifier (section 5): pool, 128 maps, 1024 units with 70% dropout, initialised as in Caffe."""
    x = unit(pool(x, name=f"{name}.pool"), 128, 1, name=f"{name}.conv")
    x = layers.Flatten(name=f"{name}.flatten")(x)
    x = layers.dense(x, 1024, bias=0.2, init="lecun_uniform", name=f"{name}.fc1")
    x = layers.Dropout(0.7, name=f"{name}.dropout")(layers.activation(x, act, name=f"{name}.relu"))
    return layers.head(x, num_classes, name=f"{name}.fc2")


def halving_max_pool(x, *, name):
    """Max pooling, 2x2 windows; "same" rounds the size up."""
    return layers.MaxPooling2D(2, 2, "same", name=name)(x)


def overlapping_max_pool(x, *, name):
    """Max pooling, 3x3 windows with stride 2."""
    return layers.halve(x, ceil=True, name=name)


def identity(x):
    return x


response_norm = partial(layers.local_response_norm, alpha=1e-4 / 5, k=1.0)  # Caffe divides alpha by the window


def build_logits(x, num_classes, *, unit, large, last_pool, aux_pool, activation, lrn, inception, dropout, aux):
    """The network of table 1: logits, or a dict with "logits", "aux2" and "aux1" with `aux`.

    Args:
        unit: function that adds a convolution with its norm or bias and its activation.
        large: kernel size in the third branch.
        last_pool: the pool before 5a.
        aux_pool: the first layer of the auxiliary heads.
    """
    unit = partial(unit, act=activation)
    module = partial(INCEPTIONS[inception], unit=unit, large=large)
    respond = response_norm if lrn else identity
    x = respond(overlapping_max_pool(unit(x, 64, 7, 2, name="conv1"), name="maxpool1"))
    x = respond(unit(unit(x, 64, 1, name="conv2"), 192, 3, name="conv3"))
    x = layers.cut_point(overlapping_max_pool(x, name="maxpool2"), "stem")
    pools: tuple[Callable, ...] = (
        identity,
        partial(overlapping_max_pool, name="maxpool3"),
        partial(last_pool, name="maxpool4"),
    )
    heads = {}
    for stage, (pool, modules) in enumerate(zip(pools, STAGES, strict=True), start=1):
        x = pool(x)
        for number, widths in modules.items():
            x = module(x, widths, name=f"inception{number}")
            x = layers.cut_point(x, f"inception_{number}")
            if aux and number in HEADS:
                name = HEADS[number]
                heads[name] = auxiliary_head(x, num_classes, unit=unit, pool=aux_pool, act=activation, name=name)
        x = layers.cut_point(x, f"stage{stage}")
    x = layers.Dropout(dropout, name="drop")(layers.pooled(x))
    logits = layers.head(x, num_classes, name="fc")
    return {"logits": logits, **{name: heads[name] for name in HEAD_WEIGHTS}} if aux else logits


KNOBS = choose("activation", "inception", "init", "aux")
TORCHVISION = partial(
    build_logits,
    unit=conv_with_norm,
    large=3,
    last_pool=halving_max_pool,
    aux_pool=adaptive_average_pool,
)
PAPER = partial(
    build_logits,
    unit=conv_with_bias,
    large=5,
    last_pool=overlapping_max_pool,
    aux_pool=average_pool,
)
_variant = partial(Variant, head="fc", features=1024, fixed_with=("aux", True), auxiliary_heads=HEAD_WEIGHTS)
VARIANTS = {
    "googlenet": _variant(
        TORCHVISION,
        params=6_624_904,
        multiply_adds=1_498_376_192,
        pixels=CONVENTIONS["tf"],  # torchvision's `transform_input` converts its usual normalisation to this one
        minimum=15,
        knobs=KNOBS | choose(dropout=0.2, lrn=False),
    ),
    "googlenet_paper": _variant(
        PAPER,
        params=6_998_552,
        multiply_adds=1_582_671_872,
        pixels=CONVENTIONS["caffe"],
        minimum=31,
        knobs=KNOBS | choose(dropout=0.4, lrn=True),
    ),
}
