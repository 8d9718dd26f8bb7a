"""ResNet and its plain counterpart: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (2015).

The layers bear torchvision's names. Bottlenecks are "v1.5": the stride sits on the 3x3 convolution, as in
torchvision and timm, not on the first 1x1 as in the paper; the parameters are the same, the multiply-adds
are 6% more for 50 layers.
"""

from functools import partial

from transferkit.zoo import layers
from transferkit.zoo.layers import conv, norm, relu
from transferkit.zoo.variant import Variant


def basic(x, width, stride, *, name):
    """Two 3x3 convolutions (section 3.3, figure 2)."""
    x = relu(norm(conv(x, width, 3, stride, name=f"{name}.conv1"), name=f"{name}.bn1"), name=f"{name}.relu1")
    return norm(conv(x, width, 3, name=f"{name}.conv2"), name=f"{name}.bn2")


def bottleneck(x, width, stride, *, name):
    """1x1, 3x3 and 1x1 to four times the width (section 4.1, figure 5)."""
    x = relu(norm(conv(x, width, 1, name=f"{name}.conv1"), name=f"{name}.bn1"), name=f"{name}.relu1")
    x = relu(norm(conv(x, width, 3, stride, name=f"{name}.conv2"), name=f"{name}.bn2"), name=f"{name}.relu2")
    return norm(conv(x, 4 * width, 1, name=f"{name}.conv3"), name=f"{name}.bn3")


def projection(x, channels, stride, *, name):
    """Shortcut option B: the identity, or a 1x1 convolution where the shape changes (section 3.3)."""
    if stride == 1 and x.shape[-1] == channels:
        return x
    x = conv(x, channels, 1, stride, name=f"{name}.downsample.0")
    return norm(x, name=f"{name}.downsample.1")


def residual(x, width, stride, *, block, name):
    y = block(x, width, stride, name=name)
    y = layers.Add(name=f"{name}.add")([y, projection(x, y.shape[-1], stride, name=name)])
    return relu(y, name=f"{name}.relu")


def plain(x, width, stride, *, block, name):
    """The same convolutions without the shortcut (section 3.3, "Plain Network")."""
    return relu(block(x, width, stride, name=name), name=f"{name}.relu")


def network(x, *, unit, block, depths):
    """Table 1 of the paper. `depths` is the number of blocks of each stage."""
    x = relu(norm(conv(x, 64, 7, 2, name="conv1"), name="bn1"), name="relu")
    x = layers.ZeroPadding2D(1, name="maxpool.pad")(x)  # zeros: after a ReLU they never win the maximum
    x = layers.mark(layers.MaxPooling2D(3, 2, name="maxpool")(x), "stem")
    for stage, depth in enumerate(depths, start=1):
        for i in range(depth):
            stride = 2 if stage > 1 and i == 0 else 1
            x = unit(x, 32 * 2**stage, stride, block=block, name=f"layer{stage}.{i}")
        x = layers.mark(x, f"stage{stage}")
    return layers.pooled(x)


def _row(unit, block, depths, params, multiply_adds):
    features = 2048 if block is bottleneck else 512
    return Variant(partial(network, unit=unit, block=block, depths=depths), "fc", params, multiply_adds, features)


VARIANTS = {
    "resnet18": _row(residual, basic, (2, 2, 2, 2), 11_689_512, 1_814_073_344),
    "resnet34": _row(residual, basic, (3, 4, 6, 3), 21_797_672, 3_663_761_408),
    "resnet50": _row(residual, bottleneck, (3, 4, 6, 3), 25_557_032, 4_089_184_256),
    "resnet101": _row(residual, bottleneck, (3, 4, 23, 3), 44_549_160, 7_801_405_440),
    "resnet152": _row(residual, bottleneck, (3, 8, 36, 3), 60_192_808, 11_513_626_624),
    "plain18": _row(plain, basic, (2, 2, 2, 2), 11_515_688, 1_794_805_760),
    "plain34": _row(plain, basic, (3, 4, 6, 3), 21_623_848, 3_644_493_824),
}
