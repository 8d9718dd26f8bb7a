"""`transferkit check --quarantine`: files are moved, never lost, and only from inside the folder."""

import csv
import json
import os

from pictures import encoded, photo

WIDE = photo(120, 90, seed=1)


def test_quarantine_moves_and_records_files(data, cli, tmp_path):
    same = encoded(WIDE)
    root = data({"cat/empty.jpg": b"", "cat/a.jpg": same, "cat/b.jpg": same})
    assert cli("check", root, "--quarantine", root / "inside")[0] == 1
    assert "1 file was moved" in cli("check", root, "--quarantine", "away")[1]
    assert (tmp_path / "away/cat/empty.jpg").exists() and not (root / "cat/empty.jpg").exists()
    data({"cat/empty.jpg": b"other"})
    cli("check", root, "--quarantine", "away", "--quarantine-what", "unreadable", "--quarantine-what", "duplicates")
    assert (tmp_path / "away/cat/empty.jpg").read_bytes() == b""  # not overwritten
    assert (tmp_path / "away/cat/empty-2.jpg").read_bytes() == b"other"
    assert (root / "cat/a.jpg").exists() and (tmp_path / "away/cat/b.jpg").read_bytes() == same
    with open(tmp_path / "away/moved.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["problem"] for row in rows] == ["unreadable", "duplicate", "unreadable"]
    for row in rows:
        assert os.path.exists(row["to"]) and row["from"].startswith(str(root))


def test_quarantine_does_not_follow_links(data, cli, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "empty.jpg").touch()
    root = data({"cat/empty.jpg": b""})
    (root / "cat" / "there").symlink_to(other)
    (root / "fox").symlink_to(other)
    (tmp_path / "door").symlink_to(root)
    _, out, said = cli("check", tmp_path / "door", "--quarantine", "away")  # a link to all of the data is no matter
    assert "1 file was moved" in out and not (root / "cat/empty.jpg").exists()
    assert (other / "empty.jpg").exists()
    assert f"1 file of {tmp_path}/door/cat/there left in place: a link leads there, to {other}" in said
    assert f"1 file of {tmp_path}/door/fox left in place" in said


def test_quarantine_prefers_files_to_links_and_leaves_no_link_dangling(data, cli, tmp_path):
    root = data({"cat/5.jpg": encoded(WIDE), "dog/5.jpg": encoded(photo(90, 90, seed=9)), "dog/6.jpg": b""})
    (root / "cat" / "0.jpg").symlink_to("5.jpg")
    os.link(root / "dog/5.jpg", root / "dog/7.jpg")
    (tmp_path / "hop.jpg").symlink_to(root / "dog/6.jpg")
    (root / "dog" / "8.jpg").symlink_to(tmp_path / "hop.jpg")
    copies = [row for row in json.loads(cli("check", root, "--json")[1])["problems"] if row["problem"] == "duplicate"]
    assert {row["path"] for row in copies} == {f"{root}/cat/0.jpg", f"{root}/dog/7.jpg"}
    what = ("--quarantine-what", "duplicates", "--quarantine-what", "unreadable")
    _, out, said = cli("check", root, "--quarantine", "away", *what)
    assert "3 files were moved" in out and f"{root}/dog/6.jpg stays: a link among the pictures points to it" in said
    assert [name for name in ("cat/0", "cat/5", "dog/5", "dog/6", "dog/7", "dog/8")
            if not (root / f"{name}.jpg").exists()] == ["cat/0", "dog/7", "dog/8"]  # fmt: skip
