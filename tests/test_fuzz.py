"""Thousands of damaged weight files of every format: read or refused, in limited time and memory."""

import io
import tracemalloc
import zipfile
from contextlib import nullcontext

import h5py
import numpy as np
import pytest
import safetensors.numpy
import torch_writer as writer
from test_weight_files import sample

from transferkit.weights import hdf5, weight_files

MANY = 10_000
MEMORY = 2**22  # bytes; records of a pickle, copies of small arrays, the pieces in which an archive is read


def arrays():
    return {name: np.ascontiguousarray(array) for name, array in sample().items() if array.dtype.kind != "V"}


def hdf5_bytes(fill) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        fill(file)
    return out.getvalue()


def keras2() -> bytes:
    def fill(file):
        file.attrs["layer_names"] = [b"conv1", b"bn", b"dense"]
        for layer, names in {"conv1": "kernel bias", "bn": "gamma beta moving_mean", "dense": "kernel"}.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in names.split()]
            for name in names.split():
                group[f"{layer}/{name}:0"] = np.arange(24, dtype="f4").reshape(2, 3, 4)

    return hdf5_bytes(fill)


def keras3() -> bytes:
    def fill(file):
        for layer, count in {"conv2d": 2, "batch_normalization": 4, "dense": 2}.items():
            group = file.create_group(f"layers/{layer}/vars")
            group.attrs["name"] = f"{layer}_one"
            for number in range(count):
                group[str(number)] = np.arange(24, dtype="f4").reshape(2, 3, 4)

    return hdf5_bytes(fill)


def archive(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("metadata.json", "{}")
        file.writestr("config.json", "{}" * 50)
        file.writestr("model.weights.h5", content)
    return out.getvalue()


def damaged(content: bytes, random) -> bytes:
    """A few bytes changed, and now and then some cut out, doubled or left off."""
    mutated = bytearray(content)
    for at in random.integers(len(mutated), size=random.integers(1, 6)):
        mutated[at] = random.integers(256)
    start, length = (int(number) for number in random.integers(len(mutated), size=2))
    match random.integers(8):
        case 0:
            del mutated[start:]
        case 1:
            del mutated[start : start + length % 16]
        case 2:
            mutated[start:start] = mutated[start : start + length % 16]
    return bytes(mutated)


def damaged_archive(content: bytes, random) -> bytes:
    """Half of them with the right checksum for what is damaged inside."""
    return archive(damaged(content, random)) if random.integers(2) else damaged(archive(content), random)


FORMATS = {
    "zip": (lambda: writer.zip_bytes(arrays()), damaged),
    "stream": (lambda: writer.stream_bytes(arrays()), damaged),
    "tar": (lambda: writer.tar_bytes(arrays()), damaged),
    "safetensors": (lambda: safetensors.numpy.save(arrays()), damaged),
    "h5": (keras2, damaged),
    "weights.h5": (keras3, damaged),
    "keras": (keras3, damaged_archive),
}


@pytest.fixture
def child(monkeypatch):
    """One process that reads HDF5 for all the files of a test, given a second for each."""
    monkeypatch.setattr(hdf5, "SECONDS", 1)
    with hdf5.hdf5_checker() as ask:
        monkeypatch.setattr(hdf5, "hdf5_checker", lambda: nullcontext(ask))
        yield


@pytest.mark.parametrize("count", [60, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_files(tmp_path, child, kind, count):
    content, damage = FORMATS[kind][0](), FORMATS[kind][1]
    path, random, refused, lost = tmp_path / "weights", np.random.default_rng(count), 0, 0
    path.write_bytes(archive(content) if kind == "keras" else content)
    assert len(weight_files.read_weights(path).tensors) > 4
    tracemalloc.start()
    for _ in range(count):
        path.write_bytes(damage(content, random))
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            for array in weight_files.read_weights(path).tensors.values():
                array.tobytes()
        except ValueError as error:
            refused += 1
            message = str(error)
            lost += "comes to no end" in message
            assert type(error) is ValueError
            assert message.startswith(f"{path} ") and message.endswith(".") and "\n" not in message
        assert tracemalloc.get_traced_memory()[1] - before < MEMORY
    tracemalloc.stop()
    print(f"{kind}: {refused} of {count} refused, {lost} by the end of the process that reads HDF5")
    assert 0 < refused <= count
