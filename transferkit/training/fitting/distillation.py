"""Distillation: a teacher, a network of the same classes whose logits are learned too.

Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network".
"""

from dataclasses import dataclass

import keras
from keras import ops

from transferkit import models
from transferkit.lookup import count_noun
from transferkit.network import Network, with_channels, with_policy

MAX_CLASSES_SHOWN = 10


@dataclass(frozen=True)
class Teacher:
    """A network whose logits are learned too.

    Attributes:
        model: pictures of the student's channels to logits (n, k), in the order of the student's classes.
        shape: (height, width) that pictures are resized to for it; None keeps the student's.
    """

    model: keras.Model
    shape: tuple[int, int] | None = None


def load_teacher(base: str, student: Network, policy: str) -> Teacher:
    """Load a teacher and put its classes in the order of the student's.

    Args:
        base: as `models.load` takes it: a run folder, a Keras model's file, or a network.
        student: with the classes, size and channels of the training.
        policy: dtype policy of the teacher.

    Raises:
        ValueError: it has other classes.
        UnknownName: there is no such network, or it does not take pictures of the student's channels.
    """
    network = models.load(base)
    if network.classes and not network.has_class_names:
        raise ValueError(
            f"The teacher {base} does not name the classes of its {count_noun(len(network.classes), 'output')}: "
            f"give a run, such as transferkit finetune --base {base} --classes FILE makes."
        )
    if set(network.classes) != set(student.classes):
        raise ValueError(
            f"The teacher {base} knows the classes {_list_classes(network)}: expected those of the pictures, "
            f"{_list_classes(student)}."
        )
    network = with_channels(network, student.pixels.channels)
    if policy != "float32":
        network = with_policy(network, policy)
    model, shape = network.model, network.pixels.shape
    if network.classes != student.classes:
        order = [network.classes.index(name) for name in student.classes]
        model = keras.Model(model.input, ops.take(model.output, order, axis=-1))
    return Teacher(model, shape if shape != student.pixels.shape else None)


def _list_classes(network: Network) -> str:
    names, more = network.classes[:MAX_CLASSES_SHOWN], len(network.classes) - MAX_CLASSES_SHOWN
    return ", ".join(names) + (f" and {more:,} more" if more > 0 else "")


class TeacherLayer(keras.layers.Layer):
    """The teacher's logits, float32, without gradients.

    It is a layer because a functional model calls its models in its own mode: their dropout would be active in
    training.
    """

    def __init__(self, teacher: Teacher):
        super().__init__(name="teacher", dtype="float32", trainable=False)
        teacher.model.trainable = False
        self.network = teacher.model
        self.resize = keras.layers.Resizing(*teacher.shape, antialias=True) if teacher.shape else None

    def call(self, pictures):
        if self.resize:
            pictures = self.resize(pictures)
        return ops.stop_gradient(ops.cast(self.network(pictures, training=False), "float32"))


def distillation_loss(teacher_logits, student_logits, temperature: float):
    """Cross-entropy (n,) of the softened probabilities, times temperature squared, which keeps the size of gradients
    (Hinton et al. 2015, section 2).

    Args:
        teacher_logits, student_logits: (n, k), float32.
        temperature: both are divided by it.
    """
    targets = ops.softmax(teacher_logits / temperature)
    return -(temperature**2) * ops.sum(targets * ops.log_softmax(student_logits / temperature), -1)
