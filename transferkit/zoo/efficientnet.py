"""EfficientNet-Lite0: Tan and Le, "EfficientNet" (2019), without squeeze-and-excitation and with ReLU6.

Not a classic. It is here because its ImageNet weights come as a small Python package, so that transfer
learning works where no hub can be reached. The layers bear that file's names.
"""

from transferkit.pixels import Pixels
from transferkit.zoo import layers
from transferkit.zoo.layers import relu
from transferkit.zoo.variant import Variant

# (blocks, kernel, stride of the first, expansion, channels): one line a stage of table 1
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def conv(x, filters, kernel, stride=1, *, name):
    """TensorFlow's own padding: the weights were trained with it."""
    return layers.Conv2D(filters, kernel, stride, "same", use_bias=False, kernel_initializer="he_normal", name=name)(x)


def norm(x, *, name):
    return layers.norm(x, epsilon=1e-3, name=name)


def block(x, kernel, stride, expansion, channels, *, name):
    """Inverted residual: widen, filter each channel, narrow without activation (Sandler et al. 2018, figure 4)."""
    y, width = x, x.shape[-1] * expansion
    if expansion > 1:
        y = norm(conv(y, width, 1, name=f"{name}.expand_conv"), name=f"{name}.bn0")
        y = relu(y, ceiling=6, name=f"{name}.relu0")
    y = layers.DepthwiseConv2D(
        kernel,
        stride,
        "same",
        use_bias=False,
        depthwise_initializer="he_normal",
        name=f"{name}.depthwise_conv",
    )(y)
    y = relu(norm(y, name=f"{name}.bn1"), ceiling=6, name=f"{name}.relu1")
    y = norm(conv(y, channels, 1, name=f"{name}.project_conv"), name=f"{name}.bn2")
    if stride == 1 and x.shape[-1] == channels:
        y = layers.Add(name=f"{name}.add")([x, y])
    return y


def network(x, num_classes):
    x = relu(norm(conv(x, 32, 3, 2, name="conv_stem"), name="bn0"), ceiling=6, name="relu0")
    x, index = layers.mark(x, "stem"), 0
    for stage, (blocks, kernel, stride, expansion, channels) in enumerate(STAGES, start=1):
        for i in range(blocks):
            x = block(x, kernel, stride if i == 0 else 1, expansion, channels, name=f"blocks.{index}")
            index += 1
        x = layers.mark(x, f"stage{stage}")
    x = relu(norm(conv(x, 1280, 1, name="conv_head"), name="bn1"), ceiling=6, name="relu1")
    return layers.head(layers.pooled(x), num_classes, name="fc")


PIXELS = Pixels((127.0,) * 3, (128.0,) * 3, interpolation="bicubic")
VARIANTS = {
    "efficientnet_lite0": Variant(network, "fc", 4_652_008, 385_187_552, 1280, PIXELS, ("stage5", "stage6", "stage7"))
}
