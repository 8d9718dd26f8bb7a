"""Manipulated TFDS folders: no code of theirs is imported, no hang and no crash."""

import json
import os
import re
import shutil
import struct
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from test_tfds import LABEL, PICTURE, parts_of, prepare

from transferkit.data.sources import tfds_checks

RECORDS, FOREIGN = "*train.tfrecord*", "stranger_of_tfds.Picture"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    root = tmp_path_factory.mktemp("tfds")
    prepare(root, {"image": PICTURE, "label": LABEL, "more": tfds.features.Scalar(np.int64)}, {"train": 6})
    return root


def edited(name, change):
    def edit(folder):
        content = json.loads((folder / name).read_bytes())
        (folder / name).write_text(json.dumps(change(content) or content))

    return edit


def feature(**facts):
    """Facts of the label."""
    return edited("features.json", lambda content: content["featuresDict"]["features"]["label"].update(facts))


def split(**facts):
    return edited("dataset_info.json", lambda content: content["splits"][0].update(facts))


def replaced(pattern, make):
    def replace(folder):
        path = next(folder.glob(pattern))
        path.unlink()
        make(path)

    return replace


def sparse(path):
    with open(path, "wb") as file:
        file.truncate(10**12)


def zeros(path):
    path.symlink_to("/dev/zero")


def checksum(data: bytes) -> int:
    """CRC-32C, masked as in TFRecords."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    value ^= 0xFFFFFFFF
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def first_record(length):
    """The first record says that it has so many bytes, with the right checksum."""

    def lie(folder):
        path, head = next(folder.glob(RECORDS)), struct.pack("<Q", length)
        path.write_bytes(head + struct.pack("<I", checksum(head)) + path.read_bytes()[12:])

    return lie


CASES = {
    "the class of all": (
        edited("features.json", lambda one: one.update(pythonClassName=FOREIGN)),
        f"{FOREIGN!r}, which",
    ),
    "the class of one": (feature(pythonClassName=FOREIGN), f"names the class {FOREIGN!r}, which is not one of TFDS's"),
    "the old form": (
        edited("features.json", lambda _: {"type": FOREIGN, "content": {}}),
        f"the class {FOREIGN!r}, which",
    ),
    "a module of TFDS": (
        feature(pythonClassName="tensorflow_datasets.scripts.cli.main.X"),
        "not one of TFDS's features",
    ),
    "deep features": (
        lambda folder: (folder / "features.json").write_text("[" * 100_000),
        "its features.json is missing",
    ),
    "deep facts": (
        lambda folder: (folder / "dataset_info.json").write_text('{"a":' * 100_000),
        "its dataset_info.json",
    ),
    "sparse features": (replaced("features.json", sparse), "features.json: it has 1,000,000,000,000 bytes"),
    "facts without end": (replaced("dataset_info.json", zeros), "dataset_info.json: it is no file"),
    "names without end": (replaced("label.labels.txt", zeros), "label.labels.txt: it is no file"),
    "names in a pipe": (replaced("label.labels.txt", os.mkfifo), "label.labels.txt: it is no file"),
    "records in a pipe": (replaced(RECORDS, os.mkfifo), "tfrecord-00000-of-00001: it is no file"),
    "records without end": (replaced(RECORDS, zeros), "tfrecord-00000-of-00001: it is no file"),
    "a record of a petabyte": (first_record(10**15), "tfrecord-00000-of-00001: it is cut short or damaged"),
    "the longest record": (first_record(2**64 - 1), "it is cut short or damaged"),
    "records elsewhere": (split(filepathTemplate="../../{SPLIT}-{SHARD_X_OF_Y}"), "are in another folder"),
    "records anywhere": (split(filepathTemplate="/dev/zero"), "its records of train are in another folder"),
    "a name that is a path": (
        edited("dataset_info.json", lambda one: one.update(name="../x")),
        "are in another folder",
    ),
    "many shards": (split(shardLengths=["1"] * 20_000), "No such file or directory"),
    "many pictures": (split(shardLengths=[str(10**15)]), "its records or classes of train are missing or damaged"),
    "fewer than none": (split(shardLengths=["-5"]), "its records or classes of train are missing or damaged"),
    "words for numbers": (split(shardLengths=["six"]), "its dataset_info.json or features.json is damaged"),
    "another format": (
        edited("dataset_info.json", lambda one: one.update(fileFormat="array_record")),
        "its format is array_record, expected tfrecord",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_folder(good, tmp_path, monkeypatch, name):
    damage, said = CASES[name]
    shutil.copytree(good, tmp_path / "data")
    folder = tmp_path / "data" / "tiny_pets" / "1.0.0"
    damage(folder)
    (tmp_path / "stranger_of_tfds.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        parts_of("tfds:tiny_pets", tmp_path / "data")
    assert str(error.value).startswith(f"The TFDS data in {folder} cannot be read, ") and "\n" not in str(error.value)
    assert "stranger_of_tfds" not in sys.modules and "tensorflow_datasets.scripts.cli.main" not in sys.modules


def test_a_long_record(good, monkeypatch):
    """One that is all there, but no picture is as large."""
    path = next((good / "tiny_pets" / "1.0.0").glob(RECORDS))
    monkeypatch.setattr(tfds_checks, "MAX_BYTES", 100)
    monkeypatch.setattr(tfds_checks, "MAX_OTHER_BYTES", 100)
    assert re.fullmatch("it has a record of [0-9,]+ bytes", tfds_checks._check_lengths(path))


def test_other_features_are_not_decoded(good, tmp_path):
    """What is beside the picture and its class is damaged: it is not what is wanted."""
    shutil.copytree(good, tmp_path / "data")
    text = {"pythonClassName": "tensorflow_datasets.core.features.text_feature.Text", "text": {}}
    edited("features.json", lambda one: one["featuresDict"]["features"].update(more=text))(
        tmp_path / "data" / "tiny_pets" / "1.0.0"
    )
    assert len(parts_of("tfds:tiny_pets", tmp_path / "data")["train"]) == 6
