"""Sets of duplicates stay whole in a drawn split; class fractions are kept; draws without sets are unchanged."""

import numpy as np
import pytest

from transferkit.data import folds, split_repair, splitting
from transferkit.data.listing import Listing


def listing(labels, duplicate_sets=(), groups=()):
    names = tuple("abcdefgh"[: max(labels) + 1])
    paths = tuple(map(str, range(len(labels))))
    return Listing(paths, tuple(labels), names, groups=tuple(groups), duplicate_sets=tuple(duplicate_sets))


def sides(names, part_of):
    """{name: the parts that it is in}"""
    found = {}
    for name, part in zip(names, part_of, strict=True):
        if name:
            found.setdefault(name, set()).add(int(part))
    return found


def counts(part_of, labels):
    found = np.zeros((max(part_of) + 1, max(labels) + 1), int)
    np.add.at(found, (part_of, labels), 1)
    return found


def test_draws_without_duplicates_are_unchanged():
    """The rows are those of the version before there were sets."""
    labels = [0] * 15 + [1] * 9
    for copies in ((), ("",) * 24):
        pool = listing(labels, copies)
        assert pool.split(0.25, seed=3)[1].paths == ("2", "9", "11", "14", "19", "22")
        assert pool.split(0.4)[1].paths == ("0", "2", "3", "4", "10", "11", "15", "19", "20", "23")
        assert [rows.tolist() for rows in folds.hold_out_folds(pool, 3, 1)] == [
            [0, 3, 5, 6, 8, 15, 17, 20],
            [1, 2, 10, 11, 14, 18, 21, 23],
            [4, 7, 9, 12, 13, 16, 19, 22],
        ]


@pytest.mark.parametrize("seed", range(10))
def test_mostly_single_pictures_keep_class_fractions(seed):
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.integers(0, 4, 200))
    copies = [str(rng.integers(0, 12)) if rng.random() < 0.2 else "" for _ in labels]  # some in several classes
    pool, plain = listing(labels.tolist(), copies), listing(labels.tolist())
    train, val = pool.split(0.2, seed=seed)
    assert not set(train.duplicate_sets) & set(val.duplicate_sets) - {""}
    assert val.counts() == plain.split(0.2, seed=seed)[1].counts()
    assert pool.split(0.2, seed=seed) == (train, val)
    fold_of = splitting.draw_folds(labels, (), copies, 5, seed, min_left=2)
    assert all(len(parts) == 1 for parts in sides(copies, fold_of).values())
    plain_of = splitting.draw_folds(labels, (), (), 5, seed, min_left=2)
    assert abs(counts(fold_of, labels) - counts(plain_of, labels)).max() <= 4  # a set may be larger than its share


def test_a_set_is_held_out_as_often_as_a_picture():
    labels, copies = [0] * 50 + [1] * 50, ["a", "a", "b", "b", "b"] + [""] * 95
    held = [set(listing(labels, copies).split(0.2, seed=seed)[1].duplicate_sets) for seed in range(300)]
    for name in "ab":
        assert 0.12 < np.mean([name in one for one in held]) < 0.28


@pytest.mark.parametrize(
    ("labels", "copies"),
    [
        ("00001111", ["x", "x", "y", "y", "", "", "", ""]),  # nothing but pairs in a class, each more than its share
        ("0" * 10 + "11", [*"xxxxxyyyyy", "", ""]),  # both sets larger than what is held out
        ("000111", ["x", "x", "", "x", "", ""]),  # the same picture in two classes
        ("00001111", [*"xxyyxxyy"]),  # both sets in both classes
    ],
)
def test_each_class_is_on_both_sides(labels, copies):
    labels = [int(one) for one in labels]
    for seed in range(20):
        train, val = listing(labels, copies).split(0.2, seed=seed)
        assert min(train.counts().values()) > 0 and min(val.counts().values()) > 0
        assert not set(train.duplicate_sets) & set(val.duplicate_sets) - {""}


@pytest.mark.parametrize(
    ("labels", "copies", "kept"),
    [
        ("001111", [*"xx", *"yy", "", ""], {"y"}),  # a class of two copies
        ("0011", [*"xxyy"], set()),
        ("001122", [*"xyyzxz"], set()),  # each set in two classes: no way to share them out
        ("00111111", [*"xx", *"xx", *"yy", "", ""], {"y"}),  # of a set in two classes, the part in the larger one
    ],
)
def test_sets_are_split_if_a_class_could_not_be_split_otherwise(labels, copies, kept):
    labels = [int(one) for one in labels]
    for seed in range(20):
        train, val = listing(labels, copies).split(0.2, seed=seed)
        assert min(train.counts().values()) > 0 and min(val.counts().values()) > 0
        assert not (set(train.duplicate_sets) & set(val.duplicate_sets)) & kept


def test_a_large_set_is_for_training():
    labels, copies = [0] * 20 + [1] * 20, ["x"] * 9 + [""] * 31
    for seed in range(20):
        train, val = listing(labels, copies).split(0.2, seed=seed)
        assert train.duplicate_sets.count("x") == 9 and val.counts() == {"a": 4, "b": 4}


def test_folds_leave_enough_of_each_class():
    labels = np.array([0] * 5 + [1] * 12)
    for copies in (["x"] * 4 + [""] * 13, ["x", "x", "y", "y", ""] + [""] * 12):
        for seed in range(20):
            found = counts(splitting.draw_folds(labels, (), copies, 2, seed, min_left=2), labels)
            assert found.min() > 0 and (found.sum(0) - found).min() >= 2
    assert all(
        len(one) == 1 for one in sides("xxyy", splitting.draw_folds(labels, (), copies, 2, 0, min_left=2)[:4]).values()
    )


def test_duplicates_join_groups():
    groups = [f"g{row // 2}" for row in range(40)]
    copies = ["", "1", "1", "", "2", *[""] * 34, "2"]  # g0 and g1; g2 and g19
    labels = [row // 20 for row in range(40)]
    assert split_repair.merge_groups(groups, copies, np.array(labels))[:6] == ("g0", "g0", "g0", "g0", "g2", "g2")
    for seed in range(10):
        train, val = listing(labels, copies, groups).split(0.2, seed=seed)
        assert not set(train.groups) & set(val.groups) and not set(train.duplicate_sets) & set(val.duplicate_sets) - {
            ""
        }
        assert {"g0", "g1"} <= set(train.groups) or {"g0", "g1"} <= set(val.groups)
        assert set(train.groups) | set(val.groups) == set(groups), "the groups are still the user's own"
        assert all(
            len(one) == 1
            for one in sides(copies, splitting.draw_folds(labels, groups, copies, 4, seed, min_left=2)).values()
        )


def test_groups_are_not_joined_if_no_split_is_possible():
    labels, groups = [0] * 4 + [1] * 4, list("aabbccdd")
    for copies in (["1"] * 4 + [""] * 4, ["1"] * 8):
        plain, joined = listing(labels, (), groups).split(0.5), listing(labels, copies, groups).split(0.5)
        assert [part.paths for part in joined] == [part.paths for part in plain]
    singles, cyclic = [f"g{row}" for row in range(6)], "xyyzxz"  # of three classes, no way to share them out
    plain, joined = (listing([0, 0, 1, 1, 2, 2], sets, singles).split(0.5) for sets in ((), cyclic))
    assert [part.paths for part in joined] == [part.paths for part in plain]
    found = split_repair.merge_groups(
        tuple("aabbccddee"), [*"1111", "", "2", "2", "", "", ""], np.array([0] * 4 + [1] * 6)
    )
    assert found == tuple("aabbccccee"), "the other class keeps what joins its groups"
    copies = ["1", "", "1", "", "2", "", "2", ""]
    with pytest.raises(ValueError, match="pictures of class 'a' are of one group, 'a'"):
        listing(labels, copies, "aaaabbcc").split(0.5)


def test_a_class_with_one_picture():
    for labels, sentence in (([0, 1, 1], "'a' has 1 picture; a split"), ([1, 1], "'a' has 0 pictures; a split")):
        with pytest.raises(ValueError, match=sentence):
            listing(labels).split(0.5)
        with pytest.raises(ValueError, match=sentence):
            listing(labels, groups="xyz"[: len(labels)]).split(0.5)
