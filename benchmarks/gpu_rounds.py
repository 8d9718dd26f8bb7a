"""What the processes of `bench_gpu.py` share: how they begin, time their rounds, and report."""

import json
import sys
import time

DECAY, MOMENTUM, RATE, SMOOTHING, CLASSES = 1e-4, 0.9, 0.1, 0.1, 1000


def wait_for_turn() -> dict:
    """The specification of this process, once the device is free for it."""
    if not sys.stdin.readline():
        raise SystemExit(3)
    return json.loads(sys.argv[1])


def report(what: str, **facts):
    """Write a result for `bench_gpu.py`, at once."""
    print(json.dumps({"what": what} | facts), flush=True)


def count_steps(job: dict, seconds_of_step: float) -> int:
    """Steps of a round, so that all rounds take the seconds of the specification."""
    return job["steps"] or max(3, round(job["seconds"] / job["rounds"] / seconds_of_step))


def measure_rounds(run_steps, job: dict) -> list[float]:
    """Pictures per second in each round. `run_steps(n)` runs n steps and returns when the device has finished them."""
    run_steps(3)
    started = time.perf_counter()
    run_steps(3)
    steps, rates = count_steps(job, (time.perf_counter() - started) / 3), []
    for _ in range(job["rounds"]):
        started = time.perf_counter()
        run_steps(steps)
        rates.append(steps * job["batch"] / (time.perf_counter() - started))
    return rates
