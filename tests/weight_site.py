"""A server of weight files on this machine that misbehaves as told, and the set it serves."""

import hashlib
import random
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from transferkit.pixels import Pixels
from transferkit.weights import fetch
from transferkit.weights.catalogue import WeightSet

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
    length: str | None = ""  # Content-Length in place of the right one; None sends none


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
    if site.length is not None:
        request.send_header("Content-Length", site.length or str(len(site.body) - start))
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


@contextmanager
def serve():
    """A running site."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            with suppress(ConnectionError):  # of a client that has had enough
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


def fetched(url: str):
    """Fetch from a site, and say so as a command would."""
    try:
        print(fetch.fetch_weights(public(url, None)))
    except ValueError as error:
        sys.exit(f"Error: {error}")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"net.pth.lock"}


def hand_over(folder: Path, content: bytes) -> Path:
    folder.mkdir(parents=True)
    path = folder / "net.pth"
    path.write_bytes(content)
    return path


def use_cache(tmp_path: Path, monkeypatch) -> Path:
    """The folder of the set `net.tag` in a cache of the test's own; no proxy, no waiting, small pieces."""
    monkeypatch.setenv("TRANSFERKIT_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch, "PAUSES", (0, 0, 0))
    monkeypatch.setattr(fetch, "CHUNK", 1000)
    return tmp_path / "weights" / "net.tag"
