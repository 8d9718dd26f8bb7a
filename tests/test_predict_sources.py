"""`transferkit predict` on lists and packed shards, in addition to pictures and folders."""

import csv
import io
import json
import os

import pytest
from pictures import folder
from pyarrow import parquet

from transferkit.commands import prediction_output
from transferkit.data.file_ranges import read_bytes
from transferkit.data.sources import resolve, shards
from transferkit.recipe import Data


@pytest.fixture
def listed(pets, tmp_path):
    """listed(text) writes list.csv; "{pets}" in it is the folder of pictures. Returns its path."""

    def write(text):
        (tmp_path / "list.csv").write_text(text.format(pets=os.path.relpath(pets, tmp_path)))
        return str(tmp_path / "list.csv")

    return write


def test_predictions_of_all_sources_are_in_order(cli, finished, pets, listed, tmp_path):
    shards.pack_shards(resolve.list_given_splits(Data(str(pets))), tmp_path / "packed")
    path = listed("path\n{pets}/dog/003.jpg\n{pets}/cat/005.jpg\n")
    picture = str(pets / "cat" / "001.jpg")
    status, out, err = cli("predict", finished.folder, picture, path, "packed", pets, "--json")
    answers = json.loads(out)
    assert status == 0 and "list.csv, columns by their names: image is 'path'." in err
    assert len(answers) == 1 + 2 + 24 + 24 and not any(row["error"] for row in answers)
    assert answers[0]["path"] == picture
    assert [os.path.realpath(row["path"]) for row in answers[1:3]] == [
        str(pets.resolve() / name) for name in ("dog/003.jpg", "cat/005.jpg")
    ]
    packed, plain = answers[3:27], answers[27:]
    assert all(".tfrecord#" in row["path"] for row in packed)
    for there, here in zip(packed, plain, strict=True):
        assert read_bytes(there["path"]) == read_bytes(here["path"])
        assert there["label"] == here["label"] and abs(there["probability"] - here["probability"]) < 1e-4


def test_all_rows_of_a_list_are_predicted(pets, listed):
    """Splits that are not known, no labels, a picture twice: nothing that classifying needs."""
    lines = ["{pets}/cat/000.jpg,,tran", "{pets}/cat/000.jpg,cow,test", "{pets}/dog/000.jpg,,"]
    path = listed("\n".join(["shot,label,split", *lines]))
    found = resolve.find_paths(Data(path, image_col="shot"))
    assert [os.path.basename(os.path.dirname(each)) for each in found] == ["cat", "cat", "dog"]


def test_a_missing_picture_of_a_list_is_an_error_row(cli, finished, listed):
    names = [f"{{pets}}/cat/{i:03d}.jpg" for i in range(6)]
    path = listed("\n".join(["image", *names[:2], "gone.jpg", *names[2:]]))
    status, out, _ = cli("predict", finished.folder, path, "--json")
    errors = [row["error"] for row in json.loads(out)]
    assert status == 0 and errors == [None, None, "No such file or directory", None, None, None, None]


@pytest.mark.parametrize(
    ("text", "words", "sentence"),
    [
        ("path\ngone.jpg\n", (), "1 of 1 picture of"),
        ("path\n", (), "holds no rows"),
        ("what\ngone\n", (), "no column that looks like the images: give --image-col; its columns are what"),
        ("what\ngone.jpg\n", ("--image-col", "wat"), "No column of list.csv is called 'wat'. Did you mean 'what'?"),
    ],
)
def test_unusable_lists_are_refused(cli, finished, listed, text, words, sentence):
    status, out, err = cli("predict", finished.folder, listed(text), *words)
    assert (status, out) == (2 if words else 1, "") and sentence in err


def test_invalid_sources_are_refused(cli, finished, pets, tmp_path):
    picture = pets / "cat" / "000.jpg"
    for source in (pets, picture):
        status, _, err = cli("predict", finished.folder, source, "--image-col", "x")
        assert (status, err) == (1, f"Error: --image-col is for a CSV file, and {source} is not.\n")
    (tmp_path / "empty").mkdir()
    assert cli("predict", finished.folder, "empty")[2] == "Error: empty: there are no pictures.\n"
    (tmp_path / "empty" / shards.INDEX).write_text("{")
    assert "pack the pictures again" in cli("predict", finished.folder, "empty")[2]
    assert cli("predict", finished.folder, "tfds:minst")[0] == 2


def test_a_missing_source_is_an_error_row(cli, finished, pets):
    good = pets / "cat" / "001.jpg"
    status, out, _ = cli("predict", finished.folder, good, "gone.jpg", pets / "dog", "no/folder", "--json")
    rows = json.loads(out)
    assert status == 0 and len(rows) == 1 + 1 + 12 + 1 and rows[0]["path"] == str(good)
    errors = {number: row["error"] for number, row in enumerate(rows) if row["error"]}
    assert errors == {1: "No such file or directory", 14: "No such file or directory"}
    assert cli("predict", finished.folder, good, "gone.jpg", "--strict")[0] == 1
    assert cli("predict", finished.folder, good, "--strict")[0] == 0
    status, _, error = cli("predict", finished.folder, "gone.jpg", "no/folder")
    assert status == 2 and "There is no folder or file 'gone.jpg'" in error


def test_an_unwritable_output_is_refused_first(cli, pets):
    words = ("predict", "tiny", pets)
    for more, sentence in {
        ("--out", "no/folder/a.csv"): "a.csv cannot be written",
        ("--out", "a.txt"): "must end in .csv, .json, .jsonl or .parquet",
        ("--format", "parquet"): "--format parquet needs --out",
        ("--json", "--format", "csv"): "omit it, or --format csv",
        ("--all", "--top", "2"): "--all gives every class: omit --top 2",
    }.items():
        status, _, error = cli(*words, *more)
        assert status == 2 and sentence in error


def test_all_gives_every_class(cli, finished, pets, tmp_path):
    """The same numbers as a dict in JSON and as columns in CSV and Parquet; a row with an error has none."""
    words = ("predict", finished.folder, pets / "dog", "gone.jpg", "--all")
    rows = json.loads(cli(*words, "--json")[1])
    assert rows == json.loads(cli(*words, "--format", "json")[1])
    assert rows == [json.loads(line) for line in cli(*words, "--format", "jsonl")[1].splitlines()]
    assert rows[-1]["probabilities"] is None
    for row in rows[:-1]:
        found = row["probabilities"]
        assert set(found) == {"cat", "dog"} and sum(found.values()) == pytest.approx(1, abs=1e-5)
        assert row["label"] == max(found, key=found.get) and row["probability"] == max(found.values())
    table = list(csv.DictReader(io.StringIO(cli(*words, "--format", "csv")[1])))
    assert list(table[0]) == ["path", "label", "probability", "error", "unlike", "cat", "dog"]
    assert [float(row["dog"]) for row in table[:-1]] == [row["probabilities"]["dog"] for row in rows[:-1]]
    assert (table[-1]["dog"], table[-1]["error"]) == ("", "No such file or directory")
    assert cli(*words, "--out", "a.parquet")[0] == 0
    columns = parquet.read_table(tmp_path / "a.parquet").to_pydict()
    assert columns["cat"][:-1] == pytest.approx([row["probabilities"]["cat"] for row in rows[:-1]])
    assert columns["cat"][-1] is None
    assert cli(*words, "--out", "a.json")[0] == 0 and json.loads((tmp_path / "a.json").read_text()) == rows


def test_the_columns_of_classes_do_not_replace_others():
    row = {
        "path": "a.jpg",
        "label": "error",
        "probability": 0.75,
        "error": None,
        "top": [["error", 0.75], ["=b", 0.25]],
    }
    shown = prediction_output.Shown(1, ("=b", "error"))
    text = prediction_output._to_text([row], "csv", shown, True)
    assert text == "path,label,probability,error,'=b,class error\na.jpg,error,0.75,,0.25,0.75\n"


def test_figures_of_unseen_pictures_come_first(cli, finished, pets, tmp_path):
    """They are the figures of these pictures alone."""
    new = folder(tmp_path / "new", {"cat": 3, "dog": 2})
    both = tmp_path / "both"
    for path in [*pets.glob("*/*"), *new.glob("*/*")]:
        link = both / path.parent.name / f"{path.parent.parent.name}-{path.name}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    status, out, err = cli("evaluate", finished.folder, "--data", both)
    assert status == 0 and "The run was trained on 20 of the 29 pictures" in err
    first, rest = out.splitlines()[0], out.splitlines()[1:]
    assert first.endswith("on 9 pictures that the run was not trained on")
    assert any(line.endswith("on 29 pictures") for line in rest)
    document = json.loads(cli("evaluate", finished.folder, "--data", both, "--json")[1])
    assert (document["unseen"]["n"], document["n"]) == (9, 29)
    held_out, alone = (
        json.loads(cli("evaluate", finished.folder, *more, "--json")[1]) for more in ((), ("--data", new))
    )
    right = held_out["accuracy"] * 4 + alone["accuracy"] * 5
    assert document["unseen"]["accuracy"] == pytest.approx(right / 9) and "unseen" not in alone
