"""Pictures a second of `serve`, from JPEG files over HTTP, against those of `predict`, 32 pictures at a time.

python benchmarks/bench_serve.py [network]

The server is a process of its own on the same processors as its clients. `predict` is what it does once its network is
compiled. The first round warms up; the ratio is the median of those of the rounds.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import requests
from figures import Figure, report
from photos import write_photos

from transferkit import models
from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.data import pipeline
from transferkit.evaluation.predict import BATCH, require_classifier, run_batches

AT_ONCE, REQUESTS, ROUNDS = 32, 4, 7


def start_server(name: str, weights: str):
    words = [sys.executable, "-m", "transferkit", "serve", name, "--weights", weights, "--port", "0", "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    lines = []
    while not lines or lines[-1] != "}\n":
        lines.append(process.stdout.readline())
    return process, json.loads("".join(lines))["url"]


def measure_rate(call) -> float:
    started = time.perf_counter()
    answered = sum(call() for _ in range(REQUESTS))
    return answered / (time.perf_counter() - started)


def main(name: str = "efficientnet_lite0", weights: str = "none"):
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(AT_ONCE) as clients:
        paths = sorted(map(str, write_photos(Path(temporary), AT_ONCE).rglob("*.jpg")))
        files = [(path, Path(path).read_bytes()) for path in paths]
        network = require_classifier(models.load(name, weights))
        model = fold_batchnorm(network.model)
        process, url = start_server(name, weights)
        sessions = [requests.Session() for _ in files]

        def predict() -> int:
            batches = pipeline.evaluation_dataset(paths, network.pixels, batch_size=BATCH)
            return sum(len(rows) for _, rows in run_batches(model, batches, BATCH))

        def send_together() -> int:
            response = sessions[0].post(f"{url}/predict", files=[("file", file) for file in files])
            return len([row for row in response.json() if row["label"]])

        def send_one(number: int) -> int:
            kind = {"content-type": "image/jpeg"}
            response = sessions[number].post(f"{url}/predict", data=files[number][1], headers=kind)
            return len([row for row in response.json() if row["label"]])

        def send_apart() -> int:
            return sum(clients.map(send_one, range(AT_ONCE)))

        try:
            rounds = [[measure_rate(call) for call in (predict, send_together, send_apart)] for _ in range(ROUNDS + 1)]
        finally:
            process.terminate()
            process.wait()
    predicted, together, apart = (list(rates) for rates in zip(*rounds[1:], strict=True))
    peer = "predict, compiled"
    figures = [Figure(peer, predicted, "pictures/s")]
    for what, measured in {"a request of 32 pictures": together, "32 clients with a picture each": apart}.items():
        figures.append(Figure(what, measured, "pictures/s", peer, "the forward pass, which `predict` has too"))
    report(f"serve, {name}", figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
