"""Devices: how names are resolved, what several devices do not support, and same results on one and two."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import transferkit as tk
from transferkit.lookup import UnknownName
from transferkit.recipe import Train
from transferkit.training.distributed import devices
from transferkit.training.distributed.devices import Device

HERE = Path(__file__).parent
EXACT = {"augment": "none", "bn": "train", "head_epochs": 0, "epochs": 2}


def run(script: str, *words, **variables) -> str:
    """What a script of this folder prints, in a process of its own."""
    command = [sys.executable, "-W", "ignore", str(HERE / script), *map(str, words)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(HERE.parent), str(HERE)))} | variables
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(
    "words, gpus, meant",
    [("auto", 0, []), ("auto", 4, [0]), ("all", 0, []), ("all", 3, [0, 1, 2]), ("cpu", 2, []), ("cpu:2", 2, [])]
    + [("1", 2, [1]), ("0,2", 3, [0, 2])],
)
def test_names_of_devices(words, gpus, meant):
    assert devices._parse_gpus(words, gpus) == meant


@pytest.mark.parametrize("words", ["gpu", "0", "cpu:0", "cpu:x", "0,0", "-1", ""])
def test_a_missing_device_is_named(words):
    with pytest.raises(UnknownName, match=f"No device is called '{words}'.*none here"):
        devices.choose_device(words)


def test_one_device_has_no_strategy():
    device = devices.choose_device("cpu", "mixed_float16")
    assert device == Device("CPU", False, "mixed_float16", replicas=1, strategy=None)


@pytest.mark.parametrize(
    "knobs, said",
    [
        ({"batch_size": 9}, "cannot be shared by 2 devices: use batch_size 10"),
        ({"batch_size": 8, "accumulate": 2}, "2 devices cannot accumulate"),
        ({"batch_size": 8, "clip": 1.0}, "2 devices cannot clip"),
        ({"batch_size": 8, "teacher": "resnet50"}, "2 devices cannot learn from a teacher"),
    ],
)
def test_knobs_unsupported_on_several_devices_are_refused(knobs, said):
    with pytest.raises(UnknownName, match=said):
        devices.check_knobs(Device("2 x CPU", False, "float32", 2, strategy=object()), Train(**knobs))


@pytest.mark.parametrize("backend, by_strategy", [("tensorflow", True), ("jax", False)])
def test_two_devices_train_the_same_weights_as_one(backend, by_strategy):
    if backend == "jax":
        pytest.importorskip("jax")
    seen = json.loads(run("devices_process.py", KERAS_BACKEND=backend))
    assert seen["device"] == ["2 x CPU", 2, by_strategy]
    np.testing.assert_allclose(*seen["losses"], rtol=1e-5)
    assert seen["apart"] < 1e-5
    if by_strategy:
        assert seen["masks"][0] != seen["masks"][1]


def history(folder: Path) -> list[dict]:
    with open(folder / "history.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_finetune_on_two_devices_is_finetune_on_one(pets, tmp_path):
    for words in ("cpu", "cpu:2"):
        run("finetune_process.py", pets, tmp_path / words, json.dumps(EXACT | {"devices": words}))
    for one, two in zip(*(history(tmp_path / words) for words in ("cpu", "cpu:2")), strict=True):
        for figure in ("loss", "val_loss", "val_accuracy"):
            assert float(one[figure]) == pytest.approx(float(two[figure]), rel=1e-3)
    norm = tk.load_run(tmp_path / "cpu:2").network.model.get_layer("layer1.bn")
    assert not norm.synchronized
