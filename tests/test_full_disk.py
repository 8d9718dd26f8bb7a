"""A full disk: an error message with the file, no half-written files, and caches are skipped."""

import csv
import errno
import os
import resource
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import tensorflow as tf

import transferkit as tk
from transferkit import atomic
from transferkit.commands import error_message
from transferkit.data import pipeline, view_cache
from transferkit.data.audit import quarantine
from transferkit.features import feature_files
from transferkit.features.feature_files import load_features
from transferkit.pixels import Pixels

EXTRACT = ("extract", "--base", "tiny", "--weights", "none", "--size", 32)


@contextmanager
def room(size: int):
    """No file can grow beyond so many bytes: the system refuses as it does on a full disk or over a quota."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "words",
    [
        ("check", "PETS", "--html", "out.html"),
        (*EXTRACT, "--data", "PETS", "--out", "out.npz"),
        (*EXTRACT, "--data", "PETS", "--out", "out.parquet"),
        (*EXTRACT, "--data", "PETS", "--out", "out"),
        ("predict", "RUN", "PETS", "--out", "out.csv"),
        ("predict", "RUN", "PETS", "--out", "out.jsonl"),
        ("predict", "RUN", "PETS", "--out", "out.parquet"),
        ("data", "pack", "PETS", "--out", "out"),
    ],
    ids=lambda words: f"{words[0]}-{words[-1]}",
)
def test_one_sentence_and_nothing_half_written(cli, pets, finished, tmp_path, monkeypatch, words):
    places = {"PETS": pets, "RUN": finished.folder}
    words = [places.get(word, word) for word in words]
    network = finished.network  # read before the disk is full
    if words[0] == "predict":
        monkeypatch.setattr("transferkit.models.load", lambda *_, **__: network)
    with room(100):
        status, _, err = cli(*words)
    line = err.splitlines()[-1]
    assert status == 1 and "could not be written: File too large; free some space there, or give another path." in line
    assert words[-1] in line
    whole = tmp_path / words[-1]
    assert not whole.is_file() and not (whole.is_dir() and any(path.is_file() for path in whole.rglob("*")))
    assert cli(*words)[0] == 0 and whole.exists()


def test_an_existing_result_is_kept(cli, pets, finished, tmp_path, monkeypatch):
    (tmp_path / "out.csv").write_text("the answers of yesterday")
    monkeypatch.setattr("transferkit.models.load", lambda *_, **__: finished.network)
    with room(100):
        assert cli("predict", finished.folder, pets, "--out", "out.csv")[0] == 1
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "the answers of yesterday"


@pytest.mark.parametrize("begun", [False, True])
def test_caches_are_ignored(cli, pets, data, expected, begun):
    """The store of looks, and that of features, take nothing; what was asked for comes nevertheless."""
    if begun:  # they can be opened, and then not be written to
        cli("check", data({}))
        tk.FeatureExtractor("tiny", weights="none").transform(tk.list_images(data({})))
    with room(5000 if begun else 100):
        status, out, err = cli("check", pets)
        features = tk.FeatureExtractor("tiny", weights="none").transform(tk.list_images(pets))
    assert status == 0 and "24 pictures of 2 classes" in out and err == ""
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)


def test_a_full_temporary_folder_is_not_a_damaged_model(cli, pets, finished):
    with room(300):
        status, _, err = cli("predict", finished.folder, pets / "cat" / "000.jpg")
    assert status == 1 and "Keras unpacks models in" in err and "TMPDIR" in err and "model.keras" not in err


def test_the_names_of_unreadable_pictures_come_first(cli, data, tmp_path, monkeypatch):
    """Once the file is there, the same command does nothing more."""
    root = data({"cat/broken.jpg": b"none"})

    def full(source, target):
        with open(target, "wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(feature_files.shutil, "copyfile", full)
        status, _, err = cli(*EXTRACT, "--data", root, "--out", "f.npz")
    assert status == 1 and "f.npz.errors.csv could not be written: No space left on device" in err
    assert not (tmp_path / "f.npz").exists() and not (tmp_path / "f.npz.errors.csv").exists()
    assert cli(*EXTRACT, "--data", root, "--out", "f.npz")[0] == 0
    assert len(load_features(tmp_path / "f.npz")) == 6
    assert "broken.jpg" in (tmp_path / "f.npz.errors.csv").read_text()


def test_rows_on_disk_are_complete_or_an_error(tmp_path):
    rows = view_cache.DiskArray(tmp_path, "rows", (4, 1000), np.uint8)
    with room(2500):
        rows[0] = np.full(1000, 7, np.uint8)
        with pytest.raises(OSError, match="File too large"):  # half of it fits, which is no error of the first write
            rows[2] = np.full(1000, 7, np.uint8)
    assert rows[0].min() == 7
    os.truncate(rows.path, 3500)
    assert rows[2].shape == (1000,)
    with pytest.raises(OSError, match="cut short"):
        rows[3]


def test_values_that_do_not_fit_are_not_stored(pets, tmp_path, monkeypatch, capsys):
    paths, pixels = sorted(map(str, pets.rglob("*.jpg"))), Pixels(crop=32, resize=37)
    with room(10_000):  # a quota: the disk itself has room
        assert (
            view_cache.allocate_arrays(
                [(2, 3000), (9, 3000)], np.uint8, view_cache.CacheSpace(0, tmp_path), name="maps"
            )
            is None
        )
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9 - 100, 100))
    batches = pipeline.cached_evaluation_dataset(
        paths, pixels, batch_size=8, space=view_cache.CacheSpace(0.0, tmp_path)
    )
    assert [len(rows) for _, rows in batches] == [8, 8, 8] and not list(tmp_path.iterdir())
    assert "has no room" in capsys.readouterr().err


def test_a_quarantine_on_a_full_disk_loses_no_picture(data, cli, tmp_path, monkeypatch):
    root = data({"cat/1.jpg": b"", "cat/2.jpg": b"half of it"})
    move = shutil.move

    def full(source, target):
        if "2.jpg" not in source:
            return move(source, target)
        with open(target, "wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(quarantine.shutil, "move", full)
        status, out, err = cli("check", root, "--quarantine", "away")
    assert status == 0 and "1 file was moved" in out and "2.jpg could not be moved and stays: No space left" in err
    assert (root / "cat/2.jpg").read_bytes() == b"half of it" and not (tmp_path / "away/cat/2.jpg").exists()
    with open(tmp_path / "away/moved.csv", newline="") as file:
        assert [os.path.basename(row["to"]) for row in csv.DictReader(file)] == ["1.jpg"]
    before = (tmp_path / "away/moved.csv").read_bytes()
    with room(len(before) + 10):
        status, _, err = cli("check", root, "--quarantine", "away")
    assert status == 1 and "moved.csv could not be written: File too large" in err
    assert (root / "cat/2.jpg").exists() and (tmp_path / "away/moved.csv").read_bytes() == before


def test_training_on_a_full_disk_can_be_restarted_or_resumed(cli, pets, tmp_path):
    """A run folder that holds nothing yet is free; of one that was cut short, the way on is said."""
    words = ("finetune", "--base", "tiny", "--data", pets, "--weights", "none", "--size", 32, "--out", "run")
    with room(0):
        status, _, err = cli(*words)
    assert status == 1 and "run/recipe.toml could not be written: File too large; free some space there" in err
    tk.run_folder.check_output("run", overwrite=False)
    for name in ("recipe.toml", "split.csv"):
        (tmp_path / "run" / name).write_text("")
    status, _, err = cli(*words)
    assert status == 1 and "run exists and is not finished: --resume run continues it" in err


def test_a_quota_is_not_out_of_memory():
    """TensorFlow has one type for both."""
    quota = os.strerror(errno.EDQUOT)
    said = error_message(tf.errors.ResourceExhaustedError(None, None, f"evaluation_0.data; {quota}"))
    assert said == f"{quota}: free some space; --resume continues a run."
    assert error_message(OSError(errno.EDQUOT, quota, "a.png")) == f"a.png: {quota}; free some space there."


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        RuntimeError(f"Error while serializing: I/O error: {os.strerror(errno.ENOSPC)} (os error 28)"),
        OSError(f"Error writing bytes to file. Detail: [errno 27] {os.strerror(errno.EFBIG)}"),
    ],
)
@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_at_write_at_close_and_at_rename(tmp_path, monkeypatch, error, moment):
    path = tmp_path / "note.json"
    path.write_text("old")

    def fails(*_):
        raise error

    if moment != "write":
        monkeypatch.setattr(atomic.os, moment, fails)
    with pytest.raises(
        OSError, match=r"note.json could not be written: [\w ]+; free some space there, or give another path\."
    ):
        atomic.write(path, fails if moment == "write" else "new")
    assert [one.name for one in tmp_path.iterdir()] == ["note.json"] and path.read_text() == "old"


def test_an_impossible_folder_is_named_too(tmp_path):
    """What is cleared away afterwards is not there either, and must not be what is complained of."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/note.json could not be written: Not a directory; give another path\."):
        atomic.write(tmp_path / "file" / "note.json", "new")


def test_a_folder_is_written_completely_or_not_at_all(tmp_path):
    folder = tmp_path / "folder"
    for error, said in (
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "folder could not be written: No space"),
        (OSError(errno.EIO, "Input/output error", "picture.jpg"), "picture.jpg"),
    ):
        with pytest.raises(OSError, match=said), atomic.new_folder(folder) as partial:
            (partial / "1").write_text("one")
            raise error
        assert not list(tmp_path.iterdir())
    with pytest.raises(FileExistsError, match="by another process"), atomic.new_folder(folder) as partial:
        (partial / "1").write_text("mine")
        folder.mkdir()
        (folder / "1").write_text("theirs")
    assert (folder / "1").read_text() == "theirs" and list(tmp_path.iterdir()) == [folder]
    shutil.rmtree(folder)
    folder.mkdir()
    with atomic.new_folder(folder) as partial:
        (partial / "1").write_text("mine")
    assert (folder / "1").read_text() == "mine" and list(tmp_path.iterdir()) == [folder]
