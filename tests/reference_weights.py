"""Weights and pictures that come out the same everywhere, for networks recorded elsewhere and compared here."""

import functools
import math
import sys
import types
import zlib
from contextlib import contextmanager

import keras
import numpy as np

from transferkit import zoo
from transferkit.weights.assign import assign_tensors, tensor_names
from transferkit.weights.catalogue import weight_sets

TORCHVISION_PIXELS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RANGES = {"weight": (0.5, 1.5), "bias": (-0.2, 0.2), "running_mean": (-0.2, 0.2), "running_var": (0.5, 1.5)}


def weight(name: str, shape: tuple) -> np.ndarray:
    """The tensor of a torch name: kernels keep the scale of what they are given, norms are far from the identity."""
    low, high = RANGES[name.rpartition(".")[2]]
    if len(shape) > 1:
        high = math.sqrt(3 / math.prod(shape[1:]))
        low = -high
    # RandomState: NumPy promises that its numbers never change. A seed of its own keeps each name apart.
    numbers = np.random.RandomState(zlib.crc32(name.encode())).random_sample(shape)
    numbers *= high - low  # in place: a VGG's are a gigabyte
    numbers += low
    return numbers.astype(np.float32)


@contextmanager
def without_weights():
    """Networks built here have shapes and no memory: a VGG is there in an instant."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session(free_memory=False)  # or a later scope would give them their half gigabyte after all
    build.cache_clear()  # those that were built here are of no use to others


@functools.lru_cache(4)  # a VGG takes half a gigabyte
def build(name: str):
    """A network of the zoo; its weights may be anything."""
    row = zoo.variant(name)
    return zoo.build(
        name, pixels=weight_sets(name)[0].pixels if weight_sets(name) else row.pixels, num_classes=row.classes
    )


def fill(model) -> int:
    """Give one of our networks its reference weights, as from a torch file."""
    tensors = {name: weight(name, torch_shape(variable)) for name, (_, variable) in tensor_names(model).items()}
    return assign_tensors(model, tensors, "torch", source="reference weights")


def torch_shape(variable) -> tuple:
    """(h, w, in, out) as (out, in, h, w), (h, w, channels, 1) as (channels, 1, h, w), a matrix turned."""
    if "depthwise" in variable.path:
        return tuple(variable.shape[i] for i in (2, 3, 0, 1))
    order = {2: (1, 0), 4: (3, 2, 0, 1)}.get(len(variable.shape), range(len(variable.shape)))
    return tuple(variable.shape[i] for i in order)


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


def fill_torch(network) -> dict:
    """Give a torch network its reference weights; returns them, as {name: array}."""
    import torch

    names = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    # part by part without the underscore that some packages put in front
    public = {name: ".".join(part.removeprefix("_") for part in name.split(".")) for name in names}
    tensors = {name: weight(public[name], tuple(network.state_dict()[name].shape)) for name in names}
    network.load_state_dict(network.state_dict() | {name: torch.from_numpy(value) for name, value in tensors.items()})
    return {public[name]: value for name, value in tensors.items()}


def torch_logits(network, images: np.ndarray, mean, std) -> np.ndarray:
    """The logits of a torch network, in the mode it is in, on uint8 pictures; `mean` and `std` are of 0..1."""
    import torch

    with torch.inference_mode():
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(value).reshape(1, 3, 1, 1) for value in (mean, std))
        logits = network((x - mean) / std)
        return getattr(logits, "logits", logits).numpy()  # GoogLeNet in training has three outputs


def assert_near(logits, expected, tolerance):
    """The greatest difference, as a share of the spread."""
    assert np.abs(np.asarray(logits) - expected).max() < tolerance * np.std(expected)
