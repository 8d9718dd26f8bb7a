"""Downloads from a server that lies, into a folder that others write to."""

import os
import time

import pytest
from weight_site import BODY, DIGEST, names, public, serve, use_cache

from transferkit.weights import fetch as module
from transferkit.weights.fetch import fetch


@pytest.fixture
def site():
    with serve() as running:
        yield running


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    return use_cache(tmp_path, monkeypatch)


@pytest.mark.parametrize("digest", [DIGEST, None])
def test_a_body_without_end_is_cut_off(site, cache, digest):
    site.body, site.etag = BODY * 100, ""
    site.length = None
    with pytest.raises(ValueError, match="sends more than 415,000 bytes, which is not the file of the catalogue"):
        fetch(public(site.url, digest))
    assert not names(cache) - {"net.pth.part.etag"}


@pytest.mark.parametrize("length", ["many", "-1", "1e9", "", None])
def test_a_length_that_is_none(site, length):
    site.length = length
    assert fetch(public(site.url)).read_bytes() == BODY


def test_a_body_that_ends_early_without_a_length_or_a_digest(site, cache):
    site.length, site.plan = None, ["cut"]
    with pytest.raises(ValueError, match="net.pth from .* is cut short: it was removed"):
        fetch(public(site.url, None))
    assert "net.pth" not in names(cache)
    assert fetch(public(site.url, None)).read_bytes() == BODY


def test_a_link_that_was_planted_is_not_written_through(site, cache, tmp_path):
    (tmp_path / "theirs").write_text("precious")
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "net.pth.part").symlink_to(tmp_path / "theirs")
    assert fetch(public(site.url)).read_bytes() == BODY
    assert (tmp_path / "theirs").read_text() == "precious"


def test_a_file_that_was_altered_after_its_check_is_found_out(site, cache):
    path = fetch(public(site.url))
    facts = path.stat()
    time.sleep(0.05)  # the system's clock of changes has steps
    path.write_bytes(BODY[::-1])
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(ValueError, match="expected"):
        fetch(public(site.url))


def test_content_is_checked_once_a_day(site, cache, monkeypatch):
    path = fetch(public(site.url))
    read = []
    monkeypatch.setattr(module, "_digest", lambda *_: read.append(1) or DIGEST)
    fetch(public(site.url))
    assert not read
    for days in (2, -2):  # the clock may be set back
        stamp = path.with_name("net.pth.verified")
        then = stamp.stat().st_mtime - days * 86_400
        os.utime(stamp, (then, then))
        fetch(public(site.url))
    assert len(read) == 2


@pytest.mark.parametrize("noted", [b"\xff\xfe", b"", b"\0" * 1000, b"none at all"])
def test_damaged_notes_are_done_without(site, cache, noted):
    path = fetch(public(site.url))
    (cache / "net.pth.verified").write_bytes(noted)
    assert fetch(public(site.url)) == path
    path.unlink()
    (cache / "net.pth.part").write_bytes(BODY[:1000])
    (cache / "net.pth.part.etag").write_bytes(noted)
    assert fetch(public(site.url)).read_bytes() == BODY
