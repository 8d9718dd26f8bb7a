"""Unreadable pictures are skipped and named; too many of them stop the job."""

import pytest
from pictures import encoded, folder, photo

from transferkit.data.audit import scan
from transferkit.data.audit.before_training import (
    audit_listing,
    check_unreadable_fraction,
    find_concerns,
    report_unreadable,
    scans_by_path,
)
from transferkit.data.audit.file_scan import scan_file
from transferkit.data.listing import Listing, Splits
from transferkit.data.sources.resolve import find_splits
from transferkit.recipe import Recipe
from transferkit.training.planning.planner import make_plan

WIDE = photo(50, 34, seed=1)


def pictures(tmp_path, *bad, good=8) -> Listing:
    """Bad pictures, then good ones; the first of all is of class a, the others are of b."""
    paths = []
    for number, data in enumerate([*bad, *[encoded(photo(30 + n, 20 + n), "PNG") for n in range(good)]]):
        paths.append(str(tmp_path / f"{number}.jpg"))
        (tmp_path / f"{number}.jpg").write_bytes(data)
    return Listing(tuple(paths), (0, *[1] * (len(paths) - 1)), ("a", "b"), {".txt": 1})


def test_the_audit_of_good_pictures_keeps_the_listing(tmp_path):
    listing = pictures(tmp_path, good=7)
    found = audit_listing(listing)
    assert found.listing is listing and found.unreadable == () and found.median_side == 23


def test_the_audit_skips_unreadable_pictures(tmp_path):
    listing = pictures(tmp_path, encoded(WIDE), b"", b"text", good=8)
    found = audit_listing(listing)
    assert found.listing.paths == listing.paths[:1] + listing.paths[3:] and found.listing.labels == (0, *[1] * 8)
    assert found.listing.ignored == {".txt": 1}
    assert found.unreadable == (
        (listing.paths[1], "the file is empty"),
        (listing.paths[2], "not a known picture format"),
    )


def test_the_audit_stops_at_more_than_one_in_five(tmp_path, capsys):
    assert len(audit_listing(pictures(tmp_path, encoded(WIDE), b"", good=3)).unreadable) == 1  # one in five is borne
    listing = pictures(tmp_path, encoded(WIDE), *[b""] * 12, good=2)
    with pytest.raises(ValueError, match="12 of 15 pictures in train cannot be read, more than one in five: "):
        audit_listing(listing, what="train")
    assert capsys.readouterr().err.splitlines() == [f"{path}: the file is empty" for path in listing.paths[1:13]]


def test_the_audit_stops_at_an_empty_class(tmp_path):
    with pytest.raises(ValueError, match="No picture of class 'a' in the listing can be read"):
        audit_listing(pictures(tmp_path, b"", good=8))
    listing = pictures(tmp_path, encoded(WIDE)).relabel(("a", "b", "c"), "here")
    assert audit_listing(listing).listing is listing  # c had none before


def test_the_audit_scans_only_changed_files_again(tmp_path, monkeypatch):
    listing, read = pictures(tmp_path, encoded(WIDE), b"text"), []
    monkeypatch.setattr(scan, "scan_file", lambda path: read.append(path) or scan_file(path))
    first = audit_listing(listing)
    assert len(read) == 10 and audit_listing(listing) == first and len(read) == 10


def leaking(tmp_path) -> Splits:
    """A training picture is among the validation pictures, another in both classes."""
    for number, name in enumerate(("train/a/0", "train/a/1", "train/b/2", "val/a/0", "val/b/4", "train/b/1")):
        path = tmp_path / "data" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(photo(60, 50, seed=int(path.stem) if path.stem in "01" else 10 + number)))
    return find_splits(tmp_path / "data")


def test_a_missing_folder_is_a_few_lines(tmp_path, capsys):
    paths, lost = [str(tmp_path / f"{number}.jpg") for number in range(40)], {}
    lost |= report_unreadable(paths, range(10), lost)
    assert list(lost) == paths[10:]
    told = capsys.readouterr().err
    assert told.count("is skipped from here on: No such file") == 10 and "Skipped too: 20 more pictures" in told
    with pytest.raises(ValueError, match=r"^30 of 40 pictures can no longer be read.*10.jpg \(No such file") as caught:
        check_unreadable_fraction(paths, lost)
    assert str(caught.value).endswith("restore them, and continue with --resume.")


def test_problems_are_reported_once(tmp_path):
    splits = leaking(tmp_path)
    leak, twice = find_concerns(
        dict(splits.items()), scans_by_path({name: audit_listing(part) for name, part in splits.items()})
    )
    assert leak.startswith("1 of the 2 validation pictures is in another split too, so metrics on them are too good")
    assert leak.endswith("val/a/0.jpg is the same as " + splits.train.paths[0] + ", train and val.")
    assert twice.startswith("1 picture is in two classes: ")


def test_good_pictures_have_no_problems(tmp_path):
    splits = find_splits(folder(tmp_path / "data", {"a": 4, "b": 4}))
    assert (
        find_concerns(dict(splits.items()), scans_by_path({name: audit_listing(part) for name, part in splits.items()}))
        == []
    )


def test_a_warning_is_one_line_for_any_file_name(tmp_path, tiny, capsys):
    root = folder(tmp_path / "data", {"a": 6, "b": 6})
    (root / "a" / "new\nline\x1b[31m.jpg").touch()
    make_plan(Recipe().override(base=tiny, weights="none", data=str(root), size=32))
    assert f"Warning: {root}/a/new\\nline\\x1b[31m.jpg cannot be read" in capsys.readouterr().err


def test_training_warns_of_leaks_and_continues(tmp_path, tiny, capsys):
    leaking(tmp_path)
    make_plan(Recipe().override(base=tiny, weights="none", data=str(tmp_path / "data"), size=32))
    said = capsys.readouterr().err
    assert "Warning: 1 of the 2 validation pictures is in another split too" in said
