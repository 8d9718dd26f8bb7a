"""Optimizers, metrics and the loss scale on two replicas, against one device."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def seen():
    script = Path(__file__).with_name("two_replicas.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_two_replicas_train_the_same_weights_as_one_device(seen):
    assert max(seen["differences"].values()) < 1e-6


@pytest.mark.slow
def test_padded_rows_do_not_count(seen):
    assert seen["figures"] == pytest.approx(seen["exact"], rel=1e-5)


def test_an_overflow_on_the_second_replica_is_skipped_and_counted(seen):
    assert seen["overflow"] == [[32768, 0, 1, True], [16384, 1, 1, True], [16384, 1, 2, True]]
