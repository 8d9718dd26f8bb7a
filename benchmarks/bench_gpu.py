"""Training and inference on one GPU: our networks and Keras' own on JAX, torchvision's on PyTorch, in one call.

Only arrays that are already on the device, so no pipeline is measured, and TensorFlow is neither needed nor imported.
Each row is measured in a process of its own. A row that takes too long, or fails, does not stop the others.

    python benchmarks/bench_gpu.py --out FOLDER [--only ours_bfloat16,torch_bfloat16] [--budget 420]

Rows: `ours_*` is `--network` with our optimizer, loss and metrics in `fit`; `paper_*` is its paper's variant, with the
multiply-adds of `keras_*`, the network of `keras.applications` in `fit`; `torch_*` is torchvision's in a loop of
PyTorch, channels last, with autocast, and `*_compile` with `torch.compile`. All have SGD with Nesterov's momentum and
weight decay, and smoothed labels. `*_again` repeats a row at the end: the difference is noise. `agreement` trains a
small network in each precision. Without a GPU everything is small: then it only shows that it runs.

FOLDER gets `record.json`, what the processes print to standard error, and the events and XLA's program of a profile.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(tempfile.gettempdir()) / "transferkit_bench_gpu"  # what was compiled, for the next run too
KERAS, TORCH = "gpu_keras.py", "gpu_torch.py"
NEEDS = {KERAS: "jax", TORCH: "torchvision"}
ROWS = {  # in order of importance, as the budget may end before the last ones: script, and what is not the default
    "torch_bfloat16": (TORCH, {"jobs": ["train", "profile", "infer"]}),
    "ours_bfloat16": (KERAS, {"jobs": ["train", "train_from_host", "profile", "infer"]}),
    "keras_bfloat16": (KERAS, {"source": "keras"}),
    "agreement": (KERAS, {"jobs": ["agree"]}),
    "torch_bfloat16_compile": (TORCH, {"jobs": ["train", "infer"], "compile": True}),
    "paper_bfloat16": (KERAS, {"source": "paper"}),
    "ours_bfloat16_again": (KERAS, {}),
    "torch_bfloat16_again": (TORCH, {}),
    "torch_float16": (TORCH, {}),
    "ours_float16": (KERAS, {}),
    "torch_float32": (TORCH, {}),
    "ours_float32": (KERAS, {}),
}
LARGE = {"network": "resnet50", "size": 224, "batch": 256, "seconds": 6.0}  # on a GPU
LARGE |= {"agree_steps": 200, "agree_network": "resnet18"}
SMALL = {"network": "resnet18", "size": 32, "batch": 8, "seconds": 1.0}
SMALL |= {"agree_steps": 30, "agree_network": "simple_cnn(norm=batch)"}
RATIOS = (  # ours, peer
    ("ours_bfloat16", "torch_bfloat16"),
    ("ours_bfloat16", "torch_bfloat16_compile"),
    ("paper_bfloat16", "keras_bfloat16"),
    ("ours_bfloat16", "keras_bfloat16"),
    ("ours_float16", "torch_float16"),
    ("ours_float32", "torch_float32"),
)


def parse_arguments(arguments=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(**(LARGE if shutil.which("nvidia-smi") else SMALL))
    parser.add_argument("--network", help="resnet50, resnet101 or resnet152; without keras_* and paper_* resnet18 too")
    parser.add_argument("--size", type=int, help="of the pictures, in pixels")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, help="of the rounds of a row together, without compilation")
    parser.add_argument("--steps", type=int, default=0, help="of a round, in place of --seconds")
    parser.add_argument("--agree-steps", type=int, help="of `agreement`")
    parser.add_argument("--agree-network", help="of `agreement`")
    parser.add_argument("--budget", type=float, default=420.0, help="seconds of all rows")
    parser.add_argument("--limit", type=float, default=240.0, help="seconds of one row, with compilation")
    parser.add_argument("--only", default=",".join(ROWS), help="rows, with commas between them")
    parser.add_argument("--out", type=Path, default=CACHE / "out", help="folder for the record")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    if unknown := [name for name in options.only if name not in ROWS]:
        parser.error(f"there is no row {unknown[0]!r}: expected some of {', '.join(ROWS)}.")
    return options


def make_specification(name: str, options: argparse.Namespace) -> dict:
    """What the process of a row gets, as JSON in its only argument."""
    chosen = {"name": name, "precision": next((p for p in ("bfloat16", "float16") if f"_{p}" in name), "float32")}
    knobs = vars(options) | {"out": str(options.out), "cache": str(CACHE)}
    return {"jobs": ["train"], "source": "ours", "compile": False} | knobs | chosen | ROWS[name][1]


class Row:
    """The process of a row: it imports its packages, and touches the device once it is told to go."""

    def __init__(self, name: str, options: argparse.Namespace):
        environment = os.environ | {
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # so that peaks are those of the step
            # what is equal in two rows is compiled once
            "JAX_COMPILATION_CACHE_DIR": str(CACHE / "jax"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "TORCHINDUCTOR_CACHE_DIR": str(CACHE / "inductor"),
        }
        specification = make_specification(name, options)
        if "profile" in specification["jobs"] and ROWS[name][0] == KERAS:
            dump = f"--xla_dump_to={CACHE / 'xla'} --xla_dump_hlo_module_re=.*train_step.*"
            environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {dump} --xla_dump_hlo_as_text"
        self.name, self.limit, self.all_errors = name, options.limit, options.out / "errors.log"
        self.errors = CACHE / "errors" / f"{name}.log"
        self.errors.parent.mkdir(parents=True, exist_ok=True)
        with self.errors.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / ROWS[name][0]), json.dumps(specification)],
                **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log, "text": True},
                env=environment,
                process_group=0,  # with what it starts itself, as `torch.compile` does
            )

    def results(self, seconds: float):
        """Each result as it comes, until the process ends or this many seconds are over."""
        timer = threading.Timer(min(seconds, self.limit), self.kill)
        timer.start()
        with self.process as process:
            with suppress(BrokenPipeError), process.stdin as stdin:  # broken if it ended while it imported
                stdin.write("go\n")
            for line in process.stdout:
                if line.startswith("{"):
                    yield {"row": self.name} | json.loads(line)
        timer.cancel()
        errors = self.errors.read_text("utf-8", errors="replace")
        with self.all_errors.open("a", encoding="utf-8") as log:
            log.write(f"== {self.name}\n{errors}\n")
        if status := process.returncode:
            found = re.findall(r"^[\w.]*(?:Error|Exception|Exit)\b.*", errors, re.MULTILINE)
            why = "too slow" if status == -signal.SIGKILL else f"status {status} {found[-1] if found else ''}".strip()
            yield {"row": self.name, "what": "failed", "why": why}

    def kill(self):
        """End the process, and those that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def measure(options: argparse.Namespace):
    """Every result of every row, in order; while a row is measured, the next one imports its packages."""
    end, names = time.monotonic() + options.budget, []
    for name in options.only:
        needed = NEEDS[ROWS[name][0]]
        if find_spec(needed):
            names.append(name)
        else:
            yield {"row": name, "what": "failed", "why": f"{needed} is not installed"}
    waiting = Row(names[0], options) if names else None
    for following in [*names[1:], None] if names else []:
        row, waiting = waiting, Row(following, options) if following else None
        if (left := end - time.monotonic()) > 0:
            yield from row.results(left)
        else:
            with row.process:
                row.kill()
            yield {"row": row.name, "what": "failed", "why": "no time left"}


def describe(result: dict) -> str:
    """One line for a result."""
    name, what = result["row"], result["what"]
    if what == "failed":
        return f"{name:24} failed: {result['why']}"
    if what == "profile":
        costs = "; ".join(f"{kind} {ms:.2f} ms ({share:.0%})" for kind, ms, share in result["costs"][:8])
        return f"{name:24} a step of {result['ms']:.1f} ms: {costs}"
    if what == "agree":
        ends = f"smoothed loss {result['first']:.4f} to {result['final']:.4f} (exact {result['final_exact']:.4f})"
        return f"{name:24} {result['precision']:16} {ends}, at most {result['difference']:.2%} away, " + (
            f"{result['skipped']} steps skipped"
        )
    rate, low, high = (function(result["rates"]) for function in (statistics.median, min, max))
    peak = "" if result["peak_gib"] is None else f", peak {result['peak_gib']:.2f} GiB"
    first = f", first step {result['first']:.1f} s" if "first" in result else ""
    return f"{name:24} {what:16} {rate:9.1f} pictures/s ({low:.1f} to {high:.1f}){peak}{first}"


def compare(results: list[dict]) -> list[tuple[str, str, float]]:
    """What was measured, the rows, and the ratio of their medians: above 1, ours is quicker."""
    rates = {(each["row"], each["what"]): statistics.median(each["rates"]) for each in results if "rates" in each}
    names = [*RATIOS, *((f"{name}_again", name) for name in ("ours_bfloat16", "torch_bfloat16"))]
    return [
        (what, f"{ours} / {peer}", rates[ours, what] / rates[peer, what])
        for what in ("train", "infer")
        for ours, peer in names
        if (ours, what) in rates and (peer, what) in rates
    ]


def main(arguments=None):
    options = parse_arguments(arguments)
    options.out = options.out.absolute()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "errors.log").unlink(missing_ok=True)
    results, started = [], time.monotonic()
    knobs = vars(options) | {"out": str(options.out)}
    for result in measure(options):
        results.append(result)
        print(f"{time.monotonic() - started:5.0f} s  {describe(result)}", flush=True)
        record = {"knobs": knobs, "results": results, "ratios": compare(results)}
        (options.out / "record.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    for what, rows, ratio in compare(results):
        print(f"{what:8} {rows:48} {ratio:6.3f}")


if __name__ == "__main__":
    main()
