"""Writes what this version saves to `tests/data/saved/VERSION/`, which later versions must read.

`test_earlier_versions.py` reads it.


    .venv/bin/python tests/record_saved.py [NAME]

NAME is that of the folder, by default the version; what the same version writes in another way later gets another one.
A folder that is there is never written again.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import conftest
import numpy as np
import pytest
from pictures import folder
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import transferkit as tk
from transferkit import commands, zoo
from transferkit.features.skops_file import save_pipeline
from transferkit.zoo.variant import Variant

DATA = Path(__file__).parent / "data" / "saved"
PLACE = "/pictures/of"  # stands for the folder in which `pets` was
COUNTS = {"cat": 6, "dog": 6}
EXTRACT = ("extract", "--base", "tiny", "--weights", "none", "--size", "32", "--data", "pets")


def call(*words):
    try:
        commands.main([str(word) for word in words])
    except SystemExit as end:
        assert not end.code, words


def main():
    target = DATA / (sys.argv[1] if len(sys.argv) > 1 else tk.__version__)
    if target.exists():
        sys.exit(f"{target} exists: name another folder.")
    zoo.variants()["tiny"] = Variant(conftest._tiny, "fc", 18_416, 0, 16, conftest.PIXELS)
    with tempfile.TemporaryDirectory() as here:
        os.chdir(here)
        os.environ["TRANSFERKIT_HOME"] = str(Path(here) / "home")
        folder(Path("pets"), COUNTS)
        parts = tk.find_splits("pets")
        run = tk.finetune("tiny", parts.train, parts.val, out="run", **conftest.QUICK)
        with pytest.MonkeyPatch.context() as patch, conftest.cut_short(patch):
            tk.finetune("tiny", parts.train, parts.val, out="cut", **conftest.QUICK)
        for name in ("good.npz", "good.parquet"):
            call(*EXTRACT, "--out", name)
        paths, labels = parts.train.paths, [parts.train.classes[label] for label in parts.train.labels]
        probe = make_pipeline(tk.FeatureExtractor("tiny", weights="none", size=32, cache=False), LogisticRegression())
        save_pipeline(probe.fit(paths, labels), "probe.skops")
        knobs = conftest.QUICK | {"random_state": 3}
        tuner = tk.FineTuner("tiny", **{name: knobs[name] for name in tk.FineTuner().get_params() if name in knobs})
        save_pipeline(tuner.fit(paths, labels), "tuner.skops")
        call("data", "pack", "pets", "--out", "packed")
        answers = {
            "run": [row["probability"] for row in run.predict(sorted(paths))],
            "probe": probe.predict_proba(sorted(paths)).tolist(),
            "tuner": tuner.predict_proba(sorted(paths)).tolist(),
            "features": np.asarray(tk.load_features("good.npz").features[:3]).tolist(),
        }
        Path("answers.json").write_text(json.dumps(answers))
        target.mkdir(parents=True, exist_ok=True)
        for name in ("run", "cut"):
            for path in Path(name).rglob("*"):
                if path.suffix in (".png", ".html"):
                    path.unlink()
                elif path.suffix in (".csv", ".json", ".toml"):
                    path.write_text(path.read_text().replace(here, PLACE))
        for name, kept in {
            "run": ["run", "answers.json"],
            "cut": ["cut"],
            "features": ["good.npz", "good.parquet", "packed"],
            "classifiers": ["probe.skops", "tuner.skops"],
        }.items():
            os.makedirs(f"of-{name}")
            for one in kept:
                shutil.move(one, f"of-{name}")
            shutil.make_archive(str(target / name), "zip", f"of-{name}")


if __name__ == "__main__":
    main()
