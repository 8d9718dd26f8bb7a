"""Reading a torch file of ResNet-152 into its network: memory and time, beside torch's own.

python benchmarks/bench_weights.py

Wants torch and torchvision, see CONTRIBUTING.md. Each figure is of a process of its own; memory counts the pages of the
file, and has what the imports took away. Time is of the file in the system's cache, the best of five.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from photos import table

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
NAME, TIMES = "resnet152", 5


def ours(path: str):
    """Build, read, assign; the time is without the building, which torch's is too."""
    from transferkit import zoo
    from transferkit.pixels import Pixels
    from transferkit.weights.assign import load_weights
    from transferkit.weights.weight_files import read_weights

    zoo.build("resnet18", pixels=Pixels(), num_classes=2)  # all that is loaded late is loaded now
    baseline = resident()
    model = zoo.build(NAME, pixels=Pixels(), num_classes=1000)
    report(baseline, lambda: load_weights(model, read_weights(path), source=path))


def theirs(path: str):
    import torch
    from reference_weights import load_torchvision

    torchvision = load_torchvision()
    baseline = resident()
    network = torchvision.models.get_model(NAME, weights=None)
    report(baseline, lambda: network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)))


def report(baseline: float, load):
    """Print the peak of the first load in megabytes and the best time in seconds."""
    times, peaks = [], []
    for _ in range(TIMES):
        start = time.perf_counter()
        load()
        times.append(time.perf_counter() - start)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(peaks[0] - baseline, min(times))


def resident() -> float:
    """Resident megabytes now. The peak cannot be taken back, so the imports must not have had a higher one."""
    with open("/proc/self/status", encoding="ascii") as file:
        facts = dict(line.split(":", 1) for line in file)
    return float(facts["VmRSS"].split()[0]) / 1024


def measured(kind: str, path: Path) -> tuple[float, float]:
    command = [sys.executable, __file__, "--child", kind, str(path)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    peak, seconds = map(float, lines[-1].split())
    return peak, seconds


def main():
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / f"{NAME}.pth"
        code = "import sys, torch; from reference_weights import load_torchvision as tv;"
        code += f"torch.save(tv().models.get_model({NAME!r}, weights=None).state_dict(), sys.argv[1])"
        place_of_tests = os.environ | {"PYTHONPATH": sys.path[0]}
        subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, env=place_of_tests)
        size = path.stat().st_size / 2**20
        (our_peak, our_time), (their_peak, their_time) = measured("ours", path), measured("theirs", path)
    rows = [
        ("file", size, "MB"),
        ("peak of building, reading, assigning", our_peak, "MB"),
        ("the same in torch", their_peak, "MB"),
        ("peak / file", our_peak / size, "times"),
        ("peak / torch's", our_peak / their_peak, "times"),
        ("reading, assigning", our_time, "s"),
        ("torch.load, load_state_dict", their_time, "s"),
        ("time / torch's", our_time / their_time, "times"),
    ]
    table(f"Weights of {NAME}", rows)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    {"ours": ours, "theirs": theirs}[sys.argv[2]](sys.argv[3]) if sys.argv[1:2] == ["--child"] else main()
