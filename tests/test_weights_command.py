"""`transferkit weights`, against a local server."""

import dataclasses
import json
import subprocess
import sys

import pytest
from weight_site import BODY, WRONG, hand_over, public, serve, use_cache

from transferkit.weights import catalogue


@pytest.fixture
def site(tmp_path, monkeypatch, tiny):
    """A server, and `tiny` with two sets on it: the default, and one whose digest is wrong."""
    use_cache(tmp_path, monkeypatch)
    with serve() as running:
        first = dataclasses.replace(public(running.url), network=tiny, tag="first", top1=71.234, licence="mit")
        second = dataclasses.replace(first, tag="second", sha256=WRONG, top1=None)
        monkeypatch.setitem(catalogue._load_catalogue(), tiny, (first, second))
        yield running


def test_list(cli, site, tmp_path):
    status, out, _ = cli("weights", "list", "tiny")
    lines = [line.split() for line in out.splitlines()]
    assert status == 0
    assert lines == [
        ["weights", "source", "MB", "licence", "top-1", "where"],
        ["tiny.first", "some-package", "0.3", "mit", "71.23", site.url],
        ["tiny.second", "some-package", "0.3", "mit", site.url],
    ]
    path = hand_over(tmp_path / "weights" / "tiny.first", BODY)
    document = json.loads(cli("weights", "list", "tiny", "--json")[1])
    assert [(row["network"], row["tag"], row["path"]) for row in document] == [
        ("tiny", "first", str(path)),
        ("tiny", "second", None),
    ]
    assert document[0].keys() == {
        *("network", "tag", "source", "file", "mb", "licence", "top1", "top5", "path", "url"),
    }


def test_list_all_and_no_match(cli, site):
    everything = json.loads(cli("weights", "list", "--json")[1])
    assert {row["network"] for row in everything} == set(catalogue.networks_with_weights())
    assert cli("weights", "list", "plain34") == (0, "No public weights are known for plain34.\n", "")
    status, _, err = cli("weights", "list", "resnet19")
    assert status == 2 and "Did you mean 'resnet1" in err


def test_fetch(cli, site, tmp_path):
    path = tmp_path / "weights" / "tiny.first" / "net.pth"
    status, out, err = cli("weights", "fetch", "tiny")
    assert (status, out) == (0, f"{path}\n")
    assert err.startswith(f"Downloading net.pth (0.3 MB) from {site.url}")
    assert path.read_bytes() == BODY
    assert (
        json.loads(cli("weights", "fetch", "tiny.FIRST", "tiny", "--json")[1])
        == [{"network": "tiny", "tag": "first", "path": str(path)}] * 2
    )
    status, out, err = cli("weights", "fetch", "tiny.first", "tiny.second")
    assert (status, out) == (1, f"{path}\n")
    assert "it was removed; try again." in err
    assert len(site.asked) == 2


@pytest.mark.parametrize("word", ["tyni", "tiny.frist", "plain34"])
def test_fetch_of_an_unknown_set(cli, site, word):
    status, out, err = cli("weights", "fetch", "tiny", word)
    assert (status, out, site.asked) == (2, "", [])
    assert err.startswith("Error: No ")


def test_verify(cli, site, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "networks_with_weights", lambda: ("tiny",))
    assert cli("weights", "verify") == (0, "No public weights are on this machine.\n", "")
    cli("weights", "fetch", "tiny")
    status, out, _ = cli("weights", "verify")
    assert status == 0 and out.split()[3:5] == ["tiny.first", "right"]
    path = hand_over(tmp_path / "weights" / "tiny.second", BODY)
    status, out, _ = cli("weights", "verify", "--json")
    assert status == 1
    assert json.loads(out)[1] == {"network": "tiny", "tag": "second", "state": "wrong", "path": str(path)}
    path.unlink()
    status, out, _ = cli("weights", "verify", "tiny.second")
    assert status == 0 and out.split()[3:] == ["tiny.second", "absent"]


def test_tensorflow_is_not_imported():
    code = (
        "import sys\nfrom transferkit import commands\ntry: commands.main(['weights', 'list'])\n"
        "except SystemExit: sys.exit(bool({'keras', 'tensorflow', 'torch'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0
