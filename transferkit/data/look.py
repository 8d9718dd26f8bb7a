"""One look at a file: what it is, whether it can be decoded, and a fingerprint of the picture. No TensorFlow.

A JPEG is decoded at the smallest of libjpeg's scales whose shorter side is still 32 pixels: all of its bytes are read
as at full size, in half the time. Every other format is decoded as training does, by the same function.
"""

import hashlib
import io
import os
import stat
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image

from transferkit.data import pillow
from transferkit.data.ranges import file_of, read_bytes

GRID = 16  # luminance is kept in 16 x 16 squares, colour in 4 x 4
LUMA = GRID * GRID
ORIENTATION = 0x0112
COMMON_SCANS = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive, Huffman coded
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a file found.

    Attributes:
        digest: SHA-1 of the content, empty where it could not be read.
        form: format by content, as Pillow calls it; empty where it is none.
        mode: how pixels are stored, as Pillow calls it.
        width, height: declared, as stored.
        turn: Exif orientation, 1 to 8; 1 is upright.
        reason: why it cannot be decoded; empty where it can.
        doubt: a JPEG that Pillow decodes and TensorFlow may refuse.
        refused: what TensorFlow said of a doubtful one: None before it was asked, empty if it decodes it.
        fingerprint: 256 luminances of 16 x 16 squares of the upright picture, then 4 x 4 of each colour difference.
    """

    digest: bytes = b""
    form: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    turn: int = 1
    reason: str = ""
    doubt: bool = False
    refused: str | None = None
    fingerprint: bytes = b""

    @property
    def side(self) -> int:
        return min(self.width, self.height)

    def why(self, channels: int = 3) -> str:
        """Why training cannot decode it; empty where it can. With alpha, Pillow decodes alone."""
        return self.reason or ("" if channels == 4 else self.refused or "")


def look(path: str) -> Look:
    """Read a file once. Never raises on what the file is, and never waits for a pipe or a device."""
    try:
        facts = os.stat(file_of(path))
        if not stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for its writer
            return Look(reason="it is no file" if not os.path.isdir(path) else "it is a folder")
        # files of no size in /proc are read without end, or until the kernel has something to say
        data = read_bytes(path) if facts.st_size else b""
    except (OSError, ValueError) as error:
        return Look(reason=pillow.reason(error))
    if not data:
        return Look(reason="the file is empty")
    return _look(data, hashlib.sha1(data, usedforsecurity=False).digest())


@contextmanager
def quiet():
    """Around many looks: what Pillow warns of is found anyway. The filters are the process's, not a thread's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _look(data: bytes, digest: bytes) -> Look:
    form, mode, width, height, turn = "", "", 0, 0, 1
    try:
        with Image.open(io.BytesIO(data)) as image:
            form, mode, (width, height) = image.format, stored_mode(image), image.size
            if "exif" in image.info:
                turn = image.getexif().get(ORIENTATION, 1)
                turn = turn if turn in TURNS else 1
            jpeg = data[:3] == b"\xff\xd8\xff"
            if jpeg:
                image.draft("RGB", (2 * GRID, 2 * GRID))
                image.load()
                print_ = fingerprint(image, turn)
        if not jpeg:
            print_ = fingerprint(Image.fromarray(pillow.read(data, 3)), 1)
    except Exception as error:
        said = pillow.reason(error).encode("utf-8", "replace").decode()
        return Look(digest, form, mode, width, height, turn, said)
    return Look(digest, form, mode, width, height, turn, doubt=jpeg and doubtful(data, image), fingerprint=print_)


def stored_mode(image: Image.Image) -> str:
    """Pillow's mode, and "alpha" with it where a palette or a colour key stands for transparent."""
    see_through = "transparency" in image.info and image.mode not in ("RGBA", "LA", "PA")
    return f"{image.mode} alpha" if see_through else image.mode


def fingerprint(image: Image.Image, turn: int) -> bytes:
    """What of a picture survives other sizes and other compression: 16 x 16 luminances, 4 x 4 colours."""
    small = image.convert("RGB").resize((GRID, GRID), Image.Resampling.HAMMING).convert("YCbCr")
    if turn != 1:
        small = small.transpose(TURNS[turn])
    squares, coarse = small.tobytes(), small.reduce(GRID // 4).tobytes()
    return squares[::3] + coarse[1::3] + coarse[2::3]


def doubtful(data: bytes, image: Image.Image) -> bool:
    """Whether a JPEG that Pillow decodes is one of those TensorFlow may refuse.

    Of thousands of damaged ones, these: no end marker at the end, scans that are rare, odd numbers of channels.
    """
    return data[-2:] != b"\xff\xd9" or scan(data) not in COMMON_SCANS or image.mode not in ("L", "RGB", "CMYK")


def scan(data: bytes) -> int:
    """The marker that says how a JPEG's scans are coded; 0 where there is none."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return marker
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0
