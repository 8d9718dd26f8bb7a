"""Tensors of a file into a Keras network, by name, strict on both sides."""

import numpy as np

# the name of a Keras variable in a torch checkpoint
TORCH_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def tensor_names(model) -> dict:
    """`{torch name: (layer, variable)}` for every weight of the model."""
    return {
        f"{layer.name}.{TORCH_NAMES[weight.name]}": (layer, weight)
        for layer in model.layers
        for weight in layer.weights
    }


def assign(model, tensors: dict, layout: str, *, source: str) -> int:
    """Give a model all its weights.

    Args:
        model: a `keras.Model` whose layers bear the names of the tensors.
        tensors: `{torch name: array}`.
        layout: "torch" (output channels first) or "keras" (as is).
        source: where the tensors come from, for the sentence.

    Returns:
        The number of tensors assigned.

    Raises:
        ValueError: a tensor is missing, left over or of another shape; nothing is assigned then.
    """
    wanted = tensor_names(model)
    missing, extra = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys()
    if missing or extra:
        sides = [
            f"it {verb} {len(names)} of {total}, {_some(names)}"
            for verb, names, total in (
                ("lacks", missing, f"the network's {len(wanted)} tensors"),
                ("holds", extra, f"its {len(tensors)} that the network has not"),
            )
            if names
        ]
        raise ValueError(f"{source} does not fit {model.name}: {', and '.join(sides)}.")
    values = [to_keras(tensors[name], layer, layout) for name, (layer, _) in wanted.items()]
    for (name, (_, variable)), value in zip(wanted.items(), values, strict=True):
        if value.shape != tuple(variable.shape):
            raise ValueError(
                f"{source} does not fit {model.name}: its {name} has shape {tensors[name].shape}, "
                f"which gives {value.shape} in Keras' order, expected {tuple(variable.shape)}."
            )
    for (_, variable), value in zip(wanted.values(), values, strict=True):
        variable.assign(value)
    return len(wanted)


def to_keras(tensor: np.ndarray, layer, layout: str) -> np.ndarray:
    """One tensor in Keras' layout: a convolution (out, in, h, w) becomes (h, w, in, out), a matrix is turned."""
    if layout == "torch" and tensor.ndim == 2:
        return tensor.T
    if layout == "keras" or tensor.ndim != 4:
        return tensor
    depthwise = type(layer).__name__ == "DepthwiseConv2D"  # (channels, 1, h, w) becomes (h, w, channels, 1)
    return tensor.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))


def _some(names, most=3) -> str:
    names = sorted(names)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
