"""`transferkit compare`: two runs on the same pictures."""

import csv
import json
import shutil

import pytest
from pictures import folder

import transferkit as tk
from transferkit import atomic
from transferkit.evaluation.comparison import describe_difference


@pytest.fixture
def copied(finished, tmp_path):
    """copied(name, change) copies the run; change(row) edits each of its predictions."""

    def copy(name, change=lambda row: row):
        shutil.copytree(finished.folder, tmp_path / name)
        path = tmp_path / name / "predictions.csv"
        atomic.write(path, [change(dict(row)) for row in atomic.read(path)])
        return tmp_path / name

    return copy


def right(row):
    return row | {"predicted": row["label"]}


def wrong(row):
    return row | {"predicted": {"cat": "dog", "dog": "cat"}[row["label"]]}


def test_runs_are_compared_on_what_both_held_out(cli, copied, tmp_path):
    copied("a", lambda row: wrong(row) if row["label"] == "cat" else right(row))
    copied("b", right)
    status, out, err = cli("compare", "a", "b", "--out", "found")
    assert status == 0, err
    assert "accuracy of A 50.0%, of B 100.0%, on 4 validation pictures" in out
    assert "difference, B minus A: +50.0 points" in out
    assert any(line.split() == ["dog", "100.0%", "100.0%", "0.0", "2"] for line in out.splitlines())
    assert "look at: differ.png, differ.csv, comparison.json in found" in out
    assert "2 are right only by B, 0 only by A (McNemar p = 0.5): no clear difference" in out
    figures = json.loads((tmp_path / "found" / "comparison.json").read_text())
    assert figures == json.loads(cli("compare", "a", "b", "--json")[1]) == tk.compare("a", "b")
    assert figures["per_class"]["cat"] == {"n": 2, "accuracy": [0, 1], "difference": 1}
    assert [row["predicted"] for row in figures["differ"]] == [["dog", "cat"]] * 2
    with open(tmp_path / "found" / "differ.csv", newline="") as file:
        assert [(row["label"], row["predicted_a"], row["predicted_b"]) for row in csv.DictReader(file)] == [
            ("cat", "dog", "cat")
        ] * 2
    assert (tmp_path / "found" / "differ.png").stat().st_size > 1000
    assert "found exists" in cli("compare", "a", "b", "--out", "found")[2]


def test_only_common_pictures_count(copied, capsys):
    a, b = copied("a", right), copied("b", wrong)
    rows = atomic.read(b / "predictions.csv")
    atomic.write(b / "predictions.csv", rows[1:])
    assert tk.compare(a, b)["n"] == 3
    atomic.write(b / "predictions.csv", [rows[0] | {"label": "dog"}, *rows[1:]])
    assert tk.compare(a, b)["n"] == 3 and "Left out: 1 picture that the runs know by" in capsys.readouterr().err
    atomic.write(b / "predictions.csv", [row | {"path": f"/elsewhere{row['path']}"} for row in rows])
    with pytest.raises(ValueError, match="held out no picture in common"):
        tk.compare(a, b)


def test_a_run_that_is_not_finished_is_refused(copied):
    a = copied("a", right)
    (a / "metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match="a is not finished: transferkit finetune --resume"):
        tk.compare(a, a)


def test_classes_are_matched_by_name(cli, copied):
    a = copied("a", right)
    b = copied("b", lambda row: right(row) | {name: row["label"].upper() for name in ("label", "predicted")})
    (b / "classes.txt").write_text("DOG\nCAT\n")
    assert tk.compare(a, b)["accuracy"] == [1, 1]
    (b / "classes.txt").write_text("cow\ncat\n")
    status, _, err = cli("compare", a, b)
    assert status == 1 and "lacks 'dog' and has also 'cow'" in " ".join(err.split())


def test_other_pictures(cli, finished, copied, pets, tmp_path, capsys):
    """Those that a run was trained on are left out; a run does not differ from itself."""
    new = folder(tmp_path / "new", {"cat": 3, "dog": 3})
    b = copied("b")
    figures = json.loads(cli("compare", finished.folder, b, "--data", new, "--group-by", r"(\d)\.jpg", "--json")[1])
    assert (figures["n"], figures["groups"], figures["split"], figures["differ"]) == (6, 3, "all", [])
    assert figures["accuracy"] == [finished.evaluate(new)["accuracy"]] * 2
    assert tk.compare(finished, b, pets)["n"] == 4
    assert "Left out: 20 of the 24 pictures" in capsys.readouterr().err
    status, _, err = cli("compare", finished.folder, b, "--data", _trained(finished, tmp_path))
    assert status == 1 and "was trained on each of the 4 pictures" in " ".join(err.split())


def _trained(run, root):
    """Links to some pictures that a run was trained on."""
    for number, path in enumerate([*run.splits.train.paths[:2], *run.splits.train.paths[-2:]]):
        link = root / "known" / ("cat" if "/cat/" in path else "dog") / f"{number}.jpg"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    return root / "known"


def test_groups_of_held_out_pictures(copied):
    a, b = copied("a", right), copied("b", wrong)
    assert tk.compare(a, b, group_by=r"^(\w+)/")["groups"] == 2
    assert "groups" not in tk.compare(a, b)


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        (
            (3, 9, 0.146, None),
            "12 pictures: 9 are right only by B, 3 only by A (McNemar p = 0.15): no clear difference",
        ),
        ((9, 1, 0.021, None), "10 pictures: 9 are right only by A, 1 only by B (McNemar p = 0.021): A is better"),
        ((0, 1, 1.0, None), "1 picture: 1 is right only by B, 0 only by A (McNemar p = 1): no clear difference"),
        ((2, 30, 1e-7, None), "32 pictures: 30 are right only by B, 2 only by A (McNemar p < 0.001): B is better"),
        ((9, 1, 0.021, [-0.3, 0.1]), "(McNemar p = 0.021): no clear difference"),
    ],
)
def test_the_verdict(figures, sentence):
    found = dict(zip(("only_first", "only_second", "p_value", "ci95"), figures, strict=True))
    found |= {"groups": 5} if found["ci95"] else {}
    assert describe_difference(found).endswith(sentence)


def test_what_is_no_run_is_refused(cli, finished, pets):
    assert "No network, run folder" in cli("compare", finished.folder, "nowhere")[2]
    status, _, err = cli("compare", finished.folder, pets)
    assert status == 2 and "is a folder of pictures, not a network" in " ".join(err.split())
