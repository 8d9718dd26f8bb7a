"""Threads that the batches of an evaluation share."""

from collections import Counter
from threading import Barrier

import pytest

from transferkit.data import parallel


def test_every_number_is_called_once():
    calls = Counter()
    parallel.run_in_threads(lambda number: calls.update([number]), 1000)
    parallel.run_in_threads(calls.clear, 0)
    assert calls == Counter(range(1000))


def test_the_threads_work_at_once():
    together = Barrier(parallel.THREADS)  # breaks if a thread waits longer for the others
    parallel.run_in_threads(lambda _: together.wait(60), 3 * parallel.THREADS)


def test_an_error_is_raised():
    def fail(number):
        if number == 7:
            raise ZeroDivisionError("of ours")

    with pytest.raises(ZeroDivisionError, match="of ours"):
        parallel.run_in_threads(fail, 20)


def test_there_are_enough_pictures_for_all_threads():
    for batch_size in (1, 2, 16, 1000):
        assert (parallel.parallel_batches(batch_size) - 1) * batch_size >= parallel.THREADS
    assert parallel.parallel_batches(1000) == 2
