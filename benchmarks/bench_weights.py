"""Memory and time of loading a torch file of ResNet-152 into its network, against torch itself.

python benchmarks/bench_weights.py

It needs torch and torchvision, see CONTRIBUTING.md. Each library is measured in a separate process. Memory includes the
pages of the mapped file, and excludes the memory of the imports. Time is the best of five, with the file in the page
cache.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Figure, report

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
NAME, ROUNDS = "resnet152", 5


def load_with_transferkit(path: str):
    """Build the network, read the file and assign the weights; the time excludes building, as does torch's."""
    from transferkit import zoo
    from transferkit.pixels import Pixels
    from transferkit.weights.assign import load_weights
    from transferkit.weights.weight_files import read_weights

    zoo.build("resnet18", pixels=Pixels(), num_classes=2)  # loads what is imported lazily
    baseline = resident_megabytes()
    model = zoo.build(NAME, pixels=Pixels(), num_classes=1000)
    print_measurements(baseline, lambda: load_weights(model, read_weights(path), source=path))


def load_with_torch(path: str):
    import torch
    from reference_weights import load_torchvision

    torchvision = load_torchvision()
    baseline = resident_megabytes()
    network = torchvision.models.get_model(NAME, weights=None)
    print_measurements(
        baseline, lambda: network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    )


def print_measurements(baseline: float, load):
    """Print the peak of the first load in megabytes and the best time in seconds."""
    times, peaks = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        load()
        times.append(time.perf_counter() - start)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(peaks[0] - baseline, min(times))


def resident_megabytes() -> float:
    """Resident megabytes now. The difference to the peak is right only if the imports had no higher peak."""
    with open("/proc/self/status", encoding="ascii") as file:
        facts = dict(line.split(":", 1) for line in file)
    return float(facts["VmRSS"].split()[0]) / 1024


def measure(loader: str, path: Path) -> tuple[float, float]:
    """Peak megabytes and best seconds of a loader, in a child process."""
    command = [sys.executable, __file__, "--child", loader, str(path)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    peak, seconds = map(float, lines[-1].split())
    return peak, seconds


def main():
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / f"{NAME}.pth"
        code = "import sys, torch; from reference_weights import load_torchvision as tv;"
        code += f"torch.save(tv().models.get_model({NAME!r}, weights=None).state_dict(), sys.argv[1])"
        environment = os.environ | {"PYTHONPATH": sys.path[0]}
        subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, env=environment)
        size = path.stat().st_size / 2**20
        (our_peak, our_time), (their_peak, their_time) = measure("transferkit", path), measure("torch", path)
    figures = [
        Figure("size of the file", [size], "MB"),
        Figure("peak in torch", [their_peak], "MB"),
        Figure("peak of building, reading and assigning", [our_peak], "MB", "peak in torch", "one copy of the weights"),
        Figure("the same peak, against the file", [our_peak], "MB", "size of the file", "one copy of the weights"),
        Figure("torch.load and load_state_dict", [their_time], "s"),
        Figure(
            "reading and assigning",
            [our_time],
            "s",
            "torch.load and load_state_dict",
            "copies to TensorFlow's variables",
        ),
    ]
    report(f"weights of {NAME}", figures)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    {"transferkit": load_with_transferkit, "torch": load_with_torch}[sys.argv[2]](sys.argv[3]) if sys.argv[1:2] == [
        "--child"
    ] else main()
