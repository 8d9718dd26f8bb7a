"""Read weight files of all formats as `{name: array}`."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from safetensors.numpy import load_file

from transferkit.weights import hdf5
from transferkit.weights.errors import UnusableFileError, explain_errors
from transferkit.weights.keras2_weights import is_keras2, read_keras2
from transferkit.weights.keras3_weights import read_keras3
from transferkit.weights.name_translation import Publisher, translate_names
from transferkit.weights.torch_files import ZIP, map_file, read_torch, zip_members

HDF5 = b"\x89HDF\r\n\x1a\n"
KERAS_MEMBER = "model.weights.h5"
# Prefixes of a network inside the module that trains it; the prefix with the most tensors is used, at a tie the first.
PREFIXES = ("model.", "net.", "network.", "backbone.", "encoder_q.", "base_encoder.", "encoder.", "resnet.")
COUNTS = "num_batches_tracked"  # a counter of batch norm in torch, which Keras does not have


@dataclass(frozen=True)
class Weights:
    """The content of a weight file.

    Attributes:
        tensors: {name in torch: array}, such as `layer1.0.bn1.running_mean`, in the dtype of the file; arrays may be
            read-only views of the file.
        layout: "torch", with kernels as (outputs, inputs, height, width), or "keras", (height, width, inputs, outputs).
        changes: messages on what was skipped, removed or converted.
        publisher: the publisher of the file, identified by its names; None for torchvision's names.
    """

    tensors: dict[str, np.ndarray]
    layout: str
    changes: tuple[str, ...] = ()
    publisher: Publisher | None = None


def read_weights(path: str | Path) -> Weights:
    """Read the tensors of a weight file, with the names of torchvision's networks.

    The format is recognised from the content and not from the suffix: a file of any version of torch.save,
    safetensors, `.keras`, `.weights.h5`, or an `.h5` file of Keras 2.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not a weight file, is damaged, or contains other objects than tensors.
    """
    with open(path, "rb") as file:
        head = file.read(9)
    with explain_errors(path):
        archive = head.startswith(ZIP) and KERAS_MEMBER in zip_members(map_file(path))
    if head.startswith(HDF5):
        hdf5.check_hdf5(path)
    elif archive:
        hdf5.check_keras_archive(path)
    with explain_errors(path):
        if head.startswith(HDF5) or archive:
            tensors, layout, changes = _read_keras(_extract_weights(path) if archive else path), "keras", []
        else:
            tensors, wrappers = (load_file(path), []) if head[8:9] == b"{" else read_torch(path)
            tensors, changes = _strip_prefixes(tensors)
            layout, changes = "torch", [f"{name} unwrapped" for name in wrappers] + changes
        if not tensors:
            raise UnusableFileError("holds no variables: expected the weights of a model that is built.")
        tensors, converted, publisher = translate_names(tensors, layout)
    return Weights(tensors, layout, (*changes, *converted), publisher)


def _read_keras(source):
    with h5py.File(source, "r") as file:
        return read_keras2(file) if is_keras2(file) else read_keras3(file)


def _extract_weights(path):
    with zipfile.ZipFile(path) as archive:
        return io.BytesIO(archive.read(KERAS_MEMBER))


def _strip_prefixes(tensors):
    """Remove prefixes of wrappers, leading underscores and batch counters; return the tensors and messages."""
    changes, counts = [], 0
    for prefix in ("module.", "_orig_mod.", "module."):  # from DataParallel and torch.compile, in either order
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
            changes.append(f"prefix {prefix} removed")
    tensors, found = _strip_part(tensors)
    changes += found
    renamed = {}
    for name, value in tensors.items():
        name = ".".join(part.removeprefix("_") for part in name.split("."))
        if name in renamed:
            raise UnusableFileError(f"has {name!r} twice, once with an underscore before a part of the name.")
        if name.endswith(COUNTS):
            counts += 1
        else:
            renamed[name] = value
    return renamed, changes + [f"{counts} {COUNTS} skipped"] * bool(counts)


def _strip_part(tensors):
    """Find the network inside a larger module, such as one of Lightning or of self-supervised training."""
    counts = {prefix: sum(name.startswith(prefix) for name in tensors) for prefix in PREFIXES}
    prefix = max(PREFIXES, key=counts.__getitem__)
    if not counts[prefix]:
        return tensors, []
    inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    others = sorted({name.split(".")[0] for name in tensors if not name.startswith(prefix)})
    skipped = [f"skipped, as not part of {prefix.rstrip('.')}: {', '.join(others)}"] if others else []
    return inside, [f"prefix {prefix} removed", *skipped]
