"""Weight files of every format, read into arrays by name."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from safetensors.numpy import load_file

from transferkit.weights import hdf5
from transferkit.weights.errors import Unusable, worded
from transferkit.weights.keras2_weights import is_keras2, read_keras2
from transferkit.weights.keras3_weights import read_keras3
from transferkit.weights.publishers import Publisher, translated
from transferkit.weights.torch_files import ZIP, mapped, read_torch, zip_members

HDF5 = b"\x89HDF\r\n\x1a\n"
KERAS_MEMBER = "model.weights.h5"
# What a network is called inside of what trains it; the most tensors decide, and of as many the first one.
PARTS = ("model.", "net.", "network.", "backbone.", "encoder_q.", "base_encoder.", "encoder.", "resnet.")
COUNTS = "num_batches_tracked"  # of a norm's batches: no layer of Keras has it


@dataclass(frozen=True)
class Weights:
    """What a weight file holds.

    Attributes:
        tensors: arrays by torch's kind of name, as `layer1.0.bn1.running_mean`, in the dtype of the file; they may be
            read-only views of it.
        layout: "torch", with kernels as (outputs, inputs, height, width), or "keras", (height, width, inputs, outputs).
        changes: what was left out, taken off or converted, for a person.
        publisher: whose file it is, where the names show it; None for torchvision's own names.
    """

    tensors: dict[str, np.ndarray]
    layout: str
    changes: tuple[str, ...] = ()
    publisher: Publisher | None = None


def read(path: str | Path) -> Weights:
    """Return the tensors of a weight file by the names of torchvision's networks.

    The content decides the format, not the suffix: a file of torch.save of any age, safetensors, `.keras`,
    `.weights.h5`, or an `.h5` file of Keras 2.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the content is no weight file, is damaged, or holds what is no tensor.
    """
    with open(path, "rb") as file:
        head = file.read(9)
    with worded(path):
        archive = head.startswith(ZIP) and KERAS_MEMBER in zip_members(mapped(path))
    if head.startswith(HDF5):
        hdf5.check(path)
    elif archive:
        hdf5.check_keras_archive(path)
    with worded(path):
        if head.startswith(HDF5) or archive:
            tensors, layout, changes = _keras(_unpacked(path) if archive else path), "keras", []
        else:
            tensors, wrappers = (load_file(path), []) if head[8:9] == b"{" else read_torch(path)
            tensors, changes = _plain(tensors)
            layout, changes = "torch", [f"{name} unwrapped" for name in wrappers] + changes
        if not tensors:
            raise Unusable("holds no variables: expected the weights of a model that is built.")
        tensors, converted, publisher = translated(tensors, layout)
    return Weights(tensors, layout, (*changes, *converted), publisher)


def _keras(source):
    with h5py.File(source, "r") as file:
        return read_keras2(file) if is_keras2(file) else read_keras3(file)


def _unpacked(path):
    with zipfile.ZipFile(path) as archive:
        return io.BytesIO(archive.read(KERAS_MEMBER))


def _plain(tensors):
    """Names without a wrapper's prefix, underscores of privacy and counts of batches, and what was taken off."""
    changes, counts = [], 0
    for prefix in ("module.", "_orig_mod.", "module."):  # of DataParallel and torch.compile, in either order
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
            changes.append(f"prefix {prefix} taken off")
    tensors, found = _inside(tensors)
    changes += found
    renamed = {}
    for name, value in tensors.items():
        name = ".".join(part.removeprefix("_") for part in name.split("."))
        if name in renamed:
            raise Unusable(f"has {name!r} twice, once with an underscore before a part of the name.")
        if name.endswith(COUNTS):
            counts += 1
        else:
            renamed[name] = value
    return renamed, changes + [f"{counts} {COUNTS} left out"] * bool(counts)


def _inside(tensors):
    """The network that is a part of what was saved, as of a Lightning module or of self-supervised training."""
    counts = {prefix: sum(name.startswith(prefix) for name in tensors) for prefix in PARTS}
    prefix = max(PARTS, key=counts.get)
    if not counts[prefix]:
        return tensors, []
    inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    others = sorted({name.split(".")[0] for name in tensors if not name.startswith(prefix)})
    left = [f"left out, for it is not of {prefix.rstrip('.')}: {', '.join(others)}"] if others else []
    return inside, [f"prefix {prefix} taken off", *left]
