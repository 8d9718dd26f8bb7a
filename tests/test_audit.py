"""What cannot be read is left out and named; too much of it stops the job."""

import pytest
from pictures import encoded, photo

from transferkit.data.audit import audit
from transferkit.data.listing import Listing

WIDE = photo(50, 34, seed=1)


def pictures(tmp_path, *bad, good=8) -> Listing:
    """Bad pictures, then good ones; the first of all is of class a, the others are of b."""
    paths = []
    for number, data in enumerate([*bad, *[encoded(photo(30 + n, 20 + n), "PNG") for n in range(good)]]):
        paths.append(str(tmp_path / f"{number}.jpg"))
        (tmp_path / f"{number}.jpg").write_bytes(data)
    return Listing(tuple(paths), (0, *[1] * (len(paths) - 1)), ("a", "b"), {".txt": 1})


def test_the_audit_of_good_pictures_leaves_the_listing_as_it_is(tmp_path):
    listing = pictures(tmp_path, good=7)
    found = audit(listing)
    assert found.listing is listing and found.unreadable == () and found.side == 23


def test_the_audit_leaves_out_what_cannot_be_read(tmp_path):
    listing = pictures(tmp_path, encoded(WIDE), b"", b"text", good=8)
    found = audit(listing, channels=1)
    assert found.listing.paths == listing.paths[:1] + listing.paths[3:] and found.listing.labels == (0, *[1] * 8)
    assert found.listing.ignored == {".txt": 1}
    assert found.unreadable == (
        (listing.paths[1], "the file is empty"),
        (listing.paths[2], "no picture format that is known"),
    )


def test_the_audit_stops_at_more_than_one_in_five(tmp_path, capsys):
    assert len(audit(pictures(tmp_path, encoded(WIDE), b"", good=3)).unreadable) == 1  # one in five is borne
    listing = pictures(tmp_path, encoded(WIDE), *[b""] * 12, good=2)
    with pytest.raises(ValueError, match="12 of 15 pictures in train cannot be read, more than one in five: "):
        audit(listing, what="train")
    assert capsys.readouterr().err.splitlines() == [f"{path}: the file is empty" for path in listing.paths[1:13]]


def test_the_audit_stops_where_a_class_is_left_empty(tmp_path):
    with pytest.raises(ValueError, match="No picture of class 'a' in the listing can be read"):
        audit(pictures(tmp_path, b"", good=8))
    listing = pictures(tmp_path, encoded(WIDE)).under(("a", "b", "c"), "here")
    assert audit(listing).listing is listing  # c had none before
