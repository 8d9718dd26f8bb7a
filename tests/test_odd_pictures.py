"""Unusual picture files: both decoders and `check` agree with Pillow."""

import io

import numpy as np
import odd_pictures
import pytest
import tensorflow as tf
from pictures import encoded, photo
from PIL import Image, ImageOps

from transferkit.data import decode, pipeline
from transferkit.data.audit import file_scan
from transferkit.pixels import Pixels

FILES = odd_pictures.every()
STRING = tf.TensorSpec((), tf.string)
DECODED = {
    n: tf.function(lambda data, n=n: decode.decode_whole(data, n)[0], input_signature=(STRING,), autograph=False)
    for n in (1, 3, 4)
}


def expected(data: bytes) -> dict[int, np.ndarray]:
    """The picture by Pillow's own functions: upright, and on white but for four channels."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    clear = image.convert("RGBA")
    white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), clear).convert("RGB")
    grey = np.asarray(white.convert("L"))[..., None]
    return {1: grey, 3: np.asarray(white), 4: np.asarray(clear)}


def far(seen: file_scan.FileScan, picture: np.ndarray) -> float:
    """How far a fingerprint is from that of a picture, in levels of luminance."""
    prints = (seen.fingerprint, file_scan.compute_fingerprint(Image.fromarray(picture)))
    first, second = (np.frombuffer(one, np.uint8)[: file_scan.LUMA_SIZE].astype(float) for one in prints)
    return np.abs(first - second).mean()


def test_number_of_files():
    assert len(FILES) >= 200 and len(set(FILES.values())) == len(FILES)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of the reference
def test_decoders_and_check_agree_with_pillow(tmp_path, capfd):
    path, odd = tmp_path / "picture", {}
    for name, data in FILES.items():
        right = expected(data)
        for channels, decoded in DECODED.items():
            picture, wanted = decoded(data).numpy(), right[channels]
            most = 1.5 if channels == 1 else 0  # the luminance that a JPEG stores is nearly that of its colours
            if picture.shape != wanted.shape or np.abs(picture.astype(float) - wanted).mean() > most:
                odd[name, channels] = (picture.shape, wanted.shape)
        path.write_bytes(data)
        seen = file_scan.scan_file(str(path))
        if seen.reason or {seen.width, seen.height} != {*right[3].shape[:2]} or far(seen, right[3]) > 4:
            odd[name, "look"] = seen
    assert not odd
    assert capfd.readouterr().err == ""


def test_libjpeg_warnings_do_not_reach_standard_error(tmp_path, capfd):
    whole = encoded(photo(90, 70, seed=3))
    (tmp_path / "a.jpg").write_bytes(whole[:-2] + bytes(9) + whole[-2:])  # extraneous bytes before the end marker
    (tmp_path / "b.jpg").write_bytes(whole[:1500] + b"\0" + whole[1500:])
    paths = [str(tmp_path / name) for name in ("a.jpg", "b.jpg")]
    ((_, rows),) = pipeline.evaluation_dataset(paths, Pixels(crop=32, resize=37), batch_size=4).as_numpy_iterator()
    assert rows.tolist() == [0, 1] and not any(file_scan.scan_file(path).reason for path in paths)
    assert capfd.readouterr().err == ""
