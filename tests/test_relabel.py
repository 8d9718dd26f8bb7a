"""`transferkit check --relabel`: corrected labels are carried out, all or none, and can be taken back."""

import csv
import os

import pytest
from pictures import encoded, photo


@pytest.fixture
def make(tmp_path):
    """make(*names) is a folder of these pictures, all different."""

    def add(*names):
        for number, name in enumerate(names):
            path = tmp_path / "pictures" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(photo(40, 40, seed=number)))
        return tmp_path / "pictures"

    return add


@pytest.fixture
def root(make):
    return make("cat/a.jpg", "cat/b.jpg", "dog/a.jpg")


def write(path, *rows, columns=("path", "label")):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def classes(root):
    """{content: class}."""
    return {content: os.path.dirname(name) for name, content in tree(root).items()}


def tree(root):
    return {os.path.relpath(path, root): path.read_bytes() for path in root.rglob("*.jpg")}


def test_pictures_move_to_their_class_and_back(root, cli, tmp_path):
    before, labels = tree(root), classes(root)
    fixes = write(tmp_path / "suspects.csv", (root / "cat/a.jpg", "dog", "x"), ("cat/b.jpg", "cat", "y"),
                  columns=("path", "label", "likely"))  # fmt: skip
    status, out, _ = cli("check", root, "--relabel", fixes)
    assert status == 0 and "1 picture has another label now; 1 of the rows changed nothing" in out
    assert tree(root) == {
        "cat/b.jpg": before["cat/b.jpg"],
        "dog/a.jpg": before["dog/a.jpg"],  # not overwritten
        "dog/a-2.jpg": before["cat/a.jpg"],
    }
    assert f"--relabel {tmp_path}/suspects.undo.csv" in out
    with open(tmp_path / "suspects.undo.csv", newline="") as file:
        assert [*csv.DictReader(file)] == [
            {"path": str(root / "dog/a-2.jpg"), "label": "cat", "from": str(root / "cat/a.jpg")}
        ]
    assert cli("check", root, "--relabel", tmp_path / "suspects.undo.csv")[0] == 0
    assert classes(root) == labels  # the picture that got a number keeps it


def test_two_pictures_of_one_name_go_to_one_class(make, cli, tmp_path):
    names = ("cat/a.jpg", "cat/b.jpg", "dog/a.jpg", "dog/b.jpg", "fox/c.jpg")
    root = make(*names)
    fixes = write(tmp_path / "suspects.csv", ("cat/a.jpg", "fox"), ("dog/a.jpg", "fox"))
    before, labels = tree(root), classes(root)
    assert cli("check", root, "--relabel", fixes)[0] == 0
    assert {tree(root)["fox/a.jpg"], tree(root)["fox/a-2.jpg"]} == {before["cat/a.jpg"], before["dog/a.jpg"]}
    assert cli("check", root, "--relabel", tmp_path / "suspects.undo.csv")[0] == 0
    assert classes(root) == labels


def test_a_split_and_a_folder_within_a_class_are_kept(make, cli, tmp_path):
    names = ("train/cat/day/a.jpg", "train/dog/b.jpg", "val/cat/c.jpg", "val/dog/d.jpg")
    root = make(*names)
    fixes = write(tmp_path / "f.csv", ("train/cat/day/a.jpg", "dog"), ("val/dog/d.jpg", "cat"))
    cli("check", root, "--relabel", fixes)
    assert set(tree(root)) == {"train/dog/day/a.jpg", "train/dog/b.jpg", "val/cat/c.jpg", "val/cat/d.jpg"}


@pytest.mark.parametrize(
    ("rows", "columns", "status", "words"),
    [
        ([("cat/b.jpg", "dgo")], ("path", "label"), 2, "line 3: no class is called 'dgo'. Did you mean 'dog'?"),
        ([("cat/bb.jpg", "dog")], ("path", "label"), 2, "has no picture 'cat/bb.jpg'. Did you mean 'cat/b.jpg'?"),
        ([("cat/b.jpg", "")], ("path", "label"), 1, "line 3: 'cat/b.jpg' has no label"),
        ([("cat/a.jpg", "cat")], ("path", "label"), 1, "is 'cat' here and 'dog' in another row"),
        ([], ("path", "lable"), 2, "No column of suspects.csv is called 'label'. Did you mean 'lable'?"),
        ([], ("paht", "label"), 2, "No column of suspects.csv is called 'path'. Did you mean 'paht'?"),
    ],
)
def test_nothing_is_moved_unless_all_rows_are_valid(root, cli, tmp_path, rows, columns, status, words):
    before = tree(root)
    fixes = write(tmp_path / "suspects.csv", ("cat/a.jpg", "dog"), *rows, columns=columns)
    found, _, said = cli("check", root, "--relabel", fixes)
    assert (found, tree(root)) == (status, before) and words in said and "Traceback" not in said
    assert [*tmp_path.glob("*undo*")] == []


def test_a_list_gets_a_corrected_copy(root, cli, tmp_path):
    rows = [("cat/a.jpg", "cat", "7"), ("cat/b.jpg", "cat", "8"), ("dog/a.jpg", "dog", "9")]
    listed = write(root / "pets.csv", *rows, columns=("image", "label", "age"))
    before, fixes = tree(root), write(tmp_path / "suspects.csv", ("cat/b.jpg", "dog"))
    status, out, _ = cli("check", listed, "--relabel", fixes)
    assert status == 0 and "the corrected list is" in out and tree(root) == before
    with open(root / "pets.relabelled.csv", newline="") as file:
        found = [tuple(cells) for cells in csv.reader(file)]
    assert found == [("image", "label", "age"), rows[0], ("cat/b.jpg", "dog", "8"), rows[2]]
    cli("check", listed, "--relabel", fixes)
    assert (root / "pets.relabelled-2.csv").exists() and "cat/b.jpg,cat" in listed.read_text()


def test_a_relative_link_stays(root, cli, tmp_path):
    (root / "cat" / "link.jpg").symlink_to("b.jpg")
    _, out, said = cli("check", root, "--relabel", write(tmp_path / "f.csv", ("cat/link.jpg", "dog")))
    assert "link.jpg stays: it is a relative link" in said and "0 pictures have" in out
    assert (root / "cat" / "link.jpg").exists()


def test_relabel_is_given_alone(root, cli, tmp_path):
    assert cli("check", root, "--relabel", "f.csv", "--html", "x.html")[0] == 2
    status, _, said = cli("check", root, "--relabel", tmp_path / "no.csv")
    assert status == 2 and "There is no file" in said
