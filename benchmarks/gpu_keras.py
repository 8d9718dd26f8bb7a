"""A row of `bench_gpu.py` in Keras on JAX: a network of ours with our training step, or one of `keras.applications`."""

import sys
import time
from itertools import cycle
from pathlib import Path

import gpu_profile
import gpu_rounds
import jax
import keras
import numpy as np
from sklearn.datasets import load_digits

from transferkit import models, network
from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.recipe import Train
from transferkit.training.fitting import losses, optimizers

assert "tensorflow" not in sys.modules
POLICIES = {"bfloat16": "mixed_bfloat16", "float16": "mixed_float16", "float32": "float32"}
KNOBS = Train(
    optimizer="sgd_l2",
    momentum=gpu_rounds.MOMENTUM,
    weight_decay=gpu_rounds.DECAY,
    label_smoothing=gpu_rounds.SMOOTHING,
    schedule="constant",
    warmup=0.0,
)
WINDOW = 20  # steps over which losses of `agree` are averaged


def peak_gib() -> float | None:
    """The largest amount of device memory in use so far; None on a CPU."""
    facts = jax.local_devices()[0].memory_stats()
    return facts["peak_bytes_in_use"] / 2**30 if facts else None


def make_ours(job: dict) -> keras.Model:
    """Our network, compiled as the engine does."""
    name = f"{job['network']}_paper" if job["source"] == "paper" else job["network"]
    ours = network.with_policy(models.load(name, "none"), POLICIES[job["precision"]])
    optimizer = optimizers.make_optimizer(KNOBS, lr=gpu_rounds.RATE, steps=10_000)
    losses.compile_model(ours.model, optimizer, KNOBS, [1] * gpu_rounds.CLASSES)
    return ours.model


def make_theirs(job: dict) -> keras.Model:
    """The network of `keras.applications`, compiled as in Keras' guides."""
    keras.mixed_precision.set_dtype_policy(POLICIES[job["precision"]])
    build = getattr(keras.applications, job["network"].replace("resnet", "ResNet"))
    model = build(weights=None, classifier_activation=None, input_shape=(job["size"], job["size"], 3))
    rules = {"momentum": gpu_rounds.MOMENTUM, "nesterov": True, "weight_decay": gpu_rounds.DECAY}
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=gpu_rounds.SMOOTHING)
    model.compile(keras.optimizers.SGD(gpu_rounds.RATE, **rules), loss, metrics=["accuracy"])
    return model


def make_batch(job: dict) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (n, h, w, 3) as bytes, and one-hot labels."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (job["batch"], job["size"], job["size"], 3)).astype("uint8")
    return pictures, np.eye(gpu_rounds.CLASSES, dtype="float32")[rng.integers(0, gpu_rounds.CLASSES, job["batch"])]


def forever(batches):
    """A generator, which Keras takes for data, of batches again and again."""
    yield from cycle(batches)


def make_fit(model: keras.Model, batch):
    """A function that fits a number of steps on one batch, and returns when the device has finished."""

    def fit(steps):
        model.fit(forever([batch]), steps_per_epoch=steps, verbose=0)
        jax.block_until_ready([variable.value for variable in model.trainable_variables])

    return fit


class Rounds(keras.callbacks.Callback):
    """The seconds of each epoch of a fit."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        jax.block_until_ready([variable.value for variable in self.model.trainable_variables])
        self.seconds.append(time.perf_counter() - self.started)


def measure_fit(model: keras.Model, batch, job: dict) -> list[float]:
    """Pictures per second in each epoch of one `fit` on the same batch, after one that is not counted."""
    fit = make_fit(model, batch)
    fit(3)
    started = time.perf_counter()
    fit(5)
    steps = gpu_rounds.count_steps(job, (time.perf_counter() - started) / 5)
    rounds = Rounds()
    model.fit(forever([batch]), steps_per_epoch=steps, epochs=job["rounds"] + 1, callbacks=[rounds], verbose=0)
    return [steps * job["batch"] / seconds for seconds in rounds.seconds[1:]]


def train(job: dict):
    model = make_theirs(job) if job["source"] == "keras" else make_ours(job)
    host_batch = make_batch(job)
    batch = jax.device_put(host_batch)
    started = time.perf_counter()
    make_fit(model, batch)(2)
    first = time.perf_counter() - started
    gpu_rounds.report("train", rates=measure_fit(model, batch, job), first=first, peak_gib=peak_gib())
    if "profile" in job["jobs"]:
        classes = {layer.name: type(layer).__name__ for layer in model.layers}
        found = gpu_profile.profile(make_fit(model, batch), classes, Path(job["cache"]), Path(job["out"]))
        gpu_rounds.report("profile", **found)
    if "train_from_host" in job["jobs"]:
        gpu_rounds.report("train_from_host", rates=measure_fit(model, host_batch, job), peak_gib=peak_gib())


def infer(job: dict):
    """Our network with folded batch norm."""
    ours = network.with_policy(models.load(job["network"], "none"), POLICIES[job["precision"]])
    model = fold_batchnorm(ours.model)
    pictures = jax.device_put(make_batch(job)[0])
    variables = [[each.value for each in kind] for kind in (model.trainable_variables, model.non_trainable_variables)]

    @jax.jit
    def predict(variables, pictures):
        return model.stateless_call(*variables, pictures, training=False)[0]

    def run_steps(count):
        for _ in range(count):
            logits = predict(variables, pictures)
        logits.block_until_ready()

    gpu_rounds.report("infer", rates=gpu_rounds.measure_rounds(run_steps, job), peak_gib=peak_gib())


def make_digits(steps: int, size: int, batch: int = 64) -> list:
    """Batches of scikit-learn's digits, in a fixed order; every picture once before any twice."""
    digits = load_digits()
    rng = np.random.default_rng(0)
    epochs = -(-steps * batch // len(digits.target))
    rows = np.concatenate([rng.permutation(len(digits.target)) for _ in range(epochs)])[: steps * batch]
    pictures = np.kron(digits.images, np.ones((1, size // 8, size // 8)))[..., None].repeat(3, -1) * 15.9
    labels = np.eye(10, dtype="float32")[digits.target]
    return [(pictures[few].astype("uint8"), labels[few]) for few in rows.reshape(steps, batch)]


def record_losses(start: network.Network, precision: str, batches: list) -> tuple[np.ndarray, int]:
    """The smoothed losses of a training from the weights of `start`, and the number of steps that were skipped."""
    model = network.with_policy(start, POLICIES[precision]).model
    optimizer = optimizers.make_optimizer(KNOBS, lr=0.02, steps=len(batches))
    losses.compile_model(model, optimizer, KNOBS, [1] * 10)
    # an epoch has one step, so that `history` has the loss of each step and not their mean
    found = model.fit(forever(batches), steps_per_epoch=1, epochs=len(batches), verbose=0).history["loss"]
    window = min(WINDOW, len(found))
    return np.convolve(found, np.ones(window) / window, "valid"), int(getattr(model.optimizer, "skipped", np.zeros(())))


def agree(job: dict):
    """Losses of a small network on digits in each precision, with the same weights at the start and the same pictures.

    All are compared with float32 without TF32. `again` is that too, with weights at the start that differ by a
    millionth: what rounding alone does.
    """
    keras.utils.set_random_seed(0)
    start = network.with_head(models.load(job["agree_network"], "none"), [str(digit) for digit in range(10)])
    batches = make_digits(job["agree_steps"], start.model.input_shape[1] or 64)
    with jax.default_matmul_precision("highest"):
        exact, _ = record_losses(start, "float32", batches)
        moved = network.with_policy(start, "float32")
        rng = np.random.default_rng(1)
        for variable in moved.model.trainable_variables:
            variable.assign(np.asarray(variable) * (1 + 1e-6 * rng.standard_normal(variable.shape)))
        report_agreement("again", exact, *record_losses(moved, "float32", batches))
    for precision in ("float32", "bfloat16", "float16"):
        report_agreement(precision, exact, *record_losses(start, precision, batches))


def report_agreement(precision: str, exact: np.ndarray, found: np.ndarray, skipped: int):
    facts = {"precision": precision, "skipped": skipped, "difference": float(np.abs(found / exact - 1).max())}
    facts |= {"first": float(found[0]), "final": float(found[-1]), "final_exact": float(exact[-1])}
    gpu_rounds.report("agree", **facts, losses=found.round(5).tolist())


def main():
    job = gpu_rounds.wait_for_turn()
    device = jax.local_devices()[0]
    print(f"{job['name']}: jax {jax.__version__}, keras {keras.__version__}, {device.device_kind}", file=sys.stderr)
    if "agree" in job["jobs"]:
        agree(job)
        return
    train(job)
    if "infer" in job["jobs"]:
        infer(job)
    assert "tensorflow" not in sys.modules


if __name__ == "__main__":
    main()
