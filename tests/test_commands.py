"""The command line: output, exit statuses, error messages."""

import json
import os
import re

import pytest
from pictures import folder

from transferkit import commands

QUICK = ["--weights", "none", "--size", "32", "--epochs", "2", "--head-epochs", "1", "--batch-size", "8"]
EPOCH = re.compile(
    r"^epoch 1/1 of (the \w+(?: network)?)  loss \d\.\d{3} \(val \d\.\d{3}\)  accuracy \d\.\d{3} \(val \d\.\d{3}\)"
    r"  [\d.]+ s(?:  \d+% waiting for data)?  (?:about|at least) \d+ (?:s|min) left$",
    flags=re.M,
)


@pytest.fixture
def run(finished):
    return finished.folder


def pages(group, *words):
    """The words of every command, in groups too."""
    for name, command in sorted(group.commands.items()):
        yield from pages(command, *words, name) if hasattr(command, "commands") else [(*words, name)]


@pytest.mark.parametrize("words", list(pages(commands.group)), ids=" ".join)
def test_help_starts_with_an_example(cli, words):
    status, out, _ = cli(*words, "--help")
    assert status == 0
    assert f"Example: transferkit {' '.join(words)}" in out
    assert "--json" in out


def test_finetune_prints_a_readable_summary(cli, tiny, pets):
    status, out, err = cli("finetune", "--base", tiny, "--data", pets, *QUICK)
    assert status == 0
    assert "on 4 validation pictures, which also chose the checkpoint" in out
    assert "most confused:" in out
    assert "the run is in runs/finetune-tiny-pets-1" in out
    assert "Chosen by rule" in err
    assert "pictures/s" in err
    assert "next: transferkit predict runs/finetune-tiny-pets-1 PICTURE" in out
    # each epoch is a line, with the time that the rest of the job takes
    assert EPOCH.findall(err) == ["the head", "the whole network"], err


def test_finetune_json_and_its_recipe_again(cli, tiny, pets):
    status, out, _ = cli("finetune", "--base", tiny, "--data", pets, "--out", "run", "--json", *QUICK)
    first = json.loads(out)
    assert status == 0
    assert set(first) == {"run", "accuracy", "ci95", "n", "split", "seconds"}
    assert (first["n"], first["split"]) == (4, "val")
    status, out, _ = cli("finetune", "--recipe", "run/recipe.toml", "--out", "again", "--json")
    again = json.loads(out)
    assert (status, again["run"], again["accuracy"]) == (0, "again", first["accuracy"])


def test_dry_run_writes_nothing(cli, tiny, pets, tmp_path):
    status, out, _ = cli("finetune", "--base", tiny, "--data", pets, "--dry-run", *QUICK)
    assert status == 0
    assert "--augment" in out
    document = json.loads(cli("finetune", "--base", tiny, "--data", pets, "--dry-run", "--json", *QUICK)[1])
    assert document["pictures"]["val"] == {"cat": 2, "dog": 2}
    assert document["recipe"]["train"]["epochs"] == 2
    assert not (tmp_path / "runs").exists()


def test_the_plan_says_how_many_pictures_the_groups_hold_out(cli, tiny, pets):
    words = ("finetune", "--base", tiny, "--data", pets, "--dry-run", *QUICK)
    assert "20% of each class are held out." in cli(*words)[1]
    said = " ".join(cli(*words, "--group-by", r"(\d)\d\.jpg")[1].split())
    assert "4 pictures, in whole groups nearest to 20% of each class, are held out." in said


def test_predict_keeps_order_and_reports_unreadable_pictures(cli, run, pets, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"")
    dog, cat = (sorted((pets / name).iterdir())[0] for name in ("dog", "cat"))
    paths = [dog, tmp_path / "broken.png", cat]
    status, out, _ = cli("predict", run, *paths, "--json")
    rows = json.loads(out)
    assert status == 0
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    assert rows[1]["error"] == "the file is empty"
    assert rows[1]["label"] is None
    for row in (rows[0], rows[2]):
        assert set(row) == {"path", "label", "probability", "top", "error", "unlike"}
        assert row["top"][0] == [row["label"], row["probability"]]
    for form, lines in (("csv", 4), ("jsonl", 3)):
        assert len(cli("predict", run, *paths, "--format", form)[1].splitlines()) == lines
    assert "cannot be read: the file is empty" in cli("predict", run, *paths)[1]


def test_predict_finds_pictures_in_folders(cli, run, pets):
    assert len(json.loads(cli("predict", run, pets, "--json")[1])) == 24


def test_evaluate(cli, run, pets):
    status, out, _ = cli("evaluate", run, "--json")
    document = json.loads(out)
    assert status == 0
    assert {"accuracy", "ci95", "top5", "n", "loss", "ece", "per_class"} <= set(document)
    assert document["n"] == 4
    status, out, err = cli("evaluate", run, "--data", pets)
    assert status == 0
    assert "The run was trained on 20 of the 24 pictures" in err
    assert "on 24 pictures" in out


def test_models(cli):
    status, out, _ = cli("models", "--json")
    networks = {net["name"]: net for net in json.loads(out)}
    assert status == 0
    assert networks["resnet34"]["params"] == 21_797_672
    assert set(networks["resnet34"]["weights"][0]) == {"tag", "source", "licence", "top1", "available"}
    assert networks["plain34"]["weights"] == []
    assert "imagenet1k_v1" in cli("models")[1]


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["finetune", "--data", "nowhere"], 2, "There is no folder or file 'nowhere'."),
        (["finetune"], 2, "Missing option '--data'"),
        (["finetune", "--epochs", "0", "--data", "."], 2, "0 is not in the range x>=1"),
        (["finetune", "--bas", "x"], 2, "No such option '--bas'"),
        (["finetun"], 2, "No such command 'finetun'"),
        (["finetune", "--data", "{pets}", "--base", "resnet43"], 2, "Did you mean 'resnet34'?"),
        (["finetune", "--data", "{pets}", "--base", "tiny", "--weights", "none", "--unfreeze", "laier2"], 2, "laier2"),
        (["finetune", "--data", "{pets}", "--base", "tiny", "--weights", "none", "--augment", "flop"], 2, "'flip'"),
        (["finetune", "--data", "{pets}", "--base", "tiny", "--weights", "w.pth"], 2, "w.pth"),
        (["finetune", "--data", "{empty}", "--base", "tiny", "--weights", "none"], 1, "holds no pictures"),
        (["finetune", "--data", "{one}", "--base", "tiny", "--weights", "none"], 1, "holds one class, 'cat'"),
        (["finetune", "--data", "{broken}", "--base", "tiny", "--weights", "none"], 1, "Class 'two\\nlines' cannot be"),
        (["finetune", "--data", "{latin}", "--base", "tiny", "--weights", "none"], 1, "Class '\\udce9' cannot be used"),
        (["finetune", "--data", "{single}", "--base", "tiny", "--weights", "none"], 1, "Class 'dog' has 1 picture"),
        (["finetune", "--data", "{corrupt}", "--base", "tiny", "--weights", "none"], 1, "more than one in five"),
        (["finetune", "--data", "{val_only}", "--base", "tiny", "--weights", "none"], 1, "pictures of dog"),
        (["finetune", "--data", "{pets}", "--base", "tiny", "--weights", "none", "--out", "{pets}"], 1, "exists"),
        (["finetune", "--resume", "{pets}"], 1, "holds no recipe.toml"),
        (["finetune", "--resume", "{pets}", "--epochs", "3"], 2, "--resume takes everything from the run"),
        (["finetune", "--resume", "{pets}", "--dry-run"], 2, "--resume takes everything from the run"),
        (["finetune", "--data", "{pets}", "--base", "tiny", "--epochs", "1", "--head-epochs", "2"], 2, "No public"),
        (["finetune", "--data", "{pets}", "--base", "tiny", "--weights", "{cut}"], 1, "cut.pth"),
        (["predict", "nowhere", "{pets}"], 2, "No network, run folder or Keras file is called 'nowhere'"),
        (["predict", "{pets}", "{pets}"], 2, "is a folder of pictures, not a network"),
        (["predict", "{run}", "{pets}", "--weights", "x.pth"], 2, "has weights of its own"),
        (["predict", "tiny", "nowhere.jpg"], 2, "There is no folder or file 'nowhere.jpg'."),
        (["evaluate", "tiny"], 2, "Missing option '--data'"),
    ],
)
def test_errors_are_one_sentence(cli, finished, pets, tmp_path, words, status, sentence):
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 cut short")
    places = bad_folders(tmp_path) | {"pets": pets, "run": finished.folder, "cut": tmp_path / "cut.pth"}
    found, out, err = cli(*(word.format(**places) for word in words))
    assert (found, out) == (status, "")
    assert sentence in err
    assert "Traceback" not in err
    last = err.strip().splitlines()[-1]
    assert last.startswith("Error: ")


def bad_folders(root):
    (root / "empty").mkdir()
    folder(root / "one", {"cat": 3})
    folder(root / "broken", {"cat": 3, "two\nlines": 3})
    folder(root / "latin", {"cat": 3, os.fsdecode(b"\xe9"): 3})
    folder(root / "single", {"cat": 3, "dog": 1})
    corrupt = folder(root / "corrupt", {"cat": 3, "dog": 3})
    for path in corrupt.rglob("*.*"):
        path.write_bytes(b"garbage")
    folder(root / "val_only" / "train", {"cat": 3, "cow": 3})
    folder(root / "val_only" / "val", {"cat": 3, "dog": 3})
    return {name: root / name for name in ("empty", "one", "single", "corrupt", "val_only", "broken", "latin")}


def test_debug_shows_the_traceback(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no pictures"):
        commands.main(["finetune", "--data", "empty", "--base", "resnet18", "--debug"])


def test_interrupt_ends_with_130(cli, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("transferkit.zoo.variants", stop)
    assert cli("models")[0] == 130


def test_a_folder_named_like_a_network_or_tag_does_no_harm(cli, tiny, pets, tmp_path):
    (tmp_path / "imagenet").mkdir()
    (tmp_path / tiny).mkdir()
    assert "No public weights are known for tiny" in cli("finetune", "--base", tiny, "--data", pets)[2]
    assert "No public weights are known for tiny" in cli("evaluate", tiny, "--data", pets)[2]


@pytest.mark.slow
def test_overwrite_replaces_a_run(cli, tiny, pets):
    words = ("finetune", "--base", tiny, "--data", pets, "--out", "run", "--unfreeze", "head", *QUICK[:4])
    assert cli(*words, "--epochs", "1")[0] == 0
    assert cli(*words, "--epochs", "2")[0] == 1
    assert cli(*words, "--epochs", "2", "--overwrite")[0] == 0
    status, _, err = cli("finetune", "--base", "run", "--data", pets, "--out", "run", "--overwrite")
    assert (status, "is the base of the new run" in err) == (1, True)


@pytest.mark.parametrize("error", [MemoryError(), MemoryError("Unable to allocate 4.2 GiB for an array")])
def test_out_of_memory_is_reported(error):
    assert commands.error_message(error).startswith("Out of memory: try a smaller --batch-size or --size")
