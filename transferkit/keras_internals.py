"""All private API of Keras that this package uses: one small function for each thing that Keras does not export.

What Keras calls with an underscore, or keeps in `keras.src`, may change in any release. `tests/test_keras_internals.py`
tests every function here and names the internal that a new Keras broke; `tests/test_layering.py` keeps such names out
of all other modules. State that goes with a Keras object is kept here too, beside the object and not on it.

Keras is imported inside the functions: importing it loads TensorFlow.
"""

import functools
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

TESTED = "3.15"  # the minor version of Keras that the patches for several workers were made for

# --- the graph of a functional model ---


def producer(tensor):
    """The layer or operation whose output a symbolic tensor is.

    Example:
        producer(model.output).name
    """
    return tensor._keras_history.operation


@dataclass(frozen=True)
class Call:
    """One call of a layer or operation in the graph of a model.

    Attributes:
        operation: what is called; an `InputLayer` has no inputs.
        inputs, outputs: symbolic tensors, flat.
        fill_in: fill_in({id(tensor): value}) gives the `args` and `kwargs` of the call on other values.
    """

    operation: Any
    inputs: list
    outputs: list
    fill_in: Callable


def graph_calls(inputs, outputs) -> list[Call]:
    """The calls between symbolic inputs and outputs, each after the calls that it depends on."""
    import keras

    graph = keras.Function(inputs, outputs)
    return [
        Call(node.operation, list(node.input_tensors), list(node.output_tensors), node.arguments.fill_in)
        for depth in sorted(graph._nodes_by_depth, reverse=True)
        for node in graph._nodes_by_depth[depth]
    ]


def run_graph(graph, inputs, call: Callable):
    """Compute the outputs of a functional model with other functions in the place of its operations.

    Args:
        graph: a functional model.
        inputs: a list of its inputs.
        call: call(operation, *args, **kwargs) gives what the operation's call on these arguments would.
    """
    return graph._run_through_graph(inputs, operation_fn=lambda operation: functools.partial(call, operation))


# --- layers inside layers ---

# Attributes of wrappers, recurrent layers and attention that hold a layer, which are keys in `.keras` files too; and
# the scope of its variables in `.h5` files, where a layer holds several.
INNER_LAYERS = {"layer": "", "cell": "", "forward_layer": "forward", "backward_layer": "backward"}
INNER_LAYERS |= {f"_{role}_dense": role for role in ("query", "key", "value")} | {"_output_dense": "attention_output"}


def flatten_layers(layer) -> list:
    """A layer and the layers inside it, at any depth: of a wrapper, an attention, a model. [] for an operation."""
    import keras

    return list(layer._flatten_layers()) if isinstance(layer, keras.layers.Layer) else []


def inner_layers(layer) -> dict:
    """The layers directly inside a layer that is not a model, by their keys in a `.keras` file.

    Example:
        inner_layers(keras.layers.Bidirectional(keras.layers.GRU(2)))  # {"forward_layer": ..., "backward_layer": ...}
    """
    import keras

    held = {key: getattr(layer, key, None) for key in INNER_LAYERS}
    counts: Counter[str] = Counter()
    for cell in getattr(layer, "cells", ()):
        kind = snake_case(type(cell).__name__)
        held[f"cells/{kind}_{counts[kind]}" if counts[kind] else f"cells/{kind}"] = cell
        counts[kind] += 1
    return {key: inner for key, inner in held.items() if isinstance(inner, keras.Layer)}


def own_weights(layer) -> list:
    """The variables of a layer that do not belong to a layer inside it."""
    inner = {id(variable) for part in inner_layers(layer).values() for variable in part.weights}
    return [variable for variable in layer.weights if id(variable) not in inner]


def snake_case(name: str) -> str:
    """A class name as Keras makes keys and layer names of it: "depthwise_conv2d" for "DepthwiseConv2D"."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


# --- classes that Keras writes into files, or derives from, and does not export ---

OPERATION_KINDS = {  # the private base classes of layers, and the operations behind `keras.ops`
    "convolution": ("BaseConv", "BaseDepthwiseConv", "BaseSeparableConv", "Conv", "DepthwiseConv", "SeparableConv"),
    "transposed convolution": ("BaseConvTranspose", "ConvTranspose"),
    "dense": ("Dense",),
    "einsum": ("EinsumDense",),
    "pooling": ("BasePooling", "MaxPool", "AveragePool"),
    "upsampling": ("UpSampling1D", "UpSampling2D", "UpSampling3D"),
    "padding": ("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Cropping1D", "Cropping2D", "Cropping3D", "Pad"),
    "slicing": ("GetItem",),
}
_KINDS = {name: kind for kind, names in OPERATION_KINDS.items() for name in names}


def operation_kind(operation) -> str | None:
    """The kind of a layer or operation, a key of `OPERATION_KINDS`; None for any other."""
    return next((_KINDS[kind.__name__] for kind in type(operation).__mro__ if kind.__name__ in _KINDS), None)


def model_classes() -> dict[str, type]:
    """The classes of models by the name that files have for them."""
    import keras
    from keras.src.models.functional import Functional

    return {"Functional": Functional, "Model": keras.Model, "Sequential": keras.Sequential}


@contextmanager
def wrapped_get_file(wrapper: Callable) -> Iterator[None]:
    """Have `keras.applications` call wrapper(get_file, ...) in place of get_file(...), which gets their weights."""
    from keras.src.utils import file_utils

    get_file = file_utils.get_file
    file_utils.get_file = functools.partial(wrapper, get_file)
    try:
        yield
    finally:
        file_utils.get_file = get_file


def application_layers() -> dict[str, type]:
    """The layers of `keras.applications` that are not in `keras.layers`, by name."""
    from keras.src.applications import convnext, inception_resnet_v2

    classes = convnext.LayerScale, convnext.StochasticDepth, inception_resnet_v2.CustomScaleLayer
    return {kind.__name__: kind for kind in classes}


def find_operation(name: str) -> type | None:
    """The class of the operation behind a function of `keras.ops`, as `Add`; None where Keras has none."""
    import keras
    from keras.src.activations import activations
    from keras.src.ops import core, einops, image, linalg, math, nn, numpy

    found = (getattr(module, name, None) for module in (numpy, nn, core, math, image, linalg, einops, activations))
    return next((op for op in found if isinstance(op, type) and issubclass(op, keras.Operation)), None)


# --- random numbers and inference ---


def seed_generators(layer) -> list:
    """The generators of random numbers of a layer, without those of the layers inside it."""
    return list(layer._seed_generators)


def transform_seeds(generator, transform: Callable):
    """Make a `keras.random.SeedGenerator` give transform(seed) for each seed."""
    draw = generator.next
    generator.next = lambda ordered=True: transform(draw(ordered))


_in_inference: WeakSet = WeakSet()  # layers whose `call` is replaced


def is_inference_only(layer) -> bool:
    """Whether `set_inference_only` holds for a layer."""
    return layer in _in_inference


def set_inference_only(layer, inference_only: bool):
    """Make a layer compute in training what it computes at inference, or make it an ordinary layer again.

    The `call` of the one layer is replaced: an argument `training=False` in a functional model is overruled by `fit`.
    """
    if inference_only == is_inference_only(layer):
        return
    if not inference_only:
        _in_inference.discard(layer)
        del vars(layer)["call"]
    elif "training" in inspect.signature(call := layer.call).parameters:
        _in_inference.add(layer)
        vars(layer)["call"] = lambda *args, **kwargs: call(*args, **kwargs | {"training": False})


# --- weights and optimizers ---


@contextmanager
def before_add_weight(check: Callable[[Iterable | int | None], None]) -> Iterator[None]:
    """In this context, check(shape) is called before any layer makes a variable of this shape."""
    import keras

    add_weight = keras.layers.Layer.add_weight

    @functools.wraps(add_weight)
    def checked(self, shape=None, *args, **kwargs):
        check(shape)
        return add_weight(self, shape, *args, **kwargs)

    keras.layers.Layer.add_weight = checked
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = add_weight


@contextmanager
def undrawn_weights() -> Iterator[None]:
    """In this context, weights that layers would draw are zero: quicker, for layers that get others at once."""
    import keras
    from keras.src.initializers.random_initializers import RandomInitializer

    add_weight = keras.layers.Layer.add_weight

    @functools.wraps(add_weight)
    def add_zeros(self, *args, **kwargs):
        if isinstance(keras.initializers.get(kwargs.get("initializer")), RandomInitializer):
            kwargs["initializer"] = "zeros"
        return add_weight(self, *args, **kwargs)

    keras.layers.Layer.add_weight = add_zeros
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = add_weight


def variable_index(optimizer, variable) -> int:
    """The position of a variable among the trainable variables of a built optimizer."""
    return optimizer._get_variable_index(variable)


def adam_moments(optimizer, variable) -> tuple:
    """The variables in which a built `keras.optimizers.Adam` keeps the first and second moments of a variable."""
    index = variable_index(optimizer, variable)
    return optimizer._momentums[index], optimizer._velocities[index]


def count_skipped_steps(kind: type) -> type:
    """A subclass of a `LossScaleOptimizer` that counts the steps that it skips in its variable `skipped`."""

    class Counting(kind):
        def build(self, var_list):
            if not self.built:
                self.skipped = self.add_variable((), "zeros", "int", "only_first_replica", name="skipped")
            super().build(var_list)

        def _stateful_handle_non_finite_grads(self):
            super()._stateful_handle_non_finite_grads()
            self.skipped.assign_add(1)

        def _stateless_handle_non_finite_grads(self, optimizer_variables, trainable_variables):
            weights, state = super()._stateless_handle_non_finite_grads(optimizer_variables, trainable_variables)
            position = next(i for i, variable in enumerate(self.variables) if variable is self.skipped)
            state[position] = state[position] + 1
            return weights, state

    return Counting


# --- `fit` under `MultiWorkerMirroredStrategy` (keras#20585) ---


@contextmanager
def patched_for_several_workers(model, batch) -> Iterator[None]:
    """In this context, a compiled model of several workers can be fitted and evaluated.

    Keras takes the mean of the pictures of all workers before the first batch, to learn their shape: here the model is
    built from the shape. And it takes the mean of scalar metrics along their first axis: here it takes their mean.

    Args:
        batch: shapes and dtypes of a batch, as `Dataset.element_spec` has them.

    Raises:
        ValueError: the patches were not made for this Keras.
    """
    trainer = _patchable_trainer()
    reduce = trainer.reduce_per_replica
    with model.distribute_strategy.scope():
        model._symbolic_build(data_batch=batch)
    model._maybe_symbolic_build = lambda iterator=None, data_batch=None: None
    trainer.reduce_per_replica = _reduce_mean
    try:
        yield
    finally:
        trainer.reduce_per_replica = reduce
        del model._maybe_symbolic_build


def check_several_workers():
    """Raise `ValueError` if this is not the Keras that the patches for several workers were made for."""
    _patchable_trainer()


def _patchable_trainer():
    """The module of Keras that is patched."""
    import keras
    from keras.src.backend.tensorflow import trainer

    found = list(inspect.signature(trainer.reduce_per_replica).parameters)
    if keras.__version__.rpartition(".")[0] != TESTED or found != ["values", "strategy", "reduction"]:
        raise ValueError(
            f"Several workers need Keras {TESTED}, which is patched for them, not {keras.__version__}: "
            f"pip install 'keras=={TESTED}.*'."
        )
    return trainer


def _reduce_mean(values, strategy, reduction):
    import keras

    return keras.tree.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), values)


def patch_tf2onnx():
    """Make tf2onnx work with NumPy 2, as Keras does before it exports."""
    import warnings

    from keras.src.export import tf2onnx_lib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of `np.object`, which it defines
        tf2onnx_lib.patch_tf2onnx()
