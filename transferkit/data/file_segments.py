"""Parse the segments of JPEG, PNG and WebP files without decoding pixels. Standard library only."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2  # frames with Huffman codes
OTHER_FRAMES = frozenset({*range(0xC3, 0xD0)} - {0xC4, 0xC8})  # lossless, hierarchical, arithmetic codes
START_OF_SCAN, APP0, APP1, APP14 = 0xDA, 0xE0, 0xE1, 0xEE
END_OF_IMAGE = b"\xff\xd9"
SEQUENTIAL = b"\x00\x3f\x00"  # a scan of all 64 coefficients, of all their bits
MAX_PIXELS = (
    64_000_000  # that are decoded, at 4 bytes and several times; JPEGs may have more, as they are decoded smaller
)
MAX_JPEG_PIXELS = 100_000_000


class Frame(NamedTuple):
    """What the segments of a JPEG say of its picture.

    Attributes:
        height, width: as stored, in pixels.
        has_metadata: whether there is Exif or XMP, which may hold an orientation.
    """

    height: int
    width: int
    has_metadata: bool


def ordinary_frame(data: bytes) -> Frame | None:
    """The frame of a JPEG that all decoders read alike: grey or three colours of 8 bits, and no unusual segment.

    Unusual is whatever libjpeg warns of on standard error, and a missing end marker.

    Returns:
        None for any other file.
    """
    frame = progressive = None
    has_metadata = False
    for marker, start, end in segments(data) if data.startswith(JPEG) else ():
        if marker in (BASELINE, EXTENDED, PROGRESSIVE) and frame is None:
            frame, progressive = data[start : min(end, start + 6)], marker == PROGRESSIVE
        elif marker in (BASELINE, EXTENDED, PROGRESSIVE, *OTHER_FRAMES):
            return None
        elif marker == APP0 and data.startswith(b"JFIF\0", start) and data[start + 5] != 1:
            return None  # of an unknown version
        elif marker == APP14 and data.startswith(b"Adobe", start) and (end < start + 12 or data[start + 11] > 1):
            return None  # of an unknown colour transform, or one for four colours
        elif marker == APP1:
            has_metadata = True
        elif marker == START_OF_SCAN:
            complete = progressive or data[end - 3 : end] == SEQUENTIAL
            if frame is None or not complete or data.rfind(END_OF_IMAGE, end) < 0:
                return None
            return _parse_frame(frame, has_metadata)
    return None


def _parse_frame(header: bytes, has_metadata: bool) -> Frame | None:
    """Read the first six bytes of a frame's header: precision, size and number of components."""
    if len(header) < 6 or header[0] != 8 or header[5] not in (1, 3):
        return None
    height, width = int.from_bytes(header[1:3], "big"), int.from_bytes(header[3:5], "big")
    return Frame(height, width, has_metadata) if 0 < height * width <= MAX_JPEG_PIXELS else None


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment's content in a JPEG, up to its first scan or the first invalid segment."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker = data[at + 1]
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2 or marker in (0, 0xFF) or 0xD0 <= marker <= 0xD9 or at + 2 + length > len(data):
            return
        yield marker, at + 4, at + 2 + length
        if marker == START_OF_SCAN:
            return
        at += 2 + length


def webp_size(data: bytes) -> tuple[int, int]:
    """The declared (width, height) of a WebP file, the canvas of an extended one; (0, 0) for other files.

    Source: RFC 9649, sections 2.5 to 2.7 and 3.4; RFC 6386, section 9.1.
    """
    kind, body = data[12:16], data[20:30]
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(body) < 10:
        return 0, 0
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of each complete chunk in a PNG, with its length, type and checksum."""
    at = len(PNG) if data.startswith(PNG) else len(data)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            return
        yield data[at + 4 : at + 8], at, end
        at = end


def significant_bits(data: bytes) -> int:
    """The number of significant bits that a PNG declares (sBIT), the largest of its channels; 0 if it declares none."""
    return next((max(data[at + 8 : end - 4], default=0) for kind, at, end in chunks(data) if kind == b"sBIT"), 0)


def strip_metadata(data: bytes) -> bytes:
    """A JPEG or PNG with nothing but its pixels and orientation; any other file unchanged."""
    if data.startswith(JPEG):
        parts = list(segments(data))
        needed = [data[start - 4 : end] for marker, start, end in parts if _is_needed(marker, data[start:end])]
        return data[:2] + b"".join(needed) + data[parts[-1][2] :] if needed else data
    needed, last = [], 0
    for kind, at, end in chunks(data):
        last = end
        if kind[:1].isupper() or kind == b"tRNS" or (kind == b"eXIf" and _is_whole(data[at:end])):
            needed.append(data[at:end])
    return PNG + b"".join(needed) + data[last:] if needed else data


def _is_needed(marker: int, content: bytes) -> bool:
    """Whether a JPEG segment is needed for decoding, or holds the orientation."""
    if marker == APP14:
        return len(content) >= 12
    return marker <= APP0 or (marker == APP1 and content.startswith(b"Exif\0\0"))


def _is_whole(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
