"""Which files are pictures, and the one place where Pillow opens them."""

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
from transferkit.data.file_ranges import MOST_BYTES

# by Pillow's name, the usual suffix first; a format that is not here is not read, whatever a file calls itself
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
UNKNOWN = "no picture format that is known"
LOOKED_AT = 1000  # bytes of what is no picture
UNCERTAIN = "damaged"  # of what one decoder refuses and another reads, or what could be read again later
HEIF = re.compile(rb"(?s)....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)")  # the beginnings of HEIC and HEIF files
# what files that are called pictures hold in their place, by their beginnings
OTHERS = {
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


def is_picture(path: str | os.PathLike) -> bool:
    """Whether a file is to be read as a picture: by its suffix, else by whether Pillow can open it.

    One with a picture's suffix may be damaged or hold something else, which is said when it is read.
    """
    if os.path.splitext(path)[1].lower() in SUFFIXES:
        return True
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > MOST_BYTES:  # opening a pipe would wait for ever
            return False
        with open(path, "rb") as file:
            return _is_heif(file.read(16)) or _opens(file)
    except OSError:
        return False


def _opens(file) -> bool:
    try:
        _open(file).close()
    except Exception:  # Pillow's readers raise nearly anything
        return False
    return True


def open_image(data: bytes) -> Image.Image:
    """A picture as Pillow opens it, its pixels not read yet. Only `FORMATS` are tried: others may start a program.

    Raises:
        ValueError: it has none of these formats, or more pixels than are decoded.
        Exception: whatever Pillow's readers raise on damaged files.
    """
    _check_size(*file_segments.webp_size(data), "WEBP")  # which Pillow makes room for as it opens it
    try:
        image = _open(io.BytesIO(data))
        _check_size(*image.size, image.format)
        return image
    except UnidentifiedImageError:
        raise ValueError(_unknown(data)) from None


def _check_size(width: int, height: int, form: str):
    most = file_segments.MAX_JPEG_PIXELS if form in ("JPEG", "MPO") else file_segments.MAX_PIXELS
    if width * height > most:
        raise ValueError(
            f"a decompression bomb, or {width:,} x {height:,} pixels: {most // 10**6} million are the most of {form}"
        )


def _open(file) -> Image.Image:
    silence_pillow()
    return Image.open(file, formats=_formats())


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this installation reads."""
    Image.init()
    if find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@cache
def decoder_versions() -> str:
    """What decodes pictures here: what one version refuses another may read."""
    heif = f", pillow-heif {version('pillow-heif')}" if "HEIF" in _formats() else ""
    return f"pillow {pillow_version}{heif}"


def silence_pillow():
    """Pillow's warnings, which name no file, are not shown; nor do they become errors where warnings are.

    The filter stays: filters are the process's, and many threads read at once.
    """
    mine = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
    if warnings.filters[:1] != [mine]:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _is_heif(head: bytes) -> bool:
    return HEIF.match(head) is not None


def _unknown(data: bytes) -> str:
    """What to say of bytes that Pillow does not identify."""
    if _is_heif(data[:16]):
        return (
            "a HEIC picture that is damaged" if "HEIF" in _formats() else "HEIC is read where pillow-heif is installed"
        )
    if data.startswith(TIFF):
        return "a TIFF picture that is damaged, or whose kind of pixels is not read"
    head = data[:LOOKED_AT].removeprefix(b"\xef\xbb\xbf")
    what = next((what for beginning, what in OTHERS.items() if re.match(beginning, head)), "")
    return f"it is {what}, not a picture" if what else UNKNOWN


def error_reason(error: Exception) -> str:
    """One line on why bytes could not be decoded."""
    said = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return said.rstrip(".")  # it goes into a sentence
