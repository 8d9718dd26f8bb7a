"""Assign the tensors of a file to the weights of a Keras network, by name."""

import math
import mmap

import numpy as np

from transferkit import zoo
from transferkit.weights.weight_files import COUNTS, Weights

# {name of a Keras variable: its name in a torch checkpoint}
TORCH_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
BLOCK = 32  # elements of the last axis that are copied at a time
# layers that may be between a flattened map and a dense layer
SHAPE_KEEPING = ("Dropout", "Identity", "Activation", "ReLU")
GROWN = "grown from"  # a message of `load_or_grow_weights` begins with it


def tensor_names(model) -> dict:
    """`{torch name: (layer, variable)}` for every weight of the model."""
    return {
        f"{layer.name}.{TORCH_NAMES[weight.name]}": (layer, weight)
        for layer in model.layers
        for weight in layer.weights
    }


def load_weights(model, weights: Weights, *, source: str, head: str = "") -> tuple[str, ...]:
    """Load the weights of a file into a model, except those of auxiliary heads that the model does not have.

    Args:
        source: the path of the file, for messages.
        head: name of the classifier; a file without it leaves the model's classifier as it is.

    Returns:
        What was loaded, converted and skipped, for messages.

    Raises:
        ValueError: the file does not fit the network; nothing is assigned then.
    """
    publisher = weights.publisher
    if publisher and publisher.networks and model.name not in publisher.networks:
        fitting = [
            name for name in find_similar_networks(weights.tensors, weights.layout) if name in publisher.networks
        ]
        expected = " or ".join(fitting or publisher.networks)
        raise ValueError(f"{source} does not fit {model.name}: it is for {expected}, {publisher.difference}.")
    row = zoo.variants().get(model.name)
    heads = sorted(row.auxiliary_heads) if row else []
    absent = [head for head in heads if not any(layer.name.startswith(f"{head}.") for layer in model.layers)]
    tensors = _without_heads(weights.tensors, absent)
    left = [head for head in absent if any(name.startswith(f"{head}.") for name in weights.tensors)]
    has_head = not head or any(name.startswith(f"{head}.") for name in tensors)
    body = None if has_head else {layer.name for layer in model.layers} - {head}
    count = assign_tensors(model, tensors, weights.layout, source=source, only=body)
    notes = ["it has no classifier"] * (not has_head)
    notes += [f"{', '.join(left)} skipped: heads for training"] if left else []
    # every torch file of a network with norms has batch counters: not worth a message
    changes = [change for change in weights.changes if COUNTS not in change]
    return f"{count}/{len(model.weights)} tensors loaded", *changes, *notes


def _without_heads(tensors: dict, heads) -> dict:
    """The tensors that do not belong to auxiliary heads."""
    prefixes = tuple(f"{head}." for head in heads)
    return {name: value for name, value in tensors.items() if not name.startswith(prefixes)}


def load_or_grow_weights(model, weights: Weights, *, source: str, head: str = "") -> tuple[str, ...]:
    """Load weights as `load_weights`, or initialise a part of the network from a file of a smaller one.

    A file of the network in `Variant.grows_from` initialises the layers in `Variant.grown`; the others stay fresh.

    Returns:
        What was loaded, for messages.

    Raises:
        ValueError: the file does not fit the network; nothing is assigned then.
    """
    row = zoo.variant(model.name)
    if row.grows_from not in find_similar_networks(weights.tensors, weights.layout):
        return load_weights(model, weights, source=source, head=head)
    kinds = ("weight", "bias")
    tensors = {f"{ours}.{kind}": weights.tensors[f"{its}.{kind}"] for ours, its in row.grown.items() for kind in kinds}
    count = assign_tensors(model, tensors, weights.layout, source=source, only=row.grown)
    return f"{count}/{len(model.weights)} tensors loaded", f"{GROWN} {row.grows_from}, the other tensors are fresh"


def assign_tensors(model, tensors: dict, layout: str, *, source: str, only=None) -> int:
    """Assign all weights of a model, or all weights of some layers.

    Args:
        model: a `keras.Model` whose layers have the names of the tensors.
        tensors: `{torch name: array}`.
        layout: "torch" (output channels first) or "keras".
        source: path of the file, for messages.
        only: names of the layers; by default all.

    Returns:
        The number of tensors assigned.

    Raises:
        ValueError: a tensor is missing, left over or of another shape; nothing is assigned then.
    """
    expected, maps = tensor_names(model), _flattened_maps(model) if layout == "torch" else {}
    expected = {name: pair for name, pair in expected.items() if only is None or pair[0].name in only}

    def to_layout(name):
        layer, variable = expected[name]
        return to_keras_layout(tensors[name], layer, layout, tuple(variable.shape), maps.get(layer.name))

    if expected.keys() != tensors.keys():
        raise ValueError(_describe_misfit(model, tensors, layout, source, _describe_difference(expected, tensors)))
    for name, (_, variable) in expected.items():  # only views: nothing is copied before all shapes are checked
        found, shape = to_layout(name).shape, tuple(variable.shape)
        if found != shape and not _has_same_rows(found, shape):
            shapes = f"{tensors[name].shape}, which gives {found} in Keras' order, expected {shape}"
            raise ValueError(_describe_misfit(model, tensors, layout, source, f"its {name} has shape {shapes}"))
    for name, (_, variable) in expected.items():
        variable.assign(_copy_contiguous(to_layout(name)).reshape(variable.shape))
        _release_pages(tensors[name])
    return len(expected)


def to_keras_layout(tensor: np.ndarray, layer, layout: str, shape: tuple, fed_by: tuple | None = None) -> np.ndarray:
    """A view of a tensor with its axes in the order of Keras; it may still need a `reshape`.

    A kernel (out, in, h, w) becomes (h, w, in, out), a depthwise kernel (channels, 1, h, w) becomes
    (h, w, channels, 1), and a matrix is transposed. A matrix (out, c*h*w) of a convolution, or of a dense layer after a
    flattened map, becomes (h, w, c, out).

    Args:
        tensor: the tensor of the file.
        layer: the Keras layer.
        layout: "torch" or "keras".
        shape: shape of the layer's variable.
        fed_by: (h, w, c) of the flattened map that is the input of a dense layer; None without one.
    """
    if layout == "keras":
        return tensor.reshape(shape) if tensor.ndim == 2 and _has_same_rows(shape, tensor.shape) else tensor
    if tensor.ndim == 2:
        height, width, channels = shape[:3] if len(shape) == 4 else fed_by or (1, 1, 0)
        if height * width > 1 and tensor.shape[1] == height * width * channels:
            return tensor.reshape(-1, channels, height, width).transpose(2, 3, 1, 0)
        return tensor.T.reshape(shape) if _has_same_rows(shape, tensor.shape[::-1]) else tensor.T
    if tensor.ndim != 4:
        return tensor
    return tensor.transpose((2, 3, 0, 1) if type(layer).__name__ == "DepthwiseConv2D" else (2, 3, 1, 0))


def _has_same_rows(kernel: tuple, matrix: tuple) -> bool:
    """Whether a kernel (h, w, in, out) has the same rows as a matrix (h*w*in, out) of a dense layer."""
    return len(kernel) == 4 and len(matrix) == 2 and (math.prod(kernel[:3]), kernel[3]) == matrix


def _flattened_maps(model) -> dict[str, tuple]:
    """`{dense layer: (h, w, c) of the map that a Flatten turned into its input}`."""
    producers = {id(layer.output): layer for layer in model.layers}
    maps = {}
    for layer in model.layers:
        if type(layer).__name__ != "Dense":
            continue
        before = producers.get(id(layer.input))
        while before is not None and type(before).__name__ in SHAPE_KEEPING:
            before = producers.get(id(before.input))
        if before is not None and type(before).__name__ == "Flatten" and len(before.input.shape) == 4:
            maps[layer.name] = tuple(before.input.shape[1:])
    return maps


def _copy_contiguous(view: np.ndarray) -> np.ndarray:
    """A contiguous copy, because the backend may keep the array, which must not be a view of the file.

    The last axis is copied in blocks: neighbours in a transposed view are far apart in memory, and with blocks each
    cache line is loaded once.
    """
    if view.flags.c_contiguous:
        return view.copy()
    copy = np.empty(view.shape, view.dtype)
    for start in range(0, view.shape[-1], BLOCK):
        copy[..., start : start + BLOCK] = view[..., start : start + BLOCK]
    return copy


def _release_pages(tensor: np.ndarray):
    """Release the pages of a mapped file that have been read; they would count as memory of this process."""
    while isinstance(tensor.base, np.ndarray):
        tensor = tensor.base
    if isinstance(tensor.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        tensor.base.madvise(mmap.MADV_DONTNEED)


def _describe_difference(expected: dict, tensors: dict) -> str:
    missing, extra = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    return ", and ".join(
        f"it {verb} {len(names)} of {total}, {_list_first(names)}"
        for verb, names, total in (
            ("lacks", missing, f"the network's {len(expected)} tensors"),
            ("holds", extra, f"its {len(tensors)} that the network has not"),
        )
        if names
    )


def _describe_misfit(model, tensors: dict, layout: str, source: str, reason: str) -> str:
    found = find_similar_networks(tensors, layout)
    looks = f"it looks like {' or '.join(found)}; " if found and model.name not in found else ""
    return f"{source} does not fit {model.name}: {looks}{reason}."


def find_similar_networks(tensors: dict, layout: str) -> list[str]:
    """The networks of the zoo whose number of parameters, without the classifier, is that of the tensors."""

    def fits(row):
        own = _without_heads(tensors, row.auxiliary_heads)
        total = sum(value.size for name, value in own.items() if ".running_" not in name)
        kernel, bias = tensors.get(f"{row.head}.weight"), tensors.get(f"{row.head}.bias")
        if kernel is None or kernel.ndim < 2 or bias is None:
            return False
        inputs = kernel.shape[1 if layout == "torch" else -2]
        return row.params - (inputs + 1) * row.classes == total - kernel.size - bias.size

    return [name for name, row in zoo.variants().items() if fits(row)]


def _list_first(names, most=3) -> str:
    names = sorted(names)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
