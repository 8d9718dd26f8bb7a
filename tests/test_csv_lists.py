"""CSV lists in many forms: any columns, no header, ids, paths of other machines."""

import csv
import io
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from transferkit.data.sources import csv_text, resolve
from transferkit.lookup import UnknownName
from transferkit.recipe import Data

ROWS = [(f"p{i:02}", "ab"[i % 2]) for i in range(8)]
LABELS = dict(ROWS)


@pytest.fixture
def found(tmp_path):
    """found(text, **knobs) writes a list beside pictures, `folder`/p00.jpg and so on, and gives {name: class}."""

    def read(text: str, folder="images/x", encoding="utf-8", suffix=".jpg", name="list.csv", **knobs):
        for one, _ in ROWS:
            path = tmp_path / folder / f"{one}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (tmp_path / name).write_bytes(text.encode(encoding))
        parts = resolve.list_given_splits(Data(str(tmp_path / name), **knobs))
        return {
            Path(path).stem: part.classes[label]
            for part in parts.values()
            for path, label in zip(part.paths, part.labels, strict=True)
        }

    return read


def lines(form: str, header: str = "") -> str:
    """A line for each picture: `{n}` its name, `{c}` its class, `{i}` a number, `{one}` and `{other}` 0 and 1."""
    rows = [form.format(n=name, c=label, i=i, one=i % 2, other=1 - i % 2) for i, (name, label) in enumerate(ROWS)]
    return "\n".join([header] * bool(header) + rows) + "\n"


PATHS = lines("images/x/{n}.jpg,{c}", "image,label")


@pytest.mark.parametrize(
    "text",
    [
        lines("{n},{c}", "id,breed"),
        lines("{n}.jpg,{c}", "file_name,Species"),
        lines("{n}.JPG;{c}", "name;labels"),
        lines('{i}\t"images/x/{n}.jpg"\t"{c}"', "Unnamed: 0\tfilepath\tdx"),
        lines("{i},images/x/{n}.jpg,{c}", ",img,target"),
        lines("{i},IP_{i},{n},{c},male,50.0", "lesion_id,patient,image_id,diagnosis,sex,age"),
        lines("images/x/{n}.jpg,{c},,", "image,label,,"),
        lines("images/x/{n}.jpg;{c}", "sep=;\nimage;label"),
        lines("images/x/{n}.jpg,{c}", '"sep=,"\r\nimage,label'),
        lines("images/x/{n}.jpg,{c}", "\n\n,,\nimage,label"),
        lines("images/x/{n}.jpg,{c}"),
        lines("{c}\timages/x/{n}.jpg"),
        lines("{i},images/x/{n}.jpg,{c},train"),
        lines("images/x/{n}.jpg {c}"),
        lines("images\\x\\{n}.JPG,{c}", "image,label"),
        lines("IMAGES/X/{n}.Jpg,{c}", "image,label"),
        lines(".\\{n}.jpg,{c}", "image,label"),
        lines("C:\\Users\\me\\pets\\x\\{n}.jpg,{c}", "image,label"),
        lines("/kaggle/input/pets/{n}.jpg,{c}", "image,label"),
        lines("images/x/{n}.jpg,{c},{i}", "image,label,fold"),
        lines("{n},{other},{one}", "image,a,b"),
        lines("{n},{other}.0,{one}.0", "image_id,a,b"),
    ],
)
def test_lists_in_many_forms_are_read(found, text):
    assert found(text) == LABELS


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-8-sig"])
@pytest.mark.parametrize("text", [PATHS, PATHS.replace("\n", "\r\n"), PATHS.replace("\n", "\r")])
def test_any_encoding_and_line_end(found, text, encoding):
    assert found(text, encoding=encoding) == LABELS


def test_files_written_by_pandas_and_csv(found, tmp_path):
    frame = pd.DataFrame({"image": [f"images/x/{name}.jpg" for name in LABELS], "label": LABELS.values()})
    assert found(frame.to_csv()) == found(frame.to_csv(index=False, sep=";")) == LABELS
    assert found(frame.to_csv(quoting=csv.QUOTE_ALL, sep="\t")) == LABELS
    assert found(pd.get_dummies(frame, columns=["label"], prefix="", prefix_sep="").to_csv(index=False)) == LABELS
    (tmp_path / "odd.csv").write_text('a,"b ""c"", d",e\n1,"x\ny",\n', "utf-8")
    table = csv_text.read_table(tmp_path / "odd.csv")
    assert [table.header, *(list(row.values()) for _, row in table.rows)] == list(
        csv.reader(io.StringIO('a,"b ""c"", d",e\n1,"x\ny",\n'))
    )


def test_it_prints_how_pictures_were_found(found, capsys):
    found(lines("{n},{c}", "id,breed"), folder="train")
    said = capsys.readouterr().err
    assert "8 pictures found by name: 'p00' is train/p00.jpg." in said and "image is 'id', label is 'breed'" in said
    found(PATHS)
    assert "found by name" not in capsys.readouterr().err


def test_folder_and_suffix_options(found, tmp_path):
    text = lines("{n},{c}", "id,breed")
    assert found(text, image_dir=str(tmp_path / "images" / "x"), image_suffix="jpg") == LABELS
    assert found(text, image_dir="images", image_suffix=".jpg") == LABELS  # beside the list
    assert found(lines("elsewhere/{n}.jpg,{c}", "image,label"), image_dir="images/x") == LABELS
    with pytest.raises(FileNotFoundError, match="no folder 'image', here or in .* Did you mean 'images'"):
        found(text, image_dir="image")
    with pytest.raises(ValueError, match="--image-dir is for a CSV file"):
        resolve.list_given_splits(Data(str(tmp_path), image_dir="x"))


def test_a_list_may_lie_in_the_folder_that_its_names_begin_with(found, tmp_path):
    (tmp_path / "images").mkdir()
    assert found(lines("pets/images/x/{n}.jpg,{c}", "image,label"), name="images/list.csv") == LABELS
    with pytest.raises(ValueError, match="8 of 8 pictures"):
        found(lines("pets/x/{n}.jpg,{c}", "image,label"), name="images/list.csv")


def test_two_matching_files_are_ambiguous(found, tmp_path):
    for name in LABELS:
        (tmp_path / "test").mkdir(exist_ok=True)
        (tmp_path / "test" / f"{name}.jpg").touch()
    text = lines("{n},{c}", "id,label")
    with pytest.raises(ValueError, match=r"the first 'p00' in line 2, which test/p00.jpg and train/p00.jpg fit: .*dir"):
        found(text, folder="train")
    assert found(text, folder="train", image_dir="train") == LABELS
    assert found(text, folder="train", name="trainLabels.csv") == LABELS


@pytest.mark.parametrize("name", ["dogs/{n}.jpg", "x/{n}.jpg/1.jpg", "{n}.png", "https://host/x/{n}.jpg", "{n}x"])
def test_similar_file_names_are_not_matched(found, name):
    with pytest.raises(ValueError, match="8 of 8 pictures of .* are missing, the first .* --image-dir names another"):
        found(lines(name + ",{c}", "image,label"))


def test_names_in_another_unicode_form_and_case(tmp_path):
    stored, typed = (unicodedata.normalize(form, "Zoë") for form in ("NFD", "NFC"))
    for name in (f"{stored}.jpg", "1.jpg", "a.jpg", "A.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "list.csv").write_text(f"image,label\n{typed}.jpg,a\n1.JPG,b\na.jpg,a\nA.jpg,b\n", "utf-8")
    part = resolve.list_given_splits(Data(str(tmp_path / "list.csv")))["train"]
    assert [Path(path).name for path in part.paths] == [f"{stored}.jpg", "1.jpg", "a.jpg", "A.jpg"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (lines("images/x/{n}.jpg"), "has one column alone, 'column 1', so nothing says the classes"),
        (lines("{n},{c}"), "If its first line does not name columns, put a line above it"),
        (lines("{n},{c},{i},{i}.5"), "columns are p00, a, 0, 0.5"),
        (lines("{n},a b", "id,label") + "p00,a\np01,b\n", "line 2: 'a b' in column 'label' looks like several labels"),
        (lines("{n},A|{c}", "id,label"), r"'A\|a' in column 'label' looks like several labels"),
        ("id,tags\np00,u v\np01,v w\np02,u w\np03,u v w\n", "'u v' in column 'tags' looks like several"),
        ("id,label\np00,u;v\np01,v;w\np02,u;w\np03,u;v;w\n", "'u;v' in column 'label' looks like several"),
        ("image,label,subset\np00,a,tran\np01,b,tset\n", "line 2: the split is 'tran', expected one of train"),
        (lines("{n},{one},1", "id,a,b"), "4 of 8 rows do not have exactly one class: in line 3, a and b are set of"),
        (lines("{n},{one},0", "id,a,b"), "4 of 8 rows do not have exactly one class: in line 2, none is set of"),
        ("image,label,split\np00,a,train\np01,b,\n", "'split', is blank in 1 of 2 rows, the first in line 3: fill it"),
        ("image,label,split\np00,a,train\np01,b,tran\n", "line 3: the split is 'tran', .*--split-col none takes all"),
        ("image,label,split\np00,a,public\np01,b,private\n", "line 2: the split is 'public', expected one of train"),
    ],
)
def test_unusable_lists_are_refused(found, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        found(text)


def test_names_of_several_words_are_one_label(found):
    names = [
        "Golden Retriever",
        "Labrador Retriever",
        "red apple",
        "green apple",
        "red pear",
        "green pear",
        "a; b",
        "x",
    ]
    text = "id,breed\n" + "\n".join(f'{one},"{name}"' for (one, _), name in zip(ROWS, names, strict=True))
    assert list(found(text).values()) == names


def test_labels_keep_leading_zeros(found):
    assert set(found(lines("{n},00{one}", "id,label")).values()) == {"000", "001"}


@pytest.mark.parametrize("column", ["fold", "set", "split"])
def test_a_column_of_folds_is_not_a_split(found, capsys, column):
    assert found(lines("{n},{c},{i}", f"id,label,{column}")) == LABELS
    assert f"the column '{column}' holds 0, 1, 2 ..., not train, val or test" in capsys.readouterr().err


def test_a_column_may_be_declared_not_a_split(found):
    assert found("id,label,split\np00,a,train\np01,b,\n", split_col="none") == {"p00": "a", "p01": "b"}
    with pytest.raises(ValueError, match="line 2: the split is '0'"):
        found(lines("{n},{c},{i}", "id,label,fold"), split_col="fold")
    with pytest.raises(UnknownName, match="No column of list.csv is called 'nothing'"):
        found(PATHS, split_col="nothing")


def test_columns_of_classes_may_be_named(found):
    text = lines("{n},{i},{other},{one}", "id,cropped,a,b").replace(",2,", ",0,")
    assert found(text, label_col="a, b") == LABELS


def test_labels_that_look_the_same_are_warned_of(found, capsys):
    found(lines("{n},{c}", "id,label"))
    assert "Warning" not in capsys.readouterr().err
    found("id,label\np00,Cat\np01,cat\np02,dog\n")
    assert "'Cat' and 'cat'" in capsys.readouterr().err


def test_one_hot_columns_are_labels_of_extracted_features(found, tmp_path):
    found(lines("{n},{other},{one}", "image,a,b"))
    listing, _ = resolve.find_all_pictures(Data(str(tmp_path / "list.csv")))
    assert listing.classes == ("a", "b")
    (tmp_path / "list.csv").write_text(lines("{n},{one},{one}", "image,cropped,sharp"))
    assert resolve.find_all_pictures(Data(str(tmp_path / "list.csv")))[0].classes == ()
