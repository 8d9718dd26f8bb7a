"""Batches of what waits: while all workers are busy, items gather for the next batch."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

WAIT = 0.004  # seconds that a free worker waits for a batch to fill


class Batcher:
    """Gives items that arrive one by one to a function of many.

    Args:
        compute: from a list of items to as many results; it is called in several threads.
        size: of the largest batch.
        workers: number of threads.

    Example:
        >>> batcher = Batcher(lambda items: [item * 2 for item in items], size=8)
        >>> batcher.submit(21).result()
        42
        >>> batcher.close()
    """

    def __init__(self, compute: Callable[[list], Sequence], *, size: int, workers: int = 2):
        self._compute, self._size = compute, size
        self._waiting: queue.SimpleQueue = queue.SimpleQueue()  # pairs of item and future; None ends a worker
        self._gathering = threading.Lock()  # two half batches take longer than a whole one
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, item) -> Future:
        """A future of the item's result, or of the error that the function raised for its batch."""
        future: Future = Future()
        self._waiting.put((item, future))
        return future

    def is_alive(self) -> bool:
        """Whether all workers work."""
        return all(thread.is_alive() for thread in self._threads)

    def close(self):
        """Compute what waits, and end the workers."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self):
        while True:
            with self._gathering:
                batch = self._gather()
            if not batch:
                return
            items, futures = zip(*batch, strict=True)
            try:
                for future, result in zip(futures, self._compute(list(items)), strict=True):
                    future.set_result(result)
            except Exception as error:  # whatever the function raises belongs to those who wait for it
                for future in futures:
                    if not future.done():
                        future.set_exception(error)

    def _gather(self) -> list[tuple]:
        """The next batch; empty at the end."""
        first = self._waiting.get()
        if first is None:
            return []
        batch, deadline = [first], time.monotonic() + WAIT
        while len(batch) < self._size:
            try:
                following = self._waiting.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if following is None:
                self._waiting.put(None)
                break
            batch.append(following)
        return batch
