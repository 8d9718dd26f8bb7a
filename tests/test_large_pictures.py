"""Small files that declare large pictures are refused with the same message everywhere; large ones are read in turn."""

import io
import json
import struct
import subprocess
import sys
import textwrap
import zlib

import pytest
from pictures import encoded, photo
from PIL import Image

from transferkit.data import decode, file_segments, pillow_reader
from transferkit.data.audit.file_scan import scan_file


def webp(width: int, height: int) -> bytes:
    """36 bytes of a lossless WebP, which is why Pillow would make room as it opens it."""
    bits = (width - 1) | (height - 1) << 14
    body = b"\x2f" + bits.to_bytes(4, "little") + bytes(11)
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + body


def png(width: int, height: int) -> bytes:
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return file_segments.PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    sizes = b"\x08" + struct.pack(">HH", 34, 50)
    return encoded(photo(50, 34, seed=1)).replace(sizes, b"\x08" + struct.pack(">HH", height, width))


BOMBS = {
    "webp": webp(13_000, 13_000),
    "just too large": webp(8_001, 8_000),
    "png": png(60_000, 60_000),
    "png, just too large": png(8_000, 8_001),
    "jpeg": jpeg(65_500, 65_500),
    "jpeg, just too large": jpeg(10_000, 10_001),
    "gif": b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + encoded(photo(8, 8), "GIF")[10:],
}


@pytest.mark.parametrize("name", BOMBS)
def test_decompression_bombs_have_the_same_message_everywhere(name, tmp_path):
    path = tmp_path / "bomb.jpg"
    path.write_bytes(BOMBS[name])
    assert len(BOMBS[name]) < 3000
    found = scan_file(str(path))
    assert "decompression bomb" in found.reason and found.reason == decode.explain_unreadable(str(path))
    assert file_segments.ordinary_frame(BOMBS[name]) is None


@pytest.mark.parametrize(
    "options", [{"lossless": True}, {"quality": 50}, {"quality": 50, "alpha": True}, {"frames": 2}]
)
def test_the_size_that_a_webp_declares(options):
    picture, options = photo(51, 33), dict(options)
    if options.pop("alpha", False):
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    if options.pop("frames", 0):
        options = {"save_all": True, "append_images": [photo(51, 33, seed=2)]}
    data = encoded(picture, "WEBP", **options)
    assert file_segments.webp_size(data) == (51, 33) == Image.open(io.BytesIO(data)).size
    assert file_segments.webp_size(encoded(photo(51, 33), "PNG")) == file_segments.webp_size(data[:25]) == (0, 0)


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch):
    class Counted:
        inside = most = 0

        def __enter__(self):
            self.inside += 1
            self.most = max(self.most, self.inside)

        def __exit__(self, *_):
            self.inside -= 1

    counted = Counted()
    monkeypatch.setattr(pillow_reader, "_one_large", counted)
    monkeypatch.setattr(pillow_reader, "LARGE", 1000)
    pillow_reader.read_picture(encoded(photo(20, 20)), 3)
    assert counted.most == 0
    pillow_reader.read_picture(encoded(photo(50, 34)), 3)
    assert counted.most == 1


MEMORY = """
    import json, os, resource, sys
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from transferkit import models
    from transferkit.data.audit.scan import scan_files
    from transferkit.evaluation.predict import predict
    paths = sys.argv[1:]
    network = models.load("lenet5", "none")
    predict(network, paths[:1])
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = scan_files(paths)
    rows = predict(network, paths)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base
    print(json.dumps({"used": used, "why": [one.reason for one in found], "errors": [row["error"] for row in rows]}))
"""


@pytest.mark.slow
def test_memory_of_large_pictures(tmp_path):
    """The largest that are read, in forms that take most, several at once: 1.5 GB above what TensorFlow takes."""
    small = tmp_path / "small.png"
    photo(20, 20).save(small)
    forms = {"rgba.png": ("RGBA", {"compress_level": 1}), "p.webp": ("RGB", {"lossless": True, "method": 0})}
    forms |= {"g.jpg": ("L", {"progressive": True}), "la.png": ("LA", {"compress_level": 1})}
    for name, (mode, options) in forms.items():
        side = 10_000 if name == "g.jpg" else 8_000
        Image.new(mode, (side, side)).save(tmp_path / name, **options)
    paths = [str(small), *(str(tmp_path / name) for name in forms)]
    words = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(MEMORY), *paths]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found["why"]) == {""} and set(found["errors"]) == {None}
    assert found["used"] < 1_500_000  # kB
