"""Where the seconds of `transferkit finetune` on 300 pictures go, and the share that is not training.

python benchmarks/bench_small_job.py [folder of class folders] [flags of finetune]

Training is the steps of the epochs with their validation, and the passes that compute features to train on. All else is
overhead: imports, planning, tracing, checkpoints, the evaluation, the pages. The knobs are the defaults, with
efficientnet_lite0. Without a folder, mosaics of photographs are made.
"""

import contextlib
import functools
import importlib
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

PICTURES = 300
PARTS = {  # what is timed: what calls of it are for
    "data.lazy_tensorflow.load": "import TensorFlow",
    "training.planning.planner.make_plan": "plan: read pictures, load the network, choose knobs",
    "training.fitting.head_init._extract_features": "TRAINING: features for the first head",
    "training.fitting.head_init._fit_regression": "TRAINING: regression",
    "training.fitting.frozen_features.compute_frozen_features": "TRAINING: frozen part",
    "training.fitting.fit_phase._fit_from": "TRAINING: epochs",
    "training.fitting.checkpoints.save_state": "checkpoints",
    "training.fitting.checkpoints.save_weights": "checkpoints",
    "training.fitting.weight_interpolation.interpolate_weights": "average of the weights",
    "training.calibrate.fit_calibration": "temperature",
    "evaluation.shift.fit_shift": "likeness to the training pictures",
    "evaluation.predict.predict_outputs": "evaluation",
    "run_writing.write_results": "save the network and check its file",
    "training.closing_pages.write_pages": "pages",
}
seconds: Counter[str] = Counter()
running: list[list] = []  # (label, when it began or went on) of the calls that are open, the innermost last


def time_alone(label: str, function):
    """The function, whose seconds without those of the timed calls in it are added to `seconds`."""

    @functools.wraps(function)
    def timed(*args, **kwargs):
        switch_to(label)
        try:
            return function(*args, **kwargs)
        finally:
            switch_back()

    return timed


def switch_to(label: str):
    now = time.perf_counter()
    if running:
        seconds[running[-1][0]] += now - running[-1][1]
    running.append([label, now])


def switch_back():
    now = time.perf_counter()
    label, began = running.pop()
    seconds[label] += now - began
    if running:
        running[-1][1] = now


def replace_everywhere(name: str, label: str):
    """Time a function under every name that a loaded module of transferkit has for it."""
    place, _, attribute = f"transferkit.{name}".rpartition(".")
    function = getattr(importlib.import_module(place), attribute)
    timed = time_alone(label, function)
    for module in [module for key, module in sys.modules.items() if key.startswith("transferkit.")]:
        for key, value in list(vars(module).items()):
            if value is function:
                setattr(module, key, timed)


def count_tracing(clock, batch_size: int):
    """Move what the first step of each kind takes longer than the others, as the network is traced, to tracing."""
    for kind, (times, spent) in clock._measured.items():
        if kind.startswith("start "):
            part = "TRAINING: frozen part" if kind.endswith("features") else "TRAINING: epochs"
            tracing = spent - times * batch_size * (clock.seconds_each(kind.removeprefix("start ")) or 0)
            seconds[part] -= tracing
            seconds["tracing"] += tracing


def link_pictures(source: Path, folder: Path) -> Path:
    """`PICTURES` of the source, as evenly from its classes as they have them."""
    classes = {place.name: sorted(place.iterdir()) for place in sorted(source.iterdir()) if place.is_dir()}
    ranked = sorted((row, name, path) for name, paths in classes.items() for row, path in enumerate(paths))
    for _, name, path in ranked[:PICTURES]:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / path.name).symlink_to(path.resolve())
    return folder


def main(source: str = "", *flags: str):
    from transferkit.commands import main as run_command

    replace_everywhere("data.lazy_tensorflow.load", PARTS.pop("data.lazy_tensorflow.load"))
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["TRANSFERKIT_HOME"] = str(Path(temporary) / "home")
        if source:
            data = link_pictures(Path(source), Path(temporary) / "data")
        else:
            from photos import write_photos

            data = write_photos(Path(temporary) / "data", PICTURES)
        switch_to("imports and the rest")
        importlib.import_module("transferkit.data.lazy_tensorflow").load()
        from transferkit.training import run_job  # noqa: F401  # so that its modules are there to be timed
        from transferkit.training.clock import Clock

        for name, label in PARTS.items():
            replace_everywhere(name, label)
        clocks, make = [], Clock.__init__
        Clock.__init__ = lambda self: (make(self), clocks.append(self))[0]
        places = ["--data", str(data), "--out", f"{temporary}/run"]
        with contextlib.suppress(SystemExit):
            run_command(["finetune", "--base", "efficientnet_lite0", *places, *flags])
        switch_back()
        from transferkit import load_run

        count_tracing(clocks[0], load_run(f"{temporary}/run").recipe.train.batch_size)
    from figures import Figure, report

    total = sum(seconds.values())
    training = sum(spent for label, spent in seconds.items() if label.startswith("TRAINING"))
    parts = [Figure(label, [spent], "s") for label, spent in seconds.most_common()]
    report(
        "finetune on 300 pictures",
        [
            *parts,
            Figure("not training", [total - training], "s", "all", "tracing, and passes over the pictures"),
            Figure("all", [total], "s"),
        ],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
