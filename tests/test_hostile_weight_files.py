"""Damaged and hostile weight files are refused; no code runs, and memory is limited."""

import io
import struct
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest
import torch_writer as writer
from test_weight_files import WRITERS, read_bytes, refused, sample
from torch_writer import Built, Call, Global, Reference

from transferkit.weights import hdf5 as guard
from transferkit.weights import weight_files
from transferkit.weights.weight_files import read_weights

TENSOR = np.arange(6, dtype="f4").reshape(2, 3).copy()
BAD_TENSORS = {
    "offset": (-1, (2, 3), (3, 1)),
    "beyond": (1, (2, 3), (3, 1)),
    "far": (2**70, (1,), (1,)),
    "negative stride": (5, (2, 3), (-3, 1)),
    "expanded": (0, (2**40, 6), (0, 1)),
    "empty but vast": (0, (0, 2**62, 2**62), (1, 1, 1)),
    "lengths": (0, (2, 3), (3,)),
    "dimensions": (0, (1,) * 100, (1,) * 100),
    "types": (0, ("2", 3), (3, 1)),
    "no tuple": (0, None, None),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_tensors_stay_in_their_storage(tmp_path, case):
    good = writer.tensor(TENSOR)
    bad = Call(good.function, (good.arguments[0], *BAD_TENSORS[case]))
    refused(tmp_path, writer.zip_bytes({"a": TENSOR}, {"a": bad}), "damaged")


HOSTILE = {
    "system": (Call(Global("os", "system"), ("touch ran",)), "'os.system'"),
    "posix": (Call(Global("posix", "system"), ("touch ran",)), "'posix.system'"),
    "eval": (Call(Global("builtins", "eval"), ("open('ran', 'w')",)), "'builtins.eval'"),
    "getattr": (Call(Global("builtins", "getattr"), (Global("torch", "Size"), "mro")), "'builtins.getattr'"),
    "dotted name": (Global("torch", "Size.__class__"), "'torch.Size.__class__'"),
    "dotted module": (Global("torch._utils _rebuild_tensor", "__globals__"), "__globals__"),
    "function's state": (Built(Global("torch", "Size"), {"__defaults__": (1,)}), "state of a function"),
    "slots": (Built(Global("torch", "Size"), (None, {"__code__": 1})), "state of a function"),
    "tensor's state": (Built(writer.tensor(TENSOR), {"storage": 1}), "state of a Tensor"),
    "dtype called": (Call(Global("torch", "FloatStorage"), ()), "calls a Float32DType"),
    "tuple called": (Call((1,), (1,)), "calls a tuple"),
    "INST": (b"(X\x01\x00\x00\x00aios\nsystem\n", "INST"),
    "STACK_GLOBAL": (b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93", "STACK_GLOBAL"),
    "EXT1": (b"\x82\x01", "EXT1"),
    "BYTEARRAY8": (b"\x96" + struct.pack("<Q", 2**62), "bytearray"),
    "BINUNICODE": (b"X\xff\xff\xff\xff", "damaged or truncated"),
    "LONG4": (b"\x8b\x04\x00\x00\x00\xff\xff\xff\x7f", "LONG4"),
    "huge memo, never set": (b"j\xff\xff\xff\xff", "KeyError"),
    "empty stack": (b"R", "IndexError"),
    "deep": (b"(" * 20_000 + b"t" * 20_000, "holds 'a', a tuple"),
    "long": (b"N0" * 600_000, "POP"),
    "slow key": (b"N" + b"q\x00h\x00\x86" * 64 + b"\x85}h\x00Ns", "tuple as key"),
    "unhashable key": ([{}, b"}]Ns"], "list as key"),
    "double key": (b"}(X\x01\x00\x00\x00bNX\x01\x00\x00\x00bNu", "twice"),
    "whole module": (Call(Global("torch.nn.modules.linear", "Linear"), ()), "whole module: save its state_dict"),
    "whole module of old": (Reference(("module", Global("torch", "Size"), "x.py", "code")), "whole module"),
    "other reference": (Reference("storage"), "refers to data"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickles_run_nothing(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    value, sentence = HOSTILE[case]
    for write in (writer.zip_bytes, writer.stream_bytes):
        refused(tmp_path, write({}, {"a": value}), sentence)
    assert not (tmp_path / "ran").exists()


def test_number_of_opcodes_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr("transferkit.weights.safe_pickle.MOST_OPCODES", 1000)
    refused(tmp_path, writer.zip_bytes({}, b"N" * 1001), "more than 1,000 opcodes")


def test_memo_index_costs_nothing(tmp_path):
    put = writer.encode("x") + b"r\xff\xff\xff\xff"
    arrays = {"a": TENSOR}
    content = writer.zip_bytes(arrays, {"epoch": put, "model": writer.state_dict(arrays)})
    assert peak(tmp_path, content, 2**20) < 2**20


def test_table_that_holds_itself(tmp_path):
    refused(tmp_path, writer.zip_bytes({}, b"}q\x00X\x05\x00\x00\x00modelh\x00s"), "holds 'model', a dict")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_weights(tmp_path / "absent.pth")
    arrays = {"a": TENSOR}
    big = writer.SYSTEM | {"little_endian": False}
    refused(tmp_path, b"", "empty")
    refused(tmp_path, b"<html>404</html>", "not a weight file")
    refused(tmp_path, writer.zip_bytes(arrays, [1, 2]), "a list: expected the state_dict")
    refused(tmp_path, writer.zip_bytes(arrays, {"net": {"a": writer.tensor(TENSOR)}}), "'net', a dict")
    refused(tmp_path, writer.zip_bytes(arrays, {"a": writer.tensor(TENSOR), "epoch": 3}), "'epoch', a int")
    refused(tmp_path, writer.zip_bytes(arrays, members={"constants.pkl": b""}), "TorchScript")
    refused(tmp_path, writer.zip_bytes(arrays, members={"byteorder": b"big"}), "big-endian")
    refused(tmp_path, writer.stream_bytes(arrays, system=big), "big-endian")
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"text")
    refused(tmp_path, other.getvalue(), "not of torch.save")
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}." * 100)
    refused(tmp_path, other.getvalue(), "compressed")


def test_storage_of_the_wrong_length(tmp_path):
    key = writer.storage_key(TENSOR)
    refused(tmp_path, writer.zip_bytes({"a": TENSOR}, members={f"data/{key}": b"123"}), "has 3 bytes")


def test_truncated_stream_names_the_tensor(tmp_path):
    content = writer.stream_bytes({"layer1.0.conv1.weight": TENSOR})
    size = len(content)
    sentence = f"truncated: the data of 'layer1.0.conv1.weight' ends at byte {size}, the file at {size - 5}"
    refused(tmp_path, content[:-5], sentence)


# also the messages for a tar file that ends before a member or in its first header
TRUNCATED = " is damaged or truncated: | is truncated: | it has no member | is not a weight file: "


@pytest.mark.parametrize("kind", WRITERS)
def test_truncations(tmp_path, kind):
    content = WRITERS[kind](sample())
    end = len(content.rstrip(b"\0")) if kind == "tar" else len(content)  # a tar ends in padding
    refused(tmp_path, b"", " is empty")
    for size in range(97, end, 97):
        refused(tmp_path, content[:size], TRUNCATED)


def traced_peak(folder, content):
    tracemalloc.start()
    try:
        read_bytes(folder, content)
    except ValueError as error:
        assert type(error) is ValueError
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most


def peak(folder, content, limit):
    """The most memory that reading takes, whether the file is read or refused.

    A second reading decides about a peak above the limit: the first one may import a module, and other threads
    (pytest-xdist's) are traced too.
    """
    most = traced_peak(folder, content)
    return most if most < limit else min(most, traced_peak(folder, content))


@pytest.mark.parametrize("kind", WRITERS)
def test_mutations(tmp_path, kind):
    content = WRITERS[kind](sample())
    random = np.random.default_rng(1)
    for _ in range(300):
        mutated = bytearray(content)
        for at in random.integers(len(mutated), size=random.integers(1, 6)):
            mutated[at] = random.integers(256)
        assert peak(tmp_path, bytes(mutated), 2**18) < 2**18  # records of the pickle; the data are not copied


def hdf5(fill) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        fill(file)
    return out.getvalue()


def test_hostile_hdf5(tmp_path):
    secret = tmp_path / "secret.h5"
    secret.write_bytes(hdf5(lambda file: file.create_dataset("0", data=TENSOR)))

    def vast(file):
        file.create_dataset("layers/dense/vars/0", (2**20, 2**20), "f4", chunks=(1024, 1024))

    def packed(file):
        file.create_dataset("layers/dense/vars/0", data=np.zeros((999, 999)), compression="gzip")

    def linked(file):
        file.create_group("layers/dense/vars")["0"] = h5py.ExternalLink(str(secret), "0")

    def soft(file):
        file.create_group("layers/dense/vars")["0"] = h5py.SoftLink("/layers")

    def outside(file):
        group = file.create_group("layers/dense/vars")
        group.create_dataset("0", (2, 3), "f4", external=[(str(secret), 0, 24)])

    def virtual(file):
        layout = h5py.VirtualLayout((2, 3), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "0", (2, 3))
        file.create_group("layers/dense/vars").create_virtual_dataset("0", layout)

    def looped(file):
        group = file.create_group("layers")
        group.create_group("dense")["again"] = group

    def texts(file):
        file.create_dataset("layers/dense/vars/0", data=["a", "b"])

    def keras_2(file):
        file.attrs["layer_names"] = [b"conv1"]

    cases = {vast: "more data", packed: "compressed", linked: "of its own", soft: "of its own"}
    cases |= {outside: "of its own", virtual: "of its own", looped: "twice", texts: "numbers"}
    cases |= {keras_2: "does not hold", lambda file: file.create_group("a"): "expected an HDF5 group 'layers'"}
    cases |= {lambda file: file.create_group("layers"): "no variables"}
    for fill, sentence in cases.items():
        refused(tmp_path, hdf5(fill), sentence)


def numbers(file):
    file["layers/dense/vars/0"] = TENSOR


@pytest.mark.parametrize("script", ["while True: pass", "import os; os.abort()", "import sys; sys.exit()"])
def test_a_child_process_that_hangs_or_crashes(tmp_path, monkeypatch, script):
    process = tmp_path / "process.py"
    process.write_text(f"print('\"ready\"', flush=True)\ninput()\n{script}")
    monkeypatch.setattr(guard, "PROCESS", process)
    monkeypatch.setattr(guard, "SECONDS", 0.5)
    refused(tmp_path, hdf5(numbers), "damaged: the HDF5 library crashes on it or comes to no end.")


def test_a_child_process_that_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "PROCESS", tmp_path / "absent.py")
    with pytest.raises(OSError, match="could not be started"):
        read_bytes(tmp_path, hdf5(numbers))


def test_one_child_process_for_many_files(tmp_path, monkeypatch):
    """It is started again after a file that it did not survive."""
    source = guard.PROCESS.read_text("utf-8").replace(
        "path, member = json", "'loop' in line and os.abort(); path, member = json"
    )
    process = tmp_path / "process.py"
    process.write_text(source)
    monkeypatch.setattr(guard, "PROCESS", process)
    for name in ("good.h5", "loop.h5"):
        (tmp_path / name).write_bytes(hdf5(numbers))
    (tmp_path / "bad.h5").write_bytes(b"no HDF5")
    with guard.hdf5_checker() as ask:
        for name in ("good.h5", "loop.h5", "bad.h5", "good.h5", "loop.h5", "good.h5"):
            if name == "good.h5":
                ask(tmp_path / name)
            else:
                with pytest.raises(ValueError, match="crashes" if name == "loop.h5" else "file signature not found"):
                    ask(tmp_path / name)


@pytest.mark.slow
def test_more_groups_than_a_model_has(tmp_path):
    for name, form in {"flat": "{0}", "nested": "{1}/{0}"}.items():
        with h5py.File(tmp_path / f"{name}.h5", "w", libver="latest") as file:
            for number in range(20_001):
                file.create_group(form.format(number, number % 150))
        with pytest.raises(ValueError, match="has more than 20,000 groups and arrays, which no model of Keras has"):
            read_weights(tmp_path / f"{name}.h5")


def test_attributes_are_limited_too(tmp_path):
    def links(file):
        numbers(file)
        file.create_group("optimizer_weights")["other"] = h5py.SoftLink("/layers")

    def many(file):
        numbers(file)
        for number in range(3):
            file.attrs.create(f"text{number}", "x", dtype=h5py.string_dtype())

    path = tmp_path / "file.h5"
    path.write_bytes(hdf5(many))
    guard.check_hdf5(path)
    path.write_bytes(hdf5(links))
    with pytest.raises(ValueError, match=f"^{path} has no group or array 'other' of its own in '/optimizer_weights'.$"):
        guard.check_hdf5(path)


def test_hostile_keras_archives(tmp_path):
    path = tmp_path / "model.keras"

    def archive(*members, compression=zipfile.ZIP_STORED):
        with zipfile.ZipFile(path, "w", compression) as file:
            for name, content in members:
                file.writestr(name, content)

    good = hdf5(numbers)
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        archive(("config.json", "{}" * 9999), (weight_files.KERAS_MEMBER, good), compression=compression)
        guard.check_keras_archive(path)
        np.testing.assert_array_equal(read_weights(path).tensors["dense.weight"], TENSOR)
    archive(("config.json", bytes(2**27)), (weight_files.KERAS_MEMBER, good), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="declares 134,.* bytes, out of proportion to its length"):
        read_weights(path)
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive((weight_files.KERAS_MEMBER, good), (weight_files.KERAS_MEMBER, good))
    with pytest.raises(ValueError, match="have the same name"):
        read_weights(path)
    archive((weight_files.KERAS_MEMBER, good[:-8]))
    with pytest.raises(ValueError, match="truncated"):
        read_weights(path)
    archive(("config.json", "{}"), (weight_files.KERAS_MEMBER, good))
    path.write_bytes(path.read_bytes().replace(b"{}", b"[]"))
    with pytest.raises(ValueError, match="the checksum of 'config.json' is not that of its content.$"):
        guard.check_keras_archive(path)
