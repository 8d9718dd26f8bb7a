"""Pipes, devices, folders and files of any size in place of a picture: an error row, at once."""

import json
import os
import resource
import signal

import pytest

import transferkit as tk
from transferkit.data import file_ranges
from transferkit.data.audit.file_scan import scan_file
from transferkit.features.feature_files import errors_path

WHY = {
    "pipe.jpg": "it is no file",
    "/dev/zero": "it is no file",
    "/dev/stdin": "it is no file",
    "folder": "it is a folder",
    "sparse.jpg": "it has 1,000,000,000,000 bytes, and 200,000,000 are the most that is read",
    "/proc/self/status": "the file is empty",
    "gone.jpg": "No such file or directory",
}


@pytest.fixture
def places(tmp_path, pets):
    """Such paths, and a picture that can be read; the test ends in a minute, and in as much memory as it has."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder").mkdir()
    with open(tmp_path / "sparse.jpg", "wb") as file:
        file.truncate(10**12)
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits for ever"))
    signal.alarm(60)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield {**{str(tmp_path / name): why for name, why in WHY.items()}, str(pets / "cat" / "000.jpg"): None}
    signal.alarm(0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # kB


def test_the_file_reader(places):
    for path, why in places.items():
        if why and why != "the file is empty":
            with pytest.raises(OSError, match=why):
                file_ranges.read_bytes(path)
        assert scan_file(path).reason == (why or "")


def test_predict(cli, finished, places, tmp_path):
    wanted = list(places.values())
    status, out, _ = cli(
        "predict", finished.folder, *[path for path in places if path != str(tmp_path / "folder")], "--json"
    )
    assert status == 0 and [row["error"] for row in json.loads(out)] == [why for why in wanted if why != WHY["folder"]]
    good = str(next(path for path, why in places.items() if not why))
    (tmp_path / "list.csv").write_text("\n".join(["path", *places, *[good] * 40]))
    status, out, _ = cli("predict", finished.folder, "list.csv", "--json")
    assert status == 0 and [row["error"] for row in json.loads(out)][: len(places)] == wanted


def test_extract_and_check(cli, places, tmp_path, pets):
    good = str(next(path for path, why in places.items() if not why))
    (tmp_path / "list.csv").write_text("\n".join(["path", *places, *[good] * 40]))
    words = ("--base", "tiny", "--weights", "none", "--data", "list.csv")
    status, _, error = cli("extract", *words, "--out", "f.npz")
    assert status == 0, error
    rows = errors_path(tmp_path / "f.npz").read_text().splitlines()[1:]
    assert len(rows) == len(WHY) and len(tk.load_features("f.npz").paths) == 41
    for name in ("pipe.jpg", "sparse.jpg"):
        os.replace(tmp_path / name, tmp_path / "folder" / name)
    for name in ("a", "b"):
        (tmp_path / "folder" / name).symlink_to(pets / "cat")
    status, out, error = cli("check", "folder")
    assert status == 0, error


def test_a_file_is_whole_where_each_read_gives_a_part(tmp_path, monkeypatch):
    """As on some file systems of a network."""
    (tmp_path / "a.tfrecord").write_bytes(bytes(range(200)))
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 7)))
    assert file_ranges.read_bytes(str(tmp_path / "a.tfrecord")) == bytes(range(200))
    assert file_ranges.read_bytes(f"{tmp_path}/a.tfrecord#50+100:b.jpg") == bytes(range(50, 150))
    assert file_ranges.read_bytes(f"{tmp_path}/a.tfrecord#150+100:b.jpg") == bytes(range(150, 200))
