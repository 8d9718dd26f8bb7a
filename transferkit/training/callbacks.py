"""What goes on beside the steps: what a person sees, what is kept, and how Ctrl-C ends a run."""

import signal
import time
from pathlib import Path

import keras
import numpy as np
from rich.progress import TextColumn
from safetensors.numpy import load_file, save_file

from transferkit.atomic import write
from transferkit.console import progress, say
from transferkit.models import Network
from transferkit.weights.assign import assign, tensor_names


class Show(keras.callbacks.Callback):
    """A bar while an epoch runs, one line when it ends: pictures a second, and the share of time waiting for data."""

    def __init__(self, phase: str, epochs: int, steps: int, batch_size: int, waited):
        super().__init__()
        self.phase, self.epochs, self.steps, self.batch_size, self.waited = phase, epochs, steps, batch_size, waited

    def on_epoch_begin(self, epoch, logs=None):
        self.bars = progress(TextColumn("{task.fields[figures]}"))
        self.bars.start()
        self.task = self.bars.add_task(f"{self.phase} {epoch + 1}/{self.epochs}", total=self.steps, figures="")
        self.seen, self.started, self.before = 0, time.perf_counter(), float(self.waited.numpy())

    def on_train_batch_end(self, batch, logs=None):
        self.seen += self.batch_size
        self.trained = time.perf_counter()
        if self.bars.disable:
            return
        self.bars.update(self.task, advance=1, figures=f"loss {logs['loss']:.3f}  {self._speed()}")

    def on_epoch_end(self, epoch, logs=None):
        self.bars.stop()
        say(
            f"{self.phase} {epoch + 1}/{self.epochs}  loss {logs['loss']:.3f}  accuracy {logs['accuracy']:.3f}  "
            f"val_loss {logs['val_loss']:.3f}  val_accuracy {logs['val_accuracy']:.3f}  {self._speed()}"
        )

    def on_train_end(self, logs=None):
        self.bars.stop()

    def _speed(self) -> str:
        seconds = self.trained - self.started
        share = min(1.0, (float(self.waited.numpy()) - self.before) / seconds)
        return f"{self.seen / seconds:.0f} pictures/s, {share:.0%} waiting for data"


class Keep(keras.callbacks.Callback):
    """The best weights so far, the last state to go on from, and the history, on disk after every epoch."""

    def __init__(self, network: Network, folder: Path, phase: str, history: list[dict], best: dict | None):
        super().__init__()
        self.network, self.folder, self.phase = network, folder, phase
        self.history, self.best = history, best

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if self.model.stop_training:
            return  # an epoch cut short: the state of the last whole one stays
        row = {"phase": self.phase, "epoch": epoch + 1} | {name: round(float(v), 6) for name, v in logs.items()}
        self.history.append(row | {"seconds": round(time.perf_counter() - self.started, 2)})
        if is_better(row, self.best):
            self.best = row
            save_weights(self.network, self.folder / "checkpoints" / "best.safetensors")
        save_state(self.folder, self.history, self.best, model=self.model)


class Stopper(keras.callbacks.Callback):
    """Ends training after the batch in which Ctrl-C came, so that all can be saved; a second one ends at once."""

    def __init__(self):
        super().__init__()
        self.asked = False

    def __enter__(self):
        self.previous = signal.getsignal(signal.SIGINT)
        try:
            signal.signal(signal.SIGINT, self._ask)
        except ValueError:  # not the main thread: the host keeps its own way
            self.previous = None
        return self

    def __exit__(self, *_):
        if self.previous is not None:
            signal.signal(signal.SIGINT, self.previous)

    def _ask(self, *_):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        say("Stopping after this batch; the best weights are saved and evaluated. Ctrl-C again stops at once.")

    def on_train_batch_end(self, batch, logs=None):
        if self.asked:
            self.model.stop_training = True


def is_better(row: dict, best: dict | None) -> bool:
    """More validation accuracy, or as much at less loss."""
    if best is None:
        return True
    return (row["val_accuracy"], -row["val_loss"]) > (best["val_accuracy"], -best["val_loss"])


def save_weights(network: Network, path: Path):
    """All weights by name, as the catalogue's files bear them."""
    tensors = {name: np.asarray(variable) for name, (_, variable) in tensor_names(network.model).items()}
    write(path, lambda partial: save_file(tensors, partial))


def load_weights(network: Network, path: Path):
    assign(network.model, load_file(path), "keras", source=str(path))


def save_state(folder: Path, history: list[dict], best: dict, *, model: keras.Model | None = None):
    """History, and what `--resume` goes on from: the weights and the optimizer as the last epoch left them."""
    write(folder / "history.csv", history)
    checkpoints = folder / "checkpoints"
    state = {"epochs": len(history), "best": best, "last": None}
    if model is not None:
        state["last"] = f"last-{len(history)}.weights.h5"
        write(checkpoints / state["last"], model.save_weights)
    write(checkpoints / "state.json", state | {"history": history})
    for old in checkpoints.glob("last-*.weights.h5"):
        if old.name != state["last"]:
            old.unlink()
