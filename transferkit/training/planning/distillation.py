"""The teacher of a job: a network of the same classes whose answers are learned too.

Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network"; the loss is `losses.distilled`.
"""

from collections.abc import Iterator
from pathlib import Path

import keras
from keras import ops

from transferkit import models, runs
from transferkit.data.audit.before_training import SPLITS
from transferkit.data.listing import Splits
from transferkit.network import Network, with_channels, with_policy


def teacher(base: str, student: Network, policy: str) -> tuple[keras.Model, tuple[int, int] | None]:
    """A teacher that answers as its student should.

    Args:
        base: as `models.load` takes it: a run folder, a Keras model's file, or a network.
        student: with the job's classes, size and channels.
        policy: dtype policy of the job.

    Returns:
        A model from the student's pictures to logits in the order of the student's classes, and the (height, width)
        that pictures are to be resized to for it, None where that is the student's.

    Raises:
        ValueError: its classes are others.
        UnknownName: there is no such network, or it does not take pictures of the student's channels.
    """
    network = models.load(base)
    if network.classes and not network.has_class_names:
        raise ValueError(
            f"The teacher {base} does not say which class each of its {len(network.classes):,} outputs is: give a run, "
            f"such as transferkit finetune --base {base} --classes FILE makes."
        )
    if set(network.classes) != set(student.classes):
        known, wanted = (_few(one.classes) for one in (network, student))
        raise ValueError(f"The teacher {base} knows the classes {known}: expected those of the pictures, {wanted}.")
    network = with_channels(network, student.pixels.channels)
    if policy != "float32":
        network = with_policy(network, policy)
    model, shape = network.model, network.pixels.shape
    if network.classes != student.classes:
        order = [network.classes.index(name) for name in student.classes]
        model = keras.Model(model.input, ops.take(model.output, order, axis=-1))
    return model, shape if shape != student.pixels.shape else None


def concerns(run: str, splits: Splits, role: str) -> Iterator[str]:
    """A sentence for each split to be judged by whose pictures a run was trained on that this one begins with.

    Args:
        run: its folder; nothing else has a record of its pictures.
        role: "base" or "teacher".
    """
    if not run or not (Path(run) / "split.csv").exists():
        return
    learnt = runs.Run(Path(run)).learned
    for name, part in splits.items():
        count = sum(path in learnt for path in part.paths)
        if name != "train" and count:
            yield (
                f"{count:,} of the {len(part):,} {SPLITS[name]} pictures taught the {role}, so figures on them will "
                "be better than the network is: give both runs the same --seed, --validation and pictures, and "
                f"--refit off to the {role}'s."
            )


def _few(names, most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
