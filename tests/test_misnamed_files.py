"""Files with a picture's suffix and other content: the same message in every command."""

import io
import json
import shutil
import sys
import zipfile

import pytest
from pictures import encoded, photo

from transferkit.data import decode, formats
from transferkit.data.audit.file_scan import scan_file


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as one:
        one.writestr("a", "b")
    return file.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'
OTHERS = {
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "it is a PDF, not a picture"),
    "svg": (SVG, "it is an SVG, not a picture"),
    "svg of an editor": (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- made -->\n' + SVG, "it is an SVG, not a picture"),
    "html": (b"\n<!DOCTYPE html>\n<html><title>Not found</title>", "it is an HTML page, not a picture"),
    "zip": (archive(), "it is a zip archive, not a picture"),
    "mp4": (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(99), "it is a video, not a picture"),
    "quicktime": (b"\0\0\0\x14ftypqt  \0\0\2\0qt  " + bytes(99), "it is a video, not a picture"),
    "webm": (b"\x1aE\xdf\xa3" + bytes(99), "it is a video, not a picture"),
    "elf": (b"\x7fELF\2\1\1" + bytes(99), "it is a program, not a picture"),
    "gzip": (b"\x1f\x8b\x08" + bytes(99), "it is a packed file, not a picture"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "it is PostScript, not a picture"),
    "text": (b"cat,dog\n1,2\n", formats.UNKNOWN),
    "text of any script": ("Gr\u00fc\u00dfe \u732b\n".encode() * 200, formats.UNKNOWN),
    "text of Windows": ("Gr\u00fc\u00dfe".encode("utf-16"), formats.UNKNOWN),
    "git lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n",
        "it is a pointer of Git LFS, in",
    ),
    "noise": (bytes(range(1, 32)) * 9, formats.UNKNOWN),
    "zeros": (bytes(99), formats.UNKNOWN),
    "nothing": (b"", "the file is empty"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_contents_are_recognised(tmp_path, name):
    content, said = OTHERS[name]
    (tmp_path / "a.jpg").write_bytes(content)
    found = scan_file(str(tmp_path / "a.jpg")).reason
    assert found.startswith(said) and found == decode.explain_unreadable(str(tmp_path / "a.jpg"))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_a_damaged_picture_is_still_a_picture(tmp_path, form):
    (tmp_path / "a.jpg").write_bytes(encoded(photo(40, 30), form)[:60])
    assert "it is" not in scan_file(str(tmp_path / "a.jpg")).reason


def test_every_command(cli, data, finished, pets):
    """Under a picture's name each is said, under its own it is skipped."""
    root = data({"cat/own.pdf": OTHERS["pdf"][0], "cat/own.svg": SVG})
    for number in range(12):
        shutil.copy(pets / "cat" / f"{number:03d}.jpg", root / "cat" / f"more{number}.jpg")
        shutil.copy(pets / "dog" / f"{number:03d}.jpg", root / "dog" / f"more{number}.jpg")
    for name in ("pdf", "html", "elf"):
        (root / "cat" / f"{name}.jpg").write_bytes(OTHERS[name][0])
    status, out, _ = cli("check", root, "--json")
    found = json.loads(out)["problems"]
    assert {one["detail"] for one in found if one["problem"] == "unreadable"} == {
        OTHERS[name][1] for name in ("pdf", "html", "elf")
    }
    assert {"1 .pdf", "1 .svg"} <= {one["detail"] for one in found if one["problem"] == "ignored"}
    status, out, _ = cli("predict", finished.folder, root / "cat" / "pdf.jpg", root / "cat" / "own.svg", "--json")
    assert [row["error"] for row in json.loads(out)] == [OTHERS["pdf"][1], OTHERS["svg"][1]]
    status, _, _ = cli("extract", "--base", "tiny", "--weights", "none", "--data", root, "--out", "f.npz")
    with open("f.npz.errors.csv") as file:
        assert OTHERS["pdf"][1] in file.read()
    status, out, error = cli("finetune", "--base", "tiny", "--weights", "none", "--data", root, "--dry-run")
    assert status == 0 and OTHERS["elf"][1] in out + error and "damaged" not in out + error


def test_spreadsheet_formulas_are_quoted_on_request(cli, finished, tmp_path):
    names = ["=1+1.jpg", "+1.jpg", "-1.jpg", "@a.jpg", "\ta.jpg", "\ra.jpg", "a=1.jpg"]
    for name in names:
        photo(9, 9).save(tmp_path / name)
    sys.stdin, before = io.TextIOWrapper(io.BytesIO("\0".join(names).encode())), sys.stdin
    try:
        for flags, sign in (((), ""), (("--spreadsheet",), "'")):
            sys.stdin.seek(0)
            assert cli("predict", finished.folder, "-", "--out", "a.csv", *flags)[0] == 0
            with open("a.csv", newline="") as file:
                text = file.read()
            for name in names[:6]:
                assert f"{sign}{name}" in text and (sign or f"'{name}" not in text)
            assert "\na=1.jpg," in text
    finally:
        sys.stdin = before
    status, _, error = cli("predict", finished.folder, "a=1.jpg", "--spreadsheet", "--json")
    assert status == 2 and "--spreadsheet is for CSV" in error
