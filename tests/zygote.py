"""A process that has imported everything and started nothing: it forks a command line for each line it is given.

To start anew costs ten seconds and more, most of them imports, and some tests kill a training many times.
"""

import json
import os
import resource
import sys

import conftest
import keras

from transferkit import commands, zoo
from transferkit.training import run_job
from transferkit.zoo import layers
from transferkit.zoo.variant import Variant

assert run_job  # loads all that trains


def shaky(x, num_classes):
    """`tiny` with dropout in its last stage and before its head."""
    for stage, width in enumerate((8, 16), start=1):
        x = layers.norm(layers.conv(x, width, 3, 2, name=f"layer{stage}.conv"), name=f"layer{stage}.bn")
        if stage == 2:
            x = keras.layers.Dropout(0.2, name="layer2.drop")(x)
        x = layers.mark(layers.relu(x, name=f"layer{stage}.relu"), f"stage{stage}")
    return layers.head(keras.layers.Dropout(0.3, name="drop")(layers.pooled(x)), num_classes, name="fc")


def main():
    zoo.variants()["tiny"] = Variant(conftest._tiny, "fc", 0, 0, 16, conftest.PIXELS)
    zoo.variants()["shaky"] = Variant(shaky, "fc", 0, 0, 16, conftest.PIXELS)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if pid := os.fork():
            print("begun", pid, flush=True)
            print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        else:
            os.chdir(order["folder"])
            err = os.open("err.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(err, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if order["room"]:  # bytes of a file, beyond which the system refuses as if the disk were full
                resource.setrlimit(resource.RLIMIT_FSIZE, (order["room"], resource.RLIM_INFINITY))
            commands.main(order["words"])


if __name__ == "__main__":
    main()
