"""Parts of a job on more than one machine, by Ray: https://docs.ray.io.

Ray's tasks, not its data sets: what goes through the engine is a number and a count, and the rows go from the worker to
the shared folder. Without `RAY_ADDRESS` the workers are processes of this machine; with it they are on that cluster,
whose machines have the same packages and see the folder under the same path.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator

from transferkit.cpus import available_cpus

RETRIES = 3  # a part whose worker died is done again that often, and its error is then the part's own


def run(task: Callable[[int], object], numbers: Iterable[int], *, workers: int) -> Iterator[tuple[int, object]]:
    """(number, task(number)) of each number, as they finish, in no order.

    Args:
        task: what pickles, and may be called twice with one number; a cache in its module lives as long as its worker.
        workers: at most so many processes at a time, which share the processors and the GPUs.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: there is no cluster at `RAY_ADDRESS`.
        ChildProcessError: the workers of one number died, each time.
        Exception: what `task` raised, of the same type; the other parts are then stopped.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to its makers otherwise
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('More than one worker needs the extra: pip install "transferkit[ray]".') from error

    address = os.environ.get("RAY_ADDRESS", "")
    _answers(address)
    machine = {} if address else {"address": "local", "num_cpus": max(workers, available_cpus())}
    ray.init(**machine, include_dashboard=False, log_to_driver=False, logging_level="error")
    cpus, gpus = ([node["Resources"].get(kind, 0) for node in ray.nodes() if node["Alive"]] for kind in ("CPU", "GPU"))
    threads = next((n for n in range(int(max(cpus)), 1, -1) if sum(cpu // n for cpu in cpus) >= workers), 1)
    start = (
        ray.remote(_call).options(num_cpus=threads, num_gpus=min(1, sum(gpus) / workers), max_retries=RETRIES).remote
    )
    waiting, under_way = iter(numbers), {}
    try:
        while True:
            for number in waiting:
                under_way[start(task, number, threads)] = number
                if len(under_way) == workers:
                    break
            if not under_way:
                return
            (done,), _ = ray.wait(list(under_way))
            number = under_way.pop(done)
            try:
                result = ray.get(done)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None  # Ray's own text is the traceback of another machine
            except ray.exceptions.RayError as error:
                times = RETRIES + 1
                raise ChildProcessError(
                    f"Part {number} was begun {times} times, and its worker died each time."
                ) from error
            yield number, result
    finally:
        ray.shutdown()


def _answers(address: str):
    # Ray itself waits for more than ten minutes
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except OSError as error:
            raise ConnectionError(f"RAY_ADDRESS is {address}, and no Ray cluster answers there: {error}.") from error


def _call(task, number: int, threads: int):
    # before TensorFlow starts its threads: it would take every processor for each worker
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # the first worker would take all of a GPU that two share
    return task(number)
