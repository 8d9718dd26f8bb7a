"""A process that has imported everything and started nothing: it forks the command lines of each line it is given.

To start anew costs ten seconds and more, most of them imports, and some tests kill a training many times.
"""

import json
import os
import resource
import sys
from pathlib import Path

import conftest
import keras
import weight_site

from transferkit import commands, zoo
from transferkit.training import run_job
from transferkit.zoo import layers
from transferkit.zoo.variant import Variant

assert run_job  # loads all that trains


def shaky(x, num_classes):
    """`tiny` with dropout in its last stage and before its head."""
    for stage, width in enumerate((8, 16), start=1):
        x = layers.batch_norm(layers.conv(x, width, 3, 2, name=f"layer{stage}.conv"), name=f"layer{stage}.bn")
        if stage == 2:
            x = keras.layers.Dropout(0.2, name="layer2.drop")(x)
        x = layers.cut_point(layers.relu(x, name=f"layer{stage}.relu"), f"stage{stage}")
    return layers.head(keras.layers.Dropout(0.3, name="drop")(layers.pooled(x)), num_classes, name="fc")


def main():
    zoo.variants()["tiny"] = Variant(conftest._tiny, "fc", 0, 0, 16, conftest.PIXELS)
    zoo.variants()["shaky"] = Variant(shaky, "fc", 0, 0, 16, conftest.PIXELS)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        children = [forked(order, number) for number in range(len(order["commands"]))]
        for pid in children:
            print("begun", pid, flush=True)
        for pid in children:
            print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def forked(order: dict, number: int) -> int:
    """Run one command of an order in a child; its process id."""
    if pid := os.fork():
        return pid
    os.chdir(order["folder"])
    os.environ.update(order.get("env", {}))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{name}{number or ''}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    for bound, limit in (("room", resource.RLIMIT_FSIZE), ("memory", resource.RLIMIT_AS)):
        if order.get(bound):  # beyond it the system refuses, as if the disk or the memory were full
            resource.setrlimit(limit, (order[bound], resource.RLIM_INFINITY))
    words = order["commands"][number]
    try:
        commands.main(words) if words else weight_site.fetched(order["env"]["URL"])
    finally:
        Path("peak.txt").write_text(Path("/proc/self/status").read_text().split("VmPeak:")[1].split()[0])
    raise SystemExit  # not reached: a command line ends its process


if __name__ == "__main__":
    main()
