"""The state of a training under way: all that is needed to go on as if it had never been cut."""

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

from transferkit.atomic import read, write
from transferkit.network import Network
from transferkit.training.fitting.losses import Teacher

BEST = "best.safetensors"
STATE = "state.json"
METRICS = "metrics/"
ITERATION = "/iteration"  # how the names of an optimizer's counts of steps end


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
        divisor: of the batch, for want of memory where parts cannot be added up.
        tensors: name of the file of variables, or None at the start of a phase, which starts from the best weights.
    """

    history: list[dict] = field(default_factory=list)
    phase: int = 0
    epoch: int = 0
    step: int = 0
    factor: float = 1.0
    returns: int = 0
    parts: int = 1
    divisor: int = 1
    tensors: str | None = None

    def rows(self, phase: str) -> list[dict]:
        """The history of one phase."""
        return [row for row in self.history if row["phase"] == phase]

    def next_phase(self) -> "State":
        """At its start; what memory and rate allow is known by now."""
        return State(self.history, self.phase + 1, factor=self.factor, parts=self.parts, divisor=self.divisor)


def captured(model: keras.Model) -> dict[str, np.ndarray]:
    """All that a step changes: weights, the seeds of dropout, the optimizer's variables and the metrics'."""
    synchronised(model)
    metrics = {f"{METRICS}{number:04d}": variable for number, variable in enumerate(model.metrics_variables)}
    return {name: ops.convert_to_numpy(variable) for name, variable in (_variables(model) | metrics).items()}


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
    _check_same(variables, tensors, "The checkpoint")
    for name, variable in variables.items():
        variable.assign(tensors[name])


def reseeded(model: keras.Model, phase: int):
    """Dropout draws what it always draws in this phase, whether or not the process has seen the one before."""
    for variable in model.variables:
        if variable.path.rpartition("/")[2] == "seed_generator_state":  # (seed, number of the draw)
            variable.assign(np.array([np.asarray(variable)[0], phase * 2**24], variable.dtype))


def _check_same(variables: dict, tensors: dict, source: str):
    """Raise `ValueError` unless the tensors are those of the variables, by name and shape."""
    for name in sorted(variables.keys() | tensors.keys()):
        wanted, found = (_shape(group.get(name)) for group in (variables, tensors))
        if wanted != found:
            raise ValueError(f"{source} is of another training: its {name} is {found}, expected {wanted}.")


def _numbered(variables) -> dict:
    """Variables by place and name: a name alone is not one variable's, for an attention layer has four kernels.

    What Keras counts in a process is left out of names: `variable_36` has another number in the next one.
    """
    names = [re.sub(r"_\d+$", "", variable.path.rpartition("/")[2]) for variable in variables]
    return {f"{number:04d}/{name}": one for number, (name, one) in enumerate(zip(names, variables, strict=True))}


def _shape(tensor) -> str:
    return "missing" if tensor is None else f"of shape {tuple(tensor.shape)}"


def _variables(model: keras.Model) -> dict:
    """All of them by name, but for sums of gradients, which are 0 between two steps."""
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    variables = model.optimizer.variables if model.optimizer else ()
    state = [variable for variable in variables if "gradient_accumulator" not in variable.path]
    # by place: other names of an optimizer hold those of layers, which may be numbered otherwise in another process
    names = [f"{number:04d}{ITERATION if one.path.endswith(ITERATION) else ''}" for number, one in enumerate(state)]
    return {f"model/{name}": variable for name, variable in _numbered(learning(model)).items()} | {
        f"optimizer/{name}": variable for name, variable in zip(names, state, strict=True)
    }


def learning(model: keras.Model) -> list[keras.Variable]:
    """The variables of a model but for its teacher's, which stay as they are."""
    fixed = {id(one) for layer in model.layers if isinstance(layer, Teacher) for one in layer.variables}
    return [variable for variable in model.variables if id(variable) not in fixed]


@contextmanager
def unchanged(model: keras.Model) -> Iterator[None]:
    """Whatever is trained inside, weights, optimizer, metrics and all random numbers are afterwards as they were."""
    before = captured(model)
    try:
        with chance_kept():
            yield
    finally:
        restored(synchronised(model), before)
        model.reset_metrics()
        # those that were made inside come after the others, and are at 0
        for variable, value in zip(model.metrics_variables, metrics_of(before), strict=False):
            variable.assign(value)


@contextmanager
def chance_kept() -> Iterator[None]:
    """Python's and NumPy's random numbers go on after it as if it had not been."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def save(folder: Path, state: State, tensors: dict[str, np.ndarray] | None = None):
    """Write the state, then forget the one before. Killed at any moment, one of the two is whole on the disk."""
    checkpoints = folder / "checkpoints"
    if tensors is not None:
        state.tensors = (
            "-".join(map(str, ("last", state.phase, state.epoch, state.step, state.returns, state.parts)))
            + f"-{state.divisor}.safetensors"
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
        return State(**read(path))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be used: {error}.") from None


def tensors_of(folder: Path, state: State) -> dict[str, np.ndarray]:
    """The variables that a state was saved with.

    Raises:
        ValueError: the file is damaged or gone.
    """
    return read_weights(folder / "checkpoints" / state.tensors)


def save_weights(network: Network, path: Path, better: dict[int, np.ndarray] | None = None):
    """All weights, by place and name; `better` are values in place of some, by `id`."""
    better = better or {}
    named = _numbered(network.model.weights).items()
    tensors = {name: better.get(id(variable), ops.convert_to_numpy(variable)) for name, variable in named}
    write(path, lambda partial: save_file(tensors, partial))


def load_weights(network: Network, path: Path):
    """Put back what `save_weights` wrote.

    Raises:
        ValueError: the file is damaged or gone, or of another network or other classes.
    """
    assign_weights(network, read_weights(path), source=str(path))


def assign_weights(network: Network, tensors: dict[str, np.ndarray], *, source: str):
    """Give a network all its weights, as `read_weights` has them.

    Raises:
        ValueError: they are of another network or other classes; nothing is assigned then.
    """
    variables = _numbered(network.model.weights)
    head = {id(one) for one in network.model.get_layer(network.head).weights}
    for name, variable in variables.items():
        if id(variable) in head and name in tensors and tensors[name].shape[-1] != len(network.classes):
            raise ValueError(
                f"{source} is of {tensors[name].shape[-1]} classes, but the run's classes.txt has "
                f"{len(network.classes)}: put it back as it was."
            )
    _check_same(variables, tensors, source)
    for name, variable in variables.items():
        variable.assign(tensors[name])


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file in `checkpoints`, by name.

    Raises:
        ValueError: it is damaged or gone.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be used: {error}. Start the run again, with another --out.") from None
