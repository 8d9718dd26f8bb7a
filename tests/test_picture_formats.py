"""The picture format is recognised from the content, by a single function; damaged metadata is ignored."""

import io
import os
import struct
import sys
import types
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from odd_pictures import before_chunk, behind_start, chunk, exif, plain, segment, tiff_block
from pictures import encoded, folder, photo
from PIL import EpsImagePlugin, Image, ImageOps, features

from transferkit.data import decode, formats, pillow_reader
from transferkit.data.audit.file_scan import scan_file
from transferkit.data.decode import explain_unreadable
from transferkit.data.listing import list_images, list_split_folders

WIDE = photo(50, 34, seed=1)
HEIC = struct.pack(">I4s4sI4s", 24, b"ftyp", b"heic", 0, b"mif1") + b"heix" + bytes(300)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"


def write(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def test_pillow_opens_files_in_one_place():
    package = Path(formats.__file__).parents[1]
    users = {path.name for path in package.rglob("*.py") if "Image.open(" in path.read_text("utf-8")}
    assert users == {"formats.py", "reference.py"}  # the second runs without transferkit


def test_postscript_never_starts_a_program(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it was started"))
    path = write(tmp_path / "a.png", EPS)
    assert scan_file(path).reason == explain_unreadable(path) == "it is PostScript, not a picture"
    assert not formats.is_picture(write(tmp_path / "a.eps", EPS))


def test_content_decides_in_a_folder(tmp_path):
    forms = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "PPM"] + ["AVIF"] * features.check("avif")
    taken = {
        write(tmp_path / "a" / f"{form}{end}", encoded(WIDE, form)) for form in forms for end in ("", ".dat", ".v2")
    }
    taken |= {write(tmp_path / "a" / f"{form}{formats.FORMATS[form][0]}", encoded(WIDE, form)) for form in forms}
    taken.add(write(tmp_path / "a" / "photo.HEIC", HEIC))
    taken.add(write(tmp_path / "a" / "phone", HEIC))
    for name, data in {
        "x.txt": b"P1 is the first of them",
        "y.csv": b"BMW,1\n",
        "z": b"",
        "w.xml": b"<a/>",
        "v": b"GIF",
    }.items():
        write(tmp_path / "b" / name, data)
    write(tmp_path / "b" / "1.jpg", b"text")
    os.mkfifo(tmp_path / "b" / "pipe")
    found = list_images(tmp_path)
    assert set(found.paths) == taken | {str(tmp_path / "b" / "1.jpg")}
    assert found.ignored == {".txt": 1, ".csv": 1, ".xml": 1, "no suffix": 3}
    reasons = {os.path.basename(path): scan_file(path).reason for path in found.paths}
    assert {name for name, why in reasons.items() if why} == {"photo.HEIC", "phone", "1.jpg"}


def test_heic_names_the_package_that_reads_it(tmp_path, monkeypatch):
    path = write(tmp_path / "a.heic", HEIC)
    if "HEIF" not in formats._readable_formats():
        assert scan_file(path).reason == "HEIC is read where pillow-heif is installed"
    monkeypatch.setitem(sys.modules, "pillow_heif", fake_heif())
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    formats._readable_formats.cache_clear()
    try:
        assert scan_file(path).format == "HEIF" and scan_file(path).reason == ""
        assert (pillow_reader.read_picture(HEIC, 3) == (10, 20, 30)).all()
        assert scan_file(write(tmp_path / "b.heic", HEIC[:24])).reason == "a HEIC picture that is damaged"
    finally:
        formats._readable_formats.cache_clear()


def fake_heif():
    """A module as pillow-heif is, which reads any HEIC of 100 bytes and more as one colour."""

    def opened(file, _=None):
        if len(file.read()) < 100:
            raise SyntaxError("cut")
        image = Image.new("RGB", (40, 30), (10, 20, 30))
        image.format, image.tile = "HEIF", []
        return image

    module = types.ModuleType("pillow_heif")
    module.__spec__ = types.SimpleNamespace(name="pillow_heif")
    module.register_heif_opener = lambda: Image.register_open("HEIF", opened, lambda head: head[4:8] == b"ftyp")
    return module


def odd_metadata() -> dict[str, bytes]:
    whole, webp = encoded(WIDE, "PNG"), encoded(WIDE, "WEBP", lossless=True, exif=b"Exif\0\0" + b"garbage!" * 4)
    text = zlib.compress(b"x" * 2_000_000)
    wrong = bytearray(chunk(b"eXIf", tiff_block(6)))
    wrong[-1] ^= 1
    return {
        "exif": before_chunk(whole, b"IDAT", chunk(b"eXIf", b"garbage!")),
        "exif-empty": before_chunk(whole, b"IDAT", chunk(b"eXIf", b"")),
        "exif-checksum": before_chunk(whole, b"IDAT", bytes(wrong)),
        "exif-behind": before_chunk(whole, b"IEND", chunk(b"eXIf", b"II*\0")),
        "long-text": before_chunk(whole, b"IDAT", chunk(b"zTXt", b"Comment\0\0" + text)),
        "long-text-behind": before_chunk(whole, b"IEND", chunk(b"iTXt", b"Comment\0\1\0\0\0" + text)),
        "text-checksum": before_chunk(whole, b"IDAT", chunk(b"tEXt", b"Comment\0good")[:-1] + b"?"),
        "colour-profile": before_chunk(whole, b"IDAT", chunk(b"iCCP", b"profile\0\0" + text[:50])),
        "animation": before_chunk(whole, b"IDAT", chunk(b"acTL", bytes(8))),
        "webp": webp,
    }


@pytest.mark.parametrize("name", odd_metadata())
def test_damaged_metadata_is_ignored(tmp_path, name):
    data = odd_metadata()[name]
    seen = scan_file(write(tmp_path / "a.png", data))
    assert (seen.reason, seen.orientation, seen.width) == ("", 1, 50)
    assert np.array_equal(pillow_reader.read_picture(data, 3), np.asarray(WIDE))


@pytest.mark.parametrize(
    "odd",
    [segment(0xED, b"Photoshop 3.0\x008BIM\4"), segment(0xEE, b"Adobe"), segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff")],
    ids=["photoshop", "adobe", "mpf"],
)
def test_damaged_jpeg_segments_are_ignored(tmp_path, odd):
    right = ImageOps.exif_transpose(Image.open(io.BytesIO(behind_start(plain(), exif(6)))))
    data = behind_start(plain(), odd, exif(6))
    assert scan_file(write(tmp_path / "a.jpg", data)).orientation == 6
    assert np.array_equal(pillow_reader.read_picture(data, 3), np.asarray(right))
    assert np.array_equal(decode.decode_whole(tf.constant(data), 3)[0], np.asarray(right))


def test_the_orientation_is_kept_if_text_is_ignored():
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 2_000_000))
    data = before_chunk(encoded(WIDE, "PNG"), b"IDAT", text, chunk(b"eXIf", tiff_block(6)))
    assert np.array_equal(pillow_reader.read_picture(data, 3), np.asarray(WIDE.transpose(Image.Transpose.ROTATE_270)))
    clear = encoded(WIDE.convert("P"), "PNG", transparency=WIDE.convert("P").getpixel((0, 0)))
    assert np.array_equal(
        pillow_reader.read_picture(before_chunk(clear, b"IDAT", text), 4), pillow_reader.read_picture(clear, 4)
    )
    damaged = before_chunk(encoded(WIDE, "PNG")[:-200], b"IDAT", text)
    with pytest.raises(Exception, match="MAX_TEXT_CHUNK|truncated|broken"):
        pillow_reader.read_picture(damaged, 3)


def test_pillows_warnings_are_neither_shown_nor_errors(tmp_path, capfd):
    paths = [
        write(tmp_path / "a.tif", encoded(WIDE, "TIFF")[:-2]),
        write(
            tmp_path / "b.tif",
            encoded(WIDE, "TIFF", tiffinfo={270: "x" * 900}).replace(b"\x0e\x01\x02\0", b"\x0e\x01\x02\0", 1),
        ),
        write(tmp_path / "c.png", odd_metadata()["animation"]),
        write(tmp_path / "d.jpg", behind_start(plain(), segment(0xE2, b"MPF\0II*\0\x08\0\0\0\1\0\0\xb0"))),
    ]
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for path in paths:
            scan_file(path)
            pillow_reader.make_thumbnail(Path(path).read_bytes(), 20) if "a.tif" not in path else None
    assert heard == [] and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("lost", ["damaged", "raw"])
def test_an_unreadable_class_stops_a_job(tmp_path, cli, tiny, lost):
    root = folder(tmp_path / "pets", {"cat": 12, "dog": 12})
    names = ("1.heic",) if lost == "damaged" else ("1.cr2", "notes.txt")
    for name in names:
        write(root / "owl" / name, HEIC if lost == "damaged" else b"FUJIFILM")
    said = "No picture of class 'owl'" if lost == "damaged" else "The folder 'owl' in"
    words = ("--data", root, "--base", tiny, "--weights", "none")
    for command in (
        ("finetune", *words, "--dry-run", "--size", 32),
        ("probe", *words, "--folds", 2),
        ("extract", *words, "--out", tmp_path / "owls.npz"),
    ):
        status, _, err = cli(*command)
        assert status == 1 and said in err
    assert not (tmp_path / "owls.npz").exists()
    status, out, _ = cli("check", root)
    why = (
        "HEIC is read where pillow-heif is installed" if lost == "damaged" else "the folder holds files but no picture"
    )
    assert status == 0 and "owl" in out and why in out


def test_an_empty_folder_is_not_a_class(tmp_path):
    root = folder(tmp_path / "pets", {"cat": 2, "dog": 2})
    (root / "owl").mkdir()
    (parts,) = list_split_folders(root).values()
    assert parts.empty_classes == () and parts.ignored == {"empty folder 'owl'": 1}
