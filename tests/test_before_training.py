"""The printed plan, and errors before any picture is read."""

import errno
import json
import re

import pytest

import transferkit as tk
from transferkit import zoo


@pytest.fixture
def unread(monkeypatch):
    """A job may not get as far as its pictures."""

    def scanned(*_, **__):
        raise AssertionError("the pictures were read")

    monkeypatch.setattr("transferkit.data.audit.scan.scan_files", scanned)
    monkeypatch.setattr("transferkit.data.audit.before_training.scan_files", scanned)


def test_the_plan_lists_trainable_layers_of_each_phase(cli, tiny, pets):
    words = ("finetune", "--base", tiny, "--weights", "none", "--data", pets, "--dry-run", "--epochs", 3)
    phases = ("--head-epochs", 1, "--unfreeze", "layer2,all", "--batch-size", 8)
    status, out, _ = cli(*words, *phases)
    assert status == 0 and "layer2.conv to fc" in out and re.search(r"memory.*\n.*~\d+\.\d\d GB", out)
    assert re.search(r"^total +20 +4", out, re.M) and "layer2 and after" in out and "the whole network" in out
    plan = json.loads(cli(*words, *phases, "--json")[1])
    sizes = {"fc": 16 * 2 + 2, "layer2.conv": 3 * 3 * 8 * 16, "layer1.conv": 3 * 3 * 3 * 8, "norms": 2 * (8 + 16)}
    second = sizes["fc"] + sizes["layer2.conv"] + 2 * 16
    assert [(one["phase"], one["epochs"], one["parameters"]) for one in plan["phases"]] == [
        ("head", 1, sizes["fc"]),
        ("layer2", 1, second),
        ("all", 1, sum(sizes.values())),
    ]
    assert [one["learns"] for one in plan["phases"]] == ["fc", "layer2.conv to fc", "layer1.conv to fc"]


@pytest.mark.slow
def test_memory_depends_on_batch_size_and_trainable_layers(cli, pets):
    def gb(*words):
        base = ("finetune", "--base", "vgg11", "--weights", "none", "--data", pets, "--size", 224, "--devices", "cpu")
        plan = json.loads(cli(*base, "--dry-run", "--json", *words)[1])
        return max(one["memory_gb"] for one in plan["phases"])

    parameters, maps = 128_774_530, 224 * 224 * (3 + 3 * 64)  # with two classes; the first maps are most of all
    assert gb("--batch-size", 1) == pytest.approx(4 * 4 * parameters / 1e9, abs=0.2)
    assert gb("--batch-size", 64) - gb("--batch-size", 1) > 63 * 4 * maps / 1e9
    assert gb("--batch-size", 64, "--accumulate", 8) < gb("--batch-size", 64) / 1.5
    assert gb("--batch-size", 1, "--unfreeze", "head") < 4 * parameters * 1.1 / 1e9


@pytest.mark.parametrize(
    ("out", "status", "sentence"),
    [
        ("x" * 300, 1, "File name too long"),
        ("file/run", 2, "Not a directory"),
        ("/proc/run", 1, "The run folder /proc/run cannot be made in /proc"),
    ],
)
def test_a_run_folder_that_cannot_be_made(cli, unread, tiny, pets, tmp_path, out, status, sentence):
    (tmp_path / "file").touch()
    found, _, error = cli("finetune", "--base", tiny, "--weights", "none", "--data", pets, "--out", out)
    assert found == status and sentence in error


def test_a_working_folder_that_may_not_be_written_to(cli, unread, tiny, pets, monkeypatch):
    def refused(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("transferkit.run_folder.tempfile.mkdtemp", refused)
    status, _, error = cli("finetune", "--base", tiny, "--weights", "none", "--data", pets)
    assert status == 1 and "cannot be made in" in error and "(Read-only file system): give another --out" in error


@pytest.mark.slow
def test_a_name_of_a_run_is_never_too_long(cli, tiny, pets, tmp_path):
    (tmp_path / ("x" * 250)).symlink_to(pets)
    words = ("--weights", "none", "--epochs", 1, "--head-epochs", 1, "--size", 32, "--devices", "cpu")
    assert cli("finetune", "--base", tiny, "--data", "x" * 250, *words)[0] == 0


def test_a_tilde_that_the_shell_did_not_expand(cli, unread, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "somebody"))
    for words in (("--data=~/gone",), ("--data", "~/gone")):
        assert f"{tmp_path}/somebody/gone" in cli("finetune", "--base", "lenet5", *words)[2]


def test_train_does_not_take_a_trained_model(cli, unread, finished, pets):
    status, _, error = cli("train", "--base", finished.folder / "model.keras", "--data", pets)
    assert status == 2 and "train begins with fresh weights" in error and "finetune --base" in error
    assert "--weights none" not in error
    status, _, error = cli("train", "--base", "gone.keras", "--data", pets)
    assert status == 2 and "There is no run or file 'gone.keras'" in error


def test_names_of_networks_in_any_case():
    assert zoo.spell("ResNet18(stem=small)") == zoo.spell("resnet18(stem=small)")
    assert zoo.is_network("LeNet5") and zoo.variant("LeNet5") is zoo.variant("lenet5")
    assert tk.create("LeNet5", weights="none").name == "lenet5"
