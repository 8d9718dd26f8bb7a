"""TensorFlow Datasets that are prepared on this machine."""

import io
import json
import re
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import tensorflow_datasets as tfds
from pictures import encoded, photo

import transferkit as tk
from transferkit.data.file_ranges import read_bytes
from transferkit.data.sources import resolve
from transferkit.data.sources import tfds as list_tfds
from transferkit.lookup import UnknownName
from transferkit.recipe import Recipe

CLASSES = ["cat", "dog/wolf", "cow"]
SIZES = {"train": 12, "validation": 6, "test": 3, "extra": 6}
PICTURE = tfds.features.Image(encoding_format="jpeg")
LABEL = tfds.features.ClassLabel(names=CLASSES)


def jpeg(split, i):
    return encoded(photo(20, 16, seed=100 * len(split) + i))


def prepare(root, features, sizes, name="tiny_pets", config=None):
    """Write a small data set as TFDS lays them out: picture `i` of a split is of class i % 3."""
    rows = {
        split: [(i, {key: io.BytesIO(jpeg(split, i)) if features[key] is PICTURE else i % 3 for key in features})
                for i in range(size)]
        for split, size in sizes.items()
    }  # fmt: skip
    tfds.dataset_builders.store_as_tfds_dataset(
        name,
        "1.0.0",
        tfds.features.FeaturesDict(features),
        rows,
        config=config,
        data_dir=root,
        disable_shuffling=True,
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("tfds")
    prepare(root, {"image": PICTURE, "label": LABEL}, SIZES)
    prepare(root, {"number": tfds.features.Scalar(np.int64), "label": LABEL}, {"train": 3}, name="numbers")
    return root


def parts_of(data, root):
    return resolve.list_given_splits(Recipe().override(data=data, data_dir=str(root)).data)


@pytest.mark.parametrize("missing", list_tfds.PACKAGES)
def test_without_tensorflow_datasets(missing, monkeypatch, cli, tiny):
    monkeypatch.setattr(list_tfds, "find_spec", lambda name: None if name == missing else find_spec(name))
    for words in (("finetune", "--base", tiny, "--weights", "none", "--data", "tfds:mnist"), ("check", "tfds:mnist")):
        status, _, error = cli(*words)
        text = "tfds:mnist needs TensorFlow Datasets, an extra: pip install 'transferkit[tfds]'."
        assert status == 2 and " ".join(error.split()).endswith(f"Error: {text}"), error


def test_splits_and_bytes_are_those_of_the_data_set(root, tmp_path, capfd):
    parts = parts_of("tfds:tiny_pets", root)
    assert {name: len(part) for name, part in parts.items()} == {"train": 12, "val": 6, "test": 3}
    assert "its splits extra are skipped; tfds:tiny_pets:extra takes one" in capfd.readouterr().err
    for name, split in (("train", "train"), ("val", "validation"), ("test", "test")):
        part = parts[name]
        for row, path in enumerate(part.paths):
            assert str(tmp_path / "home") in path and path.endswith(".jpg")
            assert read_bytes(path) == jpeg(split, row)
            assert part.classes[part.labels[row]] == CLASSES[row % 3]
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "home").rglob("*.jpg")}
    assert parts_of("tfds:tiny_pets", root) == parts
    assert {path: path.stat().st_mtime_ns for path in again} == again


def test_one_split_is_all_for_training(root):
    assert len(parts_of("tfds:tiny_pets:extra", root)["train"]) == 6
    assert len(parts_of("tfds:tiny_pets:1.0.0:train[:50%]", root)["train"]) == 6
    splits = tk.find_splits("tfds:tiny_pets:train+extra", data_dir=str(root), validation=0.5)
    assert splits.val_from_train and len(splits.val) == 9


def test_slices_whose_names_read_alike_are_kept_apart(root):
    sizes = {"train[:50%]": 6, "train[50%:]": 6, "train[:5]": 5, "train[-5:]": 5, "train[50%:]+extra": 12}
    found = {split: parts_of(f"tfds:tiny_pets:{split}", root)["train"] for split in sizes}
    assert {split: len(part) for split, part in found.items()} == sizes
    for split, first in (("train[:50%]", 0), ("train[50%:]", 6), ("train[-5:]", 7)):
        assert read_bytes(found[split].paths[0]) == jpeg("train", first)


def test_builders_in_python_are_sources(root, pets, tmp_path):
    named = tk.find_splits("tfds:tiny_pets", data_dir=str(root))
    assert tk.find_splits(tfds.builder("tiny_pets", data_dir=root)) == named
    assert tk.find_splits(tfds.builder_from_directory(str(root / "tiny_pets" / "1.0.0"))) == named
    prepare(tmp_path, {"image": PICTURE, "label": LABEL}, {"train": 6}, config="small")
    splits = tk.find_splits(tfds.builder("tiny_pets/small", data_dir=tmp_path), validation=0.5)
    assert (len(splits.train), len(splits.val)) == (3, 3)
    shutil.copytree(pets, tmp_path / "tree" / "train")
    tree = tfds.folder_dataset.ImageFolder(str(tmp_path / "tree"))
    assert tk.find_splits(tree) == tk.find_splits(tmp_path / "tree")
    with pytest.raises(FileNotFoundError, match="tfds:mnist is not prepared on this machine"):
        tk.find_splits(tfds.builder("mnist", data_dir=tmp_path))


@pytest.mark.parametrize(
    ("pattern", "damage", "said"),
    [
        ("*train.tfrecord*", lambda path: path.write_bytes(path.read_bytes()[:-9]), "it is cut short or damaged"),
        (
            "*train.tfrecord*",
            lambda path: path.write_bytes(path.read_bytes()[:-9] + bytes(9)),
            "its records or classes",
        ),
        ("*train.tfrecord*", lambda path: path.unlink(), "No such file or directory"),
        ("label.labels.txt", lambda path: path.write_text("cat"), "its records or classes of train"),
        ("features.json", lambda path: path.write_text(""), "its features.json is missing or damaged"),
        ("features.json", lambda path: path.unlink(), "its features.json is missing or damaged"),
        ("dataset_info.json", lambda path: path.write_text("<html>"), "its dataset_info.json is missing or damaged"),
        ("dataset_info.json", lambda path: path.write_text("[]"), "its dataset_info.json or features.json is"),
    ],
)
def test_damaged_data_is_reported_and_leaves_no_files(tmp_path, pattern, damage, said):
    prepare(tmp_path, {"image": PICTURE, "label": LABEL}, {"train": 6})
    folder = tmp_path / "tiny_pets" / "1.0.0"
    damage(next(folder.glob(pattern)))
    with pytest.raises(ValueError, match=re.escape(f"The TFDS data in {folder} cannot be read, ")) as told:
        parts_of("tfds:tiny_pets", tmp_path)
    assert said in str(told.value) and str(told.value).endswith("prepare it again, or copy it again.")
    assert "{" not in str(told.value)
    assert not list((tmp_path / "home").rglob("*train*"))


@pytest.mark.parametrize(
    ("data", "kind", "sentence"),
    [
        ("tfds:", ValueError, "'tfds:' is not a TFDS name: expected tfds:NAME"),
        ("tfds:tiny_pest", UnknownName, "no data set called 'tiny_pest'. Did you mean 'tiny_pets'?"),
        ("tfds:minst", UnknownName, "Did you mean 'mnist'?"),
        (
            "tfds:mnist",
            FileNotFoundError,
            "mnist/VERSION/dataset_info.json; where there is a network, `tfds build",
        ),
        ("tfds:tiny_pets:2.0.0", FileNotFoundError, "tiny_pets/2.0.0/dataset_info.json"),
        (
            "tfds:tiny_pets:trian",
            UnknownName,
            "no split 'trian'; it has train, validation, test, extra. Did",
        ),
        (
            "tfds:tiny_pets:train[50%",
            ValueError,
            "'train[50%' of tfds:tiny_pets cannot be read: expected one of train (1",
        ),
        ("tfds:tiny_pets:train[5:3]", ValueError, "cannot be read"),
        ("tfds:tiny_pets:train[:99]", ValueError, "cannot be read"),
        ("tfds:numbers", ValueError, "has 0 features that are a picture, expected one; it has"),
    ],
)
def test_unavailable_data_sets_are_refused_at_once(root, data, kind, sentence):
    with pytest.raises(kind, match=re.escape(sentence)):
        parts_of(data, root)


def test_of_several_configurations_one_must_be_named(tmp_path):
    prepare(tmp_path, {"image": PICTURE, "label": LABEL}, {"train": 6}, config="small")
    assert len(parts_of("tfds:tiny_pets", tmp_path)["train"]) == 6
    prepare(tmp_path, {"image": PICTURE, "label": LABEL}, {"train": 3}, config="large")
    assert len(parts_of("tfds:tiny_pets/large", tmp_path)["train"]) == 3
    with pytest.raises(UnknownName, match="in 2 forms: say tfds:tiny_pets/large or tfds:tiny_pets/small"):
        parts_of("tfds:tiny_pets", tmp_path)


def test_a_job_on_a_data_set(cli, tiny, root):
    words = ("--base", tiny, "--data", "tfds:tiny_pets", "--data-dir", root, "--weights", "none", "--size", "32")
    status, out, err = cli("finetune", *words, "--epochs", "1", "--head-epochs", "1", "--out", "run")
    assert status == 0, err
    assert "on 3 test pictures" in out
    assert cli("evaluate", "run", "--data", "tfds:tiny_pets", "--data-dir", root, "--json")[0] == 0
    answers = json.loads(cli("predict", "run", "tfds:tiny_pets:extra", "--data-dir", root, "--json")[1])
    assert [read_bytes(row["path"]) for row in answers] == [jpeg("extra", i) for i in range(6)]
    assert len(json.loads(cli("predict", "run", "tfds:tiny_pets", "--data-dir", root, "--json")[1])) == 21
    status, _, err = cli("finetune", "--data", "tfds:minst")
    assert status == 2 and err.strip().endswith("Did you mean 'mnist'?")
