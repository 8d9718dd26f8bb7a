"""`transferkit check`: every kind of problem is found, each file is read once, and nothing is lost."""

import json
import os
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from odd_pictures import XMP, behind_start, png16, segment, tiff, xmp
from odd_pictures import exif as odd_exif
from pictures import encoded, exif, folder, photo
from PIL import Image, ImageEnhance

from transferkit.data import pipeline
from transferkit.data.audit import problems, scan
from transferkit.data.audit.file_scan import scan_file
from transferkit.data.listing import list_split_folders

WIDE = photo(120, 90, seed=1)


def check(root):
    """{(relative path, problem): detail} of a folder."""
    parts = list_split_folders(root)
    paths = [path for part in parts.values() for path in part.paths]
    looks = dict(zip(paths, scan.scan_files(paths), strict=True))
    return {(os.path.relpath(one.path, root), one.kind): one.detail for one in problems.find_problems(parts, looks)}


def kinds(root):
    return set(check(root))


def test_good_pictures_have_no_problems(data):
    assert kinds(data({})) == set()


def test_unreadable_files(data):
    png = encoded(WIDE, "PNG")
    found = check(
        data(
            {
                "cat/empty.jpg": b"",
                "cat/text.jpg": b"text",
                "cat/cut.jpg": encoded(WIDE)[:-400],
                "cat/cut.png": png[: len(png) // 2],
                "cat/tail.jpg": encoded(WIDE)[:-2],
            }
        )
    )
    assert found["cat/empty.jpg", "unreadable"] == "the file is empty"
    assert found["cat/text.jpg", "unreadable"] == "not a known picture format"
    assert {("cat/cut.jpg", "truncated"), ("cat/cut.png", "truncated"), ("cat/tail.jpg", "truncated")} <= set(found)
    assert len(found) == 5


def test_a_bomb_is_not_decoded(data):
    head = encoded(Image.new("1", (8, 8)), "PNG")
    header = b"IHDR" + (40_000).to_bytes(4, "big") * 2 + head[24:29]
    found = check(data({"cat/bomb.png": head[:12] + header + zlib.crc32(header).to_bytes(4, "big") + head[33:]}))
    assert "1600000000 pixels" in found["cat/bomb.png", "bomb"] and not found["cat/bomb.png", "bomb"].endswith(".")


def test_a_jpeg_may_have_trailing_data(data):
    root = data({"cat/whole.jpg": encoded(WIDE) + b"tail"})
    assert kinds(root) == set()
    assert list(pipeline.find_readable([str(root / "cat/whole.jpg")], 3)) == [(0, 90)]


@pytest.mark.parametrize(
    ("name", "content", "problem", "said"),
    [
        ("a.png", encoded(WIDE), "wrong-extension", ".png, but the content is JPEG"),
        ("a.jpg", encoded(WIDE, "GIF"), "wrong-extension", ".jpg, but the content is GIF"),
        ("a.jpg", encoded(WIDE, exif=exif(6)), "rotated", "orientation 6"),
        ("a.jpg", encoded(WIDE.convert("CMYK")), "mode", "CMYK"),
        ("a.png", encoded(WIDE.convert("P"), "PNG"), "mode", "P: a palette"),
        ("a.png", encoded(WIDE.convert("RGBA"), "PNG"), "mode", "RGBA: transparent"),
        ("a.png", encoded(WIDE.convert("P"), "PNG", transparency=3), "mode", "P alpha: transparent"),
        ("a.png", png16(np.arange(6400).reshape(80, 80)), "mode", "I;16: 16 bits or more a value, 0..16,383 become"),
        ("a.tif", encoded(WIDE.convert("F"), "TIFF"), "mode", "F: floats, 0..255 become 0..255"),
        ("a.tif", tiff(-np.ones((80, 80), np.float32)), "unreadable", "its values are -1 to -1: expected 0..1, 0..255"),
        ("a.jpg", behind_start(encoded(WIDE), segment(0xFE, b"note"), odd_exif(8)), "rotated", "orientation 8"),
        ("a.jpg", behind_start(encoded(WIDE), segment(0xE1, XMP + xmp(6))), "rotated", "orientation 6"),
        ("a.tif", encoded(WIDE, "TIFF", tiffinfo={274: 6}), "rotated", "orientation 6"),
        ("a.jpg", encoded(photo(20, 31)), "tiny", "20 x 31"),
        ("a.jpg", encoded(photo(330, 40)), "shape", "330 x 40"),
    ],
)
def test_odd_files(data, name, content, problem, said):
    found = check(data({f"cat/{name}": content}))
    assert said in found[f"cat/{name}", problem]
    assert {path for path, _ in found} == {f"cat/{name}"}


def test_skipped_files_are_counted(data):
    found = check(data({"cat/a.txt": b"", "dog/b.txt": b"", "dog/.hidden": b"", "loose.jpg": b""}))
    assert found[".", "ignored"]
    parts = list_split_folders(data({}))
    details = {one.detail for one in problems.find_problems(parts, _looks(parts)) if one.kind == "ignored"}
    assert details == {"2 .txt", "1 hidden", "1 outside the class folders"}


def _looks(parts):
    paths = [path for part in parts.values() for path in part.paths]
    return dict(zip(paths, scan.scan_files(paths), strict=True))


def changed(picture):
    """The same picture again, as it comes back from the web."""
    return {
        "smaller": encoded(picture.resize((picture.width * 2 // 3, picture.height * 2 // 3)), quality=80),
        "recompressed": encoded(picture, quality=40, subsampling=2),
        "brighter": encoded(ImageEnhance.Brightness(picture).enhance(1.15)),
        "png": encoded(picture, "PNG"),
        "turned": encoded(picture.transpose(Image.Transpose.ROTATE_90), exif=exif(6)),
    }


@pytest.mark.parametrize("how", changed(WIDE))
def test_near_duplicates(data, how):
    files = {"cat/first.jpg": encoded(WIDE), "cat/second.jpg": changed(WIDE)[how]}
    found = check(data(files))
    first = str(data({}) / "cat/first.jpg")
    assert found["cat/second.jpg", "near-duplicate"] == f"nearly the same as {first}"


def test_different_pictures_are_not_near_duplicates(data):
    mirrored = WIDE.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    files = {f"cat/p{n}.jpg": encoded(photo(100, 80, seed=50 + n)) for n in range(40)}
    files |= {"cat/wide.jpg": encoded(WIDE), "cat/mirrored.jpg": encoded(mirrored)}
    files |= {"dog/red.png": encoded(Image.new("RGB", (64, 64), "red"), "PNG")}  # flat ones have nothing to be told by
    files |= {"dog/blue.png": encoded(Image.new("RGB", (64, 64), "blue"), "PNG")}
    assert {kind for _, kind in kinds(data(files))} <= {"imbalance"}


def test_duplicates(data):
    one, two = encoded(WIDE), encoded(photo(90, 90, seed=9))
    found = check(data({"cat/a.jpg": one, "cat/b.jpg": one, "cat/c.jpg": one, "dog/d.jpg": two, "cat/e.jpg": two}))
    assert set(found) == {("cat/b.jpg", "duplicate"), ("cat/c.jpg", "duplicate"), ("dog/d.jpg", "two-classes")}
    assert found["dog/d.jpg", "two-classes"].endswith("cat/e.jpg, cat and dog")


def test_leaks_and_classes_missing_from_a_split(tmp_path):
    root = folder(tmp_path / "split" / "train", {"cat": 6, "dog": 3, "owl": 1}).parent
    same, other = photo(90, 70, seed=77), photo(90, 70, seed=78)
    for name, content in {
        "train/cat/x.jpg": encoded(same),
        "val/cat/x.jpg": encoded(same),
        "val/dog/near.jpg": encoded(same, quality=50),
        "test/dog/y.jpg": encoded(other),
        "test/cat/z.jpg": encoded(photo(90, 70, seed=79)),
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    found = check(root)
    assert next(iter(found))[1] == "leak"
    assert found["val/cat/x.jpg", "leak"] == f"the same as {root}/train/cat/x.jpg, train and val"
    assert found["val/dog/near.jpg", "leak"].startswith("nearly the same as")
    assert ("val/dog/near.jpg", "two-classes") in found
    assert found["val", "missing-class"] == "no picture of class owl, train has"
    assert found["test", "missing-class"] == "no picture of class owl, train has"
    assert found["train", "imbalance"] == "7 of class cat, 1 of class owl, 7 to 1"


def test_a_file_is_read_once_until_it_changes(data, monkeypatch):
    root, read = data({"cat/cut.jpg": encoded(WIDE)[:-400]}), []
    monkeypatch.setattr(scan, "scan_file", lambda path: read.append(path) or scan_file(path))
    before = check(root)
    assert len(read) == 7
    assert check(root) == before and len(read) == 7
    data({"cat/cut.jpg": encoded(WIDE)})
    assert check(root) == {} and read[7:] == [str(root / "cat/cut.jpg")]


def test_a_damaged_cache_is_ignored(data, monkeypatch, home):
    root = data({"cat/empty.jpg": b""})
    before = check(root)
    store = scan.cache_folder() / scan.FILE
    whole = store.read_bytes()
    for content in (
        b"no database at all, but long enough to be looked at" * 100,
        whole[:5000],
        whole[:4096] + b"x" * 8192,
    ):
        store.write_bytes(content)
        assert check(root) == before
    assert check(root) == before
    monkeypatch.setattr(scan, "cache_folder", lambda: root / "cat/empty.jpg")  # no folder can be made there
    assert check(root) == before


def test_names_of_every_kind_and_pipes(data, cli):
    odd = [b"new\nline.jpg", b"'quo\"te<b>.jpg", b"\xff\xfe.jpg", "träume 夢.jpg".encode(), b"\x1b[31m.jpg"]
    root = data({})
    for number, name in enumerate(odd):
        with open(os.fsencode(root / "cat") + b"/" + name, "wb") as file:
            file.write(b"" if number % 2 else encoded(WIDE))
    os.mkfifo(root / "dog" / "pipe.jpg")
    os.symlink("nowhere", root / "dog" / "link.jpg")
    status, out, _ = cli("check", root, "--html", "page.html")
    assert status == 0 and "\x1b" not in out and "new\\nline.jpg" in out
    status, out, _ = cli("check", root, "--json")
    rows = json.loads(out)["problems"]
    details = {os.fsencode(row["path"]).rsplit(b"/", 1)[1]: row["detail"] for row in rows}
    passed_over = " ".join(row["detail"] for row in rows if row["problem"] == "ignored")
    assert "pipe" in passed_over and "link" in passed_over and b"pipe.jpg" not in details
    assert details[odd[1]] == "the file is empty"
    assert "<b>" not in (root.parent / "page.html").read_text("utf-8")
    assert cli("check", root, "--quarantine", "away")[0] == 0
    assert (root.parent / "away/cat").is_dir() and (root / "dog/pipe.jpg").exists()


def test_json_and_exit_status(data, cli):
    root = data({"cat/empty.jpg": b""})
    status, out, _ = cli("check", root, "--json")
    assert status == 0
    assert json.loads(out) == {
        "images": 7,
        "classes": {"cat": 4, "dog": 3},
        "problems": [
            {"path": str(root / "cat/empty.jpg"), "problem": "unreadable", "detail": "the file is empty"},
        ],
    }
    assert cli("check", root.parent / "nowhere")[0] == 2
    assert cli("check", root, "--quarantine-what", "duplicates")[0] == 2
    assert "7 pictures of 2 classes; 1 cannot be read" in cli("check", root)[1]


def test_a_leak_through_a_link_is_reported_for_the_later_split(tmp_path):
    root = folder(tmp_path / "split" / "val", {"cat": 2, "dog": 2}).parent
    for name in ("cat", "dog"):
        (root / "train" / name).mkdir(parents=True)
        (root / "train" / name / "x.jpg").symlink_to(root / "val" / name / "000.jpg")
    assert {path for path, kind in check(root) if kind == "leak"} == {"val/cat/000.jpg", "val/dog/000.jpg"}


def test_all_skipped_files_are_shown_and_counted(data, cli, tmp_path):
    _, out, _ = cli("check", data({"cat/a.txt": b"", "dog/b.txt": b"", "dog/.hidden": b"", "loose.jpg": b""}))
    assert "skipped      4  2 .txt" in out and "1 hidden" in out and "1 outside the class folders" in out
    rows = [f"data/{name}/00{n}.jpg,{name}" for name in ("cat", "dog") for n in range(3)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows, "data/gone.jpg,cat"]))
    assert "skipped      1  1 missing picture" in cli("check", "list.csv")[1]


def test_one_class_is_enough_in_a_folder_and_in_a_list(cli, tmp_path):
    folder(tmp_path / "one", {"cat": 2})
    (tmp_path / "one.csv").write_text("path,label\none/cat/000.jpg,cat\none/cat/001.jpg,cat\n")
    for source in ("one", "one.csv"):
        status, out, _ = cli("check", source)
        assert status == 0 and "2 pictures of 1 class; all" in out


def test_a_folder_without_permission_is_reported(data, cli, monkeypatch):
    root = str(data({}))
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != root)
    status, _, said = cli("check", root)
    assert status == 2 and f"'{root}' may not be read" in said


def test_the_html_page_has_no_external_files(data, cli, tmp_path):
    same = encoded(WIDE)
    root = data(
        {"cat/a.jpg": same, "dog/b.jpg": same, "dog/empty.jpg": b"", "cat/p.png": encoded(photo(20, 20), "PNG")}
    )
    assert "the page is in page.html" in cli("check", root, "--html", "page.html")[1]
    tags, ends = [], []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append((tag, dict(attrs)))
    parser.handle_endtag = ends.append
    parser.feed((tmp_path / "page.html").read_text("utf-8"))
    assert all(ends.count(name) == [tag for tag, _ in tags].count(name) for name in ("figure", "figcaption", "div"))
    images = [attrs for tag, attrs in tags if tag == "img"]
    assert [image["alt"] for image in images] == ["cat/a.jpg", "dog/b.jpg", "cat/p.png"]  # the pair side by side
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in images)
    assert not {"script", "link"} & {tag for tag, _ in tags}
    assert [attrs["id"] for tag, attrs in tags if tag == "section"] == ["two-classes", "unreadable", "tiny"]


def test_the_html_page_folds_what_is_harmless(data, cli, tmp_path):
    root = data({"cat/a.jpg": b"", "dog/b.png": encoded(WIDE)})  # a JPEG with the suffix of a PNG
    assert cli("check", root, "--html", "page.html")[0] == 0
    before, _, folded = (tmp_path / "page.html").read_text("utf-8").partition("<details>")
    assert "id=unreadable" in before and "id=wrong-extension" not in before
    assert "<summary>Harmless for training: content of another format</summary>" in folded
    assert "id=wrong-extension" in folded.partition("</details>")[0] and "<h2>Classes</h2>" in folded
