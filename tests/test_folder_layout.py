"""Folder layouts: split folders, class folders, nested folders, and classes named like splits."""

import re
import unicodedata
from pathlib import Path

import pytest

from transferkit import models
from transferkit.data.listing import find_labelled, has_class_folders, list_images
from transferkit.data.sources import folder_layout
from transferkit.data.sources.resolve import list_given_splits, list_parts
from transferkit.network import with_head
from transferkit.recipe import Data
from transferkit.training.planning import network_setup

COMPOSED, APART = (unicodedata.normalize(form, "été") for form in ("NFC", "NFD"))


def made(root: Path, *folders) -> Path:
    """Two empty pictures in each folder; what ends in a suffix is a file."""
    for name in folders:
        for path in (
            [root / name] if Path(name).suffix in (".csv", ".txt") else [root / name / f"{i}.jpg" for i in "12"]
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return root


def counts(root: Path) -> dict[str, str]:
    """{split: its classes}."""
    return {name: " ".join(part.classes) for name, part in list_given_splits(Data(str(root))).items()}


def each(*splits, classes="ab"):
    return [f"{split}/{name}" for split in splits for name in classes]


@pytest.mark.parametrize(
    ("folders", "found", "said"),
    [
        (each("training_set", "test_set"), "train test", "training_set/ is train, test_set/ is test."),
        (each("TrainImages", "valSet"), "train val", "TrainImages/ is train, valSet/ is val."),
        (each("train2017", "val2017"), "train val", "train2017/ is train, val2017/ is val."),
        (each("trainset", "testdata"), "train test", "trainset/ is train, testdata/ is test."),
        (each("pets-train", "pets-val"), "train val", "pets-train/ is train, pets-val/ is val."),
        (each("seg_train/seg_train", "seg_test/seg_test"), "train test", "seg_train/seg_train/ is train, seg_test/seg"),
        (each("images/train", "images/test"), "train test", "classes are looked for in images/."),
        (each("x/y/Train"), "train", "classes are looked for in x/y/."),
        (each("train", "VAL"), "train val", ""),
        (each("pets/pets"), "train", "classes are looked for in pets/pets/."),
        ([*each("images"), "annotations/a.txt"], "train", "classes are looked for in images/."),
        ([*each("train"), "test"], "train", "test holds pictures but no class folders, which would name their classes"),
        ([*each("train"), "test/images"], "train", "test holds pictures but no class folders, which"),
        ([*each("train", "test"), "test1"], "train test", "test1 holds pictures but no class folders, which"),
        ([*each("x_train", "x_test"), "x_pred/x_pred"], "train test", "x_pred holds pictures but no class folders, so"),
        ([*each("train"), "val/notes.txt"], "train", "val holds no pictures: it is skipped."),
    ],
)
def test_split_folders_of_any_name_are_recognised_and_printed(tmp_path, capsys, folders, found, said):
    assert counts(made(tmp_path, *folders)) == dict.fromkeys(found.split(), "a b")
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "classes",
    [
        "car plane train",
        "car train val",
        "test train_station",
        "other train_station val_station",
        "a dev",
        "a test val",
    ],
)
def test_classes_may_be_named_like_splits(tmp_path, capsys, classes):
    assert counts(made(tmp_path, *classes.split())) == {"train": classes}
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (each("first", "second"), "holds first/ and second/, and each of them the folders a, b: if a is a class, "),
        (each("cat", "dog", classes=("train", "val")), "train, val: move the pictures to {}/train/cat and so on"),
        (each("train", "other"), "holds other/ with pictures beside train: if it is a split, rename it"),
        ([*each("train"), "car", "plane"], "holds car/ with pictures beside train"),
        (each("train", "val", "valid"), "holds two folders for val: val and valid."),
        (["train", "labels.csv"], "no class folders: expected DIR/class/picture.jpg, or DIR/train/class/picture.jpg "
         "beside DIR/val and DIR/test; if labels.csv lists them with their classes, give --data {}/labels.csv."),
        ([*each("train"), "val/images"], "val/images holds 2 pictures but no class folders"),
    ],
)  # fmt: skip
def test_ambiguous_folders_are_refused_with_advice(tmp_path, folders, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence.format(tmp_path))):
        list_given_splits(Data(str(made(tmp_path, *folders))))


def test_a_list_beside_any_folder_is_not_suggested(tmp_path):
    with pytest.raises(ValueError, match=r"beside DIR/val and DIR/test\.$"):
        list_images(made(tmp_path, "holiday", "taxes.csv") / "holiday")
    with pytest.raises(ValueError, match=r"if labels.csv lists them with their classes, give --data .*labels.csv\.$"):
        list_images(made(tmp_path, "images", "images/labels.csv", "README.txt") / "images")


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (["cat", "cat/tabby", "dog"], "pictures of cat/tabby/ are counted to class 'cat'; if tabby is a class"),
        (each("cat", "dog", classes=("2019", "2020")), "cat/2019/ and other folders are counted to class 'cat', and so "
         "for another class"),
        (["cat/images", "dog/images"], ""),
    ],
)  # fmt: skip
def test_folders_in_class_folders_are_reported(tmp_path, capsys, folders, said):
    assert counts(made(tmp_path, *folders)) == {"train": "cat dog"}
    err = capsys.readouterr().err
    assert said in err and bool(said) == bool(err)


def test_system_folders_are_not_classes(tmp_path):
    names = ("@eaDir", "$RECYCLE.BIN", "__MACOSX", ".ipynb_checkpoints", ".git", "Thumbs.db", "cat/@eaDir/x")
    found = list_images(made(tmp_path, "cat", "dog", *names))
    assert found.classes == ("cat", "dog") and len(found) == 4
    assert found.ignored == {"system folder": 4}
    assert not has_class_folders(made(tmp_path / "flat", ".", "@eaDir"))


def test_names_that_look_the_same_match_between_splits(tmp_path, capsys):
    made(tmp_path, f"train/{COMPOSED}", "train/birds", "train/big_cat", f"val/{APART}", "val/Birds", "val/Big Cat")
    train, val = list_given_splits(Data(str(tmp_path))).values()
    assert val.classes == ("Big Cat".lower().replace(" ", "_"), "birds", COMPOSED) and train.counts() == val.counts()
    said = capsys.readouterr().err
    assert "'Big Cat' is 'big_cat', 'Birds' is 'birds'" in said and "in another Unicode form" in said


def test_classes_of_a_run_match_a_folder(tmp_path, capsys):
    made(tmp_path, APART, "Birds")
    found, _ = find_labelled(tmp_path, ("birds", COMPOSED))
    assert found.classes == ("birds", COMPOSED) and found.labels == (0, 0, 1, 1)
    assert "'Birds' is 'birds'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="holds pictures of Birds"):  # either may be meant
        find_labelled(tmp_path, ("BIRDS", "birds", COMPOSED))
    made(tmp_path / "both", "birds", "Birds")
    with pytest.raises(ValueError, match="holds pictures of Birds"):  # which has one of its own name
        find_labelled(tmp_path / "both", ("birds", "fish"))


def test_a_head_is_kept_for_classes_in_another_unicode_form(tiny, tmp_path):
    network = with_head(models.load(tiny, "none"), [COMPOSED, "birds"])
    listing = list_images(made(tmp_path, APART, "birds"))
    assert network_setup.match_classes({"train": listing}, network)["train"].classes == (COMPOSED, "birds")
    parts = {"train": listing}
    assert network_setup.match_classes(parts, with_head(network, ["birds", "x"])) is parts


def test_classes_that_look_the_same_are_warned_of(tmp_path, capsys):
    made(tmp_path, "Birds", "birds", COMPOSED, APART)
    assert len(list_given_splits(Data(str(tmp_path)))["train"].classes) == 4
    said = capsys.readouterr().err
    assert "'Birds' and 'birds'" in said and r"'e\u0301te\u0301' and 'été'" in said


def test_evaluation_recognises_folders_of_known_classes(tmp_path):
    made(tmp_path / "one", "cat/2019", "cat/2020")
    assert find_labelled(tmp_path / "one", ("cat", "dog"))[0].labels == (0, 0, 0, 0)
    made(tmp_path / "same", *each("first", "second"))
    assert find_labelled(tmp_path / "same", ("first", "second"))[0].labels == (0,) * 4 + (1,) * 4
    made(tmp_path / "unlabelled", *each("train"), "test")
    assert find_labelled(tmp_path / "unlabelled", ("a", "b"))[1] == "all"


def test_circular_links_are_not_nested_folders(tmp_path):
    made(tmp_path, "pets/cat", "pets/dog")
    (tmp_path / "pets" / "up").symlink_to(tmp_path)
    (tmp_path / "pets" / "cat" / "self").symlink_to(tmp_path / "pets" / "cat")
    assert counts(tmp_path) == {"train": "cat dog"}


def test_check_needs_no_train(tmp_path):
    assert list(list_parts(Data(str(made(tmp_path, *each("val", "test")))))) == ["val", "test"]


@pytest.mark.parametrize(
    ("name", "split"),
    [("Training", "train"), ("test-images", "test"), ("01_valid", "val"), ("trainings", ""), ("train_val", ""),
     ("contest", ""), ("latest", ""), ("freight train", ""), ("", ""), ("データ", "")],
)  # fmt: skip
def test_names_of_splits(name, split):
    assert folder_layout.split_from_name(name) == split
