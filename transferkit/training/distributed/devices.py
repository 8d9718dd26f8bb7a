"""What a job computes on, and in which precision. Decided here and nowhere else.

That GPU memory is taken as it is needed, not all at once, is set where the package is first imported.
"""

import dataclasses
import errno
import importlib
import os
import re
from dataclasses import dataclass
from functools import cache

import keras
import tensorflow as tf

from transferkit import keras_internals
from transferkit.lookup import UnknownName, pick, quote
from transferkit.recipe import Train
from transferkit.training.distributed import workers


@dataclass(frozen=True)
class Device:
    """What was chosen.

    Attributes:
        name: for a person: "CPU", "2 x NVIDIA H200".
        gpu: whether it is a GPU.
        policy: dtype policy of the network.
        replicas: how many devices share a batch, at least 1.
        strategy: what keeps their copies of the network equal; None for one device, and on JAX, where the distribution
            of the process does it.
        shard: (i, n): this process is worker i of n, each with as many of the devices.
    """

    name: str
    gpu: bool
    policy: str
    replicas: int = 1
    strategy: tf.distribute.Strategy | None = None
    shard: tuple[int, int] = (0, 1)


def choose(devices: str = "auto", precision: str = "auto", job: workers.Job | None = None) -> Device:
    """Make some devices the process's own, and settle the precision.

    Measured on CPUs: bfloat16 is slower than float32 there. One device gets no strategy, which would turn XLA off.

    Args:
        devices: "auto" (the first GPU, else the CPU), "all" (all GPUs, else the CPU), "cpu", "cpu:N" (the CPU as N
            devices, to try things), or numbers of GPUs: "0", "0,1".
        precision: "auto" or a Keras dtype policy.
        job: the workers that this process is one of; the devices are each one's own.

    Raises:
        UnknownName: there is no such device, or the process computes already on others.
    """
    device = pick(BACKENDS, keras.backend.backend(), "backend to train on")(devices, job)
    return device if precision == "auto" else dataclasses.replace(device, policy=precision)


def _parts(devices: str) -> int:
    """Into how many devices the CPU is parted; 0 where the words ask for others."""
    asked = re.fullmatch(r"cpu(?::([1-9]\d{0,2}))?", devices)
    return int(asked[1] or 1) if asked else 0


def _numbers(devices: str, gpus: int) -> list[int]:
    """The GPUs that the words ask for, where there are so many; none is the CPU."""
    if devices in ("auto", "all") or _parts(devices):
        return list(range({"auto": min(gpus, 1), "all": gpus}.get(devices, 0)))
    words = devices.split(",")
    if all(word.isdecimal() and int(word) < gpus for word in words) and len(set(words)) == len(words):
        return [int(word) for word in words]
    there = ", ".join(map(str, range(gpus))) or "none"
    raise UnknownName(
        f"No device is called {quote(devices)}: expected auto, all, cpu, cpu:N, or numbers of GPUs ({there} here)."
    )


def _on_tensorflow(devices: str, job: workers.Job | None) -> Device:
    physical, parts = tf.config.list_physical_devices("GPU"), _parts(devices) or 1
    gpus = [physical[number] for number in _numbers(devices, len(physical))]
    try:
        tf.config.set_visible_devices(gpus, "GPU")
        if parts > 1:
            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * parts)
    except RuntimeError:  # TensorFlow has started, with all it saw
        others = tf.config.get_visible_devices("GPU") != gpus or len(tf.config.list_logical_devices("CPU")) < parts
        if others and devices != "auto":
            raise UnknownName(f"TensorFlow runs already on other devices than {devices!r}: start anew.") from None
    facts = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    names = [fact.get("device_name", "GPU") for fact in facts]
    device = _described(names, parts, min((fact.get("compute_capability", (0,)) for fact in facts), default=(0,)))
    if job:
        return _of_workers(device, job)
    if device.replicas == 1:
        return device
    kind = "GPU" if gpus else "CPU"
    strategy = _mirrored(tuple(f"{kind}:{number}" for number in range(device.replicas)))
    return dataclasses.replace(device, strategy=strategy)


def _of_workers(device: Device, job: workers.Job) -> Device:
    keras_internals.check_several_workers()
    strategy, count = workers.strategy(job), len(job.addresses)
    name = f"{count} workers, each with {device.name}"
    return dataclasses.replace(
        device, name=name, replicas=strategy.num_replicas_in_sync, strategy=strategy, shard=(job.rank, count)
    )


@cache
def _mirrored(names: tuple[str, ...]) -> tf.distribute.Strategy:
    """One for each list of devices: a second one would use the keys of the first one's collectives, and die.

    Collectives of parts of a CPU wait in the threads that the others need: gradients are summed on the first one.
    """
    on_cpu = tf.distribute.ReductionToOneDevice() if names[0].startswith("CPU") else None
    return tf.distribute.MirroredStrategy(list(names), cross_device_ops=on_cpu)


def _on_jax(devices: str, job: workers.Job | None) -> Device:
    """Several devices share every batch from here on: Keras distributes what is made later."""
    if job:
        raise UnknownName("Several workers train on the backend tensorflow, not on jax: leave out KERAS_BACKEND.")
    jax, parts = importlib.import_module("jax"), _parts(devices) or 1
    tf.config.set_visible_devices([], "GPU")  # it feeds the pictures, and would take memory of the GPU
    try:
        if parts > 1:
            jax.config.update("jax_num_cpu_devices", parts)
    except RuntimeError:
        raise UnknownName(f"JAX runs already on other devices than {devices!r}: start anew.") from None
    try:
        there = jax.devices("gpu")
    except RuntimeError:  # no GPU, or a JAX that knows of none
        there = []
    chosen = [there[number] for number in _numbers(devices, len(there))]
    names = [gpu.device_kind for gpu in chosen]
    lowest = min((tuple(map(int, gpu.compute_capability.split("."))) for gpu in chosen), default=(0,))
    chosen = chosen or jax.devices("cpu")[:parts]
    jax.config.update("jax_default_device", chosen[0])
    shared = keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False) if len(chosen) > 1 else None
    keras.distribution.set_distribution(shared)
    return _described(names, parts, lowest)


def _described(gpus: list[str], parts: int, capability: tuple[int, ...]) -> Device:
    """The GPUs of these names, or the parts of the CPU; those of compute capability 8.0 on have bfloat16."""
    count = len(gpus) or parts
    name = gpus[0] if gpus else "CPU"
    policy = "mixed_bfloat16" if capability >= (8, 0) else "float32"
    return Device(name if count == 1 else f"{count} x {name}", bool(gpus), policy, count)


BACKENDS = {"tensorflow": _on_tensorflow, "jax": _on_jax}


def check(device: Device, knobs: Train):
    """Raise `UnknownName` where several devices could not do what the knobs say, or would do something else.

    Under a strategy Keras 3.15 clips each device's gradients before they are summed, and does not accumulate
    (keras#20582).
    """
    several, size, parts = f"{device.replicas} devices", knobs.batch_size, device.replicas * knobs.accumulate
    if size % parts:
        whom = f"be shared by {several}" if device.replicas > 1 else "be run"
        how = f" in {knobs.accumulate} parts" if knobs.accumulate > 1 else ""
        raise UnknownName(f"A batch of {size} pictures cannot {whom}{how}: take batch_size {size + -size % parts}.")
    if device.strategy is None:
        return
    if knobs.accumulate > 1:
        raise UnknownName(f"{several} cannot accumulate: leave out accumulate {knobs.accumulate}, or take one device.")
    if knobs.clip:
        raise UnknownName(f"{several} cannot clip their gradients together: leave out clip {knobs.clip:g}.")
    if knobs.teacher:
        raise UnknownName(
            f"{several} cannot learn from a teacher: leave out {quote(knobs.teacher)}, or take one device."
        )


def deterministic():
    """From here on, TensorFlow gives the same bits for the same values, in the whole process."""
    tf.config.experimental.enable_op_determinism()


def out_of_memory(error: Exception) -> bool:
    """Whether an error of the backend says that a device has no memory left.

    TensorFlow says the same of a full disk and of too many open files, in the system's own words.
    """
    others = map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE))
    exhausted = isinstance(error, tf.errors.ResourceExhaustedError) or "RESOURCE_EXHAUSTED" in str(error)
    return exhausted and not any(words in str(error) for words in others)


def found() -> dict[str, str]:
    """What TensorFlow is, was built for, and sees."""
    build = tf.sysconfig.get_build_info()
    built = f"CUDA {build['cuda_version']}, cuDNN {build['cudnn_version']}" if build["is_cuda_build"] else "CPU only"
    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    return {
        "tensorflow": f"{tf.__version__}, built for {built}",
        "devices": ", ".join(names) or "CPU (no GPU is seen)",
    }
