"""Small files of one picture, stored in the many ways that cameras and programs store them."""

import struct
import zlib

import numpy as np
from pictures import encoded, photo
from PIL import Image, PngImagePlugin, features

WIDE = photo(43, 26, seed=1)
SHORT, LONG, BYTE, SIGNED, TEXT, RATIONAL = 3, 4, 1, 8, 2, 5


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def tiff_block(value=6, kind=SHORT, *, order="<", offset=8, count=1, tag=0x0112, second=None) -> bytes:
    """A TIFF header and a directory at `offset` with one entry; `second` is an orientation in a directory behind it."""
    content = {SHORT: "HH", LONG: "I", BYTE: "B3x", SIGNED: "hH", TEXT: "4s", RATIONAL: "I"}[kind]
    values = (value, 0) if content in ("HH", "hH") else (value,)
    entry = struct.pack(order + "HHI" + content, tag, kind, count, *values)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", offset)
    block = head.ljust(offset, b"\0") + struct.pack(order + "H", 1) + entry
    if second is None:
        return block + bytes(4)
    behind = struct.pack(order + "HHHIHHI", 1, 0x0112, SHORT, 1, second, 0, 0)
    return block + struct.pack(order + "I", len(block) + 4) + behind


def exif(*args, **words) -> bytes:
    return segment(0xE1, b"Exif\0\0" + tiff_block(*args, **words))


def xmp(turn=6) -> bytes:
    return (
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF><rdf:Description "
        b'tiff:Orientation="%d"/></rdf:RDF></x:xmpmeta>' % turn
    )


XMP = b"http://ns.adobe.com/xap/1.0/\0"
BEFORE = {
    "nothing": b"",
    "comment": segment(0xFE, b"made by hand"),
    "icc": segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(3000)),
    "two-icc": segment(0xE2, b"ICC_PROFILE\0\1\2" + bytes(65000)) + segment(0xE2, b"ICC_PROFILE\0\2\2" + bytes(9000)),
    "xmp": segment(0xE1, XMP + b"<x:xmpmeta/>"),
    "photoshop": segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\4abcd"),
    "thumbnail": segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\4\4" + bytes(48)),
    "jfxx": segment(0xE0, b"JFXX\0\x13\4\4" + bytes(48)),
    "fill": b"\xff\xff\xff",
    "other-app1": segment(0xE1, b"Exif" + bytes(40)),
    "adobe": segment(0xEE, b"Adobe\0d\0\0\0\0\1"),
}
EXIF = {
    **{f"{name}-{order}": tiff_block(order=order, **words) for order in "<>" for name, words in {
        "offset-10": {"offset": 10}, "offset-64": {"offset": 64}, "long": {"kind": LONG}, "byte": {"kind": BYTE},
        "signed": {"kind": SIGNED}, "count-2": {"count": 2}, "count-0": {"count": 0}, "count-many": {"count": 10**6},
        "zero": {"value": 0}, "nine": {"value": 9}, "large": {"value": 65535}, "second": {"tag": 0x010E, "second": 6},
        "both": {"value": 8, "second": 3}, "rational": {"kind": RATIONAL, "value": 8},
        "text": {"kind": TEXT, "value": b"6\0\0\0"}, "offset-away": {"offset": 8, "tag": 0x0113},
    }.items()},
    "cut": tiff_block()[:14],
    "garbage": b"garbage!" * 5,
    "empty": b"",
    "beyond": b"II*\0" + struct.pack("<I", 9999),
    "itself": b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, SHORT, 1, 6, 0, 8),
    "many": b"II*\0\x08\0\0\0\xff\xff" + tiff_block()[10:],
}  # fmt: skip


def plain(picture=WIDE, **options) -> bytes:
    return encoded(picture, **{"subsampling": 2} | options)


def behind_start(data: bytes, *parts: bytes) -> bytes:
    return data[:2] + b"".join(parts) + data[2:]


def behind_marker(data: bytes, marker: int, part: bytes) -> bytes:
    """A part put behind the first segment of that marker."""
    at = data.index(bytes((0xFF, marker)))
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[:end] + part + data[end:]


def without(data: bytes, marker: int) -> bytes:
    at = data.index(bytes((0xFF, marker)))
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def kinds_of_jpeg() -> dict[str, bytes]:
    """JPEGs of every kind that Pillow decodes."""
    cmyk, found = plain(WIDE.convert("CMYK")), {}
    for name, options in {"444": {"subsampling": 0}, "422": {"subsampling": 1}, "420": {"subsampling": 2}}.items():
        for how in ({}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 1}):
            found[f"{name}{'-'.join(how)}"] = plain(**options, **how)
    for size in ((1, 1), (7, 9), (8, 8), (17, 16), (33, 15), (64, 48)):
        found[f"{size}"] = plain(photo(*size, seed=2))
        found[f"{size}-grey"] = plain(photo(*size, seed=2).convert("L"))
    found |= {"rgb": plain(keep_rgb=True, subsampling=0), "cmyk": cmyk}
    found |= {"cmyk-no-adobe": without(cmyk, 0xEE), "grey": plain(WIDE.convert("L"), progressive=True)}
    found["ycck"] = cmyk.replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2")
    found["cmyk-progressive"] = plain(WIDE.convert("CMYK"), progressive=True)
    found["adobe-5"] = behind_start(without(plain(), 0xE0), segment(0xEE, b"Adobe\0d\0\0\0\0\5"))
    found["no-jfif"] = without(plain(), 0xE0)
    found["jfif-2"] = plain().replace(b"JFIF\0\1", b"JFIF\0\2")
    found["extended"] = plain().replace(b"\xff\xc0", b"\xff\xc1", 1)
    found["odd-scan"] = plain().replace(b"\x00\x3f\x00", b"\x00\x00\x00", 1)
    found["tail"] = plain() + b"SEFT" * 9
    found["another"] = plain() + plain(photo(30, 30, seed=5))
    found["mpo"] = encoded(WIDE, "MPO", save_all=True, append_images=[photo(43, 26, seed=4)])
    return found


def jpegs() -> dict[str, bytes]:
    found = {}
    for name, before in BEFORE.items():
        for order in "<>":
            for turn in (3, 6):
                found[f"{name}-{order}-{turn}"] = behind_start(plain(), before, exif(turn, order=order))
    for name, block in EXIF.items():
        found[f"exif-{name}"] = behind_start(plain(), segment(0xE1, b"Exif\0\0" + block))
    for turn in range(1, 9):
        found[f"big-{turn}"] = behind_start(plain(), exif(turn, order=">", offset=16))
        found[f"xmp-{turn}"] = behind_start(plain(), segment(0xE1, XMP + xmp(turn)))
    for marker in (0xDB, 0xC0, 0xC4):
        found[f"behind-{marker:x}"] = behind_marker(plain(), marker, exif(6))
    found["two-exif"] = behind_start(plain(), exif(6), exif(8))
    found["exif-and-xmp"] = behind_start(plain(), exif(1), segment(0xE1, XMP + xmp(6)))
    found["in-data"] = plain()[:-2] + exif(6) + plain()[-2:]
    for name, data in kinds_of_jpeg().items():
        found |= {f"kind-{name}": data, f"kind-{name}-turned": behind_start(data, exif(8))}
    return found


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def before_chunk(data: bytes, kind: bytes, *parts: bytes) -> bytes:
    at = data.index(kind) - 4
    return data[:at] + b"".join(parts) + data[at:]


def pngs() -> dict[str, bytes]:
    found, tags = {}, Image.Exif()
    tags[0x0112] = 6
    for mode in ("1", "L", "P", "LA", "RGB", "RGBA"):
        picture = WIDE.convert("RGB").convert(mode)
        if mode.endswith("A"):
            picture.putalpha(Image.linear_gradient("L").resize(WIDE.size))
        found[mode] = encoded(picture, "PNG")
        found[f"{mode}-exif"] = encoded(picture, "PNG", exif=tags)
    found["palette-clear"] = encoded(WIDE.convert("P"), "PNG", transparency=bytes(range(200)))
    found["palette-one-clear"] = encoded(WIDE.convert("P"), "PNG", transparency=3)
    found["key"] = encoded(WIDE, "PNG", transparency=WIDE.getpixel((0, 0)))
    found["grey-key"] = encoded(WIDE.convert("L"), "PNG", transparency=WIDE.convert("L").getpixel((0, 0)))
    whole, block = encoded(WIDE, "PNG"), chunk(b"eXIf", tiff_block(8))
    found |= {"before": before_chunk(whole, b"IDAT", block), "behind": before_chunk(whole, b"IEND", block)}
    for name, kind in (("itxt", PngImagePlugin.iTXt(xmp().decode(), "", "")), ("text", "a comment")):
        info = PngImagePlugin.PngInfo()
        info.add_text("XML:com.adobe.xmp" if name == "itxt" else "Comment", kind)
        found[name] = encoded(WIDE, "PNG", pnginfo=info)
    found["animated"] = encoded(WIDE, "PNG", save_all=True, append_images=[photo(43, 26, seed=4)])
    return found


def others() -> dict[str, bytes]:
    found, tags, later = {}, Image.Exif(), [photo(43, 26, seed=4)]
    tags[0x0112] = 6
    clear = WIDE.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(WIDE.size))
    for form in ["WEBP", "JPEG2000", *(["AVIF"] if features.check("avif") else [])]:
        for name, picture in {"rgb": WIDE, "grey": WIDE.convert("L"), "clear": clear}.items():
            found[f"{form}-{name}"] = encoded(picture, form)
    for form in ["WEBP", *(["AVIF"] if features.check("avif") else [])]:
        found |= {f"{form}-exif": encoded(WIDE, form, exif=tags), f"{form}-xmp": encoded(WIDE, form, xmp=xmp())}
        found[f"{form}-animated"] = encoded(WIDE, form, save_all=True, append_images=later)
    for mode in ("1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr"):
        for compression in ("raw", "tiff_lzw", "packbits"):
            picture = (clear if mode.endswith("A") else WIDE).convert(mode)
            found[f"TIFF-{mode}-{compression}"] = encoded(picture, "TIFF", compression=compression)
    found |= {f"TIFF-{turn}": encoded(WIDE, "TIFF", tiffinfo={274: turn}) for turn in range(1, 9)}
    found["TIFF-pages"] = encoded(WIDE, "TIFF", save_all=True, append_images=later)
    found |= {"GIF": encoded(WIDE, "GIF"), "GIF-clear": encoded(WIDE.convert("P"), "GIF", transparency=3)}
    found["GIF-animated"] = encoded(WIDE, "GIF", save_all=True, append_images=later)
    found |= {
        f"{form}-{mode}": encoded(WIDE.convert(mode), form) for form in ("BMP", "PPM") for mode in ("1", "L", "RGB")
    }
    return found | {"PPM-text": b"P3 2 1 255 10 20 30 40 50 60", "BMP-P": encoded(WIDE.convert("P"), "BMP")}


def every() -> dict[str, bytes]:
    found = {}
    for group, made in (("jpeg", jpegs()), ("png", pngs()), ("other", others())):
        found |= {f"{group}-{name}": data for name, data in made.items()}
    return found


def png16(values: np.ndarray, *more: bytes) -> bytes:
    """A PNG of 16 bits: (h, w) grey, or (h, w, 2, 3 or 4)."""
    height, width = values.shape[:2]
    colour = 0 if values.ndim == 2 else {2: 4, 3: 2, 4: 6}[values.shape[2]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    return PngImagePlugin._MAGIC + head + b"".join(more) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(values: np.ndarray, **tags: int) -> bytes:
    """A TIFF of one strip; tags by their names below."""
    numbers = {"width": 256, "bits": 258, "photometric": 262, "most": 281}
    height, width = values.shape[:2]
    channels = 1 if values.ndim == 2 else values.shape[2]
    form = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    said = {256: width, 257: height, 258: 8 * values.itemsize, 259: 1, 262: 1 if channels == 1 else 2, 277: channels}
    said |= {278: height, 279: values.nbytes, 339: form} | {numbers[name]: value for name, value in tags.items()}
    start = 8 + 2 + 12 * (len(said) + 1) + 4 + 6 * 2
    lists, more = {258: said[258], 339: form}, b""
    entries = []
    for tag, value in sorted((said | {273: start}).items()):
        if tag in lists and channels > 1:
            entries.append(struct.pack("<HHII", tag, SHORT, channels, start - 12 + len(more)))
            more += struct.pack(f"<{channels}H", *[value] * channels)
        else:
            entries.append(struct.pack("<HHII", tag, LONG if tag in (273, 279) else SHORT, 1, value))
    body = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return body + more.ljust(12, b"\0") + values.astype(values.dtype.newbyteorder("<")).tobytes()
