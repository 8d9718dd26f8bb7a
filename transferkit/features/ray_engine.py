"""Run tasks in several processes or on several machines with Ray, https://docs.ray.io.

Plain tasks, not Ray's data sets: only numbers pass through Ray, and the workers write their results to a shared folder.
Without `RAY_ADDRESS` the workers are processes of this machine. With it they run on that cluster, whose machines have
the same packages and see the folder under the same path.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from transferkit.cpus import available_cpus

RETRIES = 3  # of a task whose worker died


def run_tasks(task: Callable[[int], Any], numbers: Iterable[int], *, workers: int) -> Iterator[tuple[int, Any]]:
    """Yield (number, task(number)) for each number, in the order in which they finish.

    Args:
        task: can be pickled, and may be called twice with one number; caches in its module live as long as the worker.
        workers: maximum number of processes at a time; they share the processors and the GPUs.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: there is no cluster at `RAY_ADDRESS`.
        ChildProcessError: the workers of one number died, each time.
        Exception: what `task` raised; the other tasks are stopped.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray sends usage statistics otherwise
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('More than one worker needs the extra: pip install "transferkit[ray]".') from error

    address = os.environ.get("RAY_ADDRESS", "")
    _check_cluster(address)
    machine = {} if address else {"address": "local", "num_cpus": max(workers, available_cpus())}
    ray.init(**machine, include_dashboard=False, log_to_driver=False, logging_level="error")
    cpus, gpus = ([node["Resources"].get(kind, 0) for node in ray.nodes() if node["Alive"]] for kind in ("CPU", "GPU"))
    threads = next((n for n in range(int(max(cpus)), 1, -1) if sum(cpu // n for cpu in cpus) >= workers), 1)
    start = (
        ray.remote(_run_task)
        .options(num_cpus=threads, num_gpus=min(1, sum(gpus) / workers), max_retries=RETRIES)
        .remote
    )
    waiting, running = iter(numbers), {}
    try:
        while True:
            for number in waiting:
                running[start(task, number, threads)] = number
                if len(running) == workers:
                    break
            if not running:
                return
            (done,), _ = ray.wait(list(running))
            number = running.pop(done)
            try:
                result = ray.get(done)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None  # Ray's own text is the traceback of another machine
            except ray.exceptions.RayError as error:
                times = RETRIES + 1
                raise ChildProcessError(
                    f"Part {number} was started {times} times, and its worker died each time."
                ) from error
            yield number, result
    finally:
        ray.shutdown()


def _check_cluster(address: str):
    """Raise `ConnectionError` if no cluster answers; Ray itself waits for more than ten minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except OSError as error:
            raise ConnectionError(f"RAY_ADDRESS is {address}, but no Ray cluster answers there: {error}.") from error


def _run_task(task, number: int, threads: int):
    # set before TensorFlow starts its threads: each worker would use every processor
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = (
        "true"  # otherwise the first worker takes all memory of a GPU that two share
    )
    return task(number)
