"""Runs the trainings of README's table on scikit-learn's digits, and writes their figures to readme_runs.csv.

.venv/bin/python benchmarks/readme_runs.py [NUMBER ...]      # of the lines to run again, from 1; without, all
.venv/bin/python tests/record_readme.py
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from transferkit.data.example_digits import write_digits

PATH = Path(__file__).with_suffix(".csv")
COMMANDS = (
    "finetune --base efficientnet_lite0 --quality fast --data digits/",
    "finetune --base efficientnet_lite0 --unfreeze last-stage --epochs 4 --data digits/",
    "train --recipe lenet_digits --data digits/",
    "train --recipe resnet20_digits --data digits/",
)


def read_rows() -> dict[str, dict]:
    """{command: its line of the file}."""
    if not PATH.exists():
        return {}
    with PATH.open(encoding="utf-8", newline="") as file:
        return {row["command"]: row for row in csv.DictReader(file)}


def measure(command: str) -> dict:
    """Run a command in a folder of its own, its seconds counted from the start of the process to its end."""
    with tempfile.TemporaryDirectory() as place:
        write_digits(Path(place) / "digits")
        begin = time.perf_counter()
        words = [sys.executable, "-m", "transferkit", *command.split(), "--out", "run", "--seed", "0"]
        subprocess.run(words, cwd=place, check=True, env=os.environ | {"TRANSFERKIT_HOME": f"{place}/home"})
        seconds = time.perf_counter() - begin
        figures = json.loads((Path(place) / "run" / "metrics.json").read_text("utf-8"))
    low, high = figures["ci95"]
    row = {"command": command, "accuracy": figures["accuracy"], "low": low, "high": high, "pictures": figures["n"]}
    return row | {"seconds": round(seconds), "cores": len(os.sched_getaffinity(0))}


def main():
    rows = read_rows()
    for number in map(int, sys.argv[1:]) if sys.argv[1:] else range(1, len(COMMANDS) + 1):
        rows[COMMANDS[number - 1]] = row = measure(COMMANDS[number - 1])
        with PATH.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, row.keys())
            writer.writeheader()
            writer.writerows(rows[command] for command in COMMANDS if command in rows)


if __name__ == "__main__":
    main()
