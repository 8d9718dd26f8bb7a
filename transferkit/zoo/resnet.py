"""ResNet and its plain counterpart: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (2015).

The layers have torchvision's names. The bottlenecks of `resnet50` and deeper networks are "v1.5": the 3x3 convolution
has the stride, as in torchvision and timm. In `resnet50_paper` the first 1x1 convolution has it, as in the paper and in
`keras.applications`. Both have the same parameters; v1.5 needs 6% more multiply-adds for 50 layers.

Knobs: `shortcut` is the paper's option A, B or C (section 3.3); `stem=small` is the single 3x3 convolution of section
4.2, for pictures of about 32 pixels; `activation`; `output_stride` 16 or 8 replaces the strides of the last stages by
dilation, with the same weights (Chen et al. 2017, "Rethinking Atrous Convolution", section 3.1); `zero_init` sets the
initial scale of each block's last norm to 0, so that a new block is the identity (Goyal et al. 2017, section 5.1);
`norm`, where convolutions without one have a bias; `widen`; `dropout`, before the classifier, which the paper has not;
`init`.
"""

from functools import partial

from transferkit.lookup import UnknownName
from transferkit.pixels import CONVENTIONS
from transferkit.zoo import layers
from transferkit.zoo.knobs import choose
from transferkit.zoo.variant import Variant


def conv_unit(x, filters, kernel, stride=1, *, norm, names, dilation=1, gamma="ones"):
    """A convolution and its norm, or one with a bias. `names` are theirs."""
    bias = 0.0 if norm == "none" else None
    x = layers.conv(x, filters, kernel, stride, dilation=dilation, bias=bias, name=names[0])
    return layers.normalise(x, norm, gamma=gamma, name=names[1])


def block_unit(x, filters, kernel, stride=1, *, block, number, **facts):
    """The convolution of a number in a block."""
    return conv_unit(x, filters, kernel, stride, names=(f"{block}.conv{number}", f"{block}.bn{number}"), **facts)


def basic(x, width, *, stride, dilations, act, norm, name, gamma="ones"):
    """The basic block: two 3x3 convolutions (section 3.3, figure 2)."""
    unit = partial(block_unit, block=name, norm=norm)
    x = layers.activation(unit(x, width, 3, stride, dilation=dilations[0], number=1), act, name=f"{name}.relu1")
    return unit(x, width, 3, dilation=dilations[1], gamma=gamma, number=2)


def bottleneck(x, width, *, stride, dilations, name, **facts):
    """The bottleneck: 1x1, 3x3, and 1x1 to four times the width (section 4.1, figure 5); the 3x3 has the stride."""
    return _bottleneck(x, width, strides=(1, stride), dilation=dilations[0], name=name, **facts)


def bottleneck_paper(x, width, *, stride, dilations, name, **facts):
    """The bottleneck with the stride in the first 1x1."""
    return _bottleneck(x, width, strides=(stride, 1), dilation=dilations[1], name=name, **facts)


def _bottleneck(x, width, *, strides, dilation, act, norm, name, gamma="ones"):
    unit = partial(block_unit, block=name, norm=norm)
    x = layers.activation(unit(x, width, 1, strides[0], number=1), act, name=f"{name}.relu1")
    x = layers.activation(unit(x, width, 3, strides[1], dilation=dilation, number=2), act, name=f"{name}.relu2")
    return unit(x, 4 * width, 1, gamma=gamma, number=3)


def pad_shortcut(x, channels, stride, *, norm, name):
    """Shortcut A, without parameters: every second pixel, and channels of zeros before and after those of the input."""
    from keras import ops

    if stride > 1:
        x = layers.AveragePooling2D(1, stride, name=f"{name}.downsample")(x)
    missing = channels - x.shape[-1]
    return ops.pad(x, ((0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2))) if missing else x


def project_shortcut(x, channels, stride, *, norm, name):
    """Shortcut C: a 1x1 convolution and its norm."""
    return conv_unit(x, channels, 1, stride, norm=norm, names=(f"{name}.downsample.0", f"{name}.downsample.1"))


def project_shortcut_if_needed(x, channels, stride, *, norm, name):
    """Shortcut B: the identity, or a 1x1 convolution where the shape changes."""
    same = stride == 1 and x.shape[-1] == channels
    return x if same else project_shortcut(x, channels, stride, norm=norm, name=name)


SHORTCUTS = {"a": pad_shortcut, "b": project_shortcut_if_needed, "c": project_shortcut}


def residual_unit(x, width, *, block, shortcut, stride, dilations, act, norm, name):
    """A block and its shortcut; the block alone if `shortcut` is None (section 3.3, "Plain Network")."""
    y = block(x, width, stride=stride, dilations=dilations, act=act, norm=norm, name=name)
    if shortcut:
        y = layers.Add(name=f"{name}.add")([y, SHORTCUTS[shortcut](x, y.shape[-1], stride, norm=norm, name=name)])
    return layers.activation(y, act, name=f"{name}.relu")


def build_stages(x, widths, depths, *, block, shortcut, act, norm, reached=1, output_stride=32):
    """All stages. Each but the first halves height and width, until the `output_stride` is reached."""
    dilation, unit = 1, partial(residual_unit, block=block, shortcut=shortcut, act=act, norm=norm)
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
        for i in range(depth):
            stride, dilations = 1, (dilation, dilation)
            if stage > 1 and i == 0 and reached < output_stride:
                stride, reached = 2, reached * 2
            elif stage > 1 and i == 0:
                dilations = dilation, 2 * dilation
                dilation *= 2
            x = unit(x, width, stride=stride, dilations=dilations, name=f"layer{stage}.{i}")
        x = layers.cut_point(x, f"stage{stage}")
    return x


def widened(widths, factor):
    """Numbers of maps times the knob `widen`, rounded, at least 1."""
    return [max(1, round(width * factor)) for width in widths]


def classifier(x, num_classes, *, dropout):
    """Global average pooling, the dropout of the knob, and the classifier."""
    x = layers.pooled(x)
    x = layers.Dropout(dropout, name="drop")(x) if dropout else x
    return layers.head(x, num_classes, name="fc")


def build_logits(
    x,
    num_classes,
    *,
    block,
    depths,
    activation,
    norm,
    stem,
    output_stride,
    widen,
    dropout,
    shortcut=None,
    zero_init=False,
):
    """The networks of table 1. `depths` is the number of blocks of each stage."""
    if zero_init and norm == "none":
        raise UnknownName("zero_init=true sets the scale of a norm: expected norm=batch or norm=group with it.")
    kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
    widths = widened((64, 128, 256, 512), widen)
    x = conv_unit(x, widths[0], kernel, stride, norm=norm, names=("conv1", "bn1"))
    x = layers.activation(x, activation, name="relu")
    if stem == "imagenet":
        x = layers.ZeroPadding2D(1, name="maxpool.pad")(x)  # zeros do not change a maximum after a ReLU
        x = layers.MaxPooling2D(3, 2, name="maxpool")(x)
    x = layers.cut_point(x, "stem")
    reached = 4 if stem == "imagenet" else 1
    x = build_stages(
        x,
        widths,
        depths,
        block=partial(block, gamma="zeros") if zero_init else block,
        shortcut=shortcut,
        act=activation,
        norm=norm,
        reached=reached,
        output_stride=output_stride,
    )
    return classifier(x, num_classes, dropout=dropout)


KNOBS = choose("activation", "norm", "stem", "output_stride", "widen", "init", dropout=0.0)
RESIDUAL = KNOBS | choose("zero_init", shortcut="b")


def _variant(block, depths, params, multiply_adds, knobs=RESIDUAL, pixels=CONVENTIONS["torch"]):
    features = 512 if block is basic else 2048
    build = partial(build_logits, block=block, depths=depths)
    return Variant(build, "fc", params, multiply_adds, features, pixels, ("stage2", "stage3"), knobs=knobs)


_paper_variant = partial(_variant, bottleneck_paper, pixels=CONVENTIONS["caffe"])
VARIANTS = {
    "resnet18": _variant(basic, (2, 2, 2, 2), 11_689_512, 1_814_073_344),
    "resnet34": _variant(basic, (3, 4, 6, 3), 21_797_672, 3_663_761_408),
    "resnet50": _variant(bottleneck, (3, 4, 6, 3), 25_557_032, 4_089_184_256),
    "resnet101": _variant(bottleneck, (3, 4, 23, 3), 44_549_160, 7_801_405_440),
    "resnet152": _variant(bottleneck, (3, 8, 36, 3), 60_192_808, 11_513_626_624),
    "resnet50_paper": _paper_variant((3, 4, 6, 3), 25_557_032, 3_857_973_248),
    "resnet101_paper": _paper_variant((3, 4, 23, 3), 44_549_160, 7_570_194_432),
    "resnet152_paper": _paper_variant((3, 8, 36, 3), 60_192_808, 11_282_415_616),
    "plain18": _variant(basic, (2, 2, 2, 2), 11_515_688, 1_794_805_760, KNOBS),
    "plain34": _variant(basic, (3, 4, 6, 3), 21_623_848, 3_644_493_824, KNOBS),
}
