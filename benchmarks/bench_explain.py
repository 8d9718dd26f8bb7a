"""How long explanations take, as ratios: Grad-CAM to `predict`, occlusion to a loop of single predictions.

python benchmarks/bench_explain.py [pictures]

The goals: Grad-CAM within 3 times `predict` on 100 pictures, and occlusion at least 5 times as fast as the loop.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from photos import print_table, write_photos

from transferkit.evaluation.predict import predict
from transferkit.explain import explanations, occlusion


def timed(function) -> float:
    """Seconds of a call, the shortest of two."""
    found = []
    for _ in range(2):
        started = time.perf_counter()
        function()
        found.append(time.perf_counter() - started)
    return min(found)


def main(pictures: int = 100):
    network = explanations.load_network("efficientnet_lite0")
    with tempfile.TemporaryDirectory() as place:
        paths = list(map(str, sorted(write_photos(Path(place), pictures).rglob("*.jpg"))))
        plain = timed(lambda: predict(network, paths))
        heat = timed(lambda: explanations.explain_views(network, explanations.read_views(network, paths), "gradcam"))
        views = explanations.read_views(network, paths[:1])
    picture, label = views.pictures[0].astype("float32"), [views.logits[0].argmax()]
    places = occlusion.list_places(picture.shape[:2], 44, 22)

    def loop():
        for top, left in places:
            hidden = picture.copy()
            hidden[top : top + 44, left : left + 44] = 127.5
            network.model.predict(hidden[np.newaxis], verbose=0)

    single = timed(loop)
    batches = timed(lambda: occlusion.occlusion(network.model, views.pictures, label, square=44, stride=22))
    rows = [("predict", plain, "s"), ("Grad-CAM", heat, "s"), ("Grad-CAM to predict", heat / plain, "times")]
    rows += [("a loop of single predictions", single, "s"), ("occlusion", batches, "s")]
    print_table(
        f"{pictures:,} pictures, {len(places)} squares", [*rows, ("loop to occlusion", single / batches, "times")]
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
