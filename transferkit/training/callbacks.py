"""What goes on beside the steps: what a person sees, what is kept, and when Ctrl-C takes effect."""

import math
import signal
import time
from pathlib import Path

import keras
import numpy as np
from rich.progress import Progress
from safetensors.numpy import load_file, save_file

from transferkit.atomic import write
from transferkit.console import say, warn
from transferkit.data import audit
from transferkit.network import Network
from transferkit.training.schedules import best_of
from transferkit.weights.assign import assign, tensor_names


class Show(keras.callbacks.Callback):
    """A bar while an epoch runs, one line when it ends: pictures a second, and the share of time waiting for data."""

    def __init__(self, bars: Progress, phase: str, batch_size: int, waited):
        super().__init__()
        self.bars, self.phase, self.batch_size, self.waited = bars, phase, batch_size, waited

    def on_epoch_begin(self, epoch, logs=None):
        self.name = f"{self.phase} {epoch + 1}/{self.params['epochs']}"
        self.task = self.bars.add_task(self.name, total=self.params["steps"], figures="")
        self.seen, self.started, self.before = 0, time.perf_counter(), float(self.waited.numpy())

    def on_train_batch_end(self, batch, logs=None):
        self.seen += self.batch_size
        self.trained = time.perf_counter()
        if not self.bars.disable:
            self.bars.update(self.task, advance=1, figures=f"loss {logs['loss']:.3f}  {self._speed()}")

    def on_epoch_end(self, epoch, logs=None):
        self.bars.remove_task(self.task)
        figures = (f"{name} {logs[name]:.3f}" for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
        say("  ".join((self.name, *figures, self._speed())))

    def _speed(self) -> str:
        seconds = self.trained - self.started
        share = min(1.0, (float(self.waited.numpy()) - self.before) / seconds)
        return f"{self.seen / seconds:.0f} pictures/s, {share:.0%} waiting for data"


class Keep(keras.callbacks.Callback):
    """The best weights so far, the last state to go on from, and the history, on disk after every epoch."""

    def __init__(self, network: Network, folder: Path, phase: str, history: list[dict]):
        super().__init__()
        self.network, self.folder, self.phase, self.history = network, folder, phase, history

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs["loss"]):
            warn(f"The loss became {logs['loss']}: training ends here. Start again with a lower --lr.")
            self.model.stop_training = True
            return
        row = {"phase": self.phase, "epoch": epoch + 1} | {name: round(float(v), 6) for name, v in logs.items()}
        row["seconds"] = round(time.perf_counter() - self.started, 2)
        if best_of([*self.history, row]) is row:
            save_weights(self.network, self.folder / "checkpoints" / "best.safetensors")
        self.history.append(row)
        save_state(self.folder, self.history, model=self.model)


class Watch(keras.callbacks.Callback):
    """After each epoch, a warning for each picture that could be read before training and was not given in it.

    It comes first among the callbacks: where it raises `ValueError`, too many being lost, the epoch is worth nothing.

    Args:
        delivered: how often `pipeline.training` has given each of `paths`; one process reads them all.
        lost: `{path: reason}`, to which those are added.
    """

    def __init__(self, paths, delivered, lost: dict[str, str]):
        super().__init__()
        self.paths, self.delivered, self.lost, self.epochs = paths, delivered, lost, 0

    def on_epoch_end(self, epoch, logs=None):
        self.epochs += 1
        audit.note_lost(self.paths, np.flatnonzero(self.delivered.numpy() >= self.epochs), self.lost)
        audit.check_lost(self.paths, self.lost)


class Interruptible(keras.callbacks.Callback):
    """Inside this context, Ctrl-C is raised when a batch has ended, and a second one at once.

    Raised wherever it happens to come, it is now and then lost in a destructor of TensorFlow's.
    """

    asked = False

    def __enter__(self):
        try:
            self.previous = signal.signal(signal.SIGINT, self._ask)
        except ValueError:  # not the main thread, which alone gets signals
            self.previous = None
        return self

    def __exit__(self, *_):
        if self.previous is not None:
            signal.signal(signal.SIGINT, self.previous)

    def _ask(self, *_):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def on_train_batch_end(self, batch, logs=None):
        if self.asked:
            raise KeyboardInterrupt

    def on_test_batch_end(self, batch, logs=None):
        self.on_train_batch_end(batch)


def save_weights(network: Network, path: Path):
    """All weights by name, as the catalogue's files bear them."""
    tensors = {name: np.asarray(variable) for name, (_, variable) in tensor_names(network.model).items()}
    write(path, lambda partial: save_file(tensors, partial))


def load_weights(network: Network, path: Path):
    assign(network.model, load_file(path), "keras", source=str(path))


def save_state(folder: Path, history: list[dict], *, model: keras.Model | None = None):
    """History, and what `--resume` goes on from: the weights and the optimizer as the last epoch left them."""
    write(folder / "history.csv", history)
    checkpoints = folder / "checkpoints"
    last = None if model is None else f"last-{len(history)}.weights.h5"
    if model is not None:
        write(checkpoints / last, model.save_weights)
    write(checkpoints / "state.json", {"last": last, "history": history})
    for old in checkpoints.glob("last-*.weights.h5"):
        if old.name != last:
            old.unlink()
