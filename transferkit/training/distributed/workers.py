"""The cluster of workers that a process belongs to, and what each worker has of its own."""

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

# Variables with a process's number: ours, Slurm's, a Kubernetes Job's with completion mode Indexed, Open MPI's.
RANKS = ("TRANSFERKIT_WORKER", "SLURM_PROCID", "JOB_COMPLETION_INDEX", "OMPI_COMM_WORLD_RANK")
FIRST_PORT = 12355  # of Slurm's workers, which have no addresses of their own


@dataclass(frozen=True)
class Cluster:
    """The workers that train together.

    Attributes:
        addresses: host:port of each.
        rank: index of this process among them.
    """

    addresses: tuple[str, ...]
    rank: int


def find_cluster(workers: str, environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """The cluster that this process belongs to, or None if it is alone.

    Args:
        workers: "" (a single process), "auto" (TF_CONFIG, else Slurm's variables), or host:port of every worker,
            separated by commas; then one of `RANKS` holds the number of this process.
        environment: the variables.

    Raises:
        UnknownName: the workers, or which of them this process is, cannot be found.
    """
    if not workers:
        return None
    if workers == "auto":
        cluster = _from_tf_config(environment) or _from_slurm(environment)
        if cluster is None:
            raise UnknownName("The workers are not known: set TF_CONFIG, start with srun, or list host:port.")
    else:
        cluster = Cluster(_parse_addresses(workers), _find_rank(environment))
    if not 0 <= cluster.rank < len(cluster.addresses):
        raise UnknownName(f"This is worker {cluster.rank}, but there are {len(cluster.addresses)}, counted from 0.")
    return cluster if len(cluster.addresses) > 1 else None


def _parse_addresses(text: str) -> tuple[str, ...]:
    addresses = tuple(address.strip() for address in text.split(","))
    for address in addresses:
        if not re.fullmatch(r"[^\s:/]+:\d+", address):
            raise UnknownName(f"workers must be host:port, separated by commas: {quote(address)} is not.")
    if len(set(addresses)) < len(addresses):
        raise UnknownName(f"Two workers have the same address: {quote(text)}.")
    return addresses


def _find_rank(environment) -> int:
    ranks = {name: environment[name] for name in RANKS if name in environment}
    if "TRANSFERKIT_WORKER" in ranks:  # it overrides those of a scheduler
        ranks = {"TRANSFERKIT_WORKER": ranks["TRANSFERKIT_WORKER"]}
    if len(set(ranks.values())) != 1 or not next(iter(ranks.values())).isdecimal():
        found = ", ".join(f"{name}={value}" for name, value in ranks.items()) or "none of them is set"
        raise UnknownName(f"The number of this worker, from 0, must be in {' or '.join(RANKS)}: {found}.")
    return int(next(iter(ranks.values())))


def _from_tf_config(environment) -> Cluster | None:
    if "TF_CONFIG" not in environment:
        return None
    try:
        config = json.loads(environment["TF_CONFIG"])
        # a chief, where there is one, is the first worker
        addresses = {kind: config["cluster"][kind] for kind in ("chief", "worker") if kind in config["cluster"]}
        before = len(addresses.get("chief", ())) if config["task"]["type"] == "worker" else 0
        return Cluster(tuple(sum(addresses.values(), [])), before + int(config["task"]["index"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UnknownName(f"TF_CONFIG cannot be used: {type(error).__name__} {error}.") from None


def _from_slurm(environment) -> Cluster | None:
    """One worker per node, in Slurm's order; TensorFlow's own reader sorts node10 before node9."""
    if "SLURM_PROCID" not in environment:
        return None
    hosts = slurm.list_hosts(environment.get("SLURM_STEP_NODELIST", ""))
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "")
    if tasks != str(len(hosts)):
        raise UnknownName(f"Slurm has {len(hosts)} nodes and {tasks or 'no'} tasks: start one task a node with srun.")
    return Cluster(tuple(f"{host}:{FIRST_PORT}" for host in hosts), int(environment["SLURM_PROCID"]))


@cache
def make_strategy(cluster: Cluster) -> tf.distribute.Strategy:
    """The strategy of a cluster. It waits for the other workers, and must be made before TensorFlow starts."""
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.rank,
        rpc_layer="grpc",
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:
        raise UnknownName(f"Workers must join before TensorFlow starts in their process: {error}") from None


def make_worker_folder(run: Path | None = None) -> Path:
    """A folder for a worker that is not the first, with the run's files so far; it is deleted when the process ends.

    The first worker writes nothing to the run before all have joined, so the files that are copied are complete.
    """
    folder = Path(tempfile.mkdtemp(prefix="transferkit-worker-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if run:
        shutil.copytree(run, folder, dirs_exist_ok=True)
    return folder
