"""Pictures of more than 8 bits: black stays black, white stays white, ambiguous ranges are refused."""

import io
import struct

import numpy as np
import pytest
from odd_pictures import chunk, png16, tiff
from pictures import encoded
from PIL import Image

import transferkit as tk
from transferkit.data import bit_depth, pillow_reader
from transferkit.data.audit import file_scan

RAMP = np.linspace(0, 1, 24 * 20).reshape(20, 24)  # 0 is black, 1 is white
COLOURS = np.stack((RAMP, RAMP[::-1], RAMP[:, ::-1]), 2)


def whole(values, top, kind) -> np.ndarray:
    return np.round(values * top).astype(kind)


def packed(values: np.ndarray) -> np.ndarray:
    """12 bits each, two in three bytes."""
    first, second = values[:, ::2], values[:, 1::2]
    return np.stack((first >> 4, (first & 15) << 4 | second >> 8, second & 255), 2).astype(np.uint8).reshape(20, -1)


def pgm(values: np.ndarray, top: int) -> bytes:
    return b"P5 %d %d %d\n" % (*values.shape[::-1], top) + values.astype(">u2").tobytes()


def pfm(values: np.ndarray) -> bytes:
    return b"Pf\n%d %d\n-1.0\n" % values.shape[::-1] + values[::-1].astype("<f4").tobytes()


def grey_files() -> dict[str, tuple[bytes, int]]:
    """{name: (the ramp as a file, the value of its white)}."""
    found = {}
    for bits in (8, 10, 12, 14, 16):
        top = 2**bits - 1
        values = whole(RAMP, top, np.uint16)
        found[f"png-{bits}"] = (png16(values), top)
        found[f"tiff-{bits}"] = (tiff(values), top)
        found[f"tiff-lzw-{bits}"] = (encoded(Image.fromarray(values), "TIFF", compression="tiff_lzw"), top)
        for kind in (np.int16, np.int32, np.uint32):
            if top <= np.iinfo(kind).max:
                found[f"{kind.__name__}-{bits}"] = (tiff(values.astype(kind)), top)
    found["int16"] = (tiff(whole(RAMP, 2**15 - 1, np.int16)), 2**15 - 1)
    found["uint32"] = (tiff(whole(RAMP, 2**32 - 1, np.uint32)), 2**32 - 1)
    for top in (1, 255, 65535):
        found[f"float-{top}"] = (tiff((RAMP * top).astype(np.float32)), top)
        found[f"pfm-{top}"] = (pfm(RAMP * top), top)
    # what a file says counts more than its brightest value
    dim = whole(RAMP * 0.2, 4095, np.uint16)
    found["dim-sbit"] = (png16(dim, chunk(b"sBIT", b"\x0c")), 4095)
    found["dim-tag"] = (tiff(dim, most=4095), 4095)
    found["dim-12-packed"] = (tiff(packed(dim), width=24, bits=12), 4095)
    found["dim-pgm"] = (pgm(dim, 4095), 65535)
    found["scaled-sbit"] = (png16(whole(RAMP, 65535, np.uint16), chunk(b"sBIT", b"\x0c")), 65535)
    found["jpeg-2000"] = (encoded(Image.fromarray(whole(RAMP, 65535, np.uint16)), "JPEG2000"), 65535)
    return found


@pytest.mark.parametrize("name", grey_files())
def test_the_range_is_found_from_the_values(tmp_path, name):
    data, top = grey_files()[name]
    right = RAMP * (51 if name.startswith("dim") else 255)
    for channels in (1, 3, 4):
        picture = pillow_reader.read_picture(data, channels).astype(float)
        assert np.abs(picture[..., : min(channels, 3)] - right[..., None]).max() <= (3 if "2000" in name else 1)
    (tmp_path / "ramp.jpg").write_bytes(data)
    assert file_scan.scan_file(str(tmp_path / "ramp.jpg")).white_level == top


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours(bits, channels):
    top = 2**bits - 1
    values = np.concatenate((COLOURS, np.ones((20, 24, 1))), 2)[
        ..., {2: (0, 3), 3: (0, 1, 2), 4: (0, 1, 2, 3)}[channels]
    ]
    right = values * 255 if channels > 2 else values[..., (0, 0, 0, 1)] * 255
    files = [png16(whole(values, top, np.uint16))]
    if channels == 3:
        files.append(tiff(whole(values, top, np.uint16)))
    for data in files:
        found = pillow_reader.read_picture(data, 4 if channels != 3 else 3).astype(float)
        assert np.abs(found - right).max() <= 1


def test_white_may_be_zero():
    for values in (whole(RAMP, 65535, np.uint16), whole(RAMP, 4095, np.uint16), RAMP.astype(np.float32)):
        found = pillow_reader.read_picture(tiff(values, photometric=0), 1)[..., 0]
        assert np.abs(found - 255 * (1 - RAMP)).max() <= 1


def test_a_transparent_value_of_16_bits_is_white():
    values = whole(RAMP, 65535, np.uint16)
    found = pillow_reader.read_picture(png16(values, chunk(b"tRNS", struct.pack(">H", int(values[3, 4])))), 1)[..., 0]
    assert found[3, 4] == 255 and np.abs(found - 255 * RAMP)[values != values[3, 4]].max() <= 1


UNKNOWN = {
    "below": (RAMP * 2 - 1).astype(np.float32),
    "signed": whole(RAMP * 2 - 1, 1024, np.int16),
    "whole-signed": np.round(RAMP * 2 - 1).astype(np.float32),
    "hdr": (RAMP * 5.3).astype(np.float32),
    "beyond": (RAMP * 1e6).astype(np.float32),
    "24-bits": whole(RAMP, 2**24, np.int32),
    "nan": np.where(RAMP > 0.5, np.nan, RAMP).astype(np.float32),
    "infinite": np.where(RAMP > 0.5, np.inf, RAMP).astype(np.float32),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_ambiguous_ranges_are_refused(tmp_path, name):
    (tmp_path / "a.tif").write_bytes(tiff(UNKNOWN[name]))
    said = file_scan.scan_file(str(tmp_path / "a.tif")).reason
    assert said.startswith("its values ") and "expected 0..1, 0..255 or 0..65,535" in said


def test_white_levels_of_unusual_values():
    assert bit_depth.find_white_level(np.array([-0.004, 1.006])) == 1
    assert bit_depth.find_white_level(np.array([0.0, 3.0, 7.0])) == 255
    assert bit_depth.find_white_level(np.zeros((2, 2), np.uint16)) == 255


def test_arrays_of_other_types():
    same = whole(COLOURS, 255, np.uint8)
    for kind in (np.int64, np.float32):
        listing = tk.list_arrays([same.astype(kind)] * 2, ["a", "b"])
        assert np.array_equal(np.asarray(Image.open(listing.paths[0])), same)
    for array, said in (
        (COLOURS, r"if 0..1 is black to white, \(x \* 255\)"),
        (whole(COLOURS, 65535, np.uint16), r"if 0..65,535 is black to white, \(x \* 0.00389105\)"),
        (COLOURS - 0.5, r"of 0..255\.$"),
    ):
        with pytest.raises(ValueError, match=said):
            tk.list_arrays([array, array], ["a", "b"])


def test_pillow_reads_the_files_that_these_tests_make():
    for data, _ in grey_files().values():
        assert Image.open(io.BytesIO(data)).size == (24, 20)
