"""The private API of Keras in `keras_internals`, a test for each function: run this first with a new Keras."""

import inspect
import re
import subprocess
import sys
from contextlib import contextmanager

import keras
import numpy as np
import pytest
from keras import layers, ops

from transferkit import keras_internals


@contextmanager
def relying_on(internal: str):
    """Name the internal of Keras that broke in what is raised inside."""
    try:
        yield
    except Exception as error:
        pytest.fail(f"Keras {keras.__version__} broke {internal}, which keras_internals uses: {error!r}", pytrace=True)


@pytest.fixture
def model():
    """Pictures (8, 8, 3) through a convolution, a branch and `keras.ops`, to (2,)."""
    pictures = keras.Input((8, 8, 3), name="pictures")
    x = layers.Conv2D(4, 3, padding="same", name="conv")(pictures)
    x = layers.Add(name="add")([x, ops.relu(x)])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(pictures, layers.Dense(2, name="fc")(x))


def test_producer(model):
    with relying_on("KerasTensor._keras_history.operation"):
        assert keras_internals.producer(model.output) is model.get_layer("fc")
        assert keras_internals.producer(model.input).name == "pictures"


def test_graph_calls(model):
    with relying_on("Function._nodes_by_depth or the attributes of its nodes"):
        calls = keras_internals.graph_calls(model.inputs, model.outputs)
        names = [call.operation.name for call in calls]
        assert (names[0], names[-3:]) == ("pictures", ["add", "pool", "fc"])
        assert not calls[0].inputs and [tensor is model.output for tensor in calls[-1].outputs] == [True]
        add = calls[names.index("add")]
        (args,), kwargs = add.fill_in({id(tensor): number for number, tensor in enumerate(add.inputs)})
        assert (args, kwargs) == ([0, 1], {})


def test_run_graph(model):
    visited = []

    def call(operation, *args, **kwargs):
        visited.append(operation.name)
        return operation(*args, **kwargs)

    picture = np.ones((1, 8, 8, 3), "float32")
    with relying_on("Function._run_through_graph"):
        found = keras.tree.flatten(keras_internals.run_graph(model, [picture], call))[0]
        np.testing.assert_array_equal(found, model(picture))
        assert visited[0] == "conv" and visited[-1] == "fc" and len(visited) == 5


def test_flatten_layers():
    layer = layers.Bidirectional(layers.GRU(2))
    with relying_on("Layer._flatten_layers"):
        kinds = [type(inner).__name__ for inner in keras_internals.flatten_layers(layer)]
        assert kinds[0] == "Bidirectional" and kinds.count("GRU") == 2 and kinds.count("GRUCell") == 2
        assert keras_internals.flatten_layers(keras_internals.find_operation("Add")()) == []


def test_inner_layers():
    both = layers.Bidirectional(layers.GRU(2))
    attention = layers.MultiHeadAttention(1, 2)
    attention.build((None, 3, 4), (None, 3, 4))
    cells = layers.StackedRNNCells([layers.GRUCell(2), layers.GRUCell(2)])
    with relying_on("the attributes of layers that hold other layers"):
        assert list(keras_internals.inner_layers(both)) == ["forward_layer", "backward_layer"]
        assert set(keras_internals.inner_layers(attention)) == {
            "_query_dense", "_key_dense", "_value_dense", "_output_dense",
        }  # fmt: skip
        assert list(keras_internals.inner_layers(cells)) == ["cells/gru_cell", "cells/gru_cell_1"]
        assert keras_internals.own_weights(attention) == []


def test_snake_case():
    with relying_on("the rule of its layers' names"):
        for name in ("DepthwiseConv2D", "LSTMCell", "UpSampling2D", "GlobalAveragePooling2D"):
            kind = getattr(layers, name)
            made = kind(3) if name in ("DepthwiseConv2D", "LSTMCell") else kind()
            assert re.fullmatch(rf"{keras_internals.snake_case(name)}(_\d+)?", made.name)


LAYERS = {  # kind of operation by class of layer and its arguments
    ("Conv2D", 1, 1): "convolution",
    ("DepthwiseConv2D", 1): "convolution",
    ("SeparableConv2D", 1, 1): "convolution",
    ("Conv2DTranspose", 1, 1): "transposed convolution",
    ("MaxPooling2D", 2): "pooling",
    ("Dense", 1): "dense",
    ("UpSampling2D", 2): "upsampling",
    ("Cropping2D", 1): "padding",
    ("ReLU",): None,
}


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer[0])
def test_operation_kind_of_layers(layer):
    name, *args = layer
    with relying_on(f"the base classes of {name}"):
        assert keras_internals.operation_kind(getattr(layers, name)(*args)) == LAYERS[layer]


@pytest.mark.parametrize(
    "call, kind",
    [
        (lambda x: ops.conv(x, np.ones((1, 1, 3, 2), "float32")), "convolution"),
        (lambda x: ops.conv_transpose(x, np.ones((1, 1, 2, 3), "float32"), 1), "transposed convolution"),
        (lambda x: ops.depthwise_conv(x, np.ones((1, 1, 3, 1), "float32")), "convolution"),
        (lambda x: ops.average_pool(x, 2), "pooling"),
        (lambda x: ops.max_pool(x, 2), "pooling"),
        (lambda x: ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), "padding"),
        (lambda x: x[:, 1:], "slicing"),
        (ops.relu, None),
    ],
)
def test_operation_kind_of_operations(call, kind):
    with relying_on("the class names of the operations behind keras.ops"):
        operation = keras_internals.producer(call(keras.Input((4, 4, 3))))
        assert keras_internals.operation_kind(operation) == kind


def test_model_classes(model):
    with relying_on("keras.src.models.functional.Functional"):
        assert type(model) is keras_internals.model_classes()["Functional"]


def test_application_layers():
    with relying_on("keras.src.applications"):
        found = keras_internals.application_layers()
        assert set(found) == {"LayerScale", "StochasticDepth", "CustomScaleLayer"}
        assert all(issubclass(kind, layers.Layer) for kind in found.values())


def test_find_operation():
    with relying_on("keras.src.ops"):
        for name in ("Add", "TrueDivide", "Relu", "Cast", "Resize", "Norm", "Logsumexp"):
            assert keras_internals.find_operation(name).__name__ == name
        assert keras_internals.find_operation("Conv2D") is None


def test_seeds():
    dropout = layers.Dropout(0.5, seed=1)
    with relying_on("Layer._seed_generators or SeedGenerator.next"):
        [generator] = keras_internals.seed_generators(dropout)
        twin = keras.random.SeedGenerator(1)
        keras_internals.transform_seeds(generator, lambda seed: seed + 7)
        np.testing.assert_array_equal(generator.next(), twin.next() + 7)
        ones = np.ones((1, 50), "float32")
        assert not np.array_equal(dropout(ones, training=True), layers.Dropout(0.5, seed=1)(ones, training=True))


def test_set_inference_only():
    pictures = keras.Input((4,))
    dropout = layers.Dropout(0.9)
    model, ones = keras.Model(pictures, dropout(pictures)), np.ones((2, 4), "float32")
    with relying_on("Layer.call, replaced for one layer"):
        keras_internals.set_inference_only(dropout, True)
        assert keras_internals.is_inference_only(dropout)
        np.testing.assert_array_equal(model(ones, training=True), ones)
        keras_internals.set_inference_only(dropout, False)
        assert not keras_internals.is_inference_only(dropout) and "call" not in vars(dropout)
        assert not np.array_equal(model(ones, training=True), ones)


def test_before_add_weight():
    shapes = []
    with relying_on("Layer.add_weight"):
        with keras_internals.before_add_weight(shapes.append):
            layers.Dense(2).build((None, 3))
        assert shapes == [(3, 2), (2,)]
        layers.Dense(2).build((None, 3))
        assert len(shapes) == 2


def test_undrawn_weights():
    with relying_on("RandomInitializer"):
        with keras_internals.undrawn_weights():
            dense, norm = layers.Dense(2, bias_initializer="random_normal"), layers.BatchNormalization()
            dense.build((None, 3))
            norm.build((None, 3))
        assert not any(np.any(weight) for weight in dense.get_weights())
        assert np.all(norm.moving_variance.numpy() == 1)  # which is not drawn
        drawn = layers.Dense(2)
        drawn.build((None, 3))
        assert np.all(drawn.kernel.numpy())


def test_variable_index(model):
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    with relying_on("Optimizer._get_variable_index"):
        indices = [keras_internals.variable_index(optimizer, variable) for variable in model.trainable_variables]
        assert indices == [0, 1, 2, 3]


def test_count_skipped_steps():
    variable = keras.Variable(np.ones(2, "float32"))
    with relying_on("LossScaleOptimizer._stateful_handle_non_finite_grads"):
        kind = keras_internals.count_skipped_steps(keras.optimizers.LossScaleOptimizer)
        optimizer = kind(keras.optimizers.SGD(1.0), initial_scale=2.0)
        optimizer.build([variable])
        for gradient in (2.0, np.inf, np.nan):
            optimizer.apply([ops.convert_to_tensor(np.full(2, gradient, "float32"))], [variable])
        assert int(optimizer.skipped) == 2
        np.testing.assert_allclose(variable, 0.0)
    with relying_on("LossScaleOptimizer._stateless_handle_non_finite_grads"):
        assert list(inspect.signature(optimizer._stateless_handle_non_finite_grads).parameters) == [
            "optimizer_variables", "trainable_variables",
        ]  # fmt: skip
        state = [variable.value for variable in optimizer.variables]
        _, changed = optimizer._stateless_handle_non_finite_grads(state, [variable.value])
        position = [variable is optimizer.skipped for variable in optimizer.variables].index(True)
        assert int(changed[position]) == 3


def test_patches_for_several_workers(model):
    with relying_on("Trainer._symbolic_build, _maybe_symbolic_build or reduce_per_replica"):
        keras_internals.check_several_workers()
        parameters = inspect.signature(model._maybe_symbolic_build).parameters
        assert list(parameters) == ["iterator", "data_batch"]
        assert "data_batch" in inspect.signature(model._symbolic_build).parameters


def test_import_does_not_load_keras():
    code = "import sys, transferkit.keras_internals; print({'keras', 'tensorflow'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


def test_adam_moments(model):
    optimizer, (first, *_) = keras.optimizers.Adam(beta_1=0.8, beta_2=0.9), model.trainable_variables
    optimizer.build([first])
    optimizer.apply([keras.ops.ones_like(first)], [first])
    with relying_on("Adam._momentums, Adam._velocities"):
        moments = keras_internals.adam_moments(optimizer, first)
        assert [float(np.mean(moment)) for moment in moments] == pytest.approx([0.2, 0.1])
