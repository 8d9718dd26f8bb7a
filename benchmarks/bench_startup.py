"""How soon a command answers: seconds to its first line, and to the answer of a wrong name.

python benchmarks/bench_startup.py [rounds]

The floor is a Python that imports click and NumPy. Goals on a machine that is not busy: the first line within 0.5 s,
the answer of a wrong name within 1 s. Each figure is the median of the rounds, which alternate between the jobs.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Figure, report
from photos import write_photos

ROUNDS, PICTURES = 5, 180
COMMANDS = {  # with a network whose weights are fresh, or come with the extra `pretrained`
    "finetune": ("finetune", "--base", "{base}", "--data", "{data}", "--dry-run"),
    "predict": ("predict", "{base}", "{data}"),
    "evaluate": ("evaluate", "{base}", "--data", "{data}"),
    "extract": ("extract", "--base", "{base}", "--data", "{data}", "--out", "{data}.npz"),
}


def time_first_line(words: list[str]) -> float:
    """Seconds until the first line on standard error or output; the process is ended then."""
    started = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout and process.stdout.readline()
        seconds = time.perf_counter() - started
        process.kill()
    return seconds


def time_whole(words: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(words, capture_output=True)
    return time.perf_counter() - started


KINDS = (("first line", time_first_line, "efficientnet_lite0"), ("wrong name", time_whole, "efficientnet_light"))


def main(rounds: int = ROUNDS):
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "photos"
        write_photos(data, PICTURES)
        os.environ["TRANSFERKIT_HOME"] = str(Path(folder) / "home")
        jobs = {"floor": (time_whole, [sys.executable, "-c", "import click, numpy"])}
        for name, words in COMMANDS.items():
            for kind, measure, base in KINDS:
                line = [word.format(base=base, data=data) for word in words]
                jobs[f"{name}, {kind}"] = (measure, [sys.executable, "-m", "transferkit", *line])
        times: dict[str, list[float]] = {name: [] for name in jobs}
        for _ in range(rounds):
            for name, (measure, words) in jobs.items():
                times[name].append(measure(words))
    peer = "Python that imports click and NumPy"
    figures = [Figure(peer, times.pop("floor"), "s")]
    report(
        "start of a command",
        figures
        + [Figure(name, seconds, "s", peer, "importing the modules of the command") for name, seconds in times.items()],
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
