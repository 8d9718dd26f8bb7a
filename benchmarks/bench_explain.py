"""How long explanations take, as ratios: Grad-CAM to `predict`, occlusion to a loop of single predictions.

python benchmarks/bench_explain.py [pictures] [rounds]

The goals: Grad-CAM within 3 times `predict` on 100 pictures, and occlusion at least 5 times as fast as the loop.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from figures import Figure, report
from photos import write_photos
from timing import time_in_turn

from transferkit.evaluation.predict import predict
from transferkit.explain import explanations, occlusion


def main(pictures: int = 100, rounds: int = 3):
    network = explanations.load_network("efficientnet_lite0")
    with tempfile.TemporaryDirectory() as place:
        paths = list(map(str, sorted(write_photos(Path(place), pictures).rglob("*.jpg"))))
        calls = {
            "predict": lambda: predict(network, paths),
            "Grad-CAM": lambda: explanations.explain_views(network, explanations.read_views(network, paths), "gradcam"),
        }
        maps, _ = time_in_turn(calls, rounds)
        views = explanations.read_views(network, paths[:1])
    picture, label = views.pictures[0].astype("float32"), [views.logits[0].argmax()]
    places = occlusion.list_places(picture.shape[:2], 44, 22)

    def predict_one_by_one():
        for top, left in places:
            hidden = picture.copy()
            hidden[top : top + 44, left : left + 44] = 127.5
            network.model.predict(hidden[np.newaxis], verbose=0)

    loop, batched = "predictions one by one", "occlusion"
    calls = {
        loop: predict_one_by_one,
        batched: lambda: occlusion.occlusion(network.model, views.pictures, label, square=44, stride=22),
    }
    squares, _ = time_in_turn(calls, rounds)
    report(
        f"explanations of {pictures:,} pictures",
        [
            Figure("predict", maps["predict"], "s"),
            Figure("Grad-CAM", maps["Grad-CAM"], "s", "predict", "a forward and a backward pass"),
        ],
    )
    report(
        f"{len(places)} squares of one picture",
        [
            Figure(loop, squares[loop], "s"),
            Figure(batched, squares[batched], "s", loop, "the forward pass of the squares"),
        ],
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
