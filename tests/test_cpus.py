"""Number of processors of a process: the minimum of its affinity and of the quotas of its control groups."""

import os

import pytest

from transferkit.cpus import available_cpus


def system(root, files: dict[str, str]):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def v1(path, quota, group="sys/fs/cgroup/cpu"):
    folder = f"{group}{path}"
    return {f"{folder}/cpu.cfs_quota_us": str(quota), f"{folder}/cpu.cfs_period_us": "100000"}


CASES = {
    "no Linux": ({}, 8),
    "no limit": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, 8),
    "the root group has no file": ({"proc/self/cgroup": "0::/"}, 8),
    "three": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "300000 100000"}, 3),
    "rounded up": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 2),
    "less than one": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "20000 100000"}, 1),
    "more than the affinity": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "6400000 100000"}, 8),
    "its own group": ({"proc/self/cgroup": "0::/user/job:7", "sys/fs/cgroup/user/job:7/cpu.max": "200000 50000"}, 4),
    "a group around it": (
        {
            "proc/self/cgroup": "0::/slurm/step",
            "sys/fs/cgroup/slurm/cpu.max": "200000 100000",
            "sys/fs/cgroup/slurm/step/cpu.max": "max 100000",
        },
        2,
    ),
    "outside of the container": ({"proc/self/cgroup": "0::/../job", "sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
    "version 1": ({"proc/self/cgroup": "5:memory:/m\n4:cpu,cpuacct:/job", **v1("/job", 250000)}, 3),
    "version 1 in a container": ({"proc/self/cgroup": "4:cpuacct,cpu:/docker/12ab", **v1("", 100000)}, 1),
    "version 1 without a limit": ({"proc/self/cgroup": "4:cpu:/", **v1("", -1)}, 8),
    "the limit of another controller": (
        {"proc/self/cgroup": "3:cpuset:/set\n0::/", **v1("/set", 100000, "sys/fs/cgroup/cpuset")},
        8,
    ),
}


@pytest.mark.parametrize(("files", "expected"), CASES.values(), ids=CASES)
def test_quota_of_the_control_group(tmp_path, monkeypatch, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert available_cpus(system(tmp_path, files)) == expected


def test_a_system_without_affinity(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for count, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert available_cpus(tmp_path) == expected


def test_this_machine():
    assert 1 <= available_cpus() <= os.cpu_count()
