"""Uploads of an attacker to `transferkit serve`: each gets an answer, none is stored, the server goes on."""

import os
import random
import sys
import threading

import odd_pictures
import pytest
import requests
from pictures import encoded, photo
from PIL import Image
from served import serving
from test_large_pictures import BOMBS

from transferkit.serving.app import create_app
from transferkit.serving.classifier import make_classifier
from transferkit.serving.requests import Limits

FILES = odd_pictures.every()
written: list = []
is_recording: list = []  # empty, or with anything


def record(event, args):
    if event != "open" or not is_recording or threading.current_thread() is threading.main_thread():
        return
    if args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        written.append(args[0])


@pytest.fixture(scope="module")
def url(finished):
    classifier = make_classifier(finished.network, str(finished.folder))
    with serving(create_app(classifier, "pets", Limits(pictures=64, seconds=30))) as url:
        yield url


@pytest.fixture
def nothing_is_stored():
    """Fail if a thread of the server opens a file to write to it."""
    if not hasattr(record, "installed"):
        sys.addaudithook(record)
        record.installed = True  # a hook stays for ever
    written.clear()
    is_recording.append(True)
    yield
    is_recording.clear()
    assert not written


def post(url, *files, **words):
    response = requests.post(f"{url}/predict", files=[("file", each) for each in files], timeout=60, **words)
    assert "Traceback" not in response.text
    return response


@pytest.mark.usefixtures("nothing_is_stored")
def test_odd_pictures_are_read_as_others(url):
    names = list(FILES)
    for start in range(0, len(names), 64):
        response = post(url, *[(name, FILES[name]) for name in names[start : start + 64]])
        assert response.status_code == 200
        assert [row["error"] for row in response.json() if row["error"]] == []


@pytest.mark.usefixtures("nothing_is_stored")
@pytest.mark.parametrize("name", BOMBS)
def test_bombs(url, name):
    response = post(url, (name, BOMBS[name]))
    assert response.status_code == 413 and "decompression bomb" in response.json()["error"]


@pytest.mark.usefixtures("nothing_is_stored")
def test_damaged_pictures(url, capfd):
    dice, whole = random.Random(5), [encoded(photo(43, 26), form) for form in ("JPEG", "PNG", "GIF", "WEBP", "TIFF")]
    damaged = []
    for data in whole * 12:
        cut = bytearray(data[: dice.randrange(1, len(data))] if dice.random() < 0.5 else data)
        for _ in range(dice.randrange(8)):
            cut[dice.randrange(len(cut))] = dice.randrange(256)
        damaged.append(("a.jpg", bytes(cut)))
    response = post(url, *damaged)
    errors = [row["error"] for row in response.json() if row["error"]]
    assert response.status_code == 200 and len(errors) > 10 and all("\n" not in error for error in errors)
    assert requests.get(f"{url}/healthz", timeout=9).ok
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("nothing_is_stored")
def test_large_uploads_stay_in_memory(url):
    """The multipart parser would put files above a megabyte into a temporary folder."""
    file = ("a.png", encoded(Image.effect_noise((2000, 2000), 90), "PNG"))
    assert len(file[1]) > 2_500_000
    assert post(url, file, file).status_code == 200


BOUNDARY = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'
BODIES = {
    "cut": PART + b"abc",
    "many parts": PART.replace(b"\r\n\r\n", b"\r\n\r\n\r\n") * 50_000,
    "many fields": PART.replace(b'; filename="a"', b"") * 1000,
    "long field": PART.replace(b'; filename="a"', b"") + bytes(9999) + b"\r\n--b--",
    "long header": PART[:-4] + b"\r\nX: " + b"x" * 5_000_000 + b"\r\n\r\na\r\n--b--",
    "many headers": PART[:-2] + b"X: x\r\n" * 200_000 + b"\r\na\r\n--b--",
    "no name": b"--b\r\nContent-Disposition: form-data\r\n\r\na\r\n--b--",
    "dashes": b"\r\n--" * 1_000_000,
    "nothing": b"",
}


@pytest.mark.usefixtures("nothing_is_stored")
@pytest.mark.parametrize("name", BODIES)
def test_bodies_against_the_parser(url, name):
    response = requests.post(f"{url}/predict", data=BODIES[name], headers={"content-type": BOUNDARY}, timeout=30)
    assert 400 <= response.status_code < 500 and response.json()["error"].endswith(".")
    assert requests.get(f"{url}/healthz", timeout=9).ok


def test_the_recorder_sees_a_file(nothing_is_stored, tmp_path):
    thread = threading.Thread(target=(tmp_path / "a").write_text, args=("a",))
    thread.start()
    thread.join()
    assert [str(path) for path in written] == [str(tmp_path / "a")]
    written.clear()
