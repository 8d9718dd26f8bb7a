"""The queue that makes batches of what waits."""

import threading
import time

import pytest

from transferkit.serving.batching import Batcher


@pytest.fixture
def batches():
    """Sizes of the batches, in the order in which they began."""
    return []


@pytest.fixture
def make(batches):
    made = []

    def batcher(wait=lambda: None, **words):
        def compute(items):
            batches.append(len(items))
            wait()
            return [item * 2 for item in items]

        made.append(Batcher(compute, **words))
        return made[-1]

    yield batcher
    for each in made:
        each.close()


def test_each_gets_its_own_result(make):
    batcher = make(size=7)
    futures = [batcher.submit(number) for number in range(200)]
    assert [future.result(10) for future in futures] == [2 * number for number in range(200)]


def test_what_waits_becomes_full_batches(make, batches):
    go = threading.Event()
    batcher = make(lambda: go.wait(10), size=8, workers=2)
    futures = [batcher.submit(0)]
    time.sleep(0.1)
    futures.append(batcher.submit(0))
    time.sleep(0.1)  # both workers are busy
    futures += [batcher.submit(0) for _ in range(20)]
    go.set()
    for future in futures:
        future.result(10)
    assert batches[:2] == [1, 1] and sorted(batches[2:]) == [4, 8, 8]


def test_one_does_not_wait_for_others(make):
    batcher = make(size=32)
    batcher.submit(1).result(10)
    start = time.monotonic()
    batcher.submit(1).result(10)
    assert time.monotonic() - start < 0.5


def test_an_error_reaches_those_of_its_batch_alone(batches):
    def compute(items):
        if 13 in items:
            raise ValueError("thirteen")
        return items

    batcher = Batcher(compute, size=1)
    futures = [batcher.submit(number) for number in (12, 13, 14)]
    assert (futures[0].result(10), futures[2].result(10)) == (12, 14)
    with pytest.raises(ValueError, match="thirteen"):
        futures[1].result(10)
    assert batcher.is_alive()
    batcher.close()


def test_too_few_results_are_an_error():
    batcher = Batcher(lambda items: [], size=4)
    with pytest.raises(ValueError, match="shorter"):
        batcher.submit(1).result(10)
    batcher.close()


def test_closing_computes_what_waits(make, batches):
    batcher = make(lambda: time.sleep(0.05), size=2)
    futures = [batcher.submit(number) for number in range(9)]
    batcher.close()
    assert [future.result(0) for future in futures] == [2 * number for number in range(9)]
    assert not batcher.is_alive()
