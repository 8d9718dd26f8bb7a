"""Listings of folders, and splits."""

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from transferkit.atomic import write
from transferkit.data import formats
from transferkit.data.listing import (
    Listing,
    Splits,
    find_labelled,
    find_pictures,
    list_images,
    natural_sort_key,
)
from transferkit.data.sources.resolve import find_splits
from transferkit.data.split_file import read_splits, split_rows


def touch(root: Path, *names) -> Path:
    """Empty files; listing never opens one."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def tree(root: Path, **splits) -> Path:
    """Folders of two pictures for each class: `tree(root, train="ab", val="a")`."""
    return touch(
        root, *(f"{split}/{name}/{i}.jpg" for split, names in splits.items() for name in names for i in (1, 2))
    )


def many(**counts) -> Listing:
    labels = [label for label, count in enumerate(counts.values()) for _ in range(count)]
    return Listing(tuple(f"{i}.jpg" for i in range(len(labels))), tuple(labels), tuple(counts))


def below(folder, found):
    return [os.path.relpath(path, folder) for path in found]


def test_natural_sort_order(tmp_path):
    assert sorted(["b", "a10", "a2", "10", "9", "a2b1", "a2b", "B"], key=natural_sort_key) == [
        *("9", "10", "B", "a2", "a2b", "a2b1", "a10", "b")
    ]
    touch(tmp_path, "class10/x10.jpg", "class10/x9.jpg", "class2/a.jpg", "class02/a.jpg")
    found = list_images(tmp_path)
    assert found.classes == ("class02", "class2", "class10")
    assert below(tmp_path, found.paths)[2:] == ["class10/x9.jpg", "class10/x10.jpg"]


@pytest.mark.parametrize("one, other", [("01", "1"), ("A", "a"), ("3", "٣")])
def test_names_with_equal_numbers_have_a_fixed_order(one, other):
    assert natural_sort_key(one) < natural_sort_key(other)


def test_files_that_are_not_pictures_are_counted(tmp_path):
    touch(tmp_path, "a/1.JPG", "a/2.WebP", "b/1.png", "a/.hidden.jpg", "a/notes.txt", "a/more.TXT", "b/README")
    touch(tmp_path, "README.md", ".DS_Store", "1.jpg", ".git/x.jpg", "__MACOSX/a/._1.jpg")
    (tmp_path / "nothing").mkdir()
    found = list_images(tmp_path)
    assert below(tmp_path, found.paths) == ["a/1.JPG", "a/2.WebP", "b/1.png"]
    assert found.ignored == {
        "hidden": 2,
        "system folder": 1,
        ".txt": 2,
        "no suffix": 1,
        ".md": 1,
        "empty folder 'nothing'": 1,
        "outside the class folders": 1,
    }


def test_the_count_of_skipped_files_survives_a_split(tmp_path):
    touch(tmp_path, *(f"{name}/{i}.jpg" for name in "ab" for i in range(4)), "a/x.txt")
    splits = find_splits(tmp_path)
    assert splits.train.ignored == {".txt": 1} and splits.val.ignored == {}


def test_nested_pictures_belong_to_their_class(tmp_path):
    touch(tmp_path, "a/2020/10/x.jpg", "a/2020/9/x.jpg", "a/x.jpg", "a/.cache/y.jpg", "b/folder.jpg/x.jpg")
    found = list_images(tmp_path)
    assert below(tmp_path, found.paths) == ["a/x.jpg", "a/2020/9/x.jpg", "a/2020/10/x.jpg", "b/folder.jpg/x.jpg"]
    assert found.counts() == {"a": 3, "b": 1}


def test_circular_links_add_no_pictures(tmp_path):
    root = touch(tmp_path / "root", "a/1.jpg", "b/1.jpg")
    elsewhere = touch(tmp_path / "elsewhere", "2.jpg")
    for name, target in {"self": root / "a", "up": root, "further": tmp_path, "there": elsewhere}.items():
        (root / "a" / name).symlink_to(target)
    (root / "b" / "linked.jpg").symlink_to(elsewhere / "2.jpg")
    assert below(root, list_images(root).paths) == ["a/1.jpg", "a/there/2.jpg", "b/1.jpg", "b/linked.jpg"]


def test_a_folder_that_may_not_be_read_is_counted_and_named(tmp_path, monkeypatch, capsys):
    touch(tmp_path, "a/1.jpg", "a/closed/2.jpg")
    scan = os.scandir

    def closed(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    ignored = Counter()
    assert below(tmp_path, find_pictures(tmp_path / "a", ignored)) == ["a/1.jpg"]
    assert ignored == {"closed folder": 1}
    assert f"The folder {tmp_path}/a/closed is skipped: Permission denied." in capsys.readouterr().err
    touch(tmp_path, "b/1.jpg", "c/1.jpg", "closed/1.jpg")
    assert list_images(tmp_path).ignored == {"closed folder": 2}  # and no empty folder


@pytest.mark.parametrize(
    "names, sentence",
    [
        ((), "holds no pictures: expected DIR/class/picture.jpg"),
        (("1.jpg", "2.png"), "holds 2 pictures but no class folders: expected"),
        (("a/1.jpg",), "holds one class, 'a': two or more are needed"),
        (("a/1.txt", "b/1.jpg"), "holds one class, 'b'"),
        (("a/1.jpg", "b/1.jpg", "b/2.jpg"), "Class 'a' has 1 picture; a split needs at least 2"),
        (("train/1.jpg", "test/2.jpg"), "train holds 1 picture but no class folders"),
        (("val/a/1.jpg", "test/a/1.jpg"), "holds val and test but no train"),
        (("train/a/1.jpg", "val/a/1.jpg", "valid/a/1.jpg"), "holds two folders for val: val and valid"),
        (
            ("train/a/1.jpg", "train/b/1.jpg", "val/c/1.jpg"),
            "val/ holds pictures of c, and no class is called so. Known: a, b.",
        ),
        (
            ("train/a/1.jpg", "train/b/1.jpg", "test/c/1.jpg"),
            "test/ holds pictures of c, and no class is called so. Known: a, b.",
        ),
        (("train/a/1.jpg", "train/b/1.jpg", "val/1.jpg"), "val holds 1 picture but no class folders"),
    ],
)
def test_unusable_folders_are_refused(tmp_path, names, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        find_splits(touch(tmp_path, *names))


def test_a_missing_folder(tmp_path):
    for find in (list_images, find_splits, lambda folder: find_labelled(folder, ())):
        with pytest.raises(FileNotFoundError, match="There is no .*nowhere.?: expected .*class"):
            find(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val", "dev"])
def test_split_folders_by_any_usual_name(tmp_path, name):
    splits = find_splits(tree(tmp_path, train="ab", Testing="ab", **{name: "ab"}))
    assert not splits.val_from_train and [len(part) for _, part in splits.items()] == [4, 4, 4]
    assert all(f"/{name}/" in path for path in splits.val.paths)


def test_pictures_outside_the_splits_are_reported(tmp_path):
    tree(tmp_path, train="ab", notes="")
    touch(tmp_path, "notes/a.txt", ".cache/1.jpg")
    (tmp_path / "here").symlink_to(".")
    (tmp_path / "latest").symlink_to("train")
    assert len(find_splits(tmp_path).train) == 2
    tree(tmp_path, Evaluation="ab")
    with pytest.raises(ValueError, match="holds Evaluation/ with pictures beside train: .* Did you mean 'va"):
        find_splits(tmp_path)
    assert find_labelled(tree(tmp_path, val="b"), ("a", "b"))[1] == "val"


def test_val_may_lack_classes_and_keeps_their_numbers(tmp_path):
    splits = find_splits(tree(tmp_path, train="abc", val="c"))
    assert splits.val.classes == ("a", "b", "c") and splits.val.labels == (2, 2)
    assert splits.val.counts() == {"a": 0, "b": 0, "c": 2} and splits.test is None


def test_without_val_a_fraction_of_train_is_held_out(tmp_path):
    splits = find_splits(tree(tmp_path, training="ab", test="b"), validation=0.5)
    assert splits.val_from_train and len(splits.train) == len(splits.val) == 2 and splits.test.labels == (1, 1)


def test_a_class_may_be_named_like_a_split(tmp_path):
    touch(tmp_path, *(f"{name}/{i}.jpg" for name in ("test", "val", "other") for i in range(2)))
    assert find_splits(tmp_path).train.classes == ("other", "test", "val")
    assert find_labelled(tmp_path, ("other", "test", "val"))[1] == "all"


def test_labelled_pictures_are_those_of_test_then_val_then_all(tmp_path):
    tree(tmp_path / "both", test="ab", val="ab")
    tree(tmp_path / "val", train="ab", val="b")
    tree(tmp_path, flat="b")
    classes = ("b", "a")
    for name, split, labels in (("both", "test", (1, 1, 0, 0)), ("val", "val", (0, 0)), ("flat", "all", (0, 0))):
        found, which = find_labelled(tmp_path / name, classes)
        assert (which, found.labels, found.classes) == (split, labels, classes)
    with pytest.raises(ValueError, match="flat holds pictures of b, and no class is called so. Known: x"):
        find_labelled(tmp_path / "flat", ("x",))


def test_under_another_order_of_classes():
    found = many(a=1, b=2).relabel(("c", "b", "a"), "here")
    assert found.labels == (2, 1, 1) and found.classes == ("c", "b", "a")
    assert found.counts() == {"c": 0, "b": 2, "a": 1}
    with pytest.raises(ValueError, match="here holds pictures of b"):
        many(a=1, b=1).relabel(("a",), "here")
    with pytest.raises(ValueError, match=r"Known are 30, as 0, 1, 10\.$"):
        many(a=1).relabel(tuple(map(str, range(30))), "here")


@pytest.mark.parametrize("fraction", [0.001, 0.01, 0.2, 0.5, 0.99, 0.999])
@pytest.mark.parametrize("seed", [0, 7])
def test_a_split_is_stratified_disjoint_and_complete(fraction, seed):
    whole = many(a=2, b=3, c=50, d=101)
    train, val = whole.split(fraction, seed=seed)
    assert sorted(train.paths + val.paths) == sorted(whole.paths)
    label = dict(zip(whole.paths, whole.labels, strict=True))
    for part in (train, val):
        assert list(part.paths) == sorted(part.paths, key=natural_sort_key) and part.classes == whole.classes
        assert [label[path] for path in part.paths] == list(part.labels)
        assert min(part.counts().values()) >= 1
    for name, count in whole.counts().items():
        assert val.counts()[name] == np.clip(round(count * fraction), 1, count - 1)


@pytest.mark.parametrize("share", [-1, 0, 1, 2, True, "x", None, float("nan")])
def test_a_fraction_is_between_0_and_1(share):
    with pytest.raises(ValueError, match=re.escape(f"a number between 0 and 1, as 0.2, not {share!r}.")):
        many(a=4, b=4).split(share)


def test_a_split_is_seeded():
    whole = many(a=30, b=30)
    assert whole.split(0.2, seed=1) == whole.split(0.2, seed=1) != whole.split(0.2, seed=2)


def test_splits_are_written_and_read(tmp_path):
    names = ("ä,b", 'quo"te', "new\nline", os.fsdecode(b"latin \xe9"))
    touch(tmp_path / "pictures", *(f"{name}/{i}, {i}.jpg" for name in names for i in range(4)))
    made = find_splits(tmp_path / "pictures", validation=0.25, seed=3)
    splits = Splits(made.train, made.val, made.val)
    write(tmp_path / "split.csv", split_rows(splits))
    assert read_splits(tmp_path / "split.csv", splits.train.classes) == splits
    write(tmp_path / "split.csv", split_rows(Splits(made.train, made.val)))
    assert read_splits(tmp_path / "split.csv", splits.train.classes).test is None


def test_take_does_not_change_a_listing():
    whole = many(a=3, b=3)
    assert whole.take([5, 0]).paths == ("5.jpg", "0.jpg") and whole.take([5, 0]).labels == (1, 0)
    assert len(whole.take([])) == 0 and len(whole) == 6


def test_the_decoder_reads_every_suffix():
    from PIL import Image

    Image.init()
    assert {formats.FORMATS[name][0] for name in formats.FORMATS} <= formats.SUFFIXES
    assert formats.SUFFIXES - set(formats.FORMATS["HEIF"]) <= Image.EXTENSION.keys()


def test_nothing_but_plain_files_is_ever_opened(tmp_path):
    touch(tmp_path, "a/1.jpg", "b/1.jpg", "b/Thumbs.db", "b/desktop.ini", "b/.DS_Store")
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    (tmp_path / "a" / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "a" / "loop.png").symlink_to(tmp_path / "a" / "loop.png")
    os.mkfifo(tmp_path / "c")
    (tmp_path / "up").symlink_to("..")
    (tmp_path / "here").symlink_to(".")
    found = list_images(tmp_path)
    assert below(tmp_path, found.paths) == ["a/1.jpg", "b/1.jpg"]
    assert found.ignored == {"pipe, device or broken link": 4, "hidden": 3, "no suffix": 1, "link in a circle": 2}
