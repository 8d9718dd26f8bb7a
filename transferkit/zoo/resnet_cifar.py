"""The ResNets for 32x32 pictures, and their plain counterparts: He et al. 2015, section 4.2.

A network has 6n + 2 layers: one 3x3 convolution, three stages of n blocks at 32, 16 and 8 pixels, and the classifier.
Shortcuts are option A, without parameters; some public checkpoints need `shortcut=b`. The other knobs are those of the
larger ResNets.
"""

from functools import partial

from transferkit.pixels import Pixels
from transferkit.zoo import layers
from transferkit.zoo.knobs import choose
from transferkit.zoo.resnet import basic, build_stages, classifier, conv_unit, widened
from transferkit.zoo.variant import Variant

PIXELS = Pixels((125.3, 123.0, 113.9), (63.0, 62.1, 66.7), 32, 32)  # statistics of CIFAR-10's training pictures


def build_logits(x, num_classes, *, depth, activation, norm, widen, dropout, shortcut=None):
    widths = widened((16, 32, 64), widen)
    x = conv_unit(x, widths[0], 3, norm=norm, names=("conv1", "bn1"))
    x = layers.cut_point(layers.activation(x, activation, name="relu"), "stem")
    blocks = (depth - 2) // 6
    x = build_stages(x, widths, (blocks,) * 3, block=basic, shortcut=shortcut, act=activation, norm=norm)
    return classifier(x, num_classes, dropout=dropout)


KNOBS = choose("activation", "norm", "widen", "init", dropout=0.0)
RESIDUAL = KNOBS | choose(shortcut="a")
COUNTS = {  # parameters and multiply-adds, the same for residual and plain networks
    20: (269_722, 40_551_040),
    32: (464_154, 68_862_592),
    44: (658_586, 97_174_144),
    56: (853_018, 125_485_696),
    110: (1_727_962, 252_887_680),
}


def _variant(depth, knobs):
    return Variant(partial(build_logits, depth=depth), "fc", *COUNTS[depth], 64, PIXELS, classes=10, knobs=knobs)


VARIANTS = {f"resnet{depth}_cifar": _variant(depth, RESIDUAL) for depth in COUNTS}
VARIANTS |= {f"plain{depth}_cifar": _variant(depth, KNOBS) for depth in (20, 32, 44, 56)}
