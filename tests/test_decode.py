"""Decoding: same pixels as Pillow, upright orientation, and errors for files that are not pictures."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from pictures import encoded, exif, photo
from PIL import Image, ImageOps

from transferkit.data import decode, pipeline

WIDE = photo(50, 34, seed=1)


STRING, BOX, NUMBER = (tf.TensorSpec(shape, kind) for shape, kind in (((), "string"), ((4,), "int32"), ((), "int32")))


@tf.function(input_signature=(STRING,))
def rgb(data):
    return decode.decode_whole(data, 3)[0]


@tf.function(input_signature=(STRING,))
def grey(data):
    return decode.decode_whole(data, 1)[0]


@tf.function(input_signature=(STRING, BOX, NUMBER))
def part(data, window, cover):
    return decode.decode_window(data, decode.open_picture(data, 3), window, cover), window[2:]


def pixels(picture: Image.Image, mode="RGB") -> np.ndarray:
    return np.asarray(picture.convert(mode)).reshape(picture.height, picture.width, -1)


def reopened(data: bytes) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data)))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(header: bytes, rows: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def turned(picture, turn):
    """How a camera held askew stores a picture, so that `turn` sets it upright."""
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose, each the inverse of what the tag asks for
    return picture.transpose(Image.Transpose(back[turn])) if turn > 1 else picture


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2}, {"quality": 30, "subsampling": 1}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_has_exactly_pillows_pixels(mode, options):
    data = encoded(WIDE.convert(mode), **options)
    assert np.array_equal(rgb(data), pixels(reopened(data)))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_for_a_grey_network(mode):
    data = encoded(WIDE.convert(mode))
    picture = Image.open(io.BytesIO(data))
    picture.draft("L", picture.size)  # the luminance that is stored, not that of the colours
    assert np.array_equal(grey(data), pixels(picture, "L"))


def test_cmyk_keeps_its_colours():
    data = encoded(WIDE.convert("CMYK"))
    assert np.abs(rgb(data).numpy().astype(float) - pixels(WIDE)).mean() < 5


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_other_formats(form, mode):
    picture = WIDE.convert("RGB" if (form, mode) in (("WEBP", "P"), ("WEBP", "1")) else mode)
    data = encoded(picture, form, **({"lossless": True} if form == "WEBP" else {}))
    if form != "GIF":
        assert np.array_equal(rgb(data), pixels(picture))
    assert np.array_equal(rgb(data), pixels(reopened(data)))
    assert np.array_equal(grey(data), pixels(reopened(data), "L"))


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_on_white(form, mode):
    picture = WIDE.convert("RGB").convert(mode)
    alpha = np.linspace(0, 255, 50).astype("uint8")[None].repeat(34, 0)
    picture.putalpha(Image.fromarray(alpha))
    found = rgb(encoded(picture, form, **({"lossless": True} if form == "WEBP" else {}))).numpy().astype(float)
    share = alpha[..., None] / 255
    assert np.abs(found - (share * pixels(picture.convert("RGB")) + (1 - share) * 255)).max() <= 1
    assert (found[:, 0] == 255).all()


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(form):
    picture = Image.new("P", (20, 16), 1)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.paste(0, (0, 0, 10, 16))
    found = rgb(encoded(picture, form, transparency=0)).numpy()
    assert (found[:, :10] == 255).all() and (found[:, 10:] == (200, 100, 50)).all()


def test_16_bits_become_8():
    deep = np.linspace(0, 65535, 20 * 16).reshape(16, 20).astype("uint16")
    data = encoded(Image.fromarray(deep), "PNG")
    right = np.round(deep / 257)
    assert np.array_equal(rgb(data), right[..., None].repeat(3, 2))
    assert np.array_equal(grey(data)[..., 0], right)
    colours = np.stack((deep, deep[::-1], deep[:, ::-1]), 2)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    assert np.array_equal(rgb(png(struct.pack(">IIBBBBB", 20, 16, 16, 2, 0, 0, 0), rows)), colours >> 8)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_decoded(form):
    later = [photo(50, 34, seed=seed) for seed in (2, 3)]
    data = encoded(WIDE, form, save_all=True, append_images=later)
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 3
    found = rgb(data).numpy()
    assert found.shape == (34, 50, 3) and np.abs(found.astype(float) - pixels(WIDE)).mean() < 20
    assert np.array_equal(found, pixels(reopened(data)))


@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_jpeg_is_set_upright(turn, big_endian):
    data = encoded(turned(WIDE, turn), exif=exif(turn, big_endian=big_endian))
    upright = pixels(reopened(data))
    assert upright.shape == (34, 50, 3)
    assert np.array_equal(rgb(data), upright)
    found, size = part(data, (3, 11, 20, 30), 100)  # nothing is lost where the window touches no edge of the picture
    assert np.array_equal(found, upright[3:23, 11:41]) and tuple(size) == (20, 30)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_rotated_jpeg_is_decoded_at_a_scale_that_divides_its_size(turn):
    picture = photo(64, 48, seed=1)
    data = encoded(turned(picture, turn), exif=exif(turn))
    found, size = part(data, (8, 16, 16, 32), 8)
    assert found.shape == (8, 16, 3) and tuple(size) == (16, 32)
    halved = pixels(picture)[8:24, 16:48].reshape(8, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(found.numpy() - halved).mean() < 3 < np.abs(found.numpy()[:, ::-1] - halved).mean()
    uneven = encoded(turned(WIDE, turn), exif=exif(turn))
    assert part(uneven, (8, 16, 16, 32), 8)[0].shape == ((8, 16, 3) if turn == 1 else (16, 32, 3))


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", [3, 6])
def test_other_formats_are_set_upright(form, turn):
    tags = Image.Exif()
    tags[0x0112] = turn
    lossless = {"lossless": True} if form == "WEBP" else {}
    data = encoded(turned(WIDE, turn), form, exif=tags, **lossless)
    assert np.array_equal(rgb(data), pixels(WIDE))
    assert np.array_equal(part(data, (3, 11, 20, 30), 8)[0], pixels(WIDE)[3:23, 11:41])


@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
def test_a_thumbnails_orientation_is_not_the_pictures(big_endian):
    for turn in (None, 6):
        data = encoded(turned(WIDE, turn or 1), exif=exif(turn, big_endian=big_endian, thumbnail_turn=3))
        assert int(decode.read_orientation(data)) == (turn or 1)
        assert np.array_equal(rgb(data), pixels(reopened(data)))


@pytest.mark.parametrize("turn", [0, 9])
def test_an_invalid_orientation_is_ignored(turn):
    assert (
        int(decode.read_orientation(encoded(WIDE, exif=exif(turn or None).replace(b"\1\0\x09\0", b"\1\0\x0a\0")))) == 1
    )


def test_the_format_is_recognised_from_the_content(tmp_path):
    paths = []
    for form, suffix in (("PNG", "jpg"), ("JPEG", "png"), ("WEBP", "jpg"), ("BMP", "gif")):
        paths.append(str(tmp_path / f"{form}.{suffix}"))
        (tmp_path / f"{form}.{suffix}").write_bytes(encoded(WIDE, form))
    assert list(pipeline.find_readable(paths, 3)) == [(0, 34), (1, 34), (2, 34), (3, 34)]


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (7, 2), (2000, 2)])
def test_smallest_and_widest_pictures(form, size):
    data = encoded(photo(*size), form)
    assert np.array_equal(rgb(data), pixels(reopened(data)))
    found, stored = part(data, (0, 0, *size[::-1]), 1)
    assert tuple(stored) == size[::-1] and min(found.shape[:2]) >= 1


def test_scales_cover_the_requested_size():
    assert [
        int(decode.covering_scale(tf.constant(side), 32)) for side in (1, 32, 63, 64, 127, 128, 255, 256, 9999)
    ] == [*(0, 0, 0, 1, 1, 2, 2, 3, 3)]
    data = encoded(photo(264, 131), quality=95)
    assert rgb(data).shape == (131, 264, 3)
    assert [tuple(part(data, (0, 0, 131, 264), cover)[0].shape[:2]) for cover in (66, 65, 32, 16)] == [
        *((131, 264), (66, 132), (33, 66), (17, 33))
    ]


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_window_may_reach_beyond_the_picture(turn):
    data = encoded(turned(WIDE, turn), exif=exif(turn))
    found, size = part(data, (-5, 11, 44, 60), 100)
    assert np.array_equal(found, pixels(reopened(data))[:, 11:]) and tuple(size) == (44, 60)


def test_height_and_width_have_separate_scales():
    pairs = [((256, 64), (64, 32)), ((256, 64), (32, 16)), ((64, 256), (64, 32)), ((64, 256), (8, 8))]
    assert [int(decode.covering_scale(tf.constant(side), tf.constant(target))) for side, target in pairs] == [
        1,
        2,
        0,
        3,
    ]


def damaged():
    jpeg, whole = encoded(WIDE), encoded(WIDE, "PNG")
    flipped = bytearray(whole)
    flipped[60] ^= 255
    return {
        "empty": (b"", "the file is empty"),
        "garbage": (b"hello, world", "not a known picture format"),
        "page": (b"<html><body>404</body></html>", "it is an HTML page, not a picture"),
        "cut": (jpeg[: len(jpeg) // 2], "image file is truncated"),
        "endless": (jpeg[:-2], "image file is truncated"),
        "head": (b"\xff\xd8\xff", "not a known picture format"),
        "cut-png": (whole[: len(whole) // 2], "."),
        "flipped-png": (bytes(flipped), "broken"),
        "bomb": (png(struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0), bytes(100)), "decompression bomb"),
        "bomb-jpeg": (jpeg.replace(b"\x08\0\x22\0\x32", b"\x08\x36\xb0\x36\xb0"), "decompression bomb"),
        "cut-webp": (encoded(WIDE, "WEBP")[:200], "."),
        "cut-gif": (encoded(WIDE, "GIF")[:900], "truncated"),
        "cut-bmp": (encoded(WIDE, "BMP")[:900], "truncated"),
    }


@pytest.mark.parametrize("name", damaged())
def test_files_that_are_not_pictures_raise_errors(tmp_path, capfd, name):
    data, reason = damaged()[name]
    for decoded in (rgb, grey):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decoded(data)
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    said = decode.explain_unreadable(str(path))
    assert re.search(reason, said) and "\n" not in said and "object at" not in said
    # libjpeg's own word, of a JPEG cut in its head; TensorFlow has no way to silence it
    assert set(capfd.readouterr().err.splitlines()) <= {"Improper call to JPEG library in state 201"}


def test_files_that_are_not_pictures_are_skipped(tmp_path, capfd):
    for name, (data, _) in damaged().items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "fine").write_bytes(encoded(WIDE))
    assert list(pipeline.find_readable([str(tmp_path / name) for name in (*damaged(), "fine")], 3)) == [(13, 34)]
    assert "Traceback" not in capfd.readouterr().err


def test_missing_files_are_reported(tmp_path):
    assert decode.explain_unreadable(str(tmp_path / "gone.jpg")) == "No such file or directory"
    assert decode.explain_unreadable(str(tmp_path)) == "it is a folder"


def test_files_that_only_pillow_reads_are_damaged(tmp_path):
    path = tmp_path / "fine.png"
    path.write_bytes(encoded(WIDE, "PNG"))
    assert decode.explain_unreadable(str(path)) == "damaged"
