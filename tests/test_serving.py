"""The HTTP interface of `transferkit serve`, over a socket."""

import hashlib
import io
import json
import re
import socket
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import numpy as np
import pytest
import requests
from pictures import encoded, photo
from PIL import Image
from served import serving

from transferkit.evaluation import predict, shift
from transferkit.explain.explanations import explain_pictures
from transferkit.serving.app import create_app
from transferkit.serving.classifier import make_classifier
from transferkit.serving.requests import Limits

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture(scope="module")
def classifier(finished):
    return make_classifier(finished.network, str(finished.folder))


@pytest.fixture(scope="module")
def url(classifier):
    with serving(create_app(classifier, "pets")) as url:
        yield url


@pytest.fixture
def serve(classifier):
    """serve(**limits) gives the address of a server that has them, and an unpatched classifier."""
    stack = []

    def start(changed=classifier, **limits):
        stack.append(serving(create_app(changed, "pets", Limits(**limits))))
        return stack[-1].__enter__()

    yield start
    for each in stack:
        each.__exit__(None, None, None)


def post(url, *files, **words):
    return requests.post(url, files=[("file", each) for each in files], timeout=30, **words)


def read(paths):
    return [(path.name, path.read_bytes()) for path in paths]


def figure(url, name):
    """A number of the metrics; 0 if there is none yet."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", requests.get(f"{url}/metrics", timeout=9).text, flags=re.M)
    return float(found[1]) if found else 0


def test_answers_are_those_of_predict(url, finished, pets, tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"no picture")
    paths = [*sorted(pets.rglob("*.jpg"))[::5], tmp_path / "notes.txt", sorted(pets.rglob("*.jpg"))[3]]
    found = shift.find_shift_model(str(finished.folder), finished.network)
    expected = predict.predict(finished.network, paths, top=1, shift_model=found)
    response = post(f"{url}/predict?top=1", *read(paths))
    assert response.status_code == 200
    for row, right, path in zip(response.json(), expected, paths, strict=True):
        assert list(row) == list(right)
        assert row == right | {"path": path.name, "probability": row["probability"], "top": row["top"]} | (
            {"unlike": row["unlike"]} if row["unlike"] else {}
        )
        if row["label"]:
            assert row["probability"] == pytest.approx(right["probability"], abs=1e-5)
            assert row["top"] == [[row["label"], row["probability"]]]
            assert row["unlike"] == pytest.approx(right["unlike"], abs=2e-3)


def test_a_body_that_is_a_picture(url, pets):
    data = (pets / "dog" / "001.jpg").read_bytes()
    (row,) = requests.post(f"{url}/predict", data=data, headers=JPEG, timeout=30).json()
    (again,) = post(f"{url}/predict", ("picture", data)).json()
    assert row == again and row["label"] == "dog" and len(row["top"]) == 2


@pytest.mark.parametrize(
    ("body", "headers", "status", "sentence"),
    [
        (b"", JPEG, 422, "The picture cannot be read: the file is empty."),
        (b"%PDF-1.4", JPEG, 415, "The picture cannot be read: it is a PDF, not a picture."),
        (encoded(photo(40, 30))[:400], JPEG, 422, "The picture cannot be read: "),
        (b"a=b", {"content-type": "application/x-www-form-urlencoded"}, 415, "not application/x-www-form-urlencoded."),
        (b"{}", {}, 415, "Expected multipart/form-data or a body of image/*, not no type."),
        (b"x", {"content-type": "multipart/form-data"}, 400, "not understood: Missing boundary"),
        (b"x", {"content-type": "multipart/form-data; boundary=b"}, 400, "not understood: Invalid multipart data."),
        (b"--b--\r\n", {"content-type": "multipart/form-data; boundary=b"}, 415, "The request has no pictures"),
        (
            b"--b\r\n",
            {"content-type": "multipart/form-data; boundary=b"},
            400,
            "cut off: its last boundary is missing.",
        ),
    ],
)
def test_bad_bodies_are_sentences(url, body, headers, status, sentence):
    for path in ("predict", "explain"):
        response = requests.post(f"{url}/{path}", data=body, headers=headers, timeout=30)
        assert response.status_code == status
        if path == "predict":
            assert sentence in response.json()["error"] and response.json()["error"].endswith(".")


def test_wrong_paths_methods_and_numbers(url, pets):
    (file,) = read([pets / "cat" / "000.jpg"])
    cases = [
        (requests.get(f"{url}/nowhere", timeout=9), 404, "GET /nowhere: not found."),
        (requests.get(f"{url}/predict", timeout=9), 405, "GET /predict: method not allowed."),
        (post(f"{url}/predict?top={'9' * 5000}", file), 400, f"top is a whole number of at least 1, not '{'9' * 20}'."),
        (post(f"{url}/predict?top=0", file), 400, "top is a whole number of at least 1, not '0'."),
        (
            post(f"{url}/explain?class=cot", file),
            400,
            "No class of tiny (fresh) is called 'cot'. Did you mean 'cat'? Known: cat, dog.",
        ),
        (post(f"{url}/explain", file, file), 413, "One picture is explained at a time, not 2."),
    ]
    for response, status, sentence in cases:
        assert (response.status_code, response.json()) == (status, {"error": sentence})


def test_labels_health_and_metrics(url, classifier, pets):
    assert requests.get(f"{url}/labels", timeout=9).json() == ["cat", "dog"]
    assert requests.get(f"{url}/healthz", timeout=9).json() == {"status": "ok"}
    names = [
        "transferkit_pictures_total",
        'transferkit_errors_total{kind="no_picture"}',
        'transferkit_requests_total{path="/predict",status="200"}',
        'transferkit_request_seconds_count{path="/predict"}',
        "transferkit_batch_pictures_sum",
    ]
    before = [figure(url, name) for name in names]
    post(f"{url}/predict", *read(sorted(pets.rglob("*.jpg"))[:5]), ("a.txt", b"text"))
    assert [figure(url, name) for name in names] == [old + more for old, more in zip(before, (5, 1, 1, 1, 5))]  # noqa: B905
    assert figure(url, "transferkit_waiting_pictures") == 0


def test_gradcam(url, finished, pets):
    path = pets / "cat" / "002.jpg"
    (right,) = explain_pictures(finished, path, class_name="dog")
    response = post(f"{url}/explain?class=dog", *read([path]))
    drawn = np.asarray(Image.open(io.BytesIO(response.content))).astype(int)
    assert response.headers["content-type"] == "image/png" and drawn.shape == (32, 32, 3)
    from transferkit.explain.drawing import draw_overlay

    assert np.abs(drawn - np.asarray(draw_overlay(right.picture, right.heat)).astype(int)).max() <= 3
    predicted, other = (post(f"{url}/explain{query}", *read([path])).content for query in ("", "?class=cat"))
    assert predicted == other != response.content


def test_the_page_asks_nobody_else(url):
    response = requests.get(url, timeout=9)
    policy = response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff" and "unsafe" not in policy
    for tag in ("script", "style"):
        for text in re.findall(rf"<{tag}>(.*?)</{tag}>", response.text, flags=re.S):
            assert f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert not re.search(r"https?://|<link|<script src", response.text)
    assert requests.get(f"{url}/nowhere", timeout=9).headers["content-security-policy"] == policy


def test_class_names_cannot_write_html(classifier):
    names = ("</script><script>alert(1)</script>", "dog")
    changed = replace(classifier, network=replace(classifier.network, classes=names))
    with serving(create_app(changed, "<b>")) as url:
        text = requests.get(url, timeout=9).text
    assert text.count("<script>") == 1 and "<b>" not in text


def test_number_and_size_of_uploads(serve):
    url = serve(megabytes=1, pictures=3)
    small, noise = encoded(photo(20, 20)), bytes(900_000)
    assert post(f"{url}/predict", *[("a.jpg", small)] * 3).status_code == 200
    response = post(f"{url}/predict", *[("a.jpg", small)] * 4)
    assert (response.status_code, response.json()) == (413, {"error": "At most 3 pictures go into one request."})
    sentence = {"error": "The request has more than 1 MB, which are the most."}
    assert post(f"{url}/predict", ("a", noise)).status_code == 415
    for response in (
        post(f"{url}/predict", ("a", noise), ("b", noise)),
        requests.post(f"{url}/predict", data=noise * 2, headers=JPEG, timeout=9),
        requests.post(f"{url}/predict", data=(noise for _ in range(2)), headers=JPEG, timeout=9),  # without a length
    ):
        assert (response.status_code, response.json()) == (413, sentence)
    assert post(f"{url}/predict", *[("a.jpg", small)] * 3).status_code == 200


def test_a_client_that_still_sends_sees_why_it_is_refused(serve):
    """One that wants the connection closed after the answer, as proxies do, would be cut off while it sends."""
    url, noise = serve(megabytes=30), "x" * 25_000_000
    head = HEAD.replace("image/png", "text/plain").replace("Host: x", "Host: x\r\nConnection: close")
    assert send(url, f"{head}{len(noise)}\r\n\r\n{noise}").startswith(b"HTTP/1.1 415 ")


def send(url, text: str) -> bytes:
    """The first bytes that a server answers to a request of which no more will come."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(text.encode())
        return connection.recv(9999)


HEAD = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: "


def test_a_body_that_is_declared_too_large_or_never_comes(serve):
    url = serve(megabytes=1, seconds=0.3)
    assert send(url, f"{HEAD}99999999999\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    start = time.monotonic()
    assert send(url, f"{HEAD}5000\r\n\r\nabc").startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - start < 10
    assert requests.get(f"{url}/healthz", timeout=9).ok


def hold_back(classifier, monkeypatch):
    """An event that the network waits for."""
    go, compute = Event(), type(classifier).compute
    monkeypatch.setattr(type(classifier), "compute", lambda self, views: go.wait(20) and compute(self, views))
    return go


@pytest.mark.parametrize("limits", [{"waiting": 2}, {"waiting_megabytes": 1}])
def test_a_full_queue(serve, classifier, monkeypatch, limits):
    url, go = serve(**limits), hold_back(classifier, monkeypatch)
    file = ("a.png", encoded(Image.effect_noise((500, 700), 90), "PNG"))  # 0.3 MB
    with ThreadPoolExecutor(2) as threads:
        first = [threads.submit(post, f"{url}/predict", file) for _ in range(2)]
        until = time.monotonic() + 10
        while figure(url, "transferkit_waiting_pictures") < 2 and time.monotonic() < until:
            time.sleep(0.02)
        refused = post(f"{url}/predict", file, file)
        go.set()
        assert [each.result().status_code for each in first] == [200, 200]
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json() == {"error": "The server is busy: try again in a second."}
    assert figure(url, 'transferkit_errors_total{kind="busy"}') == 1
    assert post(f"{url}/predict", file, file).status_code == 200


def test_what_waits_is_computed_together(serve, classifier, monkeypatch):
    url, go = serve(batch=8), hold_back(classifier, monkeypatch)
    file, count = ("a.png", encoded(photo(20, 20), "PNG")), 24
    with ThreadPoolExecutor(count) as threads:
        answers = [threads.submit(post, f"{url}/predict", file) for _ in range(count)]
        until = time.monotonic() + 10
        while figure(url, "transferkit_waiting_pictures") < count and time.monotonic() < until:
            time.sleep(0.02)
        go.set()
        assert {each.result().status_code for each in answers} == {200}
    assert figure(url, "transferkit_batch_pictures_sum") == count
    assert figure(url, "transferkit_batch_pictures_count") <= 8  # two that were held back, and full ones
    assert figure(url, 'transferkit_batch_pictures_bucket{le="8.0"}') == figure(url, "transferkit_batch_pictures_count")


def test_an_error_of_ours_is_a_sentence_and_the_server_goes_on(serve, classifier, monkeypatch, capfd, pets):
    url, files = serve(), read([pets / "cat" / "000.jpg"])
    with monkeypatch.context() as patch:
        patch.setattr(type(classifier), "compute", lambda self, views: 1 / 0)
        response = post(f"{url}/predict", *files)
    assert (response.status_code, response.json()) == (500, {"error": "The server failed; its log says why."})
    error = capfd.readouterr().err
    assert "A request failed: ZeroDivisionError: division by zero." in error and "Traceback" not in error
    assert figure(url, 'transferkit_errors_total{kind="internal"}') == 1
    assert post(f"{url}/predict", *files).status_code == 200
    assert requests.get(f"{url}/healthz", timeout=9).ok


def test_names_of_files_are_answered_as_they_came(url):
    name = "../../etc/\u00fc\u732b.jpg"
    (row,) = post(f"{url}/predict", (name, encoded(photo(20, 20)))).json()
    assert row["path"] == name and json.dumps(row).isascii()
