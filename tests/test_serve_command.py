"""`transferkit serve`: its command line, and a process of its own under load."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from transferkit.serving import requests as checks
from transferkit.serving import server


def test_an_address_that_is_taken(cli, finished):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = cli("serve", finished.folder, "--port", port)
    sentence = f"Error: 127.0.0.1:{port} cannot be served: the port is in use: give another --port, or 0 for any.\n"
    assert (status, out, err) == (1, "", sentence)


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("nowhere",), 2, "No network, run folder or Keras file is called 'nowhere'"),
        (("{run}", "--host", "no.such.host.invalid"), 2, "--host no.such.host.invalid has no address"),
        (("{run}", "--host", "192.0.2.1"), 1, "this machine does not have the address"),
        (("{run}", "--port", "70000"), 2, "70000 is not in the range 0<=x<=65535"),
        (("{run}", "--max-mb", "0"), 2, "0 is not in the range 1<=x<=200"),
        (("{run}", "--weights", "none"), 2, "has weights of its own: omit --weights none."),
    ],
)
def test_wrong_usage_is_a_sentence(cli, finished, words, status, sentence):
    found, out, err = cli("serve", *(word.format(run=finished.folder) for word in words))
    assert (found, out) == (status, "") and sentence in err
    assert "Traceback" not in err and "Loading" not in err


def test_a_missing_package_names_the_extra(cli, finished, monkeypatch):
    monkeypatch.setattr(checks, "find_spec", lambda module: None if module == "python_multipart" else module)
    status, _, err = cli("serve", finished.folder)
    assert status == 2
    assert err == "Error: serve needs python-multipart, which is not installed: pip install 'transferkit[serve]'.\n"


@pytest.mark.parametrize(("host", "is_safe"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_other_machines(host, is_safe):
    with server.open_socket(host, 0) as opened:
        assert server.is_loopback(opened) == is_safe
        assert re.fullmatch(r"http://(\[::1\]|[\d.]+):\d+", server.find_url(opened))


@contextmanager
def started(folder: Path, *words):
    """A server in a process of its own, and its address."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    words = [sys.executable, "-m", "transferkit", "serve", str(folder), "--port", "0", "--json", *words]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    lines: list[str] = []
    while not lines or lines[-1] not in ("}\n", ""):
        lines.append(process.stdout.readline())
    try:
        yield process, json.loads("".join(lines))["url"]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_200_uploads_at_once_and_ctrl_c(finished, pets):
    files = [path.read_bytes() for path in sorted(pets.rglob("*.jpg"))]
    gate = threading.Barrier(200)
    with started(finished.folder) as (process, url), ThreadPoolExecutor(200) as threads:

        def send(number: int):
            gate.wait(60)
            data = b"no picture" if number % 10 == 9 else files[number % len(files)]
            return requests.post(f"{url}/predict", data=data, headers={"content-type": "image/jpeg"}, timeout=120)

        answers = list(threads.map(send, range(200)))
        assert [each.status_code for each in answers] == [415 if number % 10 == 9 else 200 for number in range(200)]
        alone = {number: send_alone(url, files[number]) for number in range(len(files))}
        for number, each in enumerate(answers):
            if number % 10 != 9:
                (row,), right = each.json(), alone[number % len(files)]
                assert row["label"] == right["label"]
                assert row["probability"] == pytest.approx(right["probability"], abs=1e-4)
        text = requests.get(f"{url}/metrics", timeout=30).text
        assert f"transferkit_pictures_total {180 + len(files)}.0" in text
        batches = float(re.search(r"^transferkit_batch_pictures_count (\S+)$", text, flags=re.M)[1])
        assert batches < 0.7 * 180 + len(files)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr.read().splitlines()[-1] == "Stopped."


def send_alone(url: str, data: bytes) -> dict:
    return requests.post(f"{url}/predict", data=data, headers={"content-type": "image/jpeg"}, timeout=60).json()[0]


@pytest.mark.slow
def test_what_is_under_way_is_answered_before_the_end(finished, pets):
    """A request of which the last bytes come after the signal."""
    data = (pets / "dog" / "001.jpg").read_bytes()
    with started(finished.folder, "--host", "0.0.0.0") as (process, url):
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            head = (
                f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            )
            connection.sendall(head.encode() + data[:-9])
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            connection.sendall(data[-9:])
            assert connection.recv(9999).startswith(b"HTTP/1.1 200 OK")
        assert process.wait(30) == -signal.SIGTERM
        assert "no password and no encryption" in process.stderr.read()
