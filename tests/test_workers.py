"""Workers: how a process finds its index, and same results of two workers and one, also after a failure."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from test_devices import EXACT, HERE, history, run

import transferkit as tk
from transferkit import keras_internals
from transferkit.lookup import UnknownName
from transferkit.training.distributed import devices, workers
from transferkit.training.distributed.workers import Cluster

TWO = ("one:2000", "two:2000")


def tf_config(cluster: dict, kind: str, index: int) -> dict:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


@pytest.mark.parametrize(
    "words, environment, job",
    [
        ("", {"SLURM_PROCID": "1"}, None),
        ("one:2000", {"TRANSFERKIT_WORKER": "0"}, None),
        ("one:2000,two:2000", {"TRANSFERKIT_WORKER": "1", "SLURM_PROCID": "0"}, Cluster(TWO, 1)),
        ("one:2000, two:2000", {"JOB_COMPLETION_INDEX": "0"}, Cluster(TWO, 0)),
        ("auto", tf_config({"worker": list(TWO)}, "worker", 1), Cluster(TWO, 1)),
        ("auto", tf_config({"chief": ["one:2000"], "worker": ["two:2000"]}, "worker", 0), Cluster(TWO, 1)),
        ("auto", tf_config({"chief": ["one:2000"], "worker": ["two:2000"]}, "chief", 0), Cluster(TWO, 0)),
    ],
)
def test_a_process_finds_its_index(words, environment, job):
    assert workers.find_cluster(words, environment) == job


def test_addresses_from_slurm():
    port = workers.FIRST_PORT
    slurm = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NODELIST": "node[09-10,12],login"}
    hosts = ("node09", "node10", "node12", "login")
    assert workers.find_cluster("auto", slurm) == Cluster(tuple(f"{host}:{port}" for host in hosts), 1)
    with pytest.raises(UnknownName, match="4 nodes and 8 tasks: start one task a node"):
        workers.find_cluster("auto", slurm | {"SLURM_STEP_NUM_TASKS": "8"})


@pytest.mark.parametrize(
    "words, environment, said",
    [
        ("auto", {}, "The workers are not known"),
        ("auto", {"TF_CONFIG": "{"}, "TF_CONFIG cannot be used"),
        ("one,two:2000", {}, "'one' is not"),
        ("one:1,one:1", {}, "the same address"),
        ("one:1,two:1", {}, "none of them is set"),
        ("one:1,two:1", {"SLURM_PROCID": "0", "JOB_COMPLETION_INDEX": "1"}, "SLURM_PROCID=0, JOB_COMPLETION_INDEX=1"),
        ("one:1,two:1", {"TRANSFERKIT_WORKER": "2"}, "This is worker 2, but there are 2"),
    ],
)
def test_contradictions_are_named(words, environment, said):
    with pytest.raises(UnknownName, match=said):
        workers.find_cluster(words, environment)


def test_an_unknown_version_of_keras_is_not_patched(monkeypatch):
    monkeypatch.setattr("keras.__version__", "3.16.0")
    with pytest.raises(ValueError, match=r"need Keras 3.15, .* not 3.16.0: pip install"):
        keras_internals.check_several_workers()


def test_jax_is_one_worker(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.raises(UnknownName, match="unset KERAS_BACKEND"):
        devices.choose_device("cpu", cluster=Cluster(TWO, 0))


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def together(pets: Path, out: Path, knobs: dict, **variables) -> list[subprocess.Popen]:
    """Two workers, each in a process of its own, both ended."""
    words = [sys.executable, "-W", "ignore", HERE / "finetune_process.py", pets, out, json.dumps(knobs)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(HERE.parent), str(HERE)))} | variables
    started = [
        subprocess.Popen(list(map(str, words)), env=environment | {"TRANSFERKIT_WORKER": str(rank)}) for rank in (0, 1)
    ]
    if variables:  # one has been killed: as a scheduler does, end the other
        started[1].wait(timeout=600)
        started[0].kill()
    for process in started:
        process.wait(timeout=600)
    return started


@pytest.mark.slow
def test_two_workers_equal_one_and_resume_after_a_kill(pets, tmp_path):
    run("finetune_process.py", pets, tmp_path / "one", json.dumps(EXACT))
    knobs = EXACT | {"workers": ",".join(f"127.0.0.1:{port}" for port in free_ports(2))}
    cut = together(pets, tmp_path / "two", knobs, DIE_AT="1")
    assert cut[1].returncode == -signal.SIGKILL
    assert not (tmp_path / "two" / "metrics.json").exists()
    assert len(history(tmp_path / "two")) == 1
    assert [process.returncode for process in together(pets, tmp_path / "two", knobs)] == [0, 0]
    for one, two in zip(*(history(tmp_path / name) for name in ("one", "two")), strict=True):
        for figure in ("loss", "val_loss", "val_accuracy"):
            assert float(one[figure]) == pytest.approx(float(two[figure]), rel=1e-3)
    one, two = (tk.load_run(tmp_path / name).network.model.get_weights() for name in ("one", "two"))
    assert max(abs(a - b).max() for a, b in zip(one, two, strict=True)) < 1e-3
