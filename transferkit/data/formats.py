"""Picture formats: which files are pictures, and the one place where Pillow opens them."""

import io
import os
import re
import warnings
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec

from PIL import Image, UnidentifiedImageError
from PIL import __version__ as pillow_version

from transferkit.data import file_segments
from transferkit.data.file_ranges import MAX_BYTES

# by Pillow's name, the usual suffix first; other formats are not read, whatever the suffix of a file
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),  # a JPEG with more of them behind it
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "DIB": (".dib", ".bmp"),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "HEIF": (".heic", ".heif", ".hif"),  # by the package pillow-heif, where it is installed
}
SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)
UNKNOWN = "not a known picture format"
SAMPLE_SIZE = 1000  # first bytes of a file that is not a picture
UNCERTAIN = "damaged"  # of a file that one decoder refuses and another reads, or that may be readable later
HEIF = re.compile(rb"(?s)....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)")  # the beginnings of HEIC and HEIF files
# contents of files that are not pictures, by their first bytes
OTHER_CONTENTS = {
    rb"%PDF-": "a PDF",
    rb"PK\x03\x04|PK\x05\x06": "a zip archive",
    rb"\x7fELF|MZ": "a program",
    rb"(?s)....ftyp": "a video",
    rb"(?s)\x1aE\xdf\xa3|RIFF....AVI |\x00\x00\x01[\xba\xb3]|FLV": "a video",
    rb"(?s)ID3|RIFF....WAVE|OggS|fLaC": "sound",
    rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|(?s:.{257}ustar)": "a packed file",
    rb"%!PS|\xc5\xd0\xd3\xc6": "PostScript",
    rb"8BPS": "a file of Photoshop",
    rb"\x89HDF|SQLite format 3": "a file of data",
    rb"version https://git-lfs": "a pointer of Git LFS, in place of which `git lfs pull` gets the file",
    rb"(?is)\s*(<\?xml.*?>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg.*?>\s*)?<svg\b": "an SVG",
    rb"(?is)\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body)\b": "an HTML page",
}
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class NotAPicture(ValueError):
    """Bytes of a format that is not read."""


class TooManyPixels(ValueError):
    """A decompression bomb, or a picture that is larger than those that are read."""


def is_picture(path: str | os.PathLike) -> bool:
    """Whether a file is a picture: it has a picture's suffix, or Pillow can open it.

    A file with such a suffix may still be damaged or hold something else, which is reported when it is read.
    """
    if os.path.splitext(path)[1].lower() in SUFFIXES:
        return True
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > MAX_BYTES:  # opening a pipe would block
            return False
        with open(path, "rb") as file:
            return _is_heif(file.read(16)) or _can_open(file)
    except OSError:
        return False


def _can_open(file) -> bool:
    try:
        _open(file).close()
    except Exception:  # Pillow's readers raise nearly anything
        return False
    return True


def open_image(data: bytes) -> Image.Image:
    """Open a picture with Pillow, without decoding it. Only `FORMATS` are tried: other readers may start a program.

    Raises:
        NotAPicture: it has another format.
        TooManyPixels: it is too large.
        Exception: whatever Pillow's readers raise on damaged files.
    """
    width, height = file_segments.webp_size(data)
    _check_size(width, height, "WEBP")  # Pillow allocates it at opening
    try:
        image = _open(io.BytesIO(data))
        width, height = image.size
        _check_size(width, height, image.format)
        return image
    except UnidentifiedImageError:
        raise NotAPicture(_describe_content(data)) from None


def _check_size(width: int, height: int, format: str):
    limit = file_segments.MAX_JPEG_PIXELS if format in ("JPEG", "MPO") else file_segments.MAX_PIXELS
    if width * height > limit:
        raise TooManyPixels(
            f"a decompression bomb, or {width:,} x {height:,} pixels: {limit // 10**6} million are the most of {format}"
        )


def _open(file) -> Image.Image:
    silence_pillow()
    return Image.open(file, formats=_readable_formats())


@cache
def _readable_formats() -> tuple[str, ...]:
    """The `FORMATS` that this installation reads."""
    Image.init()
    if find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@cache
def decoder_versions() -> str:
    """The versions of the decoders: one may read what another refuses."""
    heif = f", pillow-heif {version('pillow-heif')}" if "HEIF" in _readable_formats() else ""
    return f"pillow {pillow_version}{heif}"


def silence_pillow():
    """Ignore Pillow's warnings, which do not name the file, and must not become errors where warnings do.

    The filter stays installed: filters belong to the process, and many threads read at once.
    """
    own_filter = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
    if warnings.filters[:1] != [own_filter]:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _is_heif(head: bytes) -> bool:
    return HEIF.match(head) is not None


def _describe_content(data: bytes) -> str:
    """Describe bytes that Pillow does not identify."""
    if _is_heif(data[:16]):
        return (
            "a HEIC picture that is damaged"
            if "HEIF" in _readable_formats()
            else "HEIC is read where pillow-heif is installed"
        )
    if data.startswith(TIFF):
        return "a TIFF picture that is damaged, or has an unsupported pixel type"
    head = data[:SAMPLE_SIZE].removeprefix(b"\xef\xbb\xbf")
    content = next((content for beginning, content in OTHER_CONTENTS.items() if re.match(beginning, head)), "")
    return f"it is {content}, not a picture" if content else UNKNOWN


def error_reason(error: Exception) -> str:
    """The first line of an error message, without its full stop, as it becomes part of a sentence."""
    text = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return text.rstrip(".")
