"""Small networks for teaching, for 32x32 pictures: what convolutions, shared weights, pools and depth are good for.

`simple_cnn` is the typical network of course notes: stages of a convolution, an activation and a pool, each with twice
the maps of the one before, then the classifier. `local_cnn` is the same without shared
weights: each place has a kernel and biases of its own, as in net-3 of LeCun 1989, "Generalization and Network Design
Strategies". It has the same multiply-adds, and as many times the parameters as a map has places. `mlp` has hidden dense
layers only: the weights of the first one know nothing of neighbours.

Knobs: `depth`, `width`, `kernel`, `padding`, `pool`, `pool_size`, `top` shape the first two; `activation`, `lrn`,
`norm` of `simple_cnn`, `init`, and `dropout`, before the classifier or after each hidden layer; `hidden` of `mlp`.

Keras 3 has no locally connected layer. Here it is slices of the padded maps, one for each place of the kernel, side by
side, and Keras' `EinsumDense`, so that saved files load with Keras alone.
"""

import math
from functools import partial

from transferkit.zoo import layers
from transferkit.zoo.alexnet import respond
from transferkit.zoo.knobs import choose
from transferkit.zoo.resnet_cifar import PIXELS
from transferkit.zoo.variant import Variant

conv = partial(layers.conv, bias=0.0)


def local(x, filters, kernel, stride=1, *, name, padding=None):
    """A locally connected layer; the arguments are those of `layers.conv`."""
    from keras.initializers import RandomUniform

    padding = kernel // 2 if padding is None else padding
    if padding:
        end = kernel - 1 - padding if stride == 1 else padding  # an even kernel keeps the size too
        x = layers.ZeroPadding2D(((padding, end), (padding, end)), name=f"{name}.pad")(x)
    rows, columns = ((side - kernel) // stride + 1 for side in x.shape[1:3])
    seen = [
        x[:, i : i + stride * (rows - 1) + 1 : stride, j : j + stride * (columns - 1) + 1 : stride]
        for i in range(kernel)
        for j in range(kernel)
    ]
    patches = layers.Concatenate(name=f"{name}.patches")(seen) if kernel > 1 else seen[0]
    fan_in, fan_out = kernel**2 * x.shape[-1], kernel**2 * filters
    limit = math.sqrt(6 / fan_out)  # as `layers.conv`
    return layers.EinsumDense(
        "nhwp,hwpf->nhwf",
        (rows, columns, filters),
        bias_axes="hwf",
        kernel_initializer=layers.kernel_init(RandomUniform(-limit, limit), (fan_in, fan_out)),
        name=name,
    )(patches)


def build_cnn(
    x,
    num_classes,
    *,
    convolve,
    depth,
    width,
    kernel,
    padding,
    pool,
    pool_size,
    activation,
    lrn,
    dropout,
    top,
    norm="none",
):
    """Stages of a layer, its norm, its activation and a pool. `convolve` adds the layer: `conv` or `local`."""
    for stage in range(1, depth + 1):
        filters = width * 2 ** (stage - 1)
        x = convolve(x, filters, kernel, padding=None if padding == "same" else 0, name=f"conv{stage}")
        x = layers.normalise(x, norm, name=f"bn{stage}")
        x = respond(layers.activation(x, activation, name=f"act{stage}"), lrn)
        x = layers.halve(
            x, pool=pool, size=pool_size, act=activation, ceil=True, convolve=convolve, name=f"pool{stage}"
        )
        x = layers.cut_point(x, f"stage{stage}")
    x = layers.pooled(x) if top == "average" else layers.Flatten(name="pooled")(x)
    x = layers.Dropout(dropout, name="drop")(x)
    return layers.head(x, num_classes, name="classifier")


def least_size(knobs):
    """The size with which the last map is one pixel."""
    size = 1
    for _ in range(knobs["depth"]):
        size = 2 * size + (knobs["kernel"] - 1 if knobs["padding"] == "valid" else 0)
    return size


def build_mlp(x, num_classes, *, hidden, activation, dropout):
    """Hidden dense layers over all values of the picture."""
    x = layers.Flatten(name="flat")(x)
    units = [int(number) for number in hidden.split("-")]
    for number, width in enumerate(units, start=1):
        x = layers.activation(layers.dense(x, width, name=f"fc{number}"), activation, name=f"act{number}")
        x = layers.cut_point(x, f"stage{number}")
        x = layers.Dropout(dropout, name=f"drop{number}")(x) if number < len(units) else x
    x = layers.Dropout(dropout, name=f"drop{len(units)}")(layers.cut_point(x, "pooled"))
    return layers.head(x, num_classes, name="classifier")


SHAPE = choose("depth", "width", "kernel", "padding", "pool", "top", "activation", "init")
SHAPE |= choose(pool_size=2, lrn=False, dropout=0.0)
_variant = partial(Variant, head="classifier", pixels=PIXELS, classes=10)
_cnn = partial(_variant, multiply_adds=2_811_904, features=1024, minimum=8, minimum_of=least_size)
VARIANTS = {
    "simple_cnn": _cnn(
        partial(build_cnn, convolve=conv), params=33_834, knobs=SHAPE | choose(norm="none"), fixed_with=("top", "flat")
    ),
    "local_cnn": _cnn(partial(build_cnn, convolve=local), params=2_840_586, knobs=SHAPE, fixed_with=()),
    "mlp": _variant(
        build_mlp,
        params=1_841_162,
        multiply_adds=1_840_128,
        features=512,
        knobs=choose("hidden", "activation", "init", dropout=0.0),
        fixed_with=(),
    ),
}
