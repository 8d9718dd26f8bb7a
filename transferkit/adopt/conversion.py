"""Any Keras model made into a network: flat, from raw RGB pixels to float32 logits."""

import re
from collections import Counter

import keras
import numpy as np
from keras import layers

from transferkit.adopt.classifier_head import Head, UnclearHead, find_head, find_stages
from transferkit.adopt.graph import (
    Graph,
    LayerCall,
    UnsuitableModelError,
    flatten_model,
    is_augmentation,
    is_nested_model,
    layer_weights,
    rebuild_steps,
    weight_values,
)
from transferkit.adopt.preprocessing import (
    Affine,
    convention_by_name,
    find_convention,
    find_preprocessing,
    is_outside_network,
    pixels_from_affine,
)
from transferkit.lookup import count_noun
from transferkit.network import Network
from transferkit.weights.imagenet import class_names, placeholder_names

RESERVED = ("pictures", "pixels", "pooled")
MIN_PROBABILITY = 1e-17  # whose logarithm float32 can hold
DEFAULT_SIZE = 224  # of the pictures of a model that takes any size
MAX_SIZE = 4096  # of pictures, in pixels


def adopt_model(model: keras.Model, pixels: str = "", *, source: str = "the model") -> Network:
    """Make a network of a Keras model. The model stays as it is: the network has layers and weights of its own.

    Nested models are flattened, augmentation is removed, the model's own preprocessing becomes the layer `pixels`, and
    a final softmax is removed. `stage1`... and `pooled` mark the cut points. A model without a classifier gets one with
    a single output, which `with_head` replaces, and the network has no `classes`. Where it is not clear whether there
    is a classifier, the network has all layers of the model, and a `doubt`.

    Args:
        pixels: the pixel convention of the model, a key of `CONVENTIONS`; by default it is recognised from the layers
            or the name of the model.
        source: what the model is called in messages.

    Raises:
        UnknownName: the convention is not recognised.
        ValueError: the model is not a network for pictures, or has layers that cannot be made again.
    """
    try:
        _check_model(model)
        graph = flatten_model(model)
        front = find_preprocessing(graph)
        affine, how = find_convention(model, front, pixels, source=source)
        start = graph.steps[front.steps - 1].output if front.steps else graph.start
        body = Graph(start, graph.steps[front.steps :], graph.output)
        dropped = [step for step in graph.steps[: front.steps] if is_outside_network(step)]
        dropped += [step for step in body.steps if is_augmentation(step.op)]
        head = find_head(body)
        size = front.size or model.input_shape[1] or model.input_shape[2]
        new, name, before = _assemble_model(body, head, affine, (size, size, model.input_shape[3]), model.name)
    except UnsuitableModelError as error:
        raise ValueError(f"{source} {error}") from error
    classes, total = _class_names(head, model.name), len(new.weights)
    loaded = [f"{total if head else total - 2}/{total} tensors loaded", how, *_describe_changes(head, body.steps)]
    counts = Counter(step.op for step in body.steps)
    shared = [op.name for op, count in counts.items() if count > 1 and layer_weights(op)]
    if shared:
        loaded.append(f"used several times, and now a layer each time: {', '.join(shared)}")
    if dropped:
        names = dict.fromkeys(type(step.op).__name__ for step in dropped)
        loaded.append(f"skipped, as it is done outside the network: {', '.join(names)}")
    minimum = size if size and any(map(_fixes_size, body.steps)) else 1
    doubt = _describe_doubt(source, head, before) if isinstance(head, UnclearHead) else ""
    measured = pixels_from_affine(affine, size or DEFAULT_SIZE)
    return Network(new, measured, classes, name, source, tuple(loaded), minimum, doubt)


def _fixes_size(step: LayerCall) -> bool:
    """Whether a step flattens a map, so that the weights after it fit one size of pictures only."""
    shape = step.inputs[0].shape if step.inputs else ()
    return isinstance(step.op, layers.Flatten | layers.Reshape) and len(shape) == 4 and tuple(shape[1:3]) != (1, 1)


def _check_model(model: keras.Model):
    if isinstance(model, keras.Sequential) and not model.built:
        raise UnsuitableModelError(
            "does not know the shape of its pictures: give its first layer a keras.Input before it."
        )
    if not is_nested_model(model):
        raise UnsuitableModelError(
            f"is a subclass of keras.Model, {type(model).__name__}, with a call of its own, which cannot be taken "
            "apart: make it of layers, as a functional or Sequential model."
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UnsuitableModelError(
            f"has {count_noun(len(model.inputs), 'input')} and {count_noun(len(model.outputs), 'output')}, "
            f"expected one of each{_suggest_output(model)}."
        )
    shape = model.inputs[0].shape
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise UnsuitableModelError(f"takes {shape}, expected pictures (None, height, width, 1 or 3), channels last.")
    if shape[1] and shape[2] and shape[1] != shape[2]:
        raise UnsuitableModelError(f"takes pictures of {shape[1]} x {shape[2]} pixels, expected squares.")
    if (shape[1] or 0) > MAX_SIZE:
        raise UnsuitableModelError(f"takes pictures of {shape[1]:,} pixels a side, and {MAX_SIZE:,} are the most.")


def _suggest_output(model: keras.Model) -> str:
    """How to choose one input and one output of the model, where that is possible."""
    for number, pictures in enumerate(model.inputs):
        for place, output in enumerate(model.outputs):
            try:
                keras.Model(pictures, output)
            except ValueError:  # it needs another input too
                continue
            return f": choose them with keras.Model(model.inputs[{number}], model.outputs[{place}])"
    return ""


def _assemble_model(graph: Graph, head: Head | UnclearHead | None, affine: Affine, shape: tuple, name: str):
    """The new model, the name of its head, and the name of the layer at `UnclearHead.before`."""
    start, body = graph.start, graph.steps
    pictures = keras.Input(shape, name="pictures")
    x = layers.Rescaling(list(affine.scale), list(affine.offset), dtype="float32", name="pixels")(pictures)
    kernel = _find_first_kernel(start, body) if affine.flip else None
    if affine.flip and kernel is None:
        x = keras.ops.flip(x, axis=-1)
    found = head if isinstance(head, Head) else None
    end = found.step if found else len(body)
    seen = body[end].inputs[0] if found else graph.output
    marks = {position: (stage,) for position, stage in find_stages(Graph(start, body[:end], seen)).items()}
    is_map = len(seen.shape) == 4
    if found and (found.form == "map" or not is_map):
        marks[found.features] = (*marks.get(found.features, ()), "pooled")
    if not is_map and len(seen.shape) != 2:
        raise UnsuitableModelError(
            f"gives {seen.shape}, expected the scores of classes, a vector or a map of features."
        )
    own = body[end].op.name if found else "head"
    own = "head" if own in RESERVED or own.startswith("stage") else own
    values = {id(start): x}
    pairs = rebuild_steps(body[:end], values, names=(*RESERVED, own), skip=_is_skipped, marks=marks)
    x = values[id(seen)]
    if isinstance(head, UnclearHead):
        _copy_weights(pairs, kernel)
        at = None if head.before is None else body[head.before].op
        return keras.Model(pictures, x, name=name), "", next((new.name for new, old in pairs if old is at), "")
    if is_map and not (found and found.form == "map"):
        pool = layers.Flatten if found and found.form == "vector" else layers.GlobalAveragePooling2D
        x = pool(name="pooled")(x)
    elif not found:
        x = layers.Identity(name="pooled")(x)
    x, new = _add_classifier(x, body[end].op if found else None, found, own)
    if found:
        x, tail = _add_tail(x, body, found, values, own)
        _copy_classifier(new, body[end].op)
        pairs += tail
    _copy_weights(pairs, kernel)
    return keras.Model(pictures, x, name=name), own, ""


def _is_skipped(step: LayerCall) -> bool:
    """Whether a step is augmentation, or a cut point of a network of this package."""
    mark = isinstance(step.op, layers.Identity) and re.fullmatch(r"stage\d+|pooled", step.op.name)
    return is_augmentation(step.op) or bool(mark)


def _add_classifier(x, op, head: Head | None, name: str):
    """Add a classifier like the old one, but linear, in float32, with a kernel of zeros: its output and the layer."""
    common = {"use_bias": op is None or op.use_bias, "kernel_initializer": "zeros", "dtype": "float32", "name": name}
    width = 1 if head is None else 2 if _is_doubled(head) else head.width
    if head and head.form == "map":
        places = {key: getattr(op, key) for key in ("strides", "padding", "dilation_rate") if hasattr(op, key)}
        new = layers.Conv2D(width, getattr(op, "kernel_size", 1), **places, **common)
    else:
        new = layers.Dense(width, **common)
    return new(x), new


def _is_doubled(head: Head) -> bool:
    """Whether the classifier of one output z becomes one of two, with the logits 0 and z."""
    return head.width == 1 and not head.tail and not head.activation


def _add_tail(x, body: list[LayerCall], head: Head, values: dict, own: str):
    """Add the steps from the scores to the logits: the logits, and the pairs of `rebuild_steps`.

    The names of the layers begin with `own.`, so that `with_head` removes them.
    """
    if head.activation:
        x = layers.Activation(head.activation, dtype="float32", name=f"{own}.activation")(x)
    values[id(body[head.step].output)] = x
    pairs = rebuild_steps([body[position] for position in head.tail], values, prefix=f"{own}.")
    if head.tail:
        x = values[id(body[head.tail[-1]].output)]
    if head.squash == "probabilities":
        x = keras.ops.log(keras.ops.maximum(x, MIN_PROBABILITY))
    if head.width == 1 and not _is_doubled(head):
        x = layers.Concatenate(dtype="float32", name=f"{own}.both")([keras.ops.zeros_like(x), x])
    return x, pairs


def _copy_classifier(new, op):
    """Copy the weights of the classifier: one sigmoid output z becomes two classes with the logits 0 and z."""
    for variable, old in zip(new.weights, weight_values(op), strict=True):
        value = np.asarray(old)
        if value.shape[-1] < variable.shape[-1]:
            value = np.concatenate([np.zeros_like(value), value], axis=-1)
        variable.assign(value.reshape(variable.shape))


def _find_first_kernel(start, body: list[LayerCall]):
    """The convolution that takes the pixels, if only padding is before it: its kernel can take BGR in place of RGB."""
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
        values = weight_values(old)
        if len(layer_weights(new)) != len(values):
            raise UnsuitableModelError(f"has a layer {old.name!r} with weights that are not in its configuration.")
        for position, (variable, value) in enumerate(zip(layer_weights(new), values, strict=True)):
            value = np.asarray(value)
            variable.assign(value[:, :, ::-1] if old is flipped and position == 0 else value)


def _class_names(head: Head | UnclearHead | None, name: str) -> tuple[str, ...]:
    """Class names: those of ImageNet for a network of keras.applications; none without a classifier."""
    if not isinstance(head, Head):
        return ()
    known = convention_by_name(name) is not None
    return (class_names if known else placeholder_names)(max(2, head.width))


def _describe_changes(head: Head | UnclearHead | None, body: list[LayerCall]) -> list[str]:
    if head is None:
        return ["it has no classifier"]
    if isinstance(head, UnclearHead):
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


def _describe_doubt(source: str, head: UnclearHead, before: str) -> str:
    last = f" (the last layer before these is {before})" if before else ""
    return f"{source} does not show where its classifier begins, for {head.reason}{last}"
