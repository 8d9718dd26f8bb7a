"""Checkpoints: the weights and the state from which a training continues as if it had never been interrupted."""

import dataclasses
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from keras import ops
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from transferkit import __version__, versions
from transferkit.atomic import read, write
from transferkit.network import Network
from transferkit.training.fitting.distillation import TeacherLayer

BEST = "best.safetensors"
STATE = "state.json"
METRICS = "metrics/"
ITERATION = "/iteration"  # suffix of the names of an optimizer's step counters


@dataclass
class State:
    """How far a training is.

    Attributes:
        history: a row for each complete epoch.
        phase: index of the current phase.
        epoch: complete epochs of it.
        step: steps of the current epoch.
        factor: on the learning rate, halved after each NaN loss.
        returns: number of NaN losses after which training returned to a checkpoint.
        parts: of each batch, whose gradients are accumulated to save memory.
        divisor: of the batch size, to save memory where gradients cannot be accumulated.
        stopped: whether a callback of the user's ended the phase.
        tensors: name of the file of variables; None at the start of a phase, which starts from the best weights.
    """

    history: list[dict] = field(default_factory=list)
    phase: int = 0
    epoch: int = 0
    step: int = 0
    factor: float = 1.0
    returns: int = 0
    parts: int = 1
    divisor: int = 1
    stopped: bool = False
    tensors: str | None = None

    def rows(self, phase: str) -> list[dict]:
        """The history of one phase."""
        return [row for row in self.history if row["phase"] == phase]

    def next_phase(self) -> "State":
        """The start of the next phase, with the rate factor and the parts that this one ended with."""
        return State(self.history, self.phase + 1, factor=self.factor, parts=self.parts, divisor=self.divisor)


def save_state(folder: Path, state: State, tensors: dict[str, np.ndarray] | None = None):
    """Write the state, then delete the previous tensors. Killed at any moment, one of the two is complete on the disk.

    Args:
        folder: of the run.
        state: `tensors` is set to the name of the file, if one is written.
        tensors: as `capture_variables` returns them.
    """
    checkpoints = folder / "checkpoints"
    if tensors is not None:
        numbers = (state.phase, state.epoch, state.step, state.returns, state.parts, state.divisor)
        state.tensors = f"last-{'-'.join(map(str, numbers))}.safetensors"
        write(checkpoints / state.tensors, lambda partial: save_file(tensors, partial))
    if state.history:
        write(folder / "history.csv", state.history)
    write(checkpoints / STATE, {versions.VERSION: __version__} | dataclasses.asdict(state))
    delete_tensors(folder, keep=state.tensors)


def delete_tensors(folder: Path, keep: str | None = None):
    """Delete the files of `save_state`'s tensors, which are large, except one."""
    for path in (folder / "checkpoints").glob("last-*.safetensors"):
        if path.name != keep:
            path.unlink()


def load_state(folder: Path) -> State:
    """The state that was saved last, or a new one if none was.

    Raises:
        NewerVersionError: a newer transferkit wrote it, which may train in another way from here on.
        ValueError: it is damaged.
    """
    path = folder / "checkpoints" / STATE
    if not path.exists():
        return State()
    try:
        values = read(path)
        versions.refuse_newer(path, values.pop(versions.VERSION, ""))  # earlier versions wrote none
        return State(**values)
    except versions.NewerVersionError:
        raise
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be used: {error}.") from None


def load_tensors(folder: Path, name: str) -> dict[str, np.ndarray]:
    """The variables that a state was saved with, by its `tensors`.

    Raises:
        ValueError: the file is damaged or missing.
    """
    return read_weights(folder / "checkpoints" / name)


def save_weights(network: Network, path: Path, replacements: dict[int, np.ndarray] | None = None):
    """Write all weights by position and name; `replacements` are values to write instead, by `id` of the variable."""
    replacements = replacements or {}
    named = _name_variables(network.model.weights).items()
    tensors = {name: replacements.get(id(variable), ops.convert_to_numpy(variable)) for name, variable in named}
    write(path, lambda partial: save_file(tensors, partial))


def load_weights(network: Network, path: Path):
    """Assign the weights that `save_weights` wrote.

    Raises:
        ValueError: the file is damaged or missing, or of another network or other classes.
    """
    restore_weights(network, read_weights(path), source=str(path))


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file in `checkpoints`, by name.

    Raises:
        ValueError: it is damaged or missing.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be used: {error}. Start the run again, with another --out.") from None


def restore_weights(network: Network, tensors: dict[str, np.ndarray], *, source: str):
    """Assign all weights of a network, as `read_weights` returns them.

    Args:
        source: where they come from, for the message.

    Raises:
        ValueError: they are of another network or other classes; nothing is assigned then.
    """
    variables = _name_variables(network.model.weights)
    head = {id(variable) for variable in network.model.get_layer(network.head).weights}
    for name, variable in variables.items():
        if id(variable) in head and name in tensors and tensors[name].shape[-1] != len(network.classes):
            raise ValueError(
                f"{source} has {tensors[name].shape[-1]} classes, but the run's classes.txt has "
                f"{len(network.classes)}: restore classes.txt."
            )
    _check_shapes(variables, tensors, source)
    for name, variable in variables.items():
        variable.assign(tensors[name])


def capture_variables(model: keras.Model) -> dict[str, np.ndarray]:
    """Everything that a step changes: weights, the seeds of dropout, and the variables of optimizer and metrics."""
    sync_variables(model)
    metrics = {f"{METRICS}{number:04d}": variable for number, variable in enumerate(model.metrics_variables)}
    return {name: ops.convert_to_numpy(variable) for name, variable in (_find_variables(model) | metrics).items()}


def restore_variables(model: keras.Model, tensors: dict[str, np.ndarray]):
    """Assign what `capture_variables` returned, except the metrics, which `fit` creates and resets.

    Raises:
        ValueError: the tensors are of another network or optimizer.
    """
    variables = _find_variables(model)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(METRICS)}
    _check_shapes(variables, tensors, "The checkpoint")
    for name, variable in variables.items():
        variable.assign(tensors[name])


def select_metrics(tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The values of `model.metrics_variables` among captured tensors."""
    return [tensors[name] for name in sorted(tensors) if name.startswith(METRICS)]


@contextmanager
def undo_training(model: keras.Model) -> Iterator[None]:
    """Restore weights, optimizer, metrics and all random states after the context, whatever is trained in it."""
    tensors = capture_variables(model)
    try:
        with preserve_random_state():
            yield
    finally:
        restore_variables(sync_variables(model), tensors)
        model.reset_metrics()
        # metrics that were created in the context come after the others, and are at 0
        for variable, value in zip(model.metrics_variables, select_metrics(tensors), strict=False):
            variable.assign(value)


@contextmanager
def preserve_random_state() -> Iterator[None]:
    """Restore the random states of Python and NumPy after the context."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def reseed_dropout(model: keras.Model, phase: int):
    """Make the random layers draw the same in a phase whether or not this process has trained the phase before."""
    for variable in model.variables:
        if variable.path.rpartition("/")[2] == "seed_generator_state":  # (seed, number of the draw)
            variable.assign(np.array([np.asarray(variable)[0], phase * 2**24], variable.dtype))


def sync_variables(model: keras.Model) -> keras.Model:
    """The model with its variables up to date: within `fit`, JAX holds their values elsewhere."""
    if keras.backend.backend() == "jax" and getattr(model, "_jax_state", None) is not None:
        model.jax_state_sync()
    return model


def find_student_variables(model: keras.Model) -> list[keras.Variable]:
    """The variables of a model except its teacher's, which never change."""
    fixed = {id(variable) for layer in model.layers if isinstance(layer, TeacherLayer) for variable in layer.variables}
    return [variable for variable in model.variables if id(variable) not in fixed]


def _find_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """The variables of model and optimizer by name, except accumulated gradients, which are 0 between two steps."""
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    variables = model.optimizer.variables if model.optimizer else ()
    state = [variable for variable in variables if "gradient_accumulator" not in variable.path]
    # by position: their names hold those of layers, which another process may number differently
    suffixes = [ITERATION if variable.path.endswith(ITERATION) else "" for variable in state]
    optimizer = {
        f"optimizer/{number:04d}{suffix}": variable
        for number, (suffix, variable) in enumerate(zip(suffixes, state, strict=True))
    }
    named = _name_variables(find_student_variables(model))
    return {f"model/{name}": variable for name, variable in named.items()} | optimizer


def _name_variables(variables) -> dict[str, keras.Variable]:
    """Variables by position and name: a name alone is not unique, for an attention layer has four kernels.

    The numbers that Keras counts in a process are dropped: `variable_36` has another number in the next one.
    """
    names = [re.sub(r"_\d+$", "", variable.path.rpartition("/")[2]) for variable in variables]
    return {f"{number:04d}/{name}": variables[number] for number, name in enumerate(names)}


def _check_shapes(variables: dict, tensors: dict, source: str):
    """Raise `ValueError` unless the tensors are those of the variables, by name and shape."""
    for name in sorted(variables.keys() | tensors.keys()):
        expected, found = (_describe_shape(group.get(name)) for group in (variables, tensors))
        if expected != found:
            raise ValueError(f"{source} is of another training: its {name} is {found}, expected {expected}.")


def _describe_shape(tensor) -> str:
    return "missing" if tensor is None else f"of shape {tuple(tensor.shape)}"
