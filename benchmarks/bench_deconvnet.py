"""A deconvnet sheet of nine maps over a folder, against one `extract` of the same layer, without the cache.

python benchmarks/bench_deconvnet.py [pictures] [network] [layer]
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from figures import Figure, report
from photos import write_photos

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(pictures="1000", name="resnet18", layer="stage2"):
    import transferkit as tk
    from transferkit import models
    from transferkit.explain import deconvnet_sheet

    with tempfile.TemporaryDirectory() as folder:
        listing = tk.list_images(write_photos(Path(folder), int(pictures)))
        network = models.load(name, "none")

        def extract():
            tk.FeatureExtractor(name, weights="none", layer=layer, cache=False).transform(listing)

        def draw():
            found = deconvnet_sheet.project_strongest(network, layer, listing.paths, 9)
            deconvnet_sheet.draw_sheet(found, layer, name).savefig(Path(folder) / "sheet.png")

        seconds = {}
        for work in (extract, draw):
            started = time.perf_counter()
            work()
            seconds[work.__name__] = time.perf_counter() - started
    figures = [
        Figure("extract of the layer", [seconds["extract"]], "s"),
        Figure("the sheet", [seconds["draw"]], "s", "extract of the layer", "the forward pass of all pictures"),
    ]
    report(f"deconvnet of {pictures} photos, {layer} of {name}, nine maps", figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
