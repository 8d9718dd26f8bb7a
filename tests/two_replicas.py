"""Run by `test_replicas.py`, in a process of its own, as devices are settled at its start: two replicas beside one."""

import contextlib
import json

import keras
import numpy as np
import tensorflow as tf

from transferkit.recipe import Train
from transferkit.training.fitting import losses, optimizers

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
BOTH = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(32, 3)).astype("float32"), np.eye(2, dtype="float32")[RNG.integers(0, 2, 32)]
PLAIN = {"schedule": "constant", "warmup": 0.0, "nesterov": "off", "label_smoothing": 0.0, "weight_decay": 0.1}


def model_of(knobs: Train, scale=None) -> keras.Model:
    """A dense layer between two, its rates and its factor set, compiled."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(2)])
    optimizer = optimizers.make_optimizer(knobs, lr=0.1, steps=8, rate_factors=[0.5, 0.5, 1.0, 1.0])
    losses.compile_model(model, scale(optimizer) if scale else optimizer, knobs, (20, 12))
    model.optimizer.build(model.trainable_variables)
    model.optimizer.factor.assign(0.5)
    return model


def fitted(name: str, ema: float, scope) -> keras.Model:
    with scope:
        model = model_of(Train(optimizer=name, ema=ema, balance="weights", **PLAIN))
    model.fit(X, Y, batch_size=8, verbose=0, shuffle=False)
    return model


def difference(alone: keras.Model, both: keras.Model) -> float:
    return max(float(abs(a - b).max()) for a, b in zip(alone.get_weights(), both.get_weights(), strict=True))


def figures(model: keras.Model) -> list[float]:
    """Of 13 rows, filled up to two batches of 8 with rows of weight 0."""
    weights = np.r_[np.ones(13), np.zeros(3)].astype("float32")
    answer = model.evaluate(X[:16], Y[:16], sample_weight=weights, batch_size=8, verbose=0, return_dict=True)
    return [answer["accuracy"], answer["cross_entropy"]]


def overflow() -> list[list]:
    """(scale, skipped, updates, all weights finite) after each step; the second overflows on the second replica."""
    with BOTH.scope():
        model = model_of(Train(optimizer="sgd", **PLAIN), optimizers.LossScale)
    rows = []
    for step in range(3):
        pictures = X[:8].copy()
        pictures[-1] *= np.inf if step == 1 else 1
        model.train_on_batch(pictures, Y[:8])
        state = (model.optimizer.dynamic_scale, model.optimizer.skipped, model.optimizer.iterations)
        finite = all(np.isfinite(w).all() for w in model.get_weights())
        rows.append([*(float(variable.numpy()) for variable in state), finite])
    return rows


if __name__ == "__main__":
    differences = {}
    for name, ema in (("adamw", 0.0), ("lars", 0.0), ("sgd", 0.9)):
        model = fitted(name, ema, BOTH.scope())
        differences[name] = difference(fitted(name, ema, contextlib.nullcontext()), model)
    kernel, bias, head, shift = model.get_weights()
    shares = keras.ops.log_softmax(np.maximum(X[:13] @ kernel + bias, 0) @ head + shift).numpy()
    exact = [float(np.mean(shares.argmax(-1) == Y[:13].argmax(-1))), float(-(Y[:13] * shares).sum(-1).mean())]
    seen = {"differences": differences, "figures": figures(model), "exact": exact, "overflow": overflow()}
    print(json.dumps(seen))
