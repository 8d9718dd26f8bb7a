"""`transferkit predict model.keras picture.jpg` against a bare script of Keras on the same file, whole processes.

python benchmarks/bench_one_picture.py [network] [rounds]

The bare script imports Keras, loads the model, resizes the picture with Pillow and calls `model.predict`. The second
table has the first and a later call of `predict` in one process.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from figures import Figure, report
from photos import write_photos

BARE = """
import sys, keras, numpy
from PIL import Image
model = keras.models.load_model(sys.argv[1], compile=False)
picture = Image.open(sys.argv[2]).convert("RGB").resize((224, 224))
print(model.predict(numpy.asarray(picture)[None], verbose=0).argmax())
"""


def measure_process(words: list[str]) -> tuple[float, float]:
    """Seconds of a process on the clock, and of a processor."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_calls(path: Path, picture: Path) -> list[Figure]:
    """The seconds of the first and of later calls of `predict`."""
    from transferkit import models
    from transferkit.evaluation.predict import predict

    network, seconds = models.load_file(path), []
    for _ in range(6):
        started = time.perf_counter()
        predict(network, [picture])
        seconds.append(time.perf_counter() - started)
    return [Figure("first call", seconds[:1], "s"), Figure("later calls", seconds[1:], "s")]


def main(name: str = "efficientnet_lite0", rounds: str = "5"):
    from transferkit import models

    with tempfile.TemporaryDirectory() as temporary:
        picture = write_photos(Path(temporary) / "photos", 1) / "a" / "00000.jpg"
        path = Path(temporary) / "model.keras"
        models.save(models.load(name, "none"), path)
        jobs = {
            "bare Keras": [sys.executable, "-c", BARE, str(path), str(picture)],
            "transferkit predict": [sys.executable, "-m", "transferkit", "predict", str(path), str(picture)],
        }
        times = {job: [] for job in jobs}
        for _ in range(int(rounds)):
            for job, words in jobs.items():
                times[job].append(measure_process(words))
        calls = measure_calls(path, picture)
    figures = []
    for number, (unit, suffix) in enumerate((("s", ""), ("s of a processor", ", processor time"))):
        bare, ours = ([pair[number] for pair in pairs] for pairs in times.values())
        peer, bound = f"bare Keras{suffix}", "importing TensorFlow and Keras, and loading"
        figures += [Figure(f"transferkit predict{suffix}", ours, unit, peer, bound), Figure(peer, bare, unit)]
    report(f"one picture, {name}, whole processes", figures)
    report("one picture, in one process", calls)


if __name__ == "__main__":
    main(*sys.argv[1:])
