"""The devices that a training computes on, and their precision. Both are decided here and nowhere else.

That GPU memory is allocated as needed, not all at once, is set where the package is first imported.
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
from transferkit.lookup import UnknownName, count_noun, look_up, quote
from transferkit.recipe import Train
from transferkit.training.distributed.workers import Cluster, make_strategy


@dataclass(frozen=True)
class Device:
    """The device, or the devices, of a training.

    Attributes:
        name: for display: "CPU", "2 x NVIDIA H200".
        gpu: whether it is a GPU.
        policy: dtype policy of the network.
        replicas: number of devices that share a batch, at least 1.
        strategy: keeps the replicas of the network equal; None for a single device, and on JAX, where the process's
            distribution does it.
        shard: (i, n): this process is worker i of n, each with as many of the devices.
    """

    name: str
    gpu: bool
    policy: str
    replicas: int = 1
    strategy: tf.distribute.Strategy | None = None
    shard: tuple[int, int] = (0, 1)


def choose_device(devices: str = "auto", precision: str = "auto", cluster: Cluster | None = None) -> Device:
    """Reserve devices for this process, and decide the precision.

    Measured on CPUs: bfloat16 is slower than float32. A single device gets no strategy, which would turn XLA off.

    Args:
        devices: "auto" (the first GPU, else the CPU), "all" (all GPUs, else the CPU), "cpu", "cpu:N" (the CPU as N
            devices, for experiments), or numbers of GPUs: "0", "0,1".
        precision: "auto" or a Keras dtype policy.
        cluster: of this process; each worker has its own devices.

    Raises:
        UnknownName: there is no such device, or the process already uses others.
    """
    device = look_up(BACKENDS, keras.backend.backend(), "backend to train on")(devices, cluster)
    return device if precision == "auto" else dataclasses.replace(device, policy=precision)


def _choose_on_tensorflow(devices: str, cluster: Cluster | None) -> Device:
    physical, cpus = tf.config.list_physical_devices("GPU"), _count_cpus(devices) or 1
    gpus = [physical[number] for number in _parse_gpus(devices, len(physical))]
    try:
        tf.config.set_visible_devices(gpus, "GPU")
        if cpus > 1:
            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * cpus)
    except RuntimeError:  # TensorFlow has started, with all devices
        differ = tf.config.get_visible_devices("GPU") != gpus or len(tf.config.list_logical_devices("CPU")) < cpus
        if differ and devices != "auto":
            raise UnknownName(f"TensorFlow already uses other devices than {devices!r}: start anew.") from None
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    names = [detail.get("device_name", "GPU") for detail in details]
    lowest = min((detail.get("compute_capability", (0,)) for detail in details), default=(0,))
    device = _make_device(names, cpus, lowest)
    if cluster:
        return _join_workers(device, cluster)
    if device.replicas == 1:
        return device
    kind = "GPU" if gpus else "CPU"
    strategy = _mirrored_strategy(tuple(f"{kind}:{number}" for number in range(device.replicas)))
    return dataclasses.replace(device, strategy=strategy)


def _choose_on_jax(devices: str, cluster: Cluster | None) -> Device:
    """Several devices share every batch from here on: Keras distributes whatever is built later."""
    if cluster:
        raise UnknownName("Several workers need the backend tensorflow, not jax: unset KERAS_BACKEND.")
    jax, cpus = importlib.import_module("jax"), _count_cpus(devices) or 1
    tf.config.set_visible_devices([], "GPU")  # TensorFlow only loads the pictures, and would reserve GPU memory
    try:
        if cpus > 1:
            jax.config.update("jax_num_cpu_devices", cpus)
    except RuntimeError:
        raise UnknownName(f"JAX already uses other devices than {devices!r}: start anew.") from None
    try:
        gpus = jax.devices("gpu")
    except RuntimeError:  # no GPU, or a JAX without support for them
        gpus = []
    chosen = [gpus[number] for number in _parse_gpus(devices, len(gpus))]
    names = [gpu.device_kind for gpu in chosen]
    lowest = min((tuple(map(int, gpu.compute_capability.split("."))) for gpu in chosen), default=(0,))
    chosen = chosen or jax.devices("cpu")[:cpus]
    jax.config.update("jax_default_device", chosen[0])
    parallel = keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False) if len(chosen) > 1 else None
    keras.distribution.set_distribution(parallel)
    return _make_device(names, cpus, lowest)


BACKENDS = {"tensorflow": _choose_on_tensorflow, "jax": _choose_on_jax}


def _count_cpus(devices: str) -> int:
    """The number of devices that the CPU is divided into; 0 if `devices` does not name the CPU."""
    match = re.fullmatch(r"cpu(?::([1-9]\d{0,2}))?", devices)
    return int(match[1] or 1) if match else 0


def _parse_gpus(devices: str, gpus: int) -> list[int]:
    """The numbers of the chosen GPUs, all below `gpus`; none for the CPU."""
    if devices in ("auto", "all") or _count_cpus(devices):
        return list(range({"auto": min(gpus, 1), "all": gpus}.get(devices, 0)))
    numbers = devices.split(",")
    if all(number.isdecimal() and int(number) < gpus for number in numbers) and len(set(numbers)) == len(numbers):
        return [int(number) for number in numbers]
    available = ", ".join(map(str, range(gpus))) or "none"
    raise UnknownName(
        f"No device is called {quote(devices)}: expected auto, all, cpu, cpu:N, or numbers of GPUs ({available} here)."
    )


def _make_device(gpus: list[str], cpus: int, capability: tuple[int, ...]) -> Device:
    """The GPUs of these names, or the CPU as `cpus` devices.

    Args:
        capability: the lowest compute capability of the GPUs; from 8.0 on they have bfloat16.
    """
    count = len(gpus) or cpus
    name = gpus[0] if gpus else "CPU"
    policy = "mixed_bfloat16" if capability >= (8, 0) else "float32"
    return Device(name if count == 1 else f"{count} x {name}", bool(gpus), policy, count)


def _join_workers(device: Device, cluster: Cluster) -> Device:
    keras_internals.check_several_workers()
    strategy, count = make_strategy(cluster), len(cluster.addresses)
    return dataclasses.replace(
        device,
        name=f"{count} workers, each with {device.name}",
        replicas=strategy.num_replicas_in_sync,
        strategy=strategy,
        shard=(cluster.rank, count),
    )


@cache
def _mirrored_strategy(names: tuple[str, ...]) -> tf.distribute.Strategy:
    """One for each list of devices: a second one would reuse the keys of the first one's collectives, and crash.

    Collectives on a divided CPU would wait in threads that the others need: gradients are summed on the first device.
    """
    on_cpu = tf.distribute.ReductionToOneDevice() if names[0].startswith("CPU") else None
    return tf.distribute.MirroredStrategy(list(names), cross_device_ops=on_cpu)


def check_knobs(device: Device, knobs: Train):
    """Raise `UnknownName` if several devices cannot do what the knobs say, or would do something else.

    Under a strategy Keras 3.15 clips each device's gradients before they are summed, and does not accumulate
    (keras#20582).
    """
    several, size, parts = f"{device.replicas} devices", knobs.batch_size, device.replicas * knobs.accumulate
    if size % parts:
        use = f"be shared by {several}" if device.replicas > 1 else "be run"
        in_parts = f" in {knobs.accumulate} parts" if knobs.accumulate > 1 else ""
        raise UnknownName(
            f"A batch of {count_noun(size, 'picture')} cannot {use}{in_parts}: use batch_size {size + -size % parts}."
        )
    if device.strategy is None:
        return
    if knobs.accumulate > 1:
        raise UnknownName(f"{several} cannot accumulate: omit accumulate {knobs.accumulate}, or use one device.")
    if knobs.clip:
        raise UnknownName(f"{several} cannot clip their gradients together: omit clip {knobs.clip:g}.")
    if knobs.teacher:
        raise UnknownName(f"{several} cannot learn from a teacher: omit {quote(knobs.teacher)}, or use one device.")


def enable_determinism():
    """Make TensorFlow compute the same bits for the same values, in the whole process."""
    tf.config.experimental.enable_op_determinism()


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of the backend says that a device has no memory left.

    TensorFlow raises the same error for a full disk and for too many open files, with the system's message.
    """
    others = map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE))
    is_exhausted = isinstance(error, tf.errors.ResourceExhaustedError) or "RESOURCE_EXHAUSTED" in str(error)
    return is_exhausted and not any(message in str(error) for message in others)


def describe_devices() -> dict[str, str]:
    """TensorFlow's version, what it was built for, and the devices it sees."""
    build = tf.sysconfig.get_build_info()
    built = f"CUDA {build['cuda_version']}, cuDNN {build['cudnn_version']}" if build["is_cuda_build"] else "CPU only"
    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    return {
        "tensorflow": f"{tf.__version__}, built for {built}",
        "devices": ", ".join(names) or "CPU (no GPU is seen)",
    }
