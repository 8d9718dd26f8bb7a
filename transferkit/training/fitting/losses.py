"""What is made less, and what is measured meanwhile, of a training model's blocks of logits."""

from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

from transferkit.recipe import Train
from transferkit.training.fitting.optimizers import LossScale

FOCUS = 2.0  # Lin et al. 2017, section 3.2: gamma


class Teacher(keras.layers.Layer):
    """The logits of a network that is never trained, without gradients, in float32.

    A layer, as what a functional model calls directly is called in its own mode: its dropout would drop in training.
    """

    def __init__(self, network: keras.Model, shape: tuple[int, int] | None = None):
        super().__init__(name="teacher", dtype="float32", trainable=False)
        self.network = network
        self.resize = keras.layers.Resizing(*shape, antialias=True) if shape else None

    def call(self, pictures):
        if self.resize:
            pictures = self.resize(pictures)
        return ops.stop_gradient(ops.cast(self.network(pictures, training=False), "float32"))


def side_by_side(
    model: keras.Model,
    teacher: keras.Model | None = None,
    *,
    outputs: Iterable[str] = (),
    shape=None,
) -> keras.Model:
    """The model that is trained: its own logits, those of its auxiliary heads and its teacher's, in blocks.

    Args:
        model: pictures to logits (n, k), or to a dict of them where it has auxiliary heads; its layers are shared.
        teacher: pictures to logits (n, k), of the same classes in the same order; it is frozen.
        outputs: keys of the model's dict in order, as `Network.loss_weights` has them.
        shape: (height, width) of the pictures the teacher looks at; by default they stay as they are.

    Returns:
        Pictures to float32 (n, blocks * k): the model's own logits, its auxiliary heads in the order of `outputs`,
        the teacher's. The model itself where that is all.
    """
    blocks = [model.output]
    if isinstance(model.output, dict):
        blocks = [model.output[name] for name in outputs]
    if teacher is not None:
        teacher.trainable = False
        blocks.append(Teacher(teacher, shape)(model.input))
    if len(blocks) == 1:
        return model
    together = keras.layers.Concatenate(dtype="float32", name="side_by_side")(blocks)
    return keras.Model(model.input, together, name=model.name)


def compile_for(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    knobs: Train,
    counts,
    *,
    heads: tuple[float, ...] = (1.0,),
    teacher: bool = False,
):
    """Compile a training model with its loss, `accuracy` and `cross_entropy`; in float16 the loss is scaled.

    The figures are those of the first block alone, without smoothing, class weights or focus, and weighted: rows of
    sample weight 0, with which a short batch is filled, do not count. The `loss` of an evaluation does count them in
    its mean over batches, so choose by `cross_entropy`. Within a strategy, call this in its scope.

    Keras scales the loss by itself only where the model's own policy says so, which a functional model does not keep.

    Args:
        counts: pictures of each class in training, (k,).
        heads: weights of the blocks of logits, as (1.0, 0.3, 0.3).
        teacher: whether a block of the teacher's logits follows them.
    """
    if any(layer.compute_dtype == "float16" for layer in model.layers):
        optimizer = LossScale(optimizer)
    classes = len(counts)

    def accuracy(targets, outputs):
        return ops.equal(ops.argmax(targets, -1), ops.argmax(outputs[:, :classes], -1))

    def plain(targets, outputs):
        return cross_entropy(targets, ops.cast(outputs[:, :classes], "float32"))

    figures = {"accuracy": accuracy, "cross_entropy": plain}
    model.compile(
        optimizer,
        loss_of(knobs, counts, heads, teacher=teacher),
        weighted_metrics=[keras.metrics.MeanMetricWrapper(figure, name) for name, figure in figures.items()],
    )


def loss_of(knobs: Train, counts, heads: tuple[float, ...] = (1.0,), *, teacher: bool = False):
    """A function of labels (n, k), one-hot or soft, and outputs (n, blocks * k) that gives the losses (n,).

    Without its teacher it is linear in the labels, so mixed ones need nothing of their own.
    """
    entropy, classes = balanced(knobs.balance, counts), len(counts)

    def loss(targets, outputs):
        targets = ops.cast(targets, "float32")
        smooth = (1 - knobs.label_smoothing) * targets + knobs.label_smoothing / classes
        blocks = ops.split(ops.cast(outputs, "float32"), len(heads) + teacher, axis=-1)
        total = sum(weight * entropy(smooth, logits) for weight, logits in zip(heads, blocks, strict=False))
        if not teacher:
            return total
        taught = distilled(blocks[-1], blocks[0], knobs.temperature)
        return (1 - knobs.teacher_share) * total + knobs.teacher_share * taught

    return loss


def balanced(balance: str, counts):
    """The cross-entropy of labels and logits that suits `--balance`."""
    if balance == "weights":
        weights = class_weights(counts)
        return lambda targets, logits: cross_entropy(targets * weights, logits)
    return focal if balance == "focal" else cross_entropy


def class_weights(counts) -> np.ndarray:
    """n / (k * count) of each class: 1 on average over the pictures, and as much in all from each class.

    A class without pictures gets the weight of one with a single one.
    """
    counts = np.asarray(counts)
    return (counts.sum() / (len(counts) * np.maximum(counts, 1))).astype("float32")


def cross_entropy(targets, logits):
    """In full, as TensorFlow's own takes it for granted in the gradient that labels add up to 1."""
    return -ops.sum(targets * ops.log_softmax(logits), -1)


def focal(targets, logits):
    """Each class's part counts the less the surer it is (Lin et al. 2017, equation 4)."""
    logs = ops.log_softmax(logits)
    return -ops.sum(targets * (1 - ops.exp(logs)) ** FOCUS * logs, -1)


def distilled(teacher, student, temperature: float):
    """Cross-entropy of both at a temperature, times its square, so that gradients keep their size (Hinton et al. 2015,
    section 2)."""
    return temperature**2 * cross_entropy(ops.softmax(teacher / temperature), student / temperature)
