"""A model taken apart into a flat list of steps, and put together again from fresh layers."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
from keras import tree

from transferkit.keras_internals import flatten_layers, run_graph
from transferkit.network import remade

# Random in training, and by default at every call: they have no place in a network, which is saved and exported.
AUGMENTATIONS = ("AugMix", "CutMix", "MixUp", "Pipeline", "RandAugment")


class Unfit(ValueError):
    """Why a model cannot be a network, as a sentence that lacks its subject."""


@dataclass(frozen=True)
class Step:
    """One call of a layer or operation.

    Attributes:
        op: the user's layer or operation, never called here.
        scope: names of the nested models it stands in, outermost first.
        args, kwargs: of the call; what depends on the pictures is a `KerasTensor`, told apart by its id.
        output: a `KerasTensor`, or a list of them.
    """

    op: object
    scope: tuple[str, ...]
    args: tuple
    kwargs: dict
    output: object

    @property
    def inputs(self) -> list:
        return tensors((self.args, self.kwargs))


def tensors(structure) -> list:
    """The symbolic tensors of a structure, flat."""
    return [leaf for leaf in tree.flatten(structure) if isinstance(leaf, keras.KerasTensor)]


def is_graph(op) -> bool:
    """Whether a layer is a model whose layers can stand in its place: none with a `call` of its own."""
    own = any("call" in vars(kind) for kind in type(op).__mro__ if not kind.__module__.startswith("keras."))
    return isinstance(op, keras.Function | keras.Sequential) and not own


def taken_apart(model: keras.Model):
    """The steps of a model in an order in which they can be done, those of nested models in the places of these.

    The model is not touched: no layer is called, so none gets a node more.

    Returns:
        The symbolic input, the list of steps, and the symbolic output.
    """
    steps = []

    def through(graph, given, scope):
        if isinstance(graph, keras.Sequential):
            graph = keras.Model(graph.inputs, graph.outputs)
        # `clone_model` goes through a graph by this method too, but cannot open the nested models
        return run_graph(graph, given, partial(call, scope))

    def call(scope, op, *args, **kwargs):
        if is_graph(op):
            return through(op, args[0], (*scope, op.name))
        check_is_float(op)
        output = op.compute_output_spec(*args, **kwargs)
        steps.append(Step(op, scope, args, kwargs, output))
        return output

    start = keras.KerasTensor(model.inputs[0].shape, model.inputs[0].dtype)
    output = tree.flatten(through(model, [start], ()))[0]
    return start, steps, output


def check_is_float(op):
    """Raise `Unfit` where the weights of a layer, or of one in it, are integers that stand for other numbers."""
    for layer in flatten_layers(op):
        if isinstance(layer.dtype_policy, keras.dtype_policies.QuantizedDTypePolicy):
            raise Unfit(
                f"has a layer {layer.name!r} quantized to {layer.quantization_mode}, which cannot be trained on, "
                "expected float weights: save the model before quantize() is called."
            )


def values_of(op) -> list:
    """The values for the weights of a fresh layer; those that LoRA adds to a kernel are in it."""
    if getattr(op, "lora_enabled", False):
        return [op.kernel, *([op.bias] if op.use_bias else [])]
    return weights_of(op)


def joints(start, steps: list[Step], output) -> list[int]:
    """The steps through whose output all goes that comes after: where the network can be cut in two."""
    waiting = Counter(id(tensor) for step in steps for tensor in step.inputs)
    waiting[id(output)] += 1
    alive, found = {id(start)}, []
    for position, step in enumerate(steps):
        waiting.subtract(id(tensor) for tensor in step.inputs)
        alive |= {id(tensor) for tensor in tensors(step.output)}
        alive = {tensor for tensor in alive if waiting[tensor] > 0}
        if alive == {id(step.output)}:
            found.append(position)
    return found


def rebuilt(
    steps: list[Step],
    values: dict,
    *,
    names: Iterable[str] = (),
    skip: Callable = lambda step: False,
    marks: Mapping[int, Iterable[str]] | None = None,
    prefix: str = "",
) -> list[tuple]:
    """Do steps again with fresh layers, which share nothing with the user's; one that is used twice becomes two.

    Args:
        values: what stands for a symbolic tensor, by its id; it is filled up with the results.
        names: not to be given to a layer.
        skip: the steps that are left out: their first input is their output.
        marks: names of `Identity` layers to put after a step, by its position.
        prefix: how the names of all layers begin.

    Returns:
        Pairs of a fresh layer and the user's.

    Raises:
        Unfit: a layer cannot be made from its configuration.
    """
    names, pairs = set(names), []

    def stands_for(structure):
        return tree.map_structure(lambda leaf: values.get(id(leaf), leaf), structure)

    for position, step in enumerate(steps):
        if skip(step):
            results = values[id(step.inputs[0])]
        else:
            layer = fresh(step.op, prefix + _name(step, names))
            names.add(layer.name.removeprefix(prefix))
            pairs.append((layer, step.op))
            results = layer(*stands_for(step.args), **stands_for(step.kwargs))
        for name in (marks or {}).get(position, ()):
            results = keras.layers.Identity(name=name)(results)
        results = zip(tree.flatten(step.output), tree.flatten(results), strict=True)
        values |= {id(symbol): value for symbol, value in results}
    return pairs


def _name(step: Step, taken: set[str]) -> str:
    """The layer's own name, else with the names of the models it stood in, else with a number.

    Names that begin with "stage" are those of the marks.
    """
    own = step.op.name
    names = [".".join((*step.scope[len(step.scope) - depth :], own)) for depth in range(len(step.scope) + 1)]
    names += [f"{'layer.' if own.startswith('stage') else ''}{own}_{number}" for number in range(1, len(taken) + 2)]
    return next(name for name in names if name not in taken and not name.startswith("stage"))


def weights_of(op) -> list:
    """The variables of a layer; an operation has none."""
    return getattr(op, "weights", [])


def is_augmentation(op) -> bool:
    name = type(op).__name__
    known = name.startswith("Random") or name in AUGMENTATIONS
    return known and isinstance(op, keras.layers.Layer) and type(op).__module__.startswith("keras.")


def is_neutral(op) -> bool:
    """Whether an operation does nothing where pictures are only looked at."""
    linear = isinstance(op, keras.layers.Activation) and op.get_config()["activation"] == "linear"
    return linear or isinstance(op, keras.layers.Identity | keras.layers.Dropout) or type(op).__name__ == "Cast"


def fresh(op, name: str):
    """A new layer or operation of the same configuration, in float32.

    Raises:
        Unfit: it cannot be made from its configuration.
    """
    if isinstance(op, keras.layers.Lambda):
        raise Unfit(
            f"has a Lambda layer {op.name!r}, whose Python code no file carries safely: put a standard layer, such as "
            "Rescaling, in its place."
        )
    try:
        changes = {}
        if isinstance(op, keras.layers.Normalization) and op.weights:
            # as numbers, not as weights, of which the layer makes constants only when it is loaded
            shape = op.adapt_mean.shape  # of the axes that are kept, which `mean` has ones beside
            changes = {key: np.asarray(getattr(op, key)).reshape(shape) for key in ("mean", "variance")}
        return remade(op, name, policy="float32", **changes)
    except Exception as error:  # whatever the layer's own class raises
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise Unfit(
            f"has a layer {op.name!r} of class {type(op).__name__} that cannot be made anew from its configuration "
            f"({first})."
        ) from error
