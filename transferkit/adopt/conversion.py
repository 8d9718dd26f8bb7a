"""A Keras model of anyone's made into a network: flat, from raw RGB pixels to float32 logits."""

import re
from collections import Counter

import keras
import numpy as np
from keras import layers

from transferkit.adopt.classifier_head import Doubt, Head, head_of, stages
from transferkit.adopt.graph import Step, Unfit, is_augmentation, is_graph, rebuilt, taken_apart, values_of, weights_of
from transferkit.adopt.preprocessing import Affine, as_pixels, by_name, front_of, left_out, recognised
from transferkit.network import Network
from transferkit.weights.imagenet import class_names, unnamed

SCALED = r"efficientnet.*|convnext_.*|mobilenetv3.*"  # models of keras.applications that scale pixels themselves
RESERVED = ("pictures", "pixels", "pooled")
LEAST = 1e-17  # probability, of which there is a logarithm in float32
SIDE = 224  # of the pictures of a model that does not say
MOST_SIDE = 4096


def adopted(model: keras.Model, pixels: str = "", *, source: str = "the model") -> Network:
    """Make a network of a model, which stays as it is: the network has layers and weights of its own.

    Nested models are opened, augmentation is left out, what the model does to pixels first becomes the layer `pixels`,
    softmax is taken off. `stage1`... and `pooled` mark the cut points. A model without a classifier gets one of a
    single output, a place for that of `with_head`, and the network has no `classes`. Where it does not show whether
    there is a classifier, the network is the model as it is, and has a `doubt`.

    Args:
        pixels: what the model expects, a key of `CONVENTIONS`; by default what its layers or its name show.
        source: what it is, for a person.

    Raises:
        UnknownName: the convention does not show.
        ValueError: the model is no network for pictures, or has layers that cannot be made anew; one sentence.
    """
    try:
        _check(model)
        start, steps, output = taken_apart(model)
        front = front_of(start, steps, output)
        affine, how = recognised(model, front, pixels, source=source)
        if front.steps:
            start = steps[front.steps - 1].output
        dropped = [step for step in steps[: front.steps] if left_out(step)]
        body = steps[front.steps :]
        dropped += [step for step in body if is_augmentation(step.op)]
        head = head_of(start, body, output)
        side = front.side or model.input_shape[1] or model.input_shape[2]
        shape = (side, side, model.input_shape[3])
        found = head if isinstance(head, Head) else None
        new, name, before = _assembled(start, body, output, head, affine, shape, model.name)
    except Unfit as error:
        raise ValueError(f"{source} {error}") from error
    classes, total = _classes(found, model.name), len(new.weights)
    loaded = [f"{total if head else total - 2}/{total} tensors loaded", how, *_changes(head, body)]
    shared = [op.name for op, count in Counter(step.op for step in body).items() if count > 1 and weights_of(op)]
    if shared:
        loaded.append(f"used several times, and now a layer each time: {', '.join(shared)}")
    if dropped:
        names = dict.fromkeys(type(step.op).__name__ for step in dropped)
        loaded.append(f"left out, for it is done outside the network: {', '.join(names)}")
    least = side if side and any(map(_is_tied, body)) else 1
    doubt = _doubted(source, head, before) if isinstance(head, Doubt) else ""
    return Network(new, as_pixels(affine, side or SIDE), classes, name, source, tuple(loaded), least, doubt)


def _is_tied(step: Step) -> bool:
    """Whether a step makes a vector of a map, whose weights are then those of one size of pictures."""
    shape = step.inputs[0].shape if step.inputs else ()
    return isinstance(step.op, layers.Flatten | layers.Reshape) and len(shape) == 4 and tuple(shape[1:3]) != (1, 1)


def _check(model: keras.Model):
    if isinstance(model, keras.Sequential) and not model.built:
        raise Unfit("does not know the shape of its pictures: give its first layer a keras.Input before it.")
    if not is_graph(model):
        raise Unfit(
            f"is a subclass of keras.Model, {type(model).__name__}, with a call of its own, which cannot be taken "
            "apart: make it of layers, as a functional or Sequential model."
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise Unfit(
            f"has {len(model.inputs)} inputs and {len(model.outputs)} outputs, expected one of each{_choice(model)}."
        )
    shape = model.inputs[0].shape
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise Unfit(f"takes {shape}, expected pictures (None, height, width, 1 or 3), channels last.")
    if shape[1] and shape[2] and shape[1] != shape[2]:
        raise Unfit(f"takes pictures of {shape[1]} x {shape[2]} pixels, expected squares.")
    if (shape[1] or 0) > MOST_SIDE:
        raise Unfit(f"takes pictures of {shape[1]:,} pixels a side, and {MOST_SIDE:,} are the most.")


def _choice(model: keras.Model) -> str:
    """How to choose pictures and what is made of them alone, where that can be."""
    for number, pictures in enumerate(model.inputs):
        for place, output in enumerate(model.outputs):
            try:
                keras.Model(pictures, output)
            except ValueError:  # it needs another input too
                continue
            return f": choose them with keras.Model(model.inputs[{number}], model.outputs[{place}])"
    return ""


def _assembled(start, body: list[Step], output, head: Head | Doubt | None, affine: Affine, shape, name: str):
    """The model, the name of its head, and that of the layer which a `Doubt` names. `start` is the symbolic tensor that
    scaled pixels stand for."""
    pictures = keras.Input(shape, name="pictures")
    x = layers.Rescaling(list(affine.scale), list(affine.offset), dtype="float32", name="pixels")(pictures)
    kernel = _first_kernel(start, body) if affine.flip else None
    if affine.flip and kernel is None:
        x = keras.ops.flip(x, axis=-1)
    found = head if isinstance(head, Head) else None
    end = found.step if found else len(body)
    seen = body[end].inputs[0] if found else output
    marks = {position: (stage,) for position, stage in stages(start, body[:end], seen).items()}
    is_map = len(seen.shape) == 4
    if found and (found.form == "map" or not is_map):
        marks[found.features] = (*marks.get(found.features, ()), "pooled")
    if not is_map and len(seen.shape) != 2:
        raise Unfit(f"gives {seen.shape}, expected the scores of classes, a vector or a map of features.")
    own = body[end].op.name if found else "head"
    own = "head" if own in RESERVED or own.startswith("stage") else own
    values = {id(start): x}
    pairs = rebuilt(body[:end], values, names=(*RESERVED, own), skip=_is_left_out, marks=marks)
    x = values[id(seen)]
    if isinstance(head, Doubt):
        _copy_weights(pairs, kernel)
        at = None if head.before is None else body[head.before].op
        return keras.Model(pictures, x, name=name), "", next((new.name for new, old in pairs if old is at), "")
    if is_map and not (found and found.form == "map"):
        pool = layers.Flatten if found and found.form == "vector" else layers.GlobalAveragePooling2D
        x = pool(name="pooled")(x)
    elif not found:
        x = layers.Identity(name="pooled")(x)
    x, new = _with_classifier(x, body[end].op if found else None, found, own)
    if found:
        x, tail = _with_tail(x, body, found, values, own)
        _copy_classifier(new, body[end].op)
        pairs += tail
    _copy_weights(pairs, kernel)
    return keras.Model(pictures, x, name=name), own, ""


def _is_left_out(step: Step) -> bool:
    """Augmentation, and the marks of a network that was one of ours."""
    mark = isinstance(step.op, layers.Identity) and re.fullmatch(r"stage\d+|pooled", step.op.name)
    return is_augmentation(step.op) or bool(mark)


def _with_classifier(x, op, head: Head | None, name: str):
    """Scores, and the layer that gives them: like the old one, but linear, in float32, and fresh from zeros."""
    common = {"use_bias": op is None or op.use_bias, "kernel_initializer": "zeros", "dtype": "float32", "name": name}
    width = 1 if op is None else 2 if _is_doubled(head) else head.width
    if head and head.form == "map":
        places = {key: getattr(op, key) for key in ("strides", "padding", "dilation_rate") if hasattr(op, key)}
        new = layers.Conv2D(width, getattr(op, "kernel_size", 1), **places, **common)
    else:
        new = layers.Dense(width, **common)
    return new(x), new


def _is_doubled(head: Head) -> bool:
    """Whether the classifier of one output z becomes one of two, with the logits 0 and z."""
    return head.width == 1 and not head.tail and not head.activation


def _with_tail(x, body: list[Step], head: Head, values: dict, own: str):
    """Logits of scores, and the pairs of `rebuilt`. All layers are called `own` and more: `with_head` leaves them."""
    if head.activation:
        x = layers.Activation(head.activation, dtype="float32", name=f"{own}.activation")(x)
    values[id(body[head.step].output)] = x
    pairs = rebuilt([body[position] for position in head.tail], values, prefix=f"{own}.")
    if head.tail:
        x = values[id(body[head.tail[-1]].output)]
    if head.squash == "probabilities":
        x = keras.ops.log(keras.ops.maximum(x, LEAST))
    if head.width == 1 and not _is_doubled(head):
        x = layers.Concatenate(dtype="float32", name=f"{own}.both")([keras.ops.zeros_like(x), x])
    return x, pairs


def _copy_classifier(new, op):
    """A kernel of 1x1 is the matrix of a dense layer; one sigmoid output z is two classes with the logits 0 and z."""
    for variable, old in zip(new.weights, values_of(op), strict=True):
        value = np.asarray(old)
        if value.shape[-1] < variable.shape[-1]:
            value = np.concatenate([np.zeros_like(value), value], axis=-1)
        variable.assign(value.reshape(variable.shape))


def _first_kernel(start, body: list[Step]):
    """The convolution that sees the pixels, if it and padding alone do: its kernel can take them in reverse order."""
    symbol = start
    while True:
        users = [step for step in body if any(tensor is symbol for tensor in step.inputs)]
        if len(users) != 1:
            return None
        op = users[0].op
        if type(op) is layers.Conv2D and op.groups == 1 and sum(step.op is op for step in body) == 1:
            return op
        if not isinstance(op, layers.ZeroPadding2D):
            return None
        symbol = users[0].output


def _copy_weights(pairs, flipped):
    for new, old in pairs:
        if isinstance(old, layers.Normalization):
            continue  # its numbers are in its configuration
        values = values_of(old)
        if len(weights_of(new)) != len(values):
            raise Unfit(f"has a layer {old.name!r} with weights that its configuration does not tell of.")
        for position, (variable, value) in enumerate(zip(weights_of(new), values, strict=True)):
            value = np.asarray(value)
            variable.assign(value[:, :, ::-1] if old is flipped and position == 0 else value)


def _classes(head: Head | None, name: str) -> tuple[str, ...]:
    """Names by index: those of ImageNet for a whole network of keras.applications; none without a classifier."""
    if head is None:
        return ()
    known = by_name(name) or re.fullmatch(SCALED, name, re.IGNORECASE)
    return (class_names if known else unnamed)(max(2, head.width))


def _changes(head: Head | Doubt | None, body: list[Step]) -> list[str]:
    if head is None:
        return ["it has no classifier"]
    if isinstance(head, Doubt):
        return []
    told = []
    if head.width == 1:
        told.append("its one output is taken for the logit of class 1 against class 0")
    elif head.squash == "sigmoid":
        told.append("its sigmoid outputs are taken for logits of classes that exclude one another")
    if head.tail:
        names = dict.fromkeys(type(body[position].op).__name__ for position in head.tail)
        told.append(f"part of its classifier, which a new head replaces: {', '.join(names)}")
    return told


def _doubted(source: str, head: Doubt, before: str) -> str:
    last = f" (the last layer before these is {before})" if before else ""
    return f"{source} does not show where its classifier begins, for {head.reason}{last}"
