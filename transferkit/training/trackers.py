"""The knob `log`: figures of a training for TensorBoard, MLflow or Weights & Biases.

What a tracker cannot do, as its server is gone, never ends the training. The modules are imported at their first use.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transferkit.atomic import read, write
from transferkit.console import warn
from transferkit.lookup import UnknownName
from transferkit.recipe import Recipe

MODULES = ("tensorboard", "mlflow", "wandb")  # each an extra of the same name
IDS = "trackers.json"  # among the checkpoints: the ids under which a resumed run goes on
FINAL = "final_"  # before the names of the figures of `metrics.json`


def parse_log(text: str) -> dict[str, str]:
    """{tracker: its URI or project, "" for tensorboard}.

    Raises:
        UnknownName: the tracker's package is not installed.

    Example:
        >>> parse_log("wandb:pets,tensorboard")  # doctest: +SKIP
        {'wandb': 'pets', 'tensorboard': ''}
    """
    trackers = {name: target for name, _, target in (part.partition(":") for part in text.split(",") if part)}
    for name in trackers:
        if not find_spec(name):
            raise UnknownName(f'--log {name} needs the extra: pip install "transferkit[{name}]".')
    return trackers


class Tracker:
    """A tracker that was opened. After its first failure, which is a warning, it does nothing more.

    Args:
        name: one of `MODULES`.
        open_tracker: open_tracker() gives an object of `OPENERS`.
    """

    def __init__(self, name: str, open_tracker: Callable[[], Any]):
        self.name, self.opened = name, None
        self.opened = self.attempt(open_tracker)

    def attempt(self, function: Callable, *args):
        """The result of function(*args), or None and a warning where it fails."""
        try:
            return function(*args)
        except Exception as error:  # anything that the packages raise
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            warn(f"--log {self.name} failed, and training goes on without it: {first.rstrip('.')}.")
            self.opened = None

    def call(self, method: str, *args):
        """Call a method of the opened tracker, unless it has failed."""
        if self.opened is not None:
            self.attempt(getattr(self.opened, method), *args)


class TensorBoard:
    """Event files in the folder `tensorboard` of the run."""

    def __init__(self, target: str, folder: Path, parameters: dict, ids: dict):
        import tensorflow as tf

        self.summary, self.step = tf.summary, 0
        self.writer = tf.summary.create_file_writer(str(folder / "tensorboard"))
        with self.writer.as_default(step=0):
            table = "\n".join(f"|{name}|{value}|" for name, value in parameters.items())
            tf.summary.text("recipe", f"|knob|value|\n|-|-|\n{table}")

    def log(self, figures: dict, step: int):
        self.step = step
        with self.writer.as_default(step=step):
            for name, value in figures.items():
                self.summary.scalar(name, value)
        self.writer.flush()

    def finish(self, figures: dict):
        self.log(figures, self.step)

    def close(self, failed: bool):
        self.writer.close()


class MLflow:
    """A run of the experiment `transferkit` on a tracking server, in a database or a folder."""

    def __init__(self, target: str, folder: Path, parameters: dict, ids: dict):
        # by default a server that is gone is waited for during minutes
        for name, value in {"MAX_RETRIES": "2", "TIMEOUT": "10"}.items():
            os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self.client, self.metric, self.step = MlflowClient(tracking_uri=target), Metric, 0
        if not ids.get("mlflow"):
            found = self.client.get_experiment_by_name("transferkit")
            experiment = found.experiment_id if found else self.client.create_experiment("transferkit")
            ids["mlflow"] = self.client.create_run(experiment, run_name=folder.name).info.run_id
            self.client.log_batch(ids["mlflow"], params=[Param(name, str(value)) for name, value in parameters.items()])
        self.run = ids["mlflow"]
        self.client.update_run(self.run, status="RUNNING")

    def log(self, figures: dict, step: int):
        self.step, now = step, int(time.time() * 1000)
        self.client.log_batch(self.run, [self.metric(name, value, now, step) for name, value in figures.items()])

    def finish(self, figures: dict):
        self.log(figures, self.step)

    def close(self, failed: bool):
        self.client.set_terminated(self.run, "FAILED" if failed else "FINISHED")


class WandB:
    """A run of a project of Weights & Biases."""

    def __init__(self, target: str, folder: Path, parameters: dict, ids: dict):
        import wandb

        ids.setdefault("wandb", uuid.uuid4().hex[:12])
        self.run = wandb.init(
            project=target,
            id=ids["wandb"],
            resume="allow",
            name=folder.name,
            dir=folder,
            config=parameters,
            settings=wandb.Settings(silent=True, console="off", init_timeout=30),
        )

    def log(self, figures: dict, step: int):
        self.run.log(figures, step=step)

    def finish(self, figures: dict):
        self.run.summary.update(figures)

    def close(self, failed: bool):
        self.run.finish(exit_code=int(failed))


OPENERS = dict(zip(MODULES, (TensorBoard, MLflow, WandB), strict=True))


@contextmanager
def open_trackers(recipe: Recipe, folder: Path) -> Iterator[list[Tracker]]:
    """The trackers of the knob `log` for this context, with the recipe and the run folder as their parameters."""
    ids_path = folder / "checkpoints" / IDS
    ids = {}
    with suppress(OSError, ValueError):
        ids = read(ids_path)
    known = dict(ids)
    sections = [getattr(recipe, section.name) for section in fields(recipe)]
    knobs = {knob.name: getattr(section, knob.name) for section in sections for knob in fields(section)}
    parameters = {name: value for name, value in knobs.items() if value not in (None, "")}
    parameters["run_folder"] = str(folder.absolute())
    opened = [
        Tracker(name, lambda name=name, target=target: OPENERS[name](target, folder, parameters, ids))  # type: ignore[misc]
        for name, target in parse_log(recipe.train.log).items()
    ]
    if ids != known:
        write(ids_path, ids)
    failed = True
    try:
        yield opened
        failed = False
    finally:
        for tracker in opened:
            tracker.call("close", failed)


def log_epochs(tracker: Tracker):
    """A Keras callback that gives the tracker the figures of each epoch."""
    import keras

    return keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: tracker.call("log", logs, epoch + 1))


def finish(tracker: Tracker, metrics: dict):
    """Give the tracker the figures of `metrics.json`."""
    numbers = {name: value for name, value in metrics.items() if type(value) in (int, float)}
    tracker.call("finish", {f"{FINAL}{name}": float(value) for name, value in numbers.items()})
