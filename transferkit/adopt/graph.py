"""A model as a flat list of calls, and built again from such a list with new layers."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import tree

from transferkit.keras_internals import flatten_layers, run_graph
from transferkit.lookup import first_line
from transferkit.network import clone_layer

# They draw random numbers in training, and some at every call: a network, which is saved and exported, has none.
AUGMENTATIONS = ("AugMix", "CutMix", "MixUp", "Pipeline", "RandAugment")


class UnsuitableModelError(ValueError):
    """Why a model cannot be a network: a sentence without its subject, the source of the model."""


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer or operation.

    Attributes:
        op: the user's layer or operation, which is never called here.
        scope: names of the nested models that it is in, outermost first.
        args, kwargs: of the call; what depends on the pictures is a `KerasTensor`, identified by its id.
        output: a `KerasTensor`, or a list of them.
    """

    op: Any
    scope: tuple[str, ...]
    args: tuple
    kwargs: dict
    output: Any

    @property
    def inputs(self) -> list:
        return symbolic_tensors((self.args, self.kwargs))


@dataclass(frozen=True)
class Graph:
    """The calls of a model, or of a part of it, in an order in which they can be computed.

    Attributes:
        start: the symbolic input.
        steps: the calls.
        output: the symbolic output.
    """

    start: keras.KerasTensor
    steps: list[LayerCall]
    output: keras.KerasTensor


def symbolic_tensors(structure) -> list:
    """A flat list of the symbolic tensors in a nested structure."""
    return [leaf for leaf in tree.flatten(structure) if isinstance(leaf, keras.KerasTensor)]


def is_nested_model(op) -> bool:
    """Whether a layer is a model that its layers can replace: one without a `call` of its own."""
    own = any("call" in vars(kind) for kind in type(op).__mro__ if not kind.__module__.startswith("keras."))
    return isinstance(op, keras.Function | keras.Sequential) and not own


def flatten_model(model: keras.Model) -> Graph:
    """The graph of a model, with the steps of nested models in their place.

    The model stays as it is: none of its layers is called.
    """
    steps = []

    def through(graph, given, scope):
        if isinstance(graph, keras.Sequential):
            graph = keras.Model(graph.inputs, graph.outputs)
        # `clone_model` goes through a graph by this method too, but cannot open the nested models
        return run_graph(graph, given, partial(call, scope))

    def call(scope, op, *args, **kwargs):
        if is_nested_model(op):
            return through(op, args[0], (*scope, op.name))
        check_is_float(op)
        output = op.compute_output_spec(*args, **kwargs)
        steps.append(LayerCall(op, scope, args, kwargs, output))
        return output

    start = keras.KerasTensor(model.inputs[0].shape, model.inputs[0].dtype)
    output = tree.flatten(through(model, [start], ()))[0]
    return Graph(start, steps, output)


def check_is_float(op):
    """Raise `UnsuitableModelError` where a layer, or one inside it, has quantized weights."""
    for layer in flatten_layers(op):
        if isinstance(layer.dtype_policy, keras.dtype_policies.QuantizedDTypePolicy):
            raise UnsuitableModelError(
                f"has a layer {layer.name!r} quantized to {layer.quantization_mode}, which cannot be trained on, "
                "expected float weights: save the model before quantize() is called."
            )


def weight_values(op) -> list:
    """The weights of a layer, with the weights of LoRA merged into its kernel."""
    if getattr(op, "lora_enabled", False):
        return [op.kernel, *([op.bias] if op.use_bias else [])]
    return layer_weights(op)


def find_cut_positions(graph: Graph) -> list[int]:
    """The positions of the steps after which the graph can be cut in two: all later steps depend on their output."""
    waiting = Counter(id(tensor) for step in graph.steps for tensor in step.inputs)
    waiting[id(graph.output)] += 1
    alive, found = {id(graph.start)}, []
    for position, step in enumerate(graph.steps):
        waiting.subtract(id(tensor) for tensor in step.inputs)
        alive |= {id(tensor) for tensor in symbolic_tensors(step.output)}
        alive = {tensor for tensor in alive if waiting[tensor] > 0}
        if alive == {id(step.output)}:
            found.append(position)
    return found


def rebuild_steps(
    steps: list[LayerCall],
    values: dict,
    *,
    names: Iterable[str] = (),
    skip: Callable = lambda step: False,
    marks: Mapping[int, Iterable[str]] | None = None,
    prefix: str = "",
) -> list[tuple]:
    """Repeat calls with new layers, which share nothing with the user's; a layer that is used twice becomes two.

    Args:
        values: {id of a symbolic tensor: its value}; the results are added to it.
        names: names that no layer may get.
        skip: whether a step is skipped: its first input is its output then.
        marks: names of `Identity` layers to put after a step, by its position.
        prefix: prefix of the names of all layers.

    Returns:
        Pairs of a new layer and the user's.

    Raises:
        UnsuitableModelError: a layer cannot be made from its configuration.
    """
    names, pairs = set(names), []

    def stands_for(structure):
        return tree.map_structure(lambda leaf: values.get(id(leaf), leaf), structure)

    for position, step in enumerate(steps):
        if skip(step):
            results = values[id(step.inputs[0])]
        else:
            layer = fresh_layer(step.op, prefix + _unique_name(step, names))
            names.add(layer.name.removeprefix(prefix))
            pairs.append((layer, step.op))
            results = layer(*stands_for(step.args), **stands_for(step.kwargs))
        for name in (marks or {}).get(position, ()):
            results = keras.layers.Identity(name=name)(results)
        results = zip(tree.flatten(step.output), tree.flatten(results), strict=True)
        values |= {id(symbol): value for symbol, value in results}
    return pairs


def _unique_name(step: LayerCall, taken: set[str]) -> str:
    """The layer's own name; if it is taken, with the names of the models it was in; else with a number.

    Names that begin with "stage" are reserved for the cut points.
    """
    own = step.op.name
    names = [".".join((*step.scope[len(step.scope) - depth :], own)) for depth in range(len(step.scope) + 1)]
    names += [f"{'layer.' if own.startswith('stage') else ''}{own}_{number}" for number in range(1, len(taken) + 2)]
    return next(name for name in names if name not in taken and not name.startswith("stage"))


def layer_weights(op) -> list:
    """The variables of a layer; an operation has none."""
    return getattr(op, "weights", [])


def is_augmentation(op) -> bool:
    name = type(op).__name__
    known = name.startswith("Random") or name in AUGMENTATIONS
    return known and isinstance(op, keras.layers.Layer) and type(op).__module__.startswith("keras.")


def is_identity(op) -> bool:
    """Whether an operation passes on its input at inference."""
    linear = isinstance(op, keras.layers.Activation) and op.get_config()["activation"] == "linear"
    return linear or isinstance(op, keras.layers.Identity | keras.layers.Dropout) or type(op).__name__ == "Cast"


def fresh_layer(op, name: str):
    """A new layer or operation with the same configuration, in float32.

    Raises:
        UnsuitableModelError: it cannot be made from its configuration.
    """
    if isinstance(op, keras.layers.Lambda):
        raise UnsuitableModelError(
            f"has a Lambda layer {op.name!r}, whose Python code no file carries safely: put a standard layer, such as "
            "Rescaling, in its place."
        )
    try:
        changes = {}
        if isinstance(op, keras.layers.Normalization) and op.weights:
            # as numbers: weights would become constants only once the layer is loaded
            shape = op.adapt_mean.shape  # without the axes of size 1 that `mean` has
            changes = {key: np.asarray(getattr(op, key)).reshape(shape) for key in ("mean", "variance")}
        return clone_layer(op, name, policy="float32", **changes)
    except Exception as error:  # whatever the layer's own class raises
        raise UnsuitableModelError(
            f"has a layer {op.name!r} of class {type(op).__name__} that cannot be made anew from its configuration "
            f"({first_line(error)})."
        ) from error
