"""The classifier of a model, what follows it, and where its stages end."""

from dataclasses import dataclass

import keras

from transferkit.adopt.graph import Step, is_neutral, joints, weights_of

L = keras.layers
SQUASHES = ("softmax", "sigmoid")


@dataclass(frozen=True)
class Head:
    """The last layer with weights and what becomes of it.

    Attributes:
        step: its position.
        width: how many values it gives.
        averages: whether it gives a map, which is averaged after it.
        features: position of the step that gives the feature vector or map it looks at.
        squash: "softmax", "sigmoid" or "": what the model made of its logits.
    """

    step: int
    width: int
    averages: bool
    features: int
    squash: str


def head_of(steps: list[Step], output) -> Head | None:
    """The classifier, if the last layer with weights is one: a dense layer, or a 1x1 convolution and an average.

    It is none where its values are more than turned into probabilities on the way out, or are cut off, as by a ReLU.
    """
    made_by = {id(step.output): position for position, step in enumerate(steps) if not isinstance(step.output, list)}
    position, tail, squash = made_by.get(id(output)), [], ""
    while position is not None and len(steps[position].inputs) == 1:
        step = steps[position]
        if kind := _squash(step.op):
            if tail or squash:
                return None
            squash = kind
        elif isinstance(step.op, L.GlobalAveragePooling2D | L.Flatten | L.Reshape):
            tail.append(step)
        elif weights_of(step.op):
            return _classifier(steps, position, tail, squash, made_by)
        elif not is_neutral(step.op):
            return None
        position = made_by.get(id(step.inputs[0]))
    return None


def _classifier(steps, position, tail, squash, made_by) -> Head | None:
    op, seen = steps[position].op, steps[position].inputs[0]
    own = op.get_config().get("activation", "")
    if own not in ("linear", *SQUASHES) or (own != "linear" and squash):
        return None
    averages = False
    if isinstance(op, L.Dense):
        fits, width = len(seen.shape) == 2 and not tail, op.units
    elif type(op) is L.Conv2D and op.kernel_size == op.strides == (1, 1) and op.groups == 1:
        averages = tuple(seen.shape[1:3]) != (1, 1)
        average = len(tail) == 1 and isinstance(tail[0].op, L.GlobalAveragePooling2D) and not tail[0].op.keepdims
        fits, width = (average and own == "linear") if averages else len(tail) == 1, op.filters
    else:
        return None
    features = made_by.get(id(seen), -1)
    while features >= 0 and isinstance(steps[features].op, L.Dropout):
        features = made_by.get(id(steps[features].inputs[0]), -1)
    return Head(position, width, averages, features, squash or own.replace("linear", "")) if fits else None


def _squash(op) -> str:
    if isinstance(op, L.Softmax):
        return "softmax"
    name = op.get_config()["activation"] if isinstance(op, L.Activation) else type(op).__name__.lower()
    return name if name in SQUASHES and not weights_of(op) else ""


def stages(start, steps: list[Step], output) -> dict[int, str]:
    """`{position: name}` of the steps after which a stage ends: `stage1` and so on.

    A stage ends where the network can be cut in two just before its sides are made smaller, and where its maps end.
    """
    level, ends = {id(start): 0}, {}
    cuts = set(joints(start, steps, output))
    for position, step in enumerate(steps):
        here = max((level.get(id(tensor), 0) for tensor in step.inputs), default=0) + _shrinks(step.op)
        for tensor in keras.tree.flatten(step.output):
            level[id(tensor)] = here
        is_map = position in cuts and len(step.output.shape) == 4 and tuple(step.output.shape[1:3]) != (1, 1)
        if is_map and not isinstance(step.op, L.ZeroPadding2D | L.Dropout):
            ends[here] = position
    kept, last = [], -1
    for position in sorted(ends.values()):
        if any(weights_of(step.op) for step in steps[last + 1 : position + 1]):
            kept.append(position)
            last = position
    return {position: f"stage{number}" for number, position in enumerate(kept, start=1)}


def _shrinks(op) -> bool:
    strides = getattr(op, "strides", 1)
    larger = max(strides if isinstance(strides, list | tuple) else (strides,)) > 1
    return larger and isinstance(op, L.Layer) and not isinstance(op, L.Conv2DTranspose)
