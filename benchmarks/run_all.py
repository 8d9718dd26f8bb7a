"""Run the benchmarks one after the other, print one table of their figures, and record them.

    python benchmarks/run_all.py [--size full|small] [--only NAME,NAME...] [--out RECORD.json]

`make bench` and `make bench SIZE=small` run it: the first takes about an hour on two cores, the second some minutes.
Each job is a process with a time limit, and one that fails does not stop the others. The record is a file of
`benchmarks/records/`; `compare.py` compares it with the last one, and `publish.py` writes docs/benchmarks.md from it.
The exit status is 1 if a job failed.
"""

import argparse
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from figures import RECORD, describe_machine, describe_versions
from records import FOLDER as RECORDS
from records import list_rows, write_record

from transferkit.console import say, stdout_console, table

FOLDER = Path(__file__).parent
COLUMNS = ("what", "figure", "peer", "ratio", "bounded by", "command")


@dataclasses.dataclass(frozen=True)
class Job:
    """One command line of a script.

    Args:
        script: its name without `bench_`.
        subject: the section of docs/benchmarks.md.
        full, small: its arguments in either size; None leaves it out.
        limit: seconds after which it is ended; a small job has a quarter of them, at least 120.
        needs: a package without which it is left out.
    """

    script: str
    subject: str
    full: tuple[str, ...] | None = ()
    small: tuple[str, ...] | None = None
    limit: int = 600
    needs: str = "transferkit"

    def arguments(self, size: str) -> tuple[str, ...] | None:
        return self.full if size == "full" else self.small

    def seconds(self, size: str) -> int:
        return self.limit if size == "full" else max(120, self.limit // 4)


JOBS = (
    Job("evaluation_pipeline", "reading", small=()),
    Job("training_pipeline", "reading"),
    Job("check", "reading", small=("300",)),
    Job("duplicates", "reading"),
    Job("features", "networks", small=("64", "3"), limit=900),
    Job("extract", "networks", small=("100", "2"), limit=900),
    Job("networks", "networks", small=("3",)),
    Job("evaluate", "networks", small=("64", "3")),
    Job("crops", "networks", small=("resnet18", "16")),
    Job("weights", "networks", needs="torch"),
    Job("training", "training", ("head",), limit=1800),
    Job("training", "training", ("stage",), limit=1800),
    Job("training", "training", ("step",), ("step", "0", "1"), limit=900),
    Job("training", "training", ("overhead",), limit=1800),
    Job("training", "training", ("devices",), limit=1800),
    Job("step_parts", "training", limit=900),
    Job("xla", "training", small=("simple_cnn,32,32",), limit=1800),
    Job("small_job", "training", limit=900),
    Job("memory", "memory", limit=1200),
    Job("fit_memory", "memory", limit=900),
    Job("many_files", "memory", small=("1000", "2000"), limit=3600),
    Job("one_picture", "commands", small=("efficientnet_lite0", "3")),
    Job("startup", "commands", small=("3",)),
    Job("report", "commands", small=("100",), limit=900),
    Job("explain", "commands", small=("10",)),
    Job("deconvnet", "commands", small=("100",), limit=900),
    Job("export", "commands", small=("efficientnet_lite0", "10")),
    Job("serve", "commands", small=()),
    Job("quality", "quality", small=("all",)),
    Job("calibration", "quality", small=("", "digits", "3")),
    Job("accuracy", "quality", limit=3600),
    Job("gpu", "gpu", None),  # started by hand, where there is a GPU
)


def run_job(job: Job, size: str) -> dict:
    """Run a job in a process of its own.

    Returns:
        Its entry in the record (see `records`), with the figures that it reported before it failed, if it did.
    """
    script, arguments = f"bench_{job.script}.py", job.arguments(size) or ()
    command = shlex.join([script, *arguments])
    entry = {"command": command, "subject": job.subject, "machine": describe_machine(), "versions": describe_versions()}
    entry |= {"started": datetime.now().isoformat(timespec="minutes"), "figures": []}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        figures, output = Path(place) / "figures", Path(place) / "output"
        with output.open("w", encoding="utf-8") as file:
            error = run_process(
                [str(FOLDER / script), *arguments], file, os.environ | {RECORD: str(figures)}, job.seconds(size)
            )
        lines = output.read_text("utf-8", errors="replace").split("\n")
        if figures.exists():
            entry["figures"] = [json.loads(line) for line in figures.read_text("utf-8").splitlines()]
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
    if error or not entry["figures"]:
        entry["error"] = error if error and error != "failed" else f"{error or 'no figures'}: {last}"
    return entry | {"seconds": round(time.perf_counter() - started)}


def run_process(arguments: list[str], output, environment: dict, limit: float) -> str:
    """Run a script, and end it and the processes that it started after `limit` seconds.

    Returns:
        What went wrong, or nothing.
    """
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
    try:
        return "failed" if process.wait(limit) else ""
    except subprocess.TimeoutExpired:
        return f"ended after its limit of {limit:g} seconds"
    finally:  # on Ctrl-C too
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
            process.wait()


def choose_jobs(size: str, only: str) -> list[Job]:
    """The jobs of a size, perhaps those of some scripts alone."""
    names = only.split(",") if only else []
    if unknown := set(names) - {job.script for job in JOBS}:
        sys.exit(f"there is no benchmark {sorted(unknown)[0]!r}, only {', '.join({job.script: 0 for job in JOBS})}")
    jobs = [job for job in JOBS if job.arguments(size) is not None]
    jobs = [job for job in jobs if not names or job.script in names]
    for job in jobs:
        if find_spec(job.needs) is None:
            say(f"{job.script} is left out: {job.needs} is not installed, see CONTRIBUTING.md")
    return [job for job in jobs if find_spec(job.needs)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--only", default="", help="names of scripts without bench_, with commas")
    parser.add_argument("--out", type=Path, default=RECORDS / f"{datetime.now():%Y-%m-%d-%H%M%S}.json")
    knobs = parser.parse_args(arguments)
    jobs, entries = choose_jobs(knobs.size, knobs.only), []
    for number, job in enumerate(jobs, 1):
        entries.append(run_job(job, knobs.size))
        write_record(knobs.out, entries)  # now, so that an interrupted run has its record
        entry = entries[-1]
        say(f"{number} of {len(jobs)}, {entry['command']}: {entry.get('error', 'done')}, {entry['seconds']} s")
    rows = [
        (f"{title}: {name}", *rest, entry["command"]) for entry in entries for title, name, *rest in list_rows(entry)
    ]
    title = f"{describe_machine()}; {describe_versions()}"
    table(title, COLUMNS, rows, stdout_console())
    failed = [entry for entry in entries if "error" in entry]
    for entry in failed:
        say(f"{entry['command']}: {entry['error']}")
    say(f"The record is {knobs.out}; python benchmarks/compare.py says what became slower.")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
