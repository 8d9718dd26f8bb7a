"""Weight files of every format, read into arrays by name."""

import io
import zlib
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
from safetensors.numpy import load_file

from transferkit.weights.pickles import Unusable
from transferkit.weights.torchfile import ZIP, mapped, read_torch, zip_members, zip_span

HDF5 = b"\x89HDF\r\n\x1a\n"
KERAS_MEMBER = "model.weights.h5"
KERAS_ROOTS = "layers", "_layer_checkpoint_dependencies"  # the latter in files of TensorFlow 2.13
# What torch calls the variables of a layer, by how many it has.
VARIABLES = {
    1: ("weight",),
    2: ("weight", "bias"),
    4: ("weight", "bias", "running_mean", "running_var"),
}


def read(path: str | Path) -> tuple[dict[str, np.ndarray], str, list[str]]:
    """Return the tensors of a weight file by name, and the layout they are in.

    The content decides the format, not the suffix: a file of torch.save of any age, safetensors, `.keras` or
    `.weights.h5`. Arrays keep the dtype of the file and may be read-only views of it.

    Args:
        path: the file.

    Returns:
        Arrays by torch's kind of name, as `layer1.0.bn1.running_mean`; and "torch", with kernels as (outputs,
        inputs, height, width), or "keras", with kernels as (height, width, inputs, outputs); and what was left out or
        taken off, for a person.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the content is no weight file, is damaged, or holds what is no tensor.
    """
    with open(path, "rb") as file:
        head = file.read(512)
    try:
        if head.startswith(HDF5):
            with h5py.File(path, "r") as file:
                return _keras(file, Path(path).stat().st_size), "keras", []
        if head.startswith(ZIP) and KERAS_MEMBER in zip_members(data := mapped(path)):
            content = _checked(data, zip_members(data)[KERAS_MEMBER])
            with h5py.File(io.BytesIO(content), "r") as file:
                return _keras(file, len(content)), "keras", []
        tensors = load_file(path) if head[8:9] == b"{" else read_torch(path)
        tensors, changes = _torch_names(tensors)
        return tensors, "torch", changes
    except Unusable as error:
        raise ValueError(f"{path} {error}") from error
    except Exception as error:  # the libraries of the formats raise all sorts on damaged content
        raise ValueError(f"{path} is damaged or truncated: {type(error).__name__} ({error}).") from error


def _checked(data, member):
    """The content of a zip member, if its checksum is right: the HDF5 library crashes on some damaged files."""
    start, stop = zip_span(data, member)
    if zlib.crc32(content := data[start:stop]) != member.CRC:
        raise Unusable(f"is damaged: the checksum of {member.filename!r} is not that of its content.")
    return content


def _torch_names(tensors):
    """Names as torchvision has them: no wrapper's prefix, no underscores of privacy, no counts of batches."""
    changes, counts = [], 0
    for prefix in ("module.", "_orig_mod.", "module."):  # of DataParallel and torch.compile, in either order
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
            changes.append(f"prefix {prefix} taken off")
    renamed = {}
    for name, value in tensors.items():
        name = ".".join(part.removeprefix("_") for part in name.split("."))
        if name in renamed:
            raise Unusable(f"has {name!r} twice, once with an underscore before a part of the name.")
        if name.endswith("num_batches_tracked"):
            counts += 1
        else:
            renamed[name] = value
    if not renamed:
        raise Unusable("holds no weights.")
    return renamed, changes + [f"{counts} num_batches_tracked left out"] * bool(counts)


def _keras(file, room):
    """The variables of a Keras 3 file; `room` is its length, which all of them together cannot exceed.

    Keras calls the groups by class, `layers/batch_normalization_3`; the layer's own name is an attribute.
    """
    if "layer_names" in file.attrs or "model_weights" in file:
        raise Unusable("is an .h5 file of Keras 2, not read yet: save it from Keras 3 as .weights.h5.")
    roots = [root for root in KERAS_ROOTS if root in file]
    if not roots:
        raise Unusable(f"is no weight file of Keras: expected an HDF5 group {KERAS_ROOTS[0]!r}.")
    tensors = {}
    for key, variables in _layers(_child(file, roots[0])):
        layer = str(variables.attrs.get("name", key))
        if layer.startswith("seed_generator"):
            continue
        names = VARIABLES.get(len(variables), map(str, range(len(variables))))
        if key.startswith("batch_normalization") and len(variables) != 4:
            names = map(str, range(len(variables)))  # without gamma or beta: the file does not say which
        for index, name in enumerate(names):
            value = _child(variables, str(index))
            room -= _declared(value)
            if room < 0:
                raise Unusable(f"is damaged or compressed: {layer!r} declares more data than the file has.")
            if f"{layer}.{name}" in tensors:
                raise Unusable(f"has two layers called {layer!r}.")
            tensors[f"{layer}.{name}"] = _value(value)
    if not tensors:
        raise Unusable("holds no variables: expected the weights of a model that is built.")
    return tensors


def _layers(root):
    """The key and the variables of every layer, those inside nested models included."""
    waiting, seen = [("", root)], set()
    while waiting:
        key, group = waiting.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            raise Unusable(f"is damaged: the group {group.name!r} is in it twice.")
        seen.add(address)
        for inner in group:
            child = _child(group, inner)
            if inner == "vars":
                yield key, child
            elif isinstance(child, h5py.Group):
                waiting.append((inner, child))


def _child(group, key):
    """A member of a group that lies in the same file: a link elsewhere could read any file of the user's."""
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise Unusable(f"has no group or array {key!r} of its own in {group.name!r}.")
    return group[key]


def _declared(dataset):
    """The bytes that an array claims to have."""
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise Unusable(f"has no array of its own at {dataset.name!r}.")
    return dataset.nbytes


def _value(dataset):
    if dataset.attrs.get("dtype") == "bfloat16":  # HDF5 has no such type: Keras stores two opaque bytes
        return dataset[()].view(ml_dtypes.bfloat16)
    if dataset.dtype.kind not in "fiub":
        raise Unusable(f"holds {dataset.dtype} at {dataset.name!r}, where numbers were expected.")
    return dataset[()]
