"""One and two steps of every optimizer against the papers' formulas."""

import keras
import numpy as np
import pytest

from transferkit import models
from transferkit.lookup import UnknownName
from transferkit.recipe import Train
from transferkit.training.fitting import optimizers

KERNEL, BIAS = np.array([[1.0, -2.0]], "float32"), np.array([0.5, 1.0], "float32")
SLOPES = np.array([[0.3, 0.1]], "float32"), np.array([0.2, -0.4], "float32")
PLAIN = {"schedule": "constant", "warmup": 0.0, "nesterov": "off", "weight_decay": 0.0}


def weights():
    return [keras.Variable(KERNEL), keras.Variable(BIAS)]


def stepped(optimizer, count=1, slopes=SLOPES, factor=None):
    """Kernel and bias after some steps along the same gradients."""
    variables = weights()
    optimizer.build(variables)
    if factor is not None:
        getattr(optimizer, "inner_optimizer", optimizer).factor.assign(factor)
    for _ in range(count):
        optimizer.apply([keras.ops.convert_to_tensor(slope) for slope in slopes], variables)
    return [np.array(variable) for variable in variables]


def made(name, rates=None, **knobs):
    return optimizers.make_optimizer(Train(optimizer=name, **(PLAIN | knobs)), lr=0.1, steps=10, rate_factors=rates)


def test_sgd_decouples_weight_decay_from_momentum():
    w, v = KERNEL, 0.0
    for _ in range(2):
        w = w - 0.1 * 0.5 * w
        v = 0.9 * v - 0.1 * SLOPES[0]
        w = w + v
    kernel, bias = stepped(made("sgd", weight_decay=0.5), 2)
    assert kernel == pytest.approx(w)
    assert bias == pytest.approx(BIAS - 0.1 * SLOPES[1] * (1 + 1.9))


def test_sgd_l2_adds_weight_decay_to_the_gradient():
    w, v = KERNEL, 0.0
    for _ in range(2):
        v = 0.9 * v - 0.1 * (SLOPES[0] + 0.5 * w)
        w = w + v
    kernel, bias = stepped(made("sgd_l2", weight_decay=0.5), 2)
    assert kernel == pytest.approx(w)
    assert bias == pytest.approx(BIAS - 0.1 * SLOPES[1] * (1 + 1.9))


def test_nesterov_looks_ahead():
    kernel, _ = stepped(made("sgd", nesterov="on"))
    assert kernel == pytest.approx(KERNEL - 0.1 * SLOPES[0] * 1.9)


def test_decay_on_all_includes_biases():
    _, bias = stepped(made("sgd", weight_decay=0.5, decay_on="all"))
    assert bias == pytest.approx(BIAS - 0.1 * 0.5 * BIAS - 0.1 * SLOPES[1])


def test_adamw_is_keras_own():
    theirs = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    theirs.exclude_from_weight_decay(var_names=["none"])
    ours = stepped(made("adamw", weight_decay=0.5, decay_on="all"), 3)
    for mine, other in zip(ours, stepped(theirs, 3), strict=True):
        assert mine == pytest.approx(other, rel=5e-5)  # its kernel rounds 1 - beta


def test_lamb_is_keras_own():
    for mine, other in zip(stepped(made("lamb"), 3), stepped(keras.optimizers.Lamb(0.1), 3), strict=True):
        assert mine == pytest.approx(other, rel=1e-6)


def test_lars_steps_in_proportion_to_the_kernel():
    size, slope = np.linalg.norm(KERNEL), np.linalg.norm(SLOPES[0])
    trust = 0.001 * size / (slope + 0.5 * size)
    kernel, bias = stepped(made("lars", weight_decay=0.5))
    assert KERNEL - kernel == pytest.approx(0.1 * trust * (SLOPES[0] + 0.5 * KERNEL), rel=1e-3)
    assert bias == pytest.approx(BIAS - 0.1 * SLOPES[1])


def test_lars_updates_kernels_of_zeros():
    variable = keras.Variable(np.zeros((1, 2), "float32"))
    optimizer = made("lars", weight_decay=0.5)
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(SLOPES[0])], [variable])
    assert np.array(variable) == pytest.approx(-0.1 * SLOPES[0])


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_rates_and_factor_multiply_step_and_decay(name):
    knobs = {"weight_decay": 0.0 if name == "lamb" else 0.5, "decay_on": "all"}  # its step goes by decayed weights
    full = stepped(made(name, **knobs))
    slowed = stepped(made(name, rates=[0.5, 0.5], **knobs), factor=0.4)
    scaled = stepped(optimizers.LossScale(made(name, rates=[0.5, 0.5], **knobs), initial_scale=1.0), factor=0.4)
    for start, whole, fifth, same in zip((KERNEL, BIAS), full, slowed, scaled, strict=True):
        assert fifth - start == pytest.approx((whole - start) / 5, rel=1e-3, abs=1e-7)
        assert same == pytest.approx(fifth)


def test_each_variable_has_its_own_rate():
    kernel, bias = stepped(made("sgd", rates=[0.0, 0.5]))
    assert kernel == pytest.approx(KERNEL)
    assert bias == pytest.approx(BIAS - 0.05 * SLOPES[1])
    with pytest.raises(ValueError, match="rate_factors has 3 values for 2 variables"):
        made("sgd", rates=[1.0, 1.0, 1.0]).build(weights())


def test_factor_is_saved():
    first, second = made("adamw"), made("adamw")
    for optimizer in (first, second):
        optimizer.build(weights())
    first.factor.assign(0.25)
    store = {}
    first.save_own_variables(store)
    second.load_own_variables(store)
    assert float(second.factor) == 0.25
    assert len(first.variables) == 2 + 2 * 2  # iteration, factor, and two moments of each


def test_gradients_are_clipped_together():
    norm = np.sqrt(sum(np.sum(slope**2) for slope in SLOPES))
    kernel, _ = stepped(made("sgd", clip=0.1))
    assert kernel == pytest.approx(KERNEL - 0.1 * SLOPES[0] * 0.1 / norm)


def test_accumulated_parts_are_one_step():
    knobs = {"accumulate": 2, "weight_decay": 0.5, "ema": 0.5}
    assert stepped(made("sgd", rates=[0.5, 1.0], **knobs), 1)[0] == pytest.approx(KERNEL)
    twice, once = stepped(made("sgd", rates=[0.5, 1.0], **knobs), 2), stepped(made("sgd", [0.5, 1.0], weight_decay=0.5))
    assert twice[0] == pytest.approx(once[0]) and twice[1] == pytest.approx(once[1])


def test_averaged_weights_are_separate_variables():
    optimizer, variables = made("sgd", ema=0.5, momentum=0.0), weights()
    for _ in range(2):
        optimizer.apply([keras.ops.convert_to_tensor(slope) for slope in SLOPES], variables)
    optimizer.finalize_variable_values(variables)
    step = -0.1 * SLOPES[0]
    average = next(variable for variable in optimizer.variables if variable.path.endswith("average"))
    assert np.array(variables[0]) == pytest.approx(KERNEL + 2 * step)
    assert np.array(average) == pytest.approx(KERNEL + 0.5 * step + 0.5 * 2 * step)


def test_an_unknown_optimizer_names_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'adamw'"):
        made("adam")


def test_rates_fall_by_stages(tiny):
    network = models.load(tiny, "none")
    factors = optimizers.compute_rate_factors(network.model, "fc", 0.5)
    layers = {v.path: factor for v, factor in zip(network.model.trainable_variables, factors, strict=True)}
    expected = {"fc": 1.0, "layer2": 0.5, "layer1": 0.25}
    assert len(layers) == 8
    assert all(rate == expected[path.split("/")[0].split(".")[0]] for path, rate in layers.items())


def test_rates_of_a_deep_network():
    model = models.load("resnet18", "none").model
    factors = dict(
        zip((v.path for v in model.trainable_variables), optimizers.compute_rate_factors(model, "fc", 0.5), strict=True)
    )
    stages = {"conv1": 4, "bn1": 4, "layer1": 4, "layer2": 3, "layer3": 2, "layer4": 1, "fc": 0}
    assert all(rate == 0.5 ** stages[path.split("/")[0].split(".")[0]] for path, rate in factors.items())


def test_without_stages_each_layer_is_one():
    inputs = keras.Input((3,))
    x = keras.layers.Dense(4, name="a")(inputs)
    x = keras.layers.Dense(4, name="b")(keras.layers.ReLU()(x))
    model = keras.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(2, name="c")(x)))
    model.get_layer("a").trainable = False
    assert optimizers.compute_rate_factors(model, "c", 0.5) == [0.5, 0.5, 1.0, 1.0]
    model.get_layer("a").trainable = True
    assert optimizers.compute_rate_factors(model, "c", 0.5) == [0.25, 0.25, 0.5, 0.5, 1.0, 1.0]


def test_overflow_skips_the_step_and_is_counted():
    optimizer, variables = optimizers.LossScale(made("sgd", momentum=0.0), initial_scale=8.0), weights()
    for slopes in (SLOPES, (SLOPES[0], np.array([np.inf, 0.0], "float32")), SLOPES):
        optimizer.apply([keras.ops.convert_to_tensor(slope) for slope in slopes], variables)
    assert int(optimizer.skipped) == 1 and float(optimizer.dynamic_scale) == 4.0 and int(optimizer.iterations) == 2
    assert np.array(variables[0]) == pytest.approx(KERNEL - 0.1 * SLOPES[0] * (1 / 8 + 1 / 4))

    store, again = {}, optimizers.LossScale(made("sgd", momentum=0.0))
    optimizer.factor.assign(0.5)
    optimizer.save_own_variables(store)
    again.build(weights())
    again.load_own_variables(store)
    assert (int(again.skipped), float(again.dynamic_scale), float(again.factor)) == (1, 4.0, 0.5)
