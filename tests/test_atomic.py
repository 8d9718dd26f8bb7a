"""Atomic writing of files, and errors that are not those of the disk."""

import pytest

from transferkit import atomic


@pytest.mark.parametrize("content", [{"figure": object()}, lambda path: path.no_such_method(), lambda path: undefined])  # noqa: F821
def test_an_error_in_the_content_is_not_a_disk_error(tmp_path, content):
    """It would be an OSError else, after which a job goes on without what it could not store."""
    path = tmp_path / "note.json"
    path.write_text("old")
    with pytest.raises((TypeError, AttributeError, NameError)):
        atomic.write(path, content)
    assert [one.name for one in tmp_path.iterdir()] == ["note.json"] and path.read_text() == "old"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("Unable to flush file")])
def test_disk_errors_are_one_sentence(tmp_path, error):
    def fails(path):
        path.write_text("half")
        raise error

    with pytest.raises(OSError, match=r"note.json could not be written: (No space left on device|Unable to flush)"):
        atomic.write(tmp_path / "note.json", fails)
    assert not list(tmp_path.iterdir())
