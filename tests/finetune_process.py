"""`finetune_process.py PETS OUT KNOBS`: fine-tunes `tiny` in a process of its own, or goes on with OUT where it is."""

import json
import os
import signal
import sys
from pathlib import Path

import keras
from conftest import PIXELS, QUICK, _tiny

import transferkit as tk
from transferkit import zoo
from transferkit.data.sources.resolve import find_splits
from transferkit.training import run_job
from transferkit.zoo.variant import Variant


class Die(keras.callbacks.Callback):
    """Killed, as by a machine that fails, when an epoch begins."""

    def on_epoch_begin(self, epoch, logs=None):
        if self.params["epochs"] > 1 and epoch == int(os.environ["DIE_AT"]):
            os.kill(os.getpid(), signal.SIGKILL)


def main():
    pets, out, knobs = sys.argv[1:]
    zoo.variants()["tiny"] = Variant(_tiny, "fc", 18_416, 0, 16, PIXELS)
    callbacks = [Die()] if "DIE_AT" in os.environ else []
    if (Path(out) / "recipe.toml").exists():
        run = run_job.resume(out, callbacks=callbacks)
    else:
        parts = find_splits(pets)
        run = tk.finetune("tiny", parts.train, parts.val, out=out, callbacks=callbacks, **QUICK | json.loads(knobs))
    print(run.folder)


if __name__ == "__main__":
    main()
