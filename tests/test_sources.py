"""CSV lists, groups and shards as data sources."""

import json
import ntpath
import os
import re
import shutil
from pathlib import PureWindowsPath

import numpy as np
import pytest
import tensorflow as tf
from pictures import folder

import transferkit as tk
from transferkit.data import file_ranges, grouping, pipeline
from transferkit.data.audit import problems
from transferkit.data.listing import Listing, complete_splits
from transferkit.data.sources import folder_walk, resolve, shards
from transferkit.lookup import UnknownName
from transferkit.pixels import Pixels
from transferkit.recipe import Data, Recipe

QUICK = ["--weights", "none", "--size", "32", "--epochs", "1", "--head-epochs", "1", "--batch-size", "8"]


@pytest.fixture
def lists(tmp_path, pets):
    """lists(text) writes a CSV file beside pictures/a/0.jpg ... a/9.jpg and b/0.jpg ...; returns its path."""
    for name in "ab":
        for number in range(10):
            path = tmp_path / "pictures" / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def write(text, encoding="utf-8", name="list.csv"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return str(tmp_path / name)

    return write


def rows(columns="{path},{label}", count=10):
    return [columns.format(path=f"pictures/{c}/{i}.jpg", label=c, i=i) for c in "ab" for i in range(count)]


def parts_of(path, **knobs):
    return resolve.list_given_splits(Recipe().override(data=path, **knobs).data)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_lists_of_any_delimiter_and_encoding(lists, delimiter, encoding, capfd):
    lines = [line.replace(",", delimiter).replace("b", "é") for line in ["Image Path,Class", *rows()]]
    text = "\r\n".join(lines).replace("/é/", "/b/")
    found = parts_of(lists(text, encoding))["train"]
    assert found.counts() == {"a": 10, "é": 10} and all(path.endswith(".jpg") for path in found.paths)
    said = capfd.readouterr().err
    assert "image is 'Image Path', label is 'Class'; no split" in said
    assert ("is not UTF-8 (line 12)" in said) == (encoding == "cp1252")


def test_a_list_with_splits_and_named_columns(lists):
    lines = [line + ("Train" if line.endswith("a,") or "/b/" in line else "") for line in rows("{path},{label},")]
    lines[0], lines[-1] = "pictures/a/0.jpg,a,valid", "pictures/b/9.jpg,b,TEST"
    path = lists("\n".join(["x,y,z", *lines]))
    found = parts_of(path, image_col="x", label_col="y", split_col="z")
    assert {name: len(part) for name, part in found.items()} == {"train": 18, "val": 1, "test": 1}
    assert resolve.find_labelled(Data(path, "x", "y", "z"), ("b", "a"))[0].labels == (0,)
    splits = tk.find_splits(path, image_col="x", label_col="y", split_col="z")
    assert not splits.val_from_train and splits.val.labels == (0,)
    with pytest.raises(UnknownName, match="No column of list.csv is called 'q'"):
        parts_of(path, image_col="q")


def test_unusable_rows_are_counted(lists, capfd):
    more = ["pictures/a/0.jpg,a", "pictures/gone.jpg,a", "pictures/a/1.jpg,", "pictures,b"]
    found = parts_of(lists("\n".join(["path,label", *more[1:], *rows(), more[0]])))["train"]
    assert (
        found.ignored == {"missing picture": 1, "folder": 1, "row without a label": 1, "duplicate row": 1}
        and len(found) == 20
    )
    said = capfd.readouterr().err
    assert "1 of 24 rows skipped, missing picture; the first: line 2, 'pictures/gone.jpg'" in said
    assert "duplicate row; the first: line 25, 'pictures/a/0.jpg'" in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no rows"),
        ("path,label\n", "holds no rows"),
        ("path,path\n1,2\n", "two columns called 'path'"),
        ("what,label\nx,a\n", "no column that looks like the images: give --image-col; its columns are what, label"),
        ("path,what\nx,a\n", "no column that looks like the labels: give --label-col"),
        ("path,label\nx.jpg,a\ny.jpg,b\n", "2 of 2 pictures of"),
        ('path,label\n\n"pictures/a/0.jpg,a\npictures/b/0.jpg,b\n', "line 3: a quote opens and is never closed"),
        ('path,label\n"' + "x,a\n" * 40_000, "line 2: a quote opens and is never closed"),
        ("path,label\nx,a\n" + "x" * 140_000, "line 3: field larger than field limit (131072); is it a list"),
        ("path,label\npictures/a,a\n", "the first 'pictures/a' in line 2, a folder: paths are"),
        ("path,label\npictures/a/0.jpg,\n", "the column of labels is empty"),
        ("path,label\npictures/a/0.jpg,a\npictures/a/0.jpg,b\n", "lines 2 and 3: pictures/a/0.jpg is 'a' in train"),
        ("path,label,split\npictures/a/0.jpg,a,tran\n", "line 2: the split is 'tran', expected one of train"),
        ("path,label,split\npictures/a/0.jpg,a,val\n", "holds val but no train"),
        ("path,label\npictures/a/0.jpg,a\n", "holds one class, 'a'"),
    ],
)
def test_unusable_lists_are_refused(lists, text, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        parts_of(lists(text))


def test_invalid_sources_are_refused(tmp_path, pets):
    (tmp_path / "notes.pdf").touch()
    with pytest.raises(ValueError, match="is a file, but not .csv"):
        parts_of(str(tmp_path / "notes.pdf"))
    with pytest.raises(FileNotFoundError, match="Did you mean '.*notes.pdf'"):
        parts_of(str(tmp_path / "note.pdf"))
    with pytest.raises(ValueError, match="--image-col is for a CSV file"):
        parts_of(str(pets), image_col="x")
    wanted = Data(str(pets), data_dir=str(tmp_path))
    for find in (resolve.list_given_splits, resolve.find_paths, lambda one: resolve.find_labelled(one, ("cat", "dog"))):
        with pytest.raises(ValueError, match="--data-dir is for tfds:NAME, and .*pets is not"):
            find(wanted)


def test_groups_by_column_or_pattern_stay_on_one_side(lists):
    lines = [row.format(group=f"g{i % 7}") for i, row in enumerate(rows("{path},{label},{{group}}"))]
    path = lists("\n".join(["path,label,patient", *lines]))
    for knobs in ({"group_by": "patient"}, {"group_by": r"(\d)\.jpg"}):
        for seed in range(5):
            splits = tk.find_splits(path, validation=0.3, seed=seed, **knobs)
            assert not set(splits.train.groups) & set(splits.val.groups)
            assert min(splits.val.counts().values()) >= 2 and 4 <= len(splits.val) <= 8
        assert splits == tk.find_splits(path, validation=0.3, seed=4, **knobs)
    for pattern, sentence in (
        ("patent", "not one of the columns"),
        ("(", "not a regular expression"),
        ("/a/", "10 of 20"),
    ):
        with pytest.raises(ValueError, match=sentence):
            tk.find_splits(path, group_by=pattern)
    with pytest.raises(ValueError, match="All 10 pictures of class 'a' are of one group, 'a'"):
        tk.find_splits(path, group_by="/(.)/")


def grouped(groups, labels):
    return Listing(tuple(map(str, range(len(labels)))), tuple(labels), ("a", "b", "c"), {}, tuple(groups))


def test_groups_that_cannot_be_split():
    with pytest.raises(ValueError, match="cannot be divided so that each of the 3 classes"):
        grouped("xyyzxz", [0, 0, 1, 1, 2, 2]).split(0.3)


def test_groups_are_stratified_as_far_as_they_allow():
    rng = np.random.default_rng(0)
    names, labels = rng.integers(0, 200, 3000), rng.choice(3, 3000, p=[0.7, 0.2, 0.1])
    for seed in range(3):
        train, val = grouped(map(str, names), labels.tolist()).split(0.2, seed=seed)
        shares = np.array(list(val.counts().values())) / np.bincount(labels)
        assert np.all(np.abs(shares - 0.2) < 0.04), shares
        assert len(train) + len(val) == 3000 and not set(train.groups) & set(val.groups)


def test_a_group_in_two_given_splits_is_an_error(tmp_path):
    folder(tmp_path / "d" / "train", {"a": 3, "b": 3})
    folder(tmp_path / "d" / "val", {"a": 1, "b": 1})
    with pytest.raises(ValueError, match="Group '000' is in train and in val"):
        tk.find_splits(tmp_path / "d", group_by=r"(\d+)\.jpg")


def test_a_fraction_of_the_training_pictures():
    whole = Listing(tuple(map(str, range(110))), (0,) * 100 + (1,) * 10, ("a", "b"))
    splits = complete_splits({"train": whole}, validation=0.1, seed=1)
    half, fifth = (splits.subsample(share, 0, 1) for share in (0.5, 0.2))
    assert half.train.counts() == {"a": 45, "b": 4} and half.val == splits.val
    assert set(fifth.train.paths) < set(half.train.paths)
    assert splits.subsample(1.0, 7, 1).train.counts() == {"a": 7, "b": 7}
    assert splits.subsample(0.0001, 0, 1).train.counts() == {"a": 1, "b": 1}
    assert splits.subsample(1.0, 0, 1) == splits


def pictures(listing):
    return np.concatenate(
        [np.asarray(b) for b, _ in pipeline.evaluation_dataset(listing.paths, Pixels(crop=32), batch_size=5)]
    )


def test_packed_pictures_are_the_same(pets, tmp_path):
    plain = parts_of(str(pets))["train"]
    assert shards.pack_shards({"train": plain}, tmp_path / "packed", shard_mb=0.01) == {"train": 24}
    found = parts_of(str(tmp_path / "packed"), group_by=r"(\d)\.jpg")["train"]
    assert (found.labels, found.classes) == (plain.labels, plain.classes) and set(found.groups) == set("0123456789")
    names = sorted(path.name for path in (tmp_path / "packed").glob("*.tfrecord"))
    assert len(names) > 2 and names[0] == f"train-00000-of-{len(names):05d}.tfrecord"
    for there, here in zip(found.paths, plain.paths, strict=True):
        assert (
            file_ranges.original_name(there) == "/".join(here.split("/")[-2:])
            and file_ranges.original_name(here) == here
        )
        assert file_ranges.container_file(there).endswith(".tfrecord") and file_ranges.container_file(here) == here
        assert file_ranges.read_bytes(there) == file_ranges.read_bytes(here)
    assert np.array_equal(pictures(found), pictures(plain))
    again = tmp_path / "again"
    shards.pack_shards({"train": found}, again)
    twice = parts_of(str(again))["train"].paths
    assert file_ranges.read_bytes(twice[3]) == file_ranges.read_bytes(plain.paths[3])
    assert list(map(file_ranges.original_name, twice)) == list(map(file_ranges.original_name, found.paths))
    assert problems.find_listing_folder(found) == str(tmp_path / "packed")


@pytest.mark.parametrize("name", ["a b/1.jpg", "x.tfrecord#1+2:y.png", "a\n#7+8.tfrecord", "\udcff:é/2", "0"])
def test_a_range_carries_a_name_of_any_kind(tmp_path, name):
    (tmp_path / "x.tfrecord").write_bytes(b"0123456789")
    path = file_ranges.range_path(str(tmp_path / "x.tfrecord"), 3, 4, name)
    assert (file_ranges.container_file(path), file_ranges.original_name(path)) == (str(tmp_path / "x.tfrecord"), name)
    assert file_ranges.read_bytes(path) == b"3456"
    bare = path.removesuffix(f":{name}")  # as runs wrote it before names were kept
    assert file_ranges.read_bytes(bare) == b"3456" and file_ranges.original_name(bare) == bare


def test_packed_pictures_are_checked_under_their_names(cli, pets, tmp_path):
    made = tmp_path / "odd"
    shutil.copytree(pets, made)
    first = made / "cat" / "000.jpg"
    first.rename(first.with_suffix(".png"))
    assert cli("data", "pack", "odd", "--out", "packed")[0] == 0
    found = json.loads(cli("check", "packed", "--json")[1])["problems"]
    odd = [row for row in found if row["problem"] == "wrong-extension"]
    assert [(file_ranges.original_name(row["path"]), row["detail"]) for row in odd] == [
        ("cat/000.png", ".png, but the content is JPEG")
    ]


def test_check_reports_damaged_shards(cli, pets, tmp_path):
    packed = tmp_path / "packed"
    shards.pack_shards({"train": parts_of(str(pets))["train"]}, packed)
    next(packed.glob("*.tfrecord")).unlink()
    status, _, err = cli("check", "packed")
    assert status == 1 and "is missing: copy the whole folder again" in err
    (packed / shards.INDEX).write_text("{")
    status, _, err = cli("check", "packed")
    assert status == 1 and "shards.json cannot be used" in err


def test_shards_are_records_that_tensorflow_reads(pets, tmp_path):
    plain = parts_of(str(pets))["train"]
    shards.pack_shards({"train": plain}, tmp_path / "packed", shard_mb=0.01)
    kinds = {"image/encoded": tf.string, "image/class/text": tf.string, "image/filename": tf.string}
    kinds["image/class/label"] = tf.int64
    features = {name: tf.io.FixedLenFeature((), kind) for name, kind in kinds.items()}
    found = {}
    for record in tf.data.TFRecordDataset(sorted(map(str, (tmp_path / "packed").glob("*.tfrecord")))):
        example = tf.io.parse_single_example(record, features)
        name = example["image/filename"].numpy().decode()
        found[name] = (example["image/encoded"].numpy(), int(example["image/class/label"]))
        assert example["image/class/text"].numpy().decode() == name.split("/")[0]
    labels = zip(plain.paths, plain.labels, strict=True)
    assert found == {"/".join(path.split("/")[-2:]): (file_ranges.read_bytes(path), label) for path, label in labels}


def test_unusable_shards_are_refused(pets, tmp_path):
    packed = tmp_path / "packed"
    shards.pack_shards({"train": parts_of(str(pets))["train"]}, packed)
    with pytest.raises(ValueError, match="exists and is not empty"):
        shards.pack_shards({}, packed)
    shard = next(packed.glob("*.tfrecord"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match="bytes, not"):
        parts_of(str(packed))
    shard.unlink()
    with pytest.raises(ValueError, match="is missing: copy the whole folder"):
        parts_of(str(packed))
    for text in ("{", "[]", "{}", '{"format": "other"}'):
        (packed / shards.INDEX).write_text(text)
        with pytest.raises(ValueError, match="cannot be used .*pack the pictures again"):
            parts_of(str(packed))


@pytest.mark.parametrize("source", [pytest.param("list", marks=pytest.mark.slow), "packed"])
def test_a_job_on_each_source_is_reproduced(cli, tiny, pets, tmp_path, source):
    lines = [f"{path},{path.parent.name},{path.stem}" for path in sorted(pets.rglob("*.jpg"))]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,burst", *lines]))
    data = "list.csv"
    if source == "packed":
        status, out, _ = cli("data", "pack", "list.csv", "--out", "packed", "--shard-mb", "0.01", "--json")
        data = json.loads(out)["out"]
    words = ("finetune", "--base", tiny, "--data", data, "--fraction", "0.5", "--out", "run", *QUICK)
    assert cli(*words, *(["--group-by", "burst"] if source == "list" else []))[0] == 0
    first = (tmp_path / "run" / "split.csv").read_text()
    assert cli("finetune", "--recipe", "run/recipe.toml", "--out", "again")[0] == 0
    assert (tmp_path / "again" / "split.csv").read_text() == first
    kept = tk.load_run(tmp_path / "run").splits
    assert len(kept.train) == 10 or source == "list"
    status, out, _ = cli("evaluate", "run", "--data", data, "--json")
    assert json.loads(out)["n"] == 24
    (tmp_path / "run" / "metrics.json").unlink()
    (tmp_path / "run" / "checkpoints" / "state.json").unlink()
    assert cli("finetune", "--resume", "run")[0] == 0
    assert (tmp_path / "run" / "split.csv").read_text() == first
    assert len(tk.load_run(tmp_path / "run").splits.train) == len(kept.train)


def test_files_of_any_name_are_trained_on_listed_and_packed(cli, tiny, tmp_path):
    made = folder(tmp_path / "odd", {"a 'b\" c": 6, "two": 6})
    for number, path in enumerate(sorted(made.rglob("*.jpg"))):
        path.rename(path.with_name(os.fsdecode(b"new\nline, 'q\" \xff %d.jpg" % number)))
    assert cli("finetune", "--base", tiny, "--data", "odd", "--out", "run", *QUICK)[0] == 0
    assert cli("evaluate", "run")[0] == 0
    assert cli("data", "pack", "odd", "--out", "packed")[0] == 0
    assert json.loads(cli("evaluate", "run", "--data", "packed", "--json")[1])["n"] == 12


def test_patterns_have_slashes_on_any_system(monkeypatch):
    monkeypatch.setattr(grouping, "PurePath", PureWindowsPath)
    assert grouping.groups_from_pattern(["ann\\1.jpg", "bob\\2.jpg"], "^(.+)/") == ("ann", "bob")


def test_folders_on_two_drives(monkeypatch):
    monkeypatch.setattr(os, "path", ntpath)
    there = ["C:\\pets\\cat\\1.jpg", "D:\\more\\cat\\2.jpg"]
    assert (
        folder_walk.common_folder(there) == ""
        and folder_walk.relative_path(there[1], "") == folder_walk.relative_path(there[1], "C:\\pets") == there[1]
    )
    assert (
        folder_walk.common_folder(there[:1] * 2) == there[0]
        and folder_walk.relative_path(there[0], "C:\\pets") == "cat\\1.jpg"
    )
    assert (
        shards._original_names(there) == there
        and problems.find_listing_folder(Listing(tuple(there), (0, 0), ("cat",))) == ""
    )
