"""The state of a training under way: all that is needed to go on as if it had never been cut."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from filelock import FileLock, Timeout
from safetensors.numpy import load_file, save_file

from transferkit.atomic import write
from transferkit.network import Network
from transferkit.weights.assign import assign, tensor_names

BEST = "best.safetensors"
STATE = "state.json"
METRICS = "metrics/"


@dataclass
class State:
    """Where a training is.

    Attributes:
        history: a row for each whole epoch.
        phase: index of the phase under way.
        epoch: whole epochs of it.
        step: steps of the epoch under way.
        factor: on the learning rate, halved with each return to an earlier state.
        returns: how often that was, for a loss that was no number.
        parts: in which a batch is run, for want of memory.
        tensors: name of the file of variables, or None at the start of a phase, which starts from the best weights.
    """

    history: list[dict] = field(default_factory=list)
    phase: int = 0
    epoch: int = 0
    step: int = 0
    factor: float = 1.0
    returns: int = 0
    parts: int = 1
    tensors: str | None = None

    def rows(self, phase: str) -> list[dict]:
        """The history of one phase."""
        return [row for row in self.history if row["phase"] == phase]


def captured(model: keras.Model) -> dict[str, np.ndarray]:
    """All that a step changes: weights, the seeds of dropout, the optimizer's variables and the metrics'."""
    synchronised(model)
    metrics = {f"{METRICS}{number:04d}": variable for number, variable in enumerate(model.metrics_variables)}
    return {name: np.asarray(variable) for name, variable in (_variables(model) | metrics).items()}


def metrics_of(tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The values of `model.metrics_variables` when they were captured."""
    return [tensors[name] for name in sorted(tensors) if name.startswith(METRICS)]


def synchronised(model: keras.Model) -> keras.Model:
    """The model, its variables up to date: within `fit`, JAX holds their values elsewhere."""
    if keras.backend.backend() == "jax" and getattr(model, "_jax_state", None) is not None:
        model.jax_state_sync()
    return model


def restored(model: keras.Model, tensors: dict[str, np.ndarray]):
    """Put back what `captured` took, but for the metrics, which `metrics_of` gives: `fit` makes and resets them.

    Raises:
        ValueError: the tensors are of another network or optimizer.
    """
    variables = _variables(model)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(METRICS)}
    for name in sorted(variables.keys() | tensors.keys()):
        wanted, found = (_shape(group.get(name)) for group in (variables, tensors))
        if wanted != found:
            raise ValueError(f"The checkpoint is of another training: its {name} is {found}, expected {wanted}.")
    for name, variable in variables.items():
        variable.assign(tensors[name])


def _shape(tensor) -> str:
    return "missing" if tensor is None else f"of shape {tuple(tensor.shape)}"


def _variables(model: keras.Model) -> dict:
    """All of them by name, but for sums of gradients, which are 0 between two steps."""
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    groups = {
        "model": model.variables,
        "optimizer": model.optimizer.variables if model.optimizer else [],
    }
    kept = {
        group: [variable for variable in variables if "gradient_accumulator" not in variable.path]
        for group, variables in groups.items()
    }
    return {
        f"{group}/{number:04d}/{variable.path.rpartition('/')[2]}": variable
        for group, variables in kept.items()
        for number, variable in enumerate(variables)
    }


@contextmanager
def unchanged(model: keras.Model) -> Iterator[None]:
    """Whatever is trained inside, weights, optimizer, metrics and seeds are afterwards as they were."""
    before = captured(model)
    try:
        yield
    finally:
        restored(synchronised(model), before)


def save(folder: Path, state: State, tensors: dict[str, np.ndarray] | None = None):
    """Write the state, then forget the one before. Killed at any moment, one of the two is whole on the disk."""
    checkpoints = folder / "checkpoints"
    if tensors is not None:
        state.tensors = (
            "-".join(map(str, ("last", state.phase, state.epoch, state.step, state.returns, state.parts)))
            + ".safetensors"
        )
        write(checkpoints / state.tensors, lambda partial: save_file(tensors, partial))
    if state.history:
        write(folder / "history.csv", state.history)
    write(checkpoints / STATE, dataclasses.asdict(state))
    forget(folder, but=state.tensors)


def forget(folder: Path, but: str | None = None):
    """Delete the optimizer's state, which is large, but for one file."""
    for old in (folder / "checkpoints").glob("last-*.safetensors"):
        if old.name != but:
            old.unlink()


def load(folder: Path) -> State:
    """The state that was saved last; of a run that has not got so far, a new one.

    Raises:
        ValueError: it is damaged.
    """
    path = folder / "checkpoints" / STATE
    if not path.exists():
        return State()
    try:
        return State(**json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be used: {error}.") from None


def tensors_of(folder: Path, state: State) -> dict[str, np.ndarray]:
    """The variables that a state was saved with."""
    return load_file(folder / "checkpoints" / state.tensors)


def save_weights(network: Network, path: Path, better: dict[int, np.ndarray] | None = None):
    """All weights by name, as the catalogue's files bear them; `better` are values in place of some, by `id`."""
    better = better or {}
    named = tensor_names(network.model).items()
    tensors = {name: better.get(id(variable), np.asarray(variable)) for name, (_, variable) in named}
    write(path, lambda partial: save_file(tensors, partial))


def load_weights(network: Network, path: Path):
    assign(network.model, load_file(path), "keras", source=str(path))


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The run folder is this process's alone, until it ends in whatever way.

    Raises:
        ValueError: another process trains in it.
    """
    try:
        with FileLock(folder / "checkpoints" / ".lock", timeout=0):
            yield
    except Timeout:
        raise ValueError(f"Another process trains in {folder}: wait until it ends, or give another --out.") from None
