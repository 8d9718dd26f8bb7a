"""How a process learns that it is one of several workers, and what each of them has of its own."""

import atexit
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tensorflow as tf

from transferkit.lookup import UnknownName, quote
from transferkit.training.distributed import slurm

# Where a scheduler says a process's number: ours, Slurm's, a Kubernetes Job's with completion mode Indexed, Open MPI's.
RANKS = ("TRANSFERKIT_WORKER", "SLURM_PROCID", "JOB_COMPLETION_INDEX", "OMPI_COMM_WORLD_RANK")
FIRST_PORT = 12355  # of Slurm's workers, which have no addresses of their own


@dataclass(frozen=True)
class Job:
    """The workers of a job, (host:port, ...), and the number of this one among them."""

    addresses: tuple[str, ...]
    rank: int


def joined(words: str, environment: Mapping[str, str] = os.environ) -> Job | None:
    """The job that this process belongs to, or None where it is alone.

    Args:
        words: "" (one process), "auto" (TF_CONFIG, else Slurm's variables), or host:port of every worker, commas
            between; then the number of this one is in one of `RANKS`.

    Raises:
        UnknownName: the words or the environment do not say who the workers are and which one this is.
    """
    if not words:
        return None
    if words == "auto":
        job = _from_tf_config(environment) or _from_slurm(environment)
        if job is None:
            raise UnknownName("Nothing says who the workers are: set TF_CONFIG, start with srun, or list host:port.")
    else:
        job = Job(_addresses(words), _rank(environment))
    if not 0 <= job.rank < len(job.addresses):
        raise UnknownName(f"This is worker {job.rank}, but there are {len(job.addresses)}, counted from 0.")
    return job if len(job.addresses) > 1 else None


def _addresses(words: str) -> tuple[str, ...]:
    addresses = tuple(word.strip() for word in words.split(","))
    for address in addresses:
        if not re.fullmatch(r"[^\s:/]+:\d+", address):
            raise UnknownName(f"Workers must be host:port with commas between: {quote(address)} is none.")
    if len(set(addresses)) < len(addresses):
        raise UnknownName(f"Two workers have the same address: {quote(words)}.")
    return addresses


def _rank(environment) -> int:
    said = {name: environment[name] for name in RANKS if name in environment}
    if "TRANSFERKIT_WORKER" in said:  # meant for us, whatever a scheduler says
        said = {"TRANSFERKIT_WORKER": said["TRANSFERKIT_WORKER"]}
    if len(set(said.values())) != 1 or not next(iter(said.values())).isdecimal():
        found = ", ".join(f"{name}={value}" for name, value in said.items()) or "none of them is set"
        raise UnknownName(f"Which worker this is must be one number, from 0, in {' or '.join(RANKS)}: {found}.")
    return int(next(iter(said.values())))


def _from_tf_config(environment) -> Job | None:
    if "TF_CONFIG" not in environment:
        return None
    try:
        config = json.loads(environment["TF_CONFIG"])
        # a chief, in the jobs that have one, is a worker too, and the first
        cluster = {kind: config["cluster"][kind] for kind in ("chief", "worker") if kind in config["cluster"]}
        before = len(cluster.get("chief", ())) if config["task"]["type"] == "worker" else 0
        return Job(tuple(sum(cluster.values(), [])), before + int(config["task"]["index"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UnknownName(f"TF_CONFIG cannot be used: {type(error).__name__} {error}.") from None


def _from_slurm(environment) -> Job | None:
    """One worker a node, in Slurm's order; TensorFlow's own reader sorts node10 before node9."""
    if "SLURM_PROCID" not in environment:
        return None
    hosts, count = slurm.hosts(environment.get("SLURM_STEP_NODELIST", "")), environment.get("SLURM_STEP_NUM_TASKS", "")
    if count != str(len(hosts)):
        raise UnknownName(f"Slurm has {len(hosts)} nodes and {count or 'no'} tasks: start one task a node with srun.")
    return Job(tuple(f"{host}:{FIRST_PORT}" for host in hosts), int(environment["SLURM_PROCID"]))


@cache
def strategy(job: Job) -> tf.distribute.Strategy:
    """What keeps the workers' copies of a model equal. It waits for the others, and comes before TensorFlow starts."""
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(job.addresses)}), task_type="worker", task_id=job.rank, rpc_layer="grpc"
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:
        raise UnknownName(f"Workers must join before TensorFlow starts in their process: {error}") from None


def private(run: Path | None = None) -> Path:
    """A folder for a worker that is not the first, with what the run holds so far; it is gone when the process ends.

    The first one writes nothing to the run before all have joined, so what is copied before that is whole.
    """
    folder = Path(tempfile.mkdtemp(prefix="transferkit-worker-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if run:
        shutil.copytree(run, folder, dirs_exist_ok=True)
    return folder
