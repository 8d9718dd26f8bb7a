"""What a job computes on, and in which precision. Decided here and nowhere else.

That GPU memory is taken as it is needed, not all at once, is set where the package is first imported.
"""

import errno
import os
from dataclasses import dataclass

import tensorflow as tf

from transferkit.lookup import UnknownName


@dataclass(frozen=True)
class Device:
    """What was chosen: a name for a person, whether it is a GPU, and the dtype policy of the network."""

    name: str
    gpu: bool
    policy: str
    replicas: int = 1
    strategy: tf.distribute.Strategy | None = None


def choose(devices: str = "auto", precision: str = "auto") -> Device:
    """Make one device the process's own, and settle the precision.

    Measured on CPUs: bfloat16 is slower than float32 there.

    Args:
        devices: "auto" (the first GPU, else the CPU), "cpu", or the number of a GPU.
        precision: "auto" or a Keras dtype policy.

    Raises:
        UnknownName: there is no such device, or TensorFlow has already started with another.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if devices not in ("auto", "cpu") and not (devices.isdecimal() and int(devices) < len(gpus)):
        there = ", ".join(str(i) for i in range(len(gpus))) or "none"
        raise UnknownName(
            f"No device is called {devices!r}: expected auto, cpu, or the number of a GPU ({there} here)."
        )
    chosen = [] if devices == "cpu" or not gpus else [gpus[0 if devices == "auto" else int(devices)]]
    try:
        tf.config.set_visible_devices(chosen, "GPU")
    except RuntimeError:  # TensorFlow has started, with all it saw
        if devices != "auto" and tf.config.get_visible_devices("GPU") != chosen:
            raise UnknownName(f"TensorFlow runs already on another device than {devices!r}: start anew.") from None
    facts = tf.config.experimental.get_device_details(chosen[0]) if chosen else {}
    if precision == "auto":
        precision = "mixed_bfloat16" if facts.get("compute_capability", (0,)) >= (8, 0) else "float32"
    return Device(facts.get("device_name", "GPU") if chosen else "CPU", bool(chosen), precision)


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
