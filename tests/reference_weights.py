"""Weights and pictures that come out the same everywhere, for networks recorded elsewhere and compared here."""

import math
import sys
import types
import zlib

import numpy as np

from transferkit.weights.assign import assign, tensor_names

SIZES = {"64x80": (2, 64, 80), "75x97": (1, 75, 97)}  # even and odd sides: strides and padding meet both
RANGES = {"running_mean": (-0.2, 0.2), "running_var": (0.5, 1.5)}


def weight(name: str, shape: tuple) -> np.ndarray:
    """The tensor of a torch name: kernels keep the scale of what they are given, norms are far from the identity."""
    kind = name.rpartition(".")[2]
    if len(shape) > 1:
        bound = math.sqrt(3 / math.prod(shape[1:]))
        low, high = -bound, bound
    else:
        low, high = RANGES.get(kind) or {"weight": (0.5, 1.5), "bias": (-0.2, 0.2)}[kind]
    # RandomState: NumPy promises that its numbers never change. A seed of its own keeps each name apart.
    numbers = np.random.RandomState(zlib.crc32(name.encode())).random_sample(shape)
    return (low + (high - low) * numbers).astype(np.float32)


def fill(model) -> int:
    """Give one of our networks its reference weights, as from a torch file."""
    tensors = {name: weight(name, torch_shape(variable)) for name, (_, variable) in tensor_names(model).items()}
    return assign(model, tensors, "torch", source="reference weights")


def torch_shape(variable) -> tuple:
    """(h, w, in, out) as (out, in, h, w), (h, w, channels, 1) as (channels, 1, h, w), a matrix turned."""
    if "depthwise" in variable.path:
        return tuple(variable.shape[i] for i in (2, 3, 0, 1))
    return tuple(variable.shape)[::-1] if len(variable.shape) < 4 else tuple(variable.shape[i] for i in (3, 2, 0, 1))


def pictures(count: int, height: int, width: int) -> np.ndarray:
    """uint8 pictures of coloured squares, five pixels a side."""
    cells = count, math.ceil(height / 5), math.ceil(width / 5), 3
    coarse = np.random.RandomState(height).randint(0, 256, cells).astype(np.uint8)
    return coarse.repeat(5, axis=1).repeat(5, axis=2)[:, :height, :width]


def load_torchvision():
    """torchvision, whose wheel names operators that it has only beside a torch with CUDA: no network uses them."""
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("_meta_registrations"))
    import torchvision

    return torchvision


def torchvision_logits(network, images: np.ndarray) -> np.ndarray:
    """The logits of a network of torchvision on uint8 pictures, in the mode it is in, by its own normalisation."""
    import torch

    mean, std = ([[[value]] for value in row] for row in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        return network((x - torch.tensor(mean)) / torch.tensor(std)).numpy()
