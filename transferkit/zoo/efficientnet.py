"""EfficientNet-Lite: Tan and Le, "EfficientNet" (2019), without squeeze-and-excitation and with ReLU6.

The ImageNet weights of Lite0, 1 and 2 come as small Python packages, so that transfer learning works where no model
hub can be reached. The layers have the names of those files.
"""

import math
from functools import partial

from transferkit.pixels import Pixels
from transferkit.zoo import layers
from transferkit.zoo.layers import relu
from transferkit.zoo.variant import Variant

# (blocks, kernel, stride of the first block, expansion, channels): one row for each stage of table 1, for Lite0
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def scale_stages(width: float, depth: float) -> list[tuple]:
    """The stages of a larger network: compound scaling, section 3.3.

    Channels are rounded to the nearest multiple of 8, or to the next one if that is more than 10% below. Lite does not
    deepen the first and the last stage, nor widen the stem and the head.
    """
    rows = []
    for i, (blocks, kernel, stride, expansion, channels) in enumerate(STAGES):
        wide = width * channels
        rounded = int(wide + 4) // 8 * 8
        rounded += 8 if rounded < 0.9 * wide else 0
        deep = blocks if i in (0, len(STAGES) - 1) else math.ceil(depth * blocks)
        rows.append((deep, kernel, stride, expansion, rounded))
    return rows


def conv(x, filters, kernel, stride=1, *, name):
    """A convolution with TensorFlow's padding, with which the weights were trained."""
    return layers.Conv2D(filters, kernel, stride, "same", use_bias=False, kernel_initializer="he_normal", name=name)(x)


def norm(x, *, name):
    return layers.batch_norm(x, epsilon=1e-3, name=name)


def inverted_residual(x, kernel, stride, expansion, channels, *, name):
    """Inverted residual block: expansion, depthwise convolution, linear projection (Sandler et al. 2018, figure 4)."""
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


def build_logits(x, num_classes, *, width, depth):
    x = relu(norm(conv(x, 32, 3, 2, name="conv_stem"), name="bn0"), ceiling=6, name="relu0")
    x, index = layers.cut_point(x, "stem"), 0
    for stage, (blocks, kernel, stride, expansion, channels) in enumerate(scale_stages(width, depth), start=1):
        for i in range(blocks):
            x = inverted_residual(x, kernel, stride if i == 0 else 1, expansion, channels, name=f"blocks.{index}")
            index += 1
        x = layers.cut_point(x, f"stage{stage}")
    x = relu(norm(conv(x, 1280, 1, name="conv_head"), name="bn1"), ceiling=6, name="relu1")
    return layers.head(layers.pooled(x), num_classes, name="fc")


def _variant(width, depth, size, params, multiply_adds):
    """A row of the table.

    The shorter side is resized to 32 pixels more than the centre crop, as when the weights were published:
    `CROP_PADDING` of tensorflow/tpu's models/official/efficientnet/preprocessing.py. Later versions add a seventh of
    the crop, which is the same for Lite0 only.
    """
    pixels = Pixels((127.0,) * 3, (128.0,) * 3, crop=size, resize=size + 32, interpolation="bicubic")
    build = partial(build_logits, width=width, depth=depth)
    return Variant(build, "fc", params, multiply_adds, 1280, pixels, ("stage5", "stage6", "stage7"))


# width, depth and size are those of tensorflow/tpu's models/official/efficientnet/lite/efficientnet_lite_builder.py
VARIANTS = {
    "efficientnet_lite0": _variant(1.0, 1.0, 224, 4_652_008, 385_187_552),
    "efficientnet_lite1": _variant(1.0, 1.1, 240, 5_416_680, 600_185_232),
    "efficientnet_lite2": _variant(1.1, 1.2, 260, 6_092_072, 859_736_272),
    "efficientnet_lite3": _variant(1.2, 1.4, 280, 8_197_096, 1_383_321_872),
    "efficientnet_lite4": _variant(1.4, 1.8, 300, 13_006_568, 2_553_034_336),
}
