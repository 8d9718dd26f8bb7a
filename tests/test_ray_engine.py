"""Parts of a job on two Ray workers of this machine."""

import functools
import os
import signal

import pytest

pytest.importorskip("ray")

import sys  # noqa: E402

from ray import cloudpickle  # noqa: E402

from transferkit.cpus import available_cpus  # noqa: E402
from transferkit.features import ray_engine  # noqa: E402

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers do not have this folder on their path


def _part(folder, number):
    """Says who does it; the first to do number 1 is killed."""
    begun = folder / f"{number}-{os.getpid()}"
    begun.touch()
    if number == 1 and len(list(folder.glob("1-*"))) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    while len({path.name.split("-")[1] for path in folder.iterdir()}) < 2:
        pass  # until a second process has come: one alone could do them all before
    if number == 9:
        raise ValueError("Part 9 is wrong.")
    return number**2, os.environ["TF_NUM_INTRAOP_THREADS"]


@pytest.mark.slow
def test_two_workers_retries_and_errors(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a-token-of-this-test-alone-0123456789")  # none is written to the home folder
    threads = str(max(1, available_cpus() // 2))
    done = dict(ray_engine.run_tasks(functools.partial(_part, tmp_path), range(4), workers=2))
    assert done == {number: (number**2, threads) for number in range(4)}
    assert len(list(tmp_path.glob("1-*"))) == 2
    with pytest.raises(ValueError, match=r"^Part 9 is wrong\.$"):
        list(ray_engine.run_tasks(functools.partial(_part, tmp_path), [9], workers=2))


def test_an_unreachable_cluster(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(ConnectionError, match=r"^RAY_ADDRESS is 127\.0\.0\.1:9, but no Ray cluster answers there"):
        next(ray_engine.run_tasks(abs, [1], workers=2))
