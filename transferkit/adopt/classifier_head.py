"""The classifier of a model, the layers after it, and where its stages end."""

from dataclasses import dataclass

import keras

from transferkit.adopt.graph import Graph, LayerCall, find_cut_positions, is_identity, layer_weights

L = keras.layers
POOLS = (L.GlobalAveragePooling2D, L.GlobalMaxPooling2D, L.Flatten, L.Reshape)
SCALINGS = ("rescaling", "batchnormalization", "multiply", "divide", "truedivide", "add", "subtract", "negative")
NEUTRAL = "linear"


@dataclass(frozen=True)
class Head:
    """The layer that gives a score for each class, and the steps after it.

    Attributes:
        step: its position.
        width: number of scores.
        features: position of the step whose output, a feature vector or map, it takes.
        form: of its input: "vector"; "average", a map whose scores are only averaged, so that the map may be averaged
            before; "map", where the layer must stay a convolution.
        activation: the layer's own activation where it comes before the logits; else "".
        tail: positions of the steps from the scores to the logits.
        squash: the function that the model applies to its logits: "softmax", "sigmoid" or ""; "probabilities" where
            more follows it, so that the logits are the logarithm of the outputs.
    """

    step: int
    width: int
    features: int
    form: str
    activation: str
    tail: tuple[int, ...]
    squash: str


@dataclass(frozen=True)
class UnclearHead:
    """Why it is not clear where the classifier begins, and the position of the last step that is before it for sure."""

    reason: str
    before: int | None


def find_head(graph: Graph) -> Head | UnclearHead | None:
    """Find the classifier: the last layer with a kernel, where it gives a score for each class.

    It is a dense layer or a convolution on whose scores alone the output depends. The scores may be averaged over a
    map, scaled and normalised; before a softmax or sigmoid any other step may follow.

    Returns:
        None for a model that gives features: its outputs go through a ReLU, or are a map.
    """
    steps, output = graph.steps, graph.output
    made_by = {id(step.output): position for position, step in enumerate(steps) if not isinstance(step.output, list)}
    kernels, after = _find_last_kernels(steps, output, made_by)
    if not kernels:
        return None
    words = [*(_activation_name(steps[at].op) for at in kernels), *(_describe_step(steps[at]) for at in after)]
    cuts = find_cut_positions(graph)
    if len(kernels) == 1 and kernels[0] in cuts:
        head = _match_classifier(steps, kernels[0], after, words, output, made_by)
        if head:
            return head
    used = [word for word in words if word != NEUTRAL]
    scores = "softmax" in used or "logsoftmax" in used or used[-1:] == ["sigmoid"]
    normed = isinstance(steps[kernels[0]].op, L.Dense) and set(used) in ({"norm"}, {"norm", "scale"})
    if scores or normed or tuple(output.shape[1:]) == (1,):
        return _make_doubt(steps, kernels, after, cuts)
    return None


def _find_last_kernels(steps, output, made_by) -> tuple[list[int], list[int]]:
    """Positions of the last layers with kernels on all paths to the output, and of the steps after them."""
    found, waiting = set(), [output]
    while waiting:
        position = made_by.get(id(waiting.pop()))
        if position is not None and position not in found:
            found.add(position)
            waiting += [] if _has_kernel(steps[position].op) else steps[position].inputs
    kernels = [position for position in sorted(found) if _has_kernel(steps[position].op)]
    return kernels, sorted(found - set(kernels))


def _has_kernel(op) -> bool:
    """Whether a layer mixes its inputs; a norm, or a learned temperature, has one number for each map."""
    return any(len(weight.shape) > 1 for weight in layer_weights(op)) and not isinstance(op, L.PReLU)


def _describe_step(step: LayerCall) -> str:
    """What a step after the classifier does to the scores, as one word."""
    op = step.op
    kind = type(op).__name__.lower()
    if is_identity(op):
        return NEUTRAL
    if isinstance(op, L.Activation):
        return _activation_name(op)
    if isinstance(op, POOLS) or kind == "mean":
        return "pool"
    if kind in SCALINGS and len(step.inputs) == 1:
        return "scale"
    return "norm" if layer_weights(op) else kind


def _activation_name(op) -> str:
    function = getattr(op, "activation", None) or keras.activations.linear
    name = getattr(function, "__name__", "")
    return name.replace("_", "") if function is getattr(keras.activations, name, None) else "custom"


def _find_squash(words: list[str]) -> tuple[str, int]:
    """The function from logits to outputs at the end of the words, and the number of words that it takes."""
    count = next((i for i, word in enumerate(reversed(words)) if word != NEUTRAL), len(words))
    last = words[: len(words) - count][-2:]
    if last == ["softmax", "log"]:
        return "softmax", count + 2
    if last and last[-1] in ("softmax", "logsoftmax", "sigmoid"):
        return last[-1].removeprefix("log"), count + 1
    return ("probabilities" if "softmax" in words else ""), 0


def _match_classifier(steps, position, after, words, output, made_by) -> Head | None:
    op, seen = steps[position].op, steps[position].inputs[0]
    is_map, small = len(seen.shape) == 4, tuple(seen.shape[1:3]) == (1, 1)
    if isinstance(op, L.Dense):
        width, by_place, fits = op.units, True, is_map or len(seen.shape) == 2
    elif type(op) is L.Conv2D:
        width, by_place, fits = op.filters, op.kernel_size == op.strides == (1, 1), op.groups == 1
    else:
        return None
    squash, count = _find_squash(words)
    left = words[: len(words) - count]
    own = left[0] if left else NEUTRAL
    tail = list(zip(after[: max(0, len(left) - 1)], left[1:], strict=True))
    tail = [(step, word) for step, word in tail if word != NEUTRAL]
    plain = own == NEUTRAL and all(word == "pool" or (word == "scale" and not is_map) for _, word in tail)
    if not fits or own == "custom" or tuple(output.shape[1:]) != (width,) or not (squash or (plain and by_place)):
        return None
    form = "map" if is_map else "vector"
    if small and by_place:
        form = "vector"
    elif is_map and by_place and own == NEUTRAL and tail and _is_average(steps[tail[0][0]].op):
        form = "average"
    if form != "map":  # what is averaged before is a vector behind
        tail = [(step, word) for step, word in tail if word != "pool"]
    features = made_by.get(id(seen), -1)
    while features >= 0 and isinstance(steps[features].op, L.Dropout):
        features = made_by.get(id(steps[features].inputs[0]), -1)
    activation = "" if own == NEUTRAL else own
    return Head(position, width, features, form, activation, tuple(step for step, _ in tail), squash)


def _is_average(op) -> bool:
    return isinstance(op, L.GlobalAveragePooling2D) and not op.keepdims


def _make_doubt(steps, kernels, after, cuts) -> UnclearHead:
    first = min(kernels)
    before = [at for at in cuts if at < first and isinstance(steps[at].op, L.Layer) and not is_identity(steps[at].op)]
    by = f" by way of {_describe_steps(steps, after)}" if after else ""
    return UnclearHead(f"its outputs come from {_describe_steps(steps, kernels)}{by}", before[-1] if before else None)


def _describe_steps(steps, positions) -> str:
    """The first steps of some, for a message."""
    names = [f"{type(steps[at].op).__name__} {steps[at].op.name!r}" for at in positions]
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def find_stages(graph: Graph) -> dict[int, str]:
    """`{position: name}` of the steps after which a stage ends: `stage1` and so on.

    A stage ends at the last step before downsampling where the network can be cut in two, and at the last map.
    """
    steps = graph.steps
    level = {id(graph.start): 0}
    ends: dict[int, int] = {}
    cuts = set(find_cut_positions(graph))
    for position, step in enumerate(steps):
        here = max((level.get(id(tensor), 0) for tensor in step.inputs), default=0) + _is_downsampling(step.op)
        for tensor in keras.tree.flatten(step.output):
            level[id(tensor)] = here
        is_map = position in cuts and len(step.output.shape) == 4 and tuple(step.output.shape[1:3]) != (1, 1)
        if is_map and not isinstance(step.op, L.ZeroPadding2D | L.Dropout):
            ends[here] = position
    kept, last = [], -1
    for position in sorted(ends.values()):
        if any(layer_weights(step.op) for step in steps[last + 1 : position + 1]):
            kept.append(position)
            last = position
    return {position: f"stage{number}" for number, position in enumerate(kept, start=1)}


def _is_downsampling(op) -> bool:
    strides = getattr(op, "strides", 1)
    larger = max(strides if isinstance(strides, list | tuple) else (strides,)) > 1
    return larger and isinstance(op, L.Layer) and not isinstance(op, L.Conv2DTranspose)
