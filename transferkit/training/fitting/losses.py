"""Losses and metrics of a model whose output is one or several blocks of logits side by side."""

from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

from transferkit.recipe import Train
from transferkit.training.fitting.distillation import Teacher, TeacherLayer, distillation_loss
from transferkit.training.fitting.optimizers import LossScale

FOCUS = 2.0  # Lin et al. 2017, section 3.2: gamma


def concatenate_logits(
    model: keras.Model, teacher: Teacher | None = None, *, outputs: Iterable[str] = ()
) -> keras.Model:
    """The model that is trained: its logits, those of its auxiliary heads and the teacher's in one output.

    Args:
        model: pictures to logits (n, k), or to a dict of them if it has auxiliary heads; its layers are shared.
        teacher: of the same classes in the same order.
        outputs: keys of the model's dict in order, as in `Network.loss_weights`.

    Returns:
        Pictures to float32 (n, blocks * k): the model's own logits, its auxiliary heads in the order of `outputs`, the
        teacher's. The model itself if there is one block only.
    """
    blocks = [model.output]
    if isinstance(model.output, dict):
        blocks = [model.output[name] for name in outputs]
    if teacher is not None:
        blocks.append(TeacherLayer(teacher)(model.input))
    if len(blocks) == 1:
        return model
    joined = keras.layers.Concatenate(dtype="float32", name="side_by_side")(blocks)
    return keras.Model(model.input, joined, name=model.name)


def compile_model(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    knobs: Train,
    class_counts,
    *,
    loss_weights: tuple[float, ...] = (1.0,),
    has_teacher: bool = False,
):
    """Compile a training model with its loss, `accuracy` and `cross_entropy`; in float16 the loss is scaled.

    The metrics are those of the first block, without smoothing, class weights or focus. Rows of sample weight 0, which
    fill a short batch, do not count in them, but they do in the `loss` of an evaluation: compare epochs by
    `cross_entropy`. Within a strategy, call this in its scope.

    Keras scales the loss by itself only where the model's own policy says so, which a functional model does not keep.

    Args:
        class_counts: training pictures of each class, (k,).
        loss_weights: of the model's blocks of logits, such as (1.0, 0.3, 0.3).
        has_teacher: whether the last block is the teacher's.
    """
    if any(layer.compute_dtype == "float16" for layer in model.layers):
        optimizer = LossScale(optimizer)
    classes = len(class_counts)

    def accuracy(targets, outputs):
        return ops.equal(ops.argmax(targets, -1), ops.argmax(outputs[:, :classes], -1))

    def plain_cross_entropy(targets, outputs):
        return cross_entropy(targets, ops.cast(outputs[:, :classes], "float32"))

    metrics = {"accuracy": accuracy, "cross_entropy": plain_cross_entropy}
    model.compile(
        optimizer,
        make_loss(knobs, class_counts, loss_weights, has_teacher=has_teacher),
        weighted_metrics=[keras.metrics.MeanMetricWrapper(metric, name) for name, metric in metrics.items()],
    )


def make_loss(knobs: Train, class_counts, loss_weights: tuple[float, ...] = (1.0,), *, has_teacher: bool = False):
    """The loss function of labels (n, k), one-hot or soft, and outputs (n, blocks * k), which returns losses (n,).

    Without a teacher it is linear in the labels, so mixed labels need no loss of their own. Arguments as for
    `compile_model`.
    """
    entropy, classes = choose_cross_entropy(knobs.balance, class_counts), len(class_counts)

    def loss(targets, outputs):
        targets = ops.cast(targets, "float32")
        smooth = (1 - knobs.label_smoothing) * targets + knobs.label_smoothing / classes
        blocks = ops.split(ops.cast(outputs, "float32"), len(loss_weights) + has_teacher, axis=-1)
        total = sum(weight * entropy(smooth, logits) for weight, logits in zip(loss_weights, blocks, strict=False))
        if not has_teacher:
            return total
        distilled = distillation_loss(blocks[-1], blocks[0], knobs.temperature)
        return (1 - knobs.teacher_share) * total + knobs.teacher_share * distilled

    return loss


def choose_cross_entropy(balance: str, class_counts):
    """The function of labels and logits for the knob `balance`."""
    if balance == "weights":
        weights = compute_class_weights(class_counts)
        return lambda targets, logits: cross_entropy(targets * weights, logits)
    return focal_loss if balance == "focal" else cross_entropy


def compute_class_weights(class_counts) -> np.ndarray:
    """n / (k * count) of each class: their mean over the pictures is 1, and each class has the same total weight.

    A class without pictures gets the weight of a class with one picture.
    """
    counts = np.asarray(class_counts)
    return (counts.sum() / (len(counts) * np.maximum(counts, 1))).astype("float32")


def cross_entropy(targets, logits):
    """Cross-entropy (n,). Written out, because TensorFlow's own gradient assumes that labels add up to 1."""
    return -ops.sum(targets * ops.log_softmax(logits), -1)


def focal_loss(targets, logits):
    """Cross-entropy in which confident predictions count less (Lin et al. 2017, equation 4)."""
    log_probabilities = ops.log_softmax(logits)
    return -ops.sum(targets * (1 - ops.exp(log_probabilities)) ** FOCUS * log_probabilities, -1)
