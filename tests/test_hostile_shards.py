"""Manipulated indices of packed shards: every picture is in a shard of the folder, or the index is refused."""

import json

import pytest

from transferkit.data.file_ranges import read_bytes
from transferkit.data.sources import shards
from transferkit.data.sources.resolve import list_given_splits
from transferkit.recipe import Data

NAME = "train-00000-of-00001.tfrecord"
HUGE = 10**30


@pytest.fixture
def packed(data, tmp_path):
    shards.pack_shards(list_given_splits(Data(str(data({})))), tmp_path / "packed")
    (tmp_path / "secret.tfrecord").write_bytes(b"something else")
    return tmp_path / "packed"


def changed(packed, change):
    index = json.loads((packed / shards.INDEX).read_bytes())
    change(index, index["parts"]["train"])
    (packed / shards.INDEX).write_text(json.dumps(index))


def cell(column, value):
    """A change of a picture's cell."""
    return lambda _, rows: rows[column].__setitem__(2, value)


def shard(name, size=14):
    """A shard more, and a picture that is said to lie in it."""

    def change(index, rows):
        index["sizes"][name] = size
        rows["shard"][2], rows["offset"][2], rows["length"][2] = name, 0, 9

    return change


CHANGES = {
    **{f"offset {value}": cell("offset", value) for value in (-1, HUGE, 10_000, True, "5", 1.0, float("nan"), None)},
    **{f"length {value}": cell("length", value) for value in (-1, HUGE, 10_000, True, "5", 1.0, float("inf"), [1])},
    **{f"{name} {value}": cell(name, value) for name in ("class", "name", "shard") for value in (None, 3, ["a"], {})},
    **{
        f"elsewhere {name!r}": cell("shard", name) for name in ("../secret.tfrecord", "no.tfrecord", "", "\0", NAME[:9])
    },
    "a folder above": shard("../secret.tfrecord"),
    "an absolute path": shard("/dev/zero.tfrecord"),
    "no shard": shard("shards.json", 14),
    "a range in a name": shard("a.tfrecord#0+9:b.tfrecord"),
    "a size that is true": shard("a.tfrecord", True),
    "a size that is none": shard("a.tfrecord", None),
    "a column less": lambda _, rows: rows.pop("name"),
    "a cell less": lambda _, rows: rows["length"].pop(),
    "a column that is text": lambda _, rows: rows.update(offset="0" * 6),
    "sizes in a list": lambda index, _: index.update(sizes=[NAME]),
    "a list for a part": lambda index, _: index["parts"].update(train=[1]),
    "a list of parts": lambda index, _: index.update(parts=["train"]),
    "another format": lambda index, _: index.update(format=["a"]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_index(packed, name):
    changed(packed, CHANGES[name])
    with pytest.raises(ValueError, match=r"shards.json cannot be used \(.*\): pack the pictures again.$") as error:
        shards.list_shard_splits(packed)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize("content", ["", "[]", "3", "null", '"a"', "[" * 100_000, '{"a":' * 100_000, "a,b\n1,2\n"])
def test_files_that_are_not_an_index(packed, content):
    (packed / shards.INDEX).write_text(content)
    with pytest.raises(ValueError, match=r"shards.json cannot be used \(.*\): pack the pictures again.$"):
        shards.list_shard_splits(packed)


def test_shards_that_are_not_files(packed, tmp_path):
    for name in ("pipe.tfrecord", "device.tfrecord"):
        changed(packed, shard(name))
    (packed / "device.tfrecord").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="pipe.tfrecord is missing"):
        shards.list_shard_splits(packed)


def test_names_are_only_names(packed, cli):
    """Of pictures and classes, of any kind: they are shown, and nothing else."""
    evil = ["../../../etc/passwd", "/etc/passwd", "a\0b", "\x1b]0;owned\x07", ".tfrecord#1+2:c", "~"]

    def change(_, rows):
        rows["name"][:] = evil
        rows["class"][:3] = ["../up\x1b[31m"] * 3

    before = [read_bytes(path) for path in shards.list_shard_splits(packed)["train"].paths]
    changed(packed, change)
    assert [read_bytes(path) for path in shards.list_shard_splits(packed)["train"].paths] == before
    status, out, error = cli("check", packed)
    assert status == 0 and "all can be read" in out and "\x1b" not in out + error, error
    status, out, error = cli("data", "pack", packed, "--out", "again")
    assert status == 0, error
    assert [read_bytes(path) for path in shards.list_shard_splits("again")["train"].paths] == before


def test_damaged_records_are_unreadable_pictures(packed, cli):
    """Lengths and checksums around a record are not used; of a picture whose bytes are others, it is said."""
    index = json.loads((packed / shards.INDEX).read_bytes())["parts"]["train"]
    content = bytearray((packed / NAME).read_bytes())
    content[:12] = b"\xff" * 12
    content[index["offset"][1] : index["offset"][1] + 20] = bytes(20)
    (packed / NAME).write_bytes(content)
    status, out, _ = cli("check", packed, "--json")
    (problem,) = [one for one in json.loads(out)["problems"] if one["problem"] == "unreadable"]
    assert status == 0 and problem["detail"].startswith("not a known picture format")
