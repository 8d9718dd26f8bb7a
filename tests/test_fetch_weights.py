"""Downloads of weight files: resumed, checked and retried, against a local server."""

import dataclasses
import errno
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from weight_site import BODY, DIGEST, WRONG, hand_over, names, public, serve, use_cache

from transferkit.cache_folder import cache_folder
from transferkit.weights import fetch as module
from transferkit.weights import local_files
from transferkit.weights.fetch import fetch_weights
from transferkit.weights.local_files import find_weights, verify_weights


@pytest.fixture
def site():
    with serve() as running:
        yield running


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    return use_cache(tmp_path, monkeypatch)


def test_a_whole_download_is_stamped_and_not_repeated(site, cache, capsys):
    wanted = public(site.url)
    assert find_weights(wanted) is None
    path = fetch_weights(wanted)
    assert path == cache / "net.pth" and path.read_bytes() == BODY
    assert names(cache) == {"net.pth", "net.pth.verified"}
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"Downloading net.pth (0.3 MB) from {site.url}",
        f"Their licence, as {wanted.source} states it: mit.",
        f"Downloaded net.pth to {cache}",
    ]
    assert fetch_weights(wanted) == find_weights(wanted) == path
    assert len(site.asked) == 1 and capsys.readouterr().err == ""


def test_a_checked_file_is_not_read_again(site, monkeypatch):
    wanted = public(site.url)
    fetch_weights(wanted)
    monkeypatch.setattr(local_files, "compute_digest", None)
    fetch_weights(wanted)


def test_an_interrupted_download_is_resumed(site):
    site.plan = ["cut", "cut"]
    assert fetch_weights(public(site.url)).read_bytes() == BODY
    assert [asked.get("Range") for asked in site.asked] == [None, "bytes=150000-", "bytes=225000-"]
    assert [asked.get("If-Range") for asked in site.asked] == [None, '"one"', '"one"']


def test_a_later_call_resumes_too(site, cache):
    site.plan = ["cut", 404]
    with pytest.raises(OSError, match="the server answers 404 Not Found"):
        fetch_weights(public(site.url))
    assert names(cache) == {"net.pth.part", "net.pth.part.etag"}
    assert fetch_weights(public(site.url)).read_bytes() == BODY
    assert site.asked[-1]["Range"] == "bytes=150000-"
    assert names(cache) == {"net.pth", "net.pth.verified"}


def test_a_changed_file_is_downloaded_again(site):
    site.plan = ["cut", 404]
    with pytest.raises(OSError, match="the server answers 404"):
        fetch_weights(public(site.url))
    site.body, site.etag = BODY[::-1], '"two"'
    assert fetch_weights(public(site.url, hashlib.sha256(site.body).hexdigest())).read_bytes() == site.body


def test_a_server_without_ranges_sends_the_whole_file(site):
    site.ranges, site.plan = False, ["cut"]
    assert fetch_weights(public(site.url)).read_bytes() == BODY
    assert len(site.asked) == 2


def test_a_server_without_etag_is_resumed_by_range_alone(site):
    site.etag, site.plan = "", ["cut"]
    assert fetch_weights(public(site.url)).read_bytes() == BODY
    assert "If-Range" not in site.asked[1] and "Range" in site.asked[1]


def test_a_weak_etag_is_not_sent_back(site):
    site.etag, site.plan = 'W/"one"', ["cut"]
    assert fetch_weights(public(site.url)).read_bytes() == BODY
    assert "If-Range" not in site.asked[1]


def test_a_part_longer_than_the_file_is_deleted(site, cache):
    hand_over(cache, BODY + b"more").rename(cache / "net.pth.part")
    assert fetch_weights(public(site.url)).read_bytes() == BODY


@pytest.mark.parametrize("stated", [f'"{DIGEST}"', DIGEST])
def test_the_hub_states_the_digest_before_it_redirects(site, stated):
    site.linked, site.plan = stated, ["cut"]
    assert fetch_weights(public(f"{site.url}/hub", sha256=None)).read_bytes() == BODY
    assert site.asked[1]["Range"] == "bytes=150000-"


def test_a_download_that_differs_from_what_the_hub_states(site, cache):
    site.linked = f'"{WRONG}"'
    with pytest.raises(ValueError, match=f"expected {WRONG}: it was removed"):
        fetch_weights(public(f"{site.url}/hub", sha256=None))
    assert names(cache) == set()


def test_an_etag_that_is_not_a_sha256_is_ignored(site):
    site.linked = '"d41d8cd98f00b204e9800998ecf8427e"'
    assert fetch_weights(public(f"{site.url}/hub", sha256=None)).read_bytes() == BODY


def test_a_download_with_a_wrong_digest_is_removed(site, cache):
    with pytest.raises(ValueError) as caught:
        fetch_weights(public(site.url, WRONG))
    assert str(caught.value) == (
        f"net.pth from {site.url} has SHA-256 {DIGEST}, expected {WRONG}: it was removed; try again."
    )
    assert names(cache) == set() and len(site.asked) == 1


def test_the_beginning_of_a_digest_is_enough(site):
    assert fetch_weights(public(site.url, DIGEST[:8])).is_file()
    with pytest.raises(ValueError, match="has SHA-256 .*, expected 00000000: put the right file there"):
        fetch_weights(public(site.url, WRONG[:8]))


@pytest.mark.parametrize("status", [500, 503, 429])
def test_server_errors_are_retried(site, status):
    site.plan = [status, status, status]
    assert fetch_weights(public(site.url)).read_bytes() == BODY
    assert len(site.asked) == 4


def test_permanent_server_errors(site):
    site.plan = [503] * 9
    with pytest.raises(OSError, match="the server answers 503 Service Unavailable"):
        fetch_weights(public(site.url))
    assert len(site.asked) == 4


def test_client_errors_are_not_retried(site):
    site.plan = [403]
    with pytest.raises(OSError, match="the server answers 403 Forbidden"):
        fetch_weights(public(site.url))
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
            fetch_weights(public(url, sha256))
    assert str(caught.value) == (
        f"Could not download net.pth (0.3 MB) from {url}: no connection."
        f" Put the file in {cache}{words}, or give its path with --weights."
    )


@pytest.mark.parametrize(("broken", "attempts"), [(0, 1), (1, 4)])
def test_a_refused_connection_is_final_at_first_and_retried_later(cache, monkeypatch, broken, attempts):
    """Without a network the answer comes at once; a connection that broke once may come back."""
    calls, get = [], module.requests.get

    def count(*args, **kwargs):
        calls.append(args)
        if len(calls) == broken:
            raise module.ChunkedEncodingError
        return get(*args, **kwargs)

    monkeypatch.setattr(module.requests, "get", count)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="no connection"):
            fetch_weights(public(f"http://127.0.0.1:{taken.getsockname()[1]}/net.pth"))
    assert len(calls) == attempts


def test_connection_timeouts_are_not_retried(monkeypatch):
    calls = []

    def swallow(*args, **kwargs):
        calls.append(args)
        raise module.requests.ConnectTimeout

    monkeypatch.setattr(module.requests, "get", swallow)
    with pytest.raises(OSError, match="from http://unused: no answer in time. Put the file in"):
        fetch_weights(public("http://unused"))
    assert len(calls) == 1


def test_two_processes_download_once(site, tmp_path):
    both = threading.Barrier(2, timeout=20)
    site.before_body = both.wait  # the first has the lock and waits until the second is about to ask for it
    code = (
        "import sys; from transferkit.pixels import Pixels; from transferkit.weights.catalogue import WeightSet;"
        "from transferkit.weights.fetch import fetch_weights;"
        f"wanted = WeightSet('net', 'tag', 's', 'net.pth', 'mit', Pixels(), 0.3, url={site.url!r}, sha256={DIGEST!r});"
        "print('ready', flush=True); print(fetch_weights(wanted))"
    )
    command = [sys.executable, "-c", code]
    first, second = (subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2))
    with first, second:
        assert first.stdout.readline() == second.stdout.readline() == "ready\n"
        both.wait()
        paths = {process.stdout.read().strip() for process in (first, second)}
    assert paths == {str(tmp_path / "weights" / "net.tag" / "net.pth")}
    assert len(site.asked) == 1


def test_a_full_disk_keeps_the_part(site, cache, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", full)
        with pytest.raises(OSError) as caught:
            fetch_weights(public(site.url))
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
        fetch_weights(public(site.url))


def test_publishers_that_state_an_md5(site, cache):
    wanted = dataclasses.replace(public(site.url, None), md5=hashlib.md5(BODY).hexdigest())
    wrong = dataclasses.replace(wanted, md5="0" * 32)
    with pytest.raises(ValueError, match=f"has MD5 {wanted.md5}, expected {'0' * 32}: it was removed"):
        fetch_weights(wrong)
    assert fetch_weights(wanted).read_bytes() == BODY
    assert verify_weights(wanted) == ("right", cache / "net.pth")
    with pytest.raises(ValueError, match=f"has MD5 {wanted.md5}, expected {'0' * 32}: put the right file there"):
        fetch_weights(wrong)
    (cache / "net.pth").unlink()
    site.plan = [404]
    with pytest.raises(OSError, match=f"MD5 {wanted.md5}"):
        fetch_weights(wanted)


def test_verifying_reads_the_file_again(site, cache):
    wanted, unstated = public(site.url), public(site.url, None)
    assert verify_weights(wanted) == ("absent", None)
    path = fetch_weights(wanted)
    assert (
        verify_weights(wanted) == verify_weights(unstated) == ("right", path)
    )  # the stamp holds what it was when it came
    path.write_bytes(BODY[::-1])
    assert verify_weights(wanted) == verify_weights(unstated) == ("wrong", path)
    (cache / "net.pth.verified").unlink()
    assert verify_weights(wanted) == ("wrong", path)
    assert verify_weights(unstated) == ("unknown", path)


def test_cache_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/people/ann")
    monkeypatch.setenv("TRANSFERKIT_HOME", "~/models")
    assert cache_folder() == Path("/people/ann/models")
    monkeypatch.delenv("TRANSFERKIT_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch")
    assert cache_folder() == Path("/scratch/transferkit")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("/people/ann/.cache/transferkit")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == Path("/people/ann/Library/Caches/transferkit")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert cache_folder() == Path("/local/transferkit")


@pytest.mark.parametrize("digest", [DIGEST, None])
def test_an_endless_body_is_cut_off(site, cache, digest):
    site.body, site.etag = BODY * 100, ""
    site.length = None
    with pytest.raises(ValueError, match="sends more than 415,000 bytes, which is not the file of the catalogue"):
        fetch_weights(public(site.url, digest))
    assert not names(cache) - {"net.pth.part.etag"}


@pytest.mark.parametrize("length", ["many", "-1", "1e9", "", None])
def test_an_invalid_content_length(site, length):
    site.length = length
    assert fetch_weights(public(site.url)).read_bytes() == BODY


def test_a_body_that_ends_early_without_a_length_or_a_digest(site, cache):
    site.length, site.plan = None, ["cut"]
    with pytest.raises(ValueError, match="net.pth from .* is cut short: it was removed"):
        fetch_weights(public(site.url, None))
    assert "net.pth" not in names(cache)
    assert fetch_weights(public(site.url, None)).read_bytes() == BODY


def test_a_link_that_was_planted_is_not_written_through(site, cache, tmp_path):
    (tmp_path / "theirs").write_text("precious")
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "net.pth.part").symlink_to(tmp_path / "theirs")
    assert fetch_weights(public(site.url)).read_bytes() == BODY
    assert (tmp_path / "theirs").read_text() == "precious"


def test_a_file_that_was_altered_after_its_check_is_detected(site, cache):
    path = fetch_weights(public(site.url))
    facts = path.stat()
    time.sleep(0.05)  # the system's clock of changes has steps
    path.write_bytes(BODY[::-1])
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(ValueError, match="expected"):
        fetch_weights(public(site.url))


def test_content_is_checked_once_a_day(site, cache, monkeypatch):
    path = fetch_weights(public(site.url))
    read = []
    monkeypatch.setattr(local_files, "compute_digest", lambda *_: read.append(1) or DIGEST)
    fetch_weights(public(site.url))
    assert not read
    for days in (2, -2):  # the clock may be set back
        stamp = path.with_name("net.pth.verified")
        then = stamp.stat().st_mtime - days * 86_400
        os.utime(stamp, (then, then))
        fetch_weights(public(site.url))
    assert len(read) == 2


@pytest.mark.parametrize("noted", [b"\xff\xfe", b"", b"\0" * 1000, b"none at all"])
def test_damaged_stamps_are_ignored(site, cache, noted):
    path = fetch_weights(public(site.url))
    (cache / "net.pth.verified").write_bytes(noted)
    assert fetch_weights(public(site.url)) == path
    path.unlink()
    (cache / "net.pth.part").write_bytes(BODY[:1000])
    (cache / "net.pth.part.etag").write_bytes(noted)
    assert fetch_weights(public(site.url)).read_bytes() == BODY
