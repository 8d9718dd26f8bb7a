"""`transferkit extract`: files and printed output."""

import csv
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from pictures import folder

import transferkit as tk
from transferkit.data import resizing
from transferkit.features.feature_files import load_features
from transferkit.features.feature_spec import FeatureSpec

SPEC = FeatureSpec("tiny", "none")
WORDS = ("extract", "--base", "tiny", "--weights", "none")


@pytest.mark.parametrize("name", ["f.npz", "f.parquet", "f"])
def test_every_file_format_has_the_rows_of_the_listing(name, listing, expected, tmp_path):
    told = tk.extract_to(tmp_path / name, SPEC, listing)
    assert (told["pictures"], told["computed"], told["reused"], told["parts"]) == (24, 24, 0, 0)
    found = load_features(tmp_path / name)
    np.testing.assert_allclose(found.features, expected, rtol=1e-4, atol=1e-5)
    assert found.paths.tolist() == list(listing.paths) and found.labels.tolist() == list(listing.labels)
    assert found.classes == ("cat", "dog") and set(found.splits) == {"train"} and found.spec == SPEC
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == [name], "nothing else is left"


def test_the_files_open_without_transferkit(listing, expected, tmp_path):
    for name in ("f.npz", "f.parquet", "f"):
        tk.extract_to(tmp_path / name, SPEC, listing)
    with np.load(tmp_path / "f.npz") as file:
        assert file["features"].dtype == np.float32 and file["features"].shape == (24, 16)
        assert file["labels"].tolist() == list(listing.labels) and file["classes"].tolist() == ["cat", "dog"]
        assert file["paths"].tolist() == list(listing.paths)
    for frame in (pd.read_parquet(tmp_path / "f.parquet"), pd.read_parquet(tmp_path / "f" / "parts")):
        assert frame["path"].tolist() == list(listing.paths) and frame["label"].tolist() == ["cat"] * 12 + ["dog"] * 12
        np.testing.assert_allclose(np.stack(frame["features"]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["f.npz", "f.parquet", "f"])
def test_maps_keep_their_shape(name, listing, tmp_path):
    spec = FeatureSpec("tiny", "none", layer=("stage1",), pool="none")
    tk.extract_to(tmp_path / name, spec, listing)
    found = load_features(tmp_path / name).features
    assert found.shape == (24, 16, 16, 8)
    flat = tk.FeatureExtractor("tiny", weights="none", layer="stage1", pool="flatten").transform(listing)
    assert np.array_equal(found.reshape(24, -1), flat)


def test_the_command_prints_how_much_was_reused(cli, pets, tmp_path):
    status, out, _ = cli(*WORDS, "--data", pets, "--out", "a.npz")
    assert status == 0 and "a.npz: 24 pictures, 16 features of tiny pooled" in out
    assert "0 reused from the cache, 24 computed" in out
    status, out, _ = cli(*WORDS, "--data", pets, "--out", "b.parquet", "--l2", "--json")
    assert status == 0
    told = json.loads(out)
    assert (told["reused"], told["computed"], told["shape"], told["unreadable"]) == (24, 0, [16], 0)
    status, out, err = cli(*WORDS, "--data", pets, "--out", "a.npz")
    assert status == 1 and "a.npz exists: give another --out, or --overwrite to replace it." in err
    assert cli(*WORDS, "--data", pets, "--out", "a.npz", "--overwrite", "--layer", "stage1")[0] == 0
    assert load_features(tmp_path / "a.npz").features.shape == (24, 8)


def test_splits_and_unlabelled_pictures(cli, pets, tmp_path):
    folder(tmp_path / "split" / "train", {"b": 2, "a": 1})
    folder(tmp_path / "split" / "test", {"a": 2})
    assert cli(*WORDS, "--data", tmp_path / "split", "--out", "s.npz")[0] == 0
    found = load_features(tmp_path / "s.npz")
    assert found.splits.tolist() == ["train"] * 3 + ["test"] * 2
    assert [found.classes[label] for label in found.labels] == ["a", "b", "b", "a", "a"]
    for source in (pets / "cat", pets / "cat" / "000.jpg"):
        assert cli(*WORDS, "--data", source, "--out", "u.parquet", "--overwrite")[0] == 0
        found = load_features(tmp_path / "u.parquet")
        assert set(found.labels) == {-1} and found.classes == () and found.paths[0].endswith("000.jpg")
    (tmp_path / "list.csv").write_text("picture\n" + "\n".join(map(str, sorted((pets / "dog").iterdir())[:3])))
    assert cli(*WORDS, "--data", "list.csv", "--out", "c.npz")[0] == 0
    assert len(load_features(tmp_path / "c.npz")) == 3


def test_nothing_is_cached_without_a_cache(cli, pets, tmp_path):
    assert cli(*WORDS, "--data", pets, "--out", "f.npz", "--no-cache")[0] == 0
    assert not (tmp_path / "home" / "features").exists()


def test_unreadable_pictures_go_into_a_file_of_errors(cli, data, small_parts, tmp_path):
    root = data({"cat/000b.jpg": b"no picture", "dog/zz.png": b""})
    for out, errors in (("f.npz", "f.npz.errors.csv"), ("f", "f/errors.csv")):
        status, said, _ = cli(*WORDS, "--data", root, "--out", out)
        assert status == 0 and f"2 cannot be read: {errors} names them" in said
        with open(tmp_path / errors, newline="") as file:
            rows = {os.path.basename(row["path"]): row["reason"] for row in csv.DictReader(file)}
        assert rows == {"000b.jpg": "not a known picture format", "zz.png": "the file is empty"}
        found = load_features(tmp_path / out)
        names = ["000.jpg", "001.jpg", "002.jpg"] * 2
        assert [os.path.basename(path) for path in found.paths] == names and list(found.labels) == [0] * 3 + [1] * 3
    again = tk.FeatureExtractor("tiny", weights="none", cache=False).transform(found.paths)
    np.testing.assert_allclose(found.features, again, rtol=1e-4, atol=1e-5)


def test_a_folder_of_another_resizer_is_not_continued(cli, pets, listing, tmp_path, monkeypatch):
    monkeypatch.setattr(resizing, "NAME", "another")
    tk.extract_to(tmp_path / "f", SPEC, listing)
    assert load_features(tmp_path / "f").note["resizer"] == "another"
    monkeypatch.undo()
    status, _, err = cli(*WORDS, "--data", pets, "--out", tmp_path / "f")
    assert status == 1 and f"differ in resizer (another in place of {resizing.NAME})" in " ".join(err.split())


def test_a_folder_with_other_files_is_not_changed(cli, pets, listing, tmp_path):
    tk.extract_to(tmp_path / "f", SPEC, listing)
    status, _, err = cli(*WORDS, "--data", pets, "--out", "f", "--pool", "max")
    assert (
        status == 1
        and "f holds features that differ in pool (avg in place of max): give another --out, or --overwrite" in err
        and "to replace it." in err
    )
    status, _, err = cli(*WORDS, "--data", pets / "cat", "--out", "f")
    assert status == 1 and "f holds features that differ in its pictures" in err
    assert cli(*WORDS, "--data", pets / "cat", "--out", "f", "--overwrite")[0] == 0
    assert len(load_features(tmp_path / "f")) == 12
    assert cli(*WORDS, "--data", pets, "--out", "f", "--overwrite", "--layer", "stage1")[0] == 0
    assert load_features(tmp_path / "f").features.shape == (24, 8), "in the same process, the same folder"
    for words in ((), ("--overwrite",)):
        status, _, err = cli(*WORDS, "--data", pets, "--out", pets, *words)
        assert status == 1 and str(pets) in err and (pets / "cat" / "000.jpg").exists()


@pytest.mark.parametrize(
    ("words", "sentence", "code"),
    [
        (("--layer", "stage3"), "No layer of tiny is called 'stage3'. Did you mean 'stage2'?", 2),
        (("--pool", "avrg"), "No pooling is called 'avrg'. Did you mean 'avg'?", 2),
        (("--shard", "3/2"), "'3/2' is not a shard: expected i/n with i from 1 to n, as 2/4.", 2),
        (("--shard", "1/2"), "shard 1/2 writes some parts of a folder: give a folder, not x.npz.", 2),
        (("--base", "tinny"), "No network, run folder or Keras file is called 'tinny'. Did you mean 'tiny'?", 2),
        (("--out", "x.csv"), "x.csv must end in .npz or .parquet, or be a folder without a suffix.", 2),
        (("--pool", "none", "--layer", "stage1,stage2"), "pool 'none' takes one layer", 1),
        (("--data", "nowhere"), "There is no folder or file 'nowhere'.", 2),
    ],
)
def test_invalid_options_are_one_sentence(cli, pets, words, sentence, code, tmp_path):
    words = [*WORDS, "--data", pets, "--out", "x.npz", *words]
    status, out, err = cli(*words)
    assert (status, out) == (code, "") and sentence in err and "Traceback" not in err
    assert not list(tmp_path.glob("*.npz*")) and not list(tmp_path.glob(".*.parts"))


def test_damaged_files_are_one_sentence(listing, tmp_path):
    for name in ("f.npz", "f.parquet"):
        tk.extract_to(tmp_path / name, SPEC, listing)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:500])
        with pytest.raises(ValueError, match="holds no features that can be read"):
            load_features(tmp_path / name)
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="holds no features that can be read"):
        load_features(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError, match="There is no .*gone.npz: expected"):
        load_features(tmp_path / "gone.npz")


def test_nothing_to_extract(cli, listing, tmp_path):
    with pytest.raises(ValueError, match="^listing holds no pictures.$"):
        tk.extract_to(tmp_path / "f.npz", SPEC, listing.take([]))
    (tmp_path / "all" / "bad").mkdir(parents=True)
    (tmp_path / "all" / "bad" / "a.png").write_bytes(b"none")
    status, _, err = cli(*WORDS, "--data", tmp_path / "all", "--out", "f.npz")
    assert status == 1 and "The picture cannot be read" in err and not (tmp_path / "f.npz").exists()


def test_names_of_any_bytes(cli, pets, tmp_path):
    odd = os.fsdecode(b'\xff cat, "x"\n')
    for name in (odd, "dog"):
        shutil.copytree(pets / "dog", tmp_path / "odd" / name)
    for out in ("f.npz", "f.parquet", "f"):
        status, _, err = cli(*WORDS, "--data", tmp_path / "odd", "--out", out)
        assert status == 0, err
        found = load_features(tmp_path / out)
        assert len(found) == 24 and len(found.classes) == 2 and sum(found.labels) == 12
