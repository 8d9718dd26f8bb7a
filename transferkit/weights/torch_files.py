"""Read files of torch.save without torch: the zip format (since 1.6), the stream (since 0.1.10), the tar (older).

All three formats have a pickle of the object, and raw data that the pickle refers to. The file is mapped into memory: a
tensor is a read-only view of it, with its own dtype and strides.
"""

import io
import math
import mmap
import os
import struct
import tarfile
import zipfile
from functools import partial
from pathlib import Path

import numpy as np

from transferkit.weights.errors import UnusableFileError
from transferkit.weights.safe_pickle import WHOLE_MODULE, Parameter, Storage, Tensor, load_pickle

ZIP = b"PK\x03\x04"
STREAM = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # the pickle of torch's magic number
MOST_DIMENSIONS = 32  # maximum of a NumPy array before 2.0
WRAPPERS = "state_dict", "model", "module", "state_dict_ema", "model_ema"


def read_torch(path: str | Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read the tensors of a file of torch.save, as read-only views of the mapped file.

    The file must contain a state dict, or a dict with a state dict under a key of `WRAPPERS`.

    Returns:
        `{name: array}`, and the keys under which the state dict was found.

    Raises:
        UnusableFileError: the file has none of the three formats, is damaged, or contains other objects than tensors.
        Exception: any exception that zipfile, tarfile and struct raise on a damaged file.
    """
    data = map_file(path)
    if data[:4] == ZIP:
        top, spans = _read_zip(data)
    elif data[257:262] == b"ustar":
        top, spans = _read_tar(data)
    elif data[: len(STREAM)] == STREAM:
        top, spans = _read_stream(data)
    else:
        raise UnusableFileError("is not a weight file: expected one of torch.save, safetensors or Keras 3.")
    tensors, wrappers = _find_state_dict(top)
    names = {tensor.storage.key: name for name, tensor in tensors.items()}
    for key, (_, stop) in spans.items():
        if stop > len(data):
            name = names.get(key, key)
            raise UnusableFileError(f"is truncated: the data of {name!r} ends at byte {stop}, the file at {len(data)}.")
    return {name: _make_array(data, name, tensor, spans) for name, tensor in tensors.items()}, wrappers


def map_file(path: str | Path) -> mmap.mmap:
    """Map a file into memory, read-only. The map is closed once no array is a view of it."""
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise UnusableFileError("is empty.")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def zip_members(data: mmap.mmap) -> dict[str, zipfile.ZipInfo]:
    """The members of a mapped zip archive, by name."""
    with zipfile.ZipFile(data) as archive:  # type: ignore[call-overload]  # `mmap.seek` returns a position from 3.13 on
        return {member.filename: member for member in archive.infolist()}


def zip_span(data: mmap.mmap, member: zipfile.ZipInfo) -> tuple[int, int]:
    """The position of the first byte of a stored member, and one past its last.

    torch pads the local header to align the data, and does not repeat the padding in the directory, so the position
    has to be read from the local header.
    """
    at = member.header_offset
    header = data[at : at + 30] if at >= 0 else b""
    if len(header) < 30 or header[:4] != ZIP:
        raise UnusableFileError(f"is damaged: its zip directory points to no header for {member.filename!r}.")
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise UnusableFileError(f"is compressed or encrypted at {member.filename!r}: expected stored members.")
    start = at + 30 + sum(struct.unpack("<HH", header[26:]))
    return start, start + member.file_size


def _read_zip(data):
    """Read the object in the zip format, and the byte ranges of all storages."""
    members = zip_members(data)
    roots = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise UnusableFileError("is a zip archive, but not of torch.save: expected one 'data.pkl' in a folder.")
    [root] = roots
    if any(name.startswith((f"{root}constants.pkl", f"{root}code/")) for name in members):
        raise UnusableFileError("is a TorchScript program: save the model's state_dict() with torch.save instead.")
    if f"{root}byteorder" in members:
        _check_little_endian(_member_bytes(data, members, f"{root}byteorder") == b"little")
    storages: dict[str, tuple[np.dtype, int]] = {}
    top = load_pickle(io.BytesIO(_member_bytes(data, members, f"{root}data.pkl")), partial(_make_storage, storages))
    spans = {key: _member_span(data, members, f"{root}data/{key}") for key in storages}
    for key, (dtype, numel) in storages.items():
        start, stop = spans[key]
        if stop - start != numel * dtype.itemsize:
            raise UnusableFileError(
                f"is damaged: storage {key!r} has {stop - start} bytes for {numel} elements of {dtype}."
            )
    return top, spans


def _member_span(data, members, name):
    if name not in members:
        raise UnusableFileError(f"is damaged: the archive has no member {name!r}.")
    return zip_span(data, members[name])


def _member_bytes(data, members, name):
    return data[slice(*_member_span(data, members, name))]


def _read_stream(data):
    """Read the stream format: five pickles, then the count and the data of every storage."""
    data.seek(len(STREAM))
    protocol, system = load_pickle(data), load_pickle(data)
    if protocol != 1001:
        raise UnusableFileError("is damaged: expected version 1001 of torch's stream format, the only one.")
    _check_little_endian(isinstance(system, dict) and system.get("little_endian"))
    storages: dict[str, tuple[np.dtype, int]] = {}
    top = load_pickle(data, partial(_make_storage, storages))
    keys = load_pickle(data)
    spans, stop = {}, data.tell()
    for key in keys:
        if not isinstance(key, str) or key not in storages:
            raise UnusableFileError("is damaged: it lists a storage that no tensor refers to.")
        dtype, numel = storages[key]
        count, start = _read_int64(data, stop)
        if count != numel:
            raise UnusableFileError(f"is damaged: storage {key!r} has {count} elements, expected {numel}.")
        stop = start + numel * dtype.itemsize
        spans[key] = start, stop
        if stop > len(data):
            break
    return top, spans


def _make_storage(storages, saved):
    """Make the storage of a persistent id in the zip or stream format; add its dtype and length to `storages`."""
    match saved:
        case ("storage", np.dtype() as dtype, str(key), _, int(numel), *view):
            pass
        case ("module", *_):
            raise UnusableFileError(WHOLE_MODULE)
        case _:
            raise UnusableFileError("is damaged: its pickle refers to data in a way that torch.save does not.")
    if numel < 0 or storages.setdefault(key, (dtype, numel)) != (dtype, numel):
        raise UnusableFileError(f"is damaged: its pickle gives storage {key!r} two lengths.")
    match view:
        case [] | [None]:
            return Storage(key, dtype, 0, numel)
        case [(_, int(first), int(length))]:
            return _sub_storage(Storage(key, dtype, 0, numel), first, length)
    raise UnusableFileError(f"is damaged: its pickle has no sound view of storage {key!r}.")


def _sub_storage(root, first, length):
    """Make a storage that is a part of another one, as in the old formats."""
    if first < 0 or length < 0 or first + length > root.numel:
        raise UnusableFileError(f"is damaged: a view reaches beyond storage {root.key!r}.")
    return Storage(root.key, root.dtype, root.first + first, length)


def _read_tar(data):
    """Read the tar format, in three members: storages, tensors, a pickle."""
    with tarfile.open(fileobj=data, mode="r:") as archive:
        starts = {member.name: member.offset_data for member in archive if member.isreg()}
    absent = {"sys_info", "storages", "tensors", "pickle"} - starts.keys()
    if absent:
        raise UnusableFileError(f"is a tar archive that torch.save did not write: it has no member {min(absent)!r}.")
    data.seek(starts["sys_info"])
    system = load_pickle(data)
    _check_little_endian(isinstance(system, dict) and system.get("little_endian"))
    storages, spans = _read_tar_storages(data, starts["storages"])
    tensors = _read_tar_tensors(data, starts["tensors"], storages)

    def tensor(saved):
        if isinstance(saved, tuple):
            raise UnusableFileError(WHOLE_MODULE)
        return tensors[int(saved)]

    data.seek(starts["pickle"])
    return load_pickle(data, tensor), spans


def _read_tar_storages(data, at):
    """Read storages by key, and their byte ranges: a pickle, the count and the data of each; then views of them."""
    data.seek(at)
    storages, spans = {}, {}
    for _ in range(load_pickle(data)):
        key, _, dtype = load_pickle(data)
        key = int(key)  # an int, as other objects may take long to hash
        numel, start = _read_int64(data, data.tell())
        stop = start + numel * dtype.itemsize
        if numel < 0 or stop > len(data):
            raise UnusableFileError(
                f"is damaged or truncated: storage {key} ends at byte {stop}, the file at {len(data)}."
            )
        storages[key], spans[key] = Storage(key, dtype, 0, numel), (start, stop)
        data.seek(stop)
    for key, root, first, length in load_pickle(data):
        storages[int(key)] = _sub_storage(storages[int(root)], first, length)
    return storages, spans


def _read_tar_tensors(data, at, storages):
    """Read tensors by key: a pickle, the number of dimensions, sizes, strides and the offset of each."""
    data.seek(at)
    tensors = {}
    for _ in range(load_pickle(data)):
        key, storage, _ = load_pickle(data)
        ndim = int.from_bytes(data.read(8)[:4], "little")  # the other four bytes are undefined
        if ndim > MOST_DIMENSIONS:
            raise UnusableFileError(f"is damaged: a tensor in it has {ndim} dimensions.")
        numbers = struct.unpack(f"<{2 * ndim + 1}q", data.read(8 * (2 * ndim + 1)))
        tensors[int(key)] = Tensor(storages[int(storage)], numbers[-1], numbers[:ndim], numbers[ndim:-1])
    return tensors


def _read_int64(data, at):
    """Read the int64 at a byte; return it and the position after it."""
    if at + 8 > len(data):
        raise UnusableFileError(f"is truncated: it ends at byte {len(data)}, before the data of all its tensors.")
    return int.from_bytes(data[at : at + 8], "little", signed=True), at + 8


def _check_little_endian(little):
    if not little:
        raise UnusableFileError("was written on a big-endian machine: load it in torch and save it on another.")


def _find_state_dict(top):
    """Find the dict of tensors in a checkpoint; return it and the keys under which it was found."""
    wrappers: list[str] = []
    for _ in range(4):  # checkpoints nest at most twice, and a dict may contain itself
        inner = [key for key in WRAPPERS if isinstance(top, dict) and isinstance(top.get(key), dict)]
        if not inner:
            break
        wrappers, top = [*wrappers, inner[0]], top[inner[0]]
    if not isinstance(top, dict) or not top:
        raise UnusableFileError(f"holds no tensors but a {type(top).__name__}: expected the state_dict() of a model.")
    tensors = {name: value.data if isinstance(value, Parameter) else value for name, value in top.items()}
    for name, value in tensors.items():
        sound = isinstance(value, Tensor) and isinstance(value.storage, Storage)
        if not sound or not isinstance(name, str):
            known = " or ".join(map(repr, WRAPPERS))
            raise UnusableFileError(
                f"holds {name!r}, a {type(value).__name__}: expected a state dict, whose values are tensors, "
                f"or a dict with one under {known}."
            )
    return tensors, wrappers


def _make_array(data, name, tensor, spans):
    """Make the view of the file for a tensor's record, after checking that it is inside its storage."""
    storage, offset, size, stride = tensor.storage, tensor.offset, tensor.size, tensor.stride
    paired = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride)
    if not paired or len(size) > MOST_DIMENSIONS or not all(map(_is_natural, (offset, *size, *stride))):
        raise UnusableFileError(f"is damaged: the size, strides or offset of {name!r} make no sense.")
    count = math.prod(size)
    reach = sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1 if count else 0
    if count > storage.numel or offset + reach > storage.numel or storage.key not in spans:
        raise UnusableFileError(f"is damaged: {name!r} reaches beyond its {storage.numel} stored elements.")
    width = storage.dtype.itemsize
    start = spans[storage.key][0] + (storage.first + offset) * width
    return np.ndarray(size, storage.dtype, data, start, [step * width for step in stride])


def _is_natural(number):
    return isinstance(number, int) and number >= 0
