"""Where the time of a compiled training step goes: the kernels of JAX's profiler, by layer and direction."""

import gzip
import re
import shutil
from collections import Counter
from pathlib import Path

STEPS = 5
LAYER = re.compile(r"(transpose\()?jvp\(([^()]*)\)")
OPTIMIZER = re.compile(r"jit\(\w+\)/([\w.]+/)*\w*(sgd|adam|lamb|lossscale)\w*/|jit\(\w+\)/cond")
KERNELS = {  # what tells a kernel's purpose where the profiler does not name its instruction
    "Conv2D forward": "fprop|convForward|cudnn-conv(?!-bw)",
    "Conv2D backward, input": "dgrad|convBackwardInput|bw-input",
    "Conv2D backward, filter": "wgrad|convBackwardFilter|bw-filter",
    "products of matrices": "gemm|nvjet|cutlass|cublas",
    "copies of memory": "Mem(cpy|set)",
}


def plain(name: str) -> str:
    """A name as kernels have it: `loop_add_fusion_12` for the instruction `loop_add_fusion.12`."""
    return re.sub(r"\W", "_", name)


def read_program(text: str) -> dict[str, str]:
    """The line of each instruction of an XLA program, by its `plain` name.

    A fusion of several results has no purpose of its own: its line gets the most frequent one of what is fused.
    """
    lines: dict[str, str] = {}
    purposes: dict[str, Counter] = {}
    computation = ""
    for line in text.splitlines():
        if head := re.match(r"(?:ENTRY )?%?([\w.-]+) \(.*\{$", line):
            computation = head[1]
        elif instruction := re.match(r"\s+(?:ROOT )?%?([\w.-]+) = ", line):
            lines[instruction[1]] = line
            if purpose := purpose_of(line):
                purposes.setdefault(computation, Counter())[purpose] += 1
    for name, line in lines.items():
        called = re.search(r"calls=%?([\w.-]+)", line)
        if called and called[1] in purposes and not purpose_of(line):
            lines[name] = f'{line}, op_name="{purposes[called[1]].most_common(1)[0][0]}"'
    return {plain(name): line for name, line in lines.items()}


def purpose_of(line: str) -> str:
    """What an instruction is for, in JAX's words: `jit(train_step)/transpose(jvp(conv1))/conv_general_dilated`."""
    return match[1] if (match := re.search(r'op_name="([^"]*)"', line)) else ""


def categorise(name: str, line: str, classes: dict[str, str]) -> str:
    """What an instruction is for: `Conv2D forward`, `BatchNormalization backward`, `optimizer`, ...

    Args:
        name: of the instruction, or of its kernel.
        line: its line in the program; "" if there is none.
        classes: of the layers, by name.
    """
    if re.search(r"transpose(?!d)|^copy|nchwTo|nhwcTo", name):
        return "change of layout"
    target = match[1] if (match := re.search(r'custom_call_target="([^"]*)"', line)) else ""
    kernel = next((kind for kind, pattern in KERNELS.items() if re.search(pattern, f"{name} {target}")), "")
    if layer := LAYER.search(purpose_of(line)):
        kind = classes.get(layer[2], layer[2] or "loss")
        return kernel if kind in kernel else f"{kind} {'backward' if layer[1] else 'forward'}"
    return "optimizer" if OPTIMIZER.match(purpose_of(line)) else kernel or "other"


def device_events(trace: Path) -> list[tuple[str, str, float]]:
    """The kernels of a trace: name, instruction ("" if not known), nanoseconds. Of a CPU, its instructions."""
    from jax.profiler import ProfileData

    planes = list(ProfileData.from_file(str(trace)).planes)
    chosen = [plane for plane in planes if plane.name.startswith("/device:GPU")]
    events = []
    for plane in chosen or planes:
        for line in plane.lines:
            if chosen and not line.name.startswith("Stream"):  # what XLA derives from the streams
                continue
            for event in line.events:
                operation = str(dict(event.stats).get("hlo_op", ""))
                if chosen or operation:
                    events.append((event.name, operation, event.duration_ns))
    return events


def profile(run_steps, classes: dict[str, str], cache: Path, out: Path) -> dict:
    """Trace some steps, and add up the milliseconds of one by category.

    Args:
        run_steps: run_steps(n) runs n steps, and returns when the device has finished.
        classes: of the layers, by name.
        cache: where XLA has written the step's program, in the folder `xla`.
        out: the trace and the optimized program are packed into it.

    Returns:
        As `add_up`.
    """
    import jax

    options = jax.profiler.ProfileOptions()
    options.host_tracer_level, options.python_tracer_level = 1, 0
    jax.profiler.start_trace(str(cache / "trace"), profiler_options=options)
    run_steps(STEPS)
    jax.profiler.stop_trace()
    trace = newest(cache / "trace", "*.xplane.pb")
    text = newest(cache / "xla", "*train_step*after_optimizations.txt")
    pack(trace, out / "trace.xplane.pb.gz")
    pack(text, out / "program.txt.gz")
    return add_up(device_events(trace), read_program(text.read_text(encoding="utf-8")), classes, STEPS)


def newest(folder: Path, pattern: str) -> Path:
    """The file that was written last, of those below a folder whose names match."""
    return max(folder.rglob(pattern), key=lambda path: path.stat().st_mtime)


def add_up(events: list[tuple[str, str, float]], program: dict[str, str], classes: dict[str, str], steps: int) -> dict:
    """Add up kernels.

    Returns:
        `ms` of a step, `costs` as (category, ms, share) and `operations` as (name, purpose, ms), the largest first.
    """
    costs: Counter[str] = Counter()
    operations: Counter[tuple[str, str]] = Counter()
    for kernel, operation, nanoseconds in events:
        name, ms = operation or kernel, nanoseconds / 1e6 / steps
        line = program.get(plain(name), "")
        costs[categorise(name, line, classes)] += ms
        operations[name, purpose_of(line) or kernel] += ms
    total = sum(costs.values())
    return {
        "ms": total,
        "costs": [(kind, ms, ms / total) for kind, ms in costs.most_common()],
        "operations": [(name, purpose, ms) for (name, purpose), ms in operations.most_common(60)],
    }


def pack(source: Path, target: Path):
    """Write a compressed copy."""
    with open(source, "rb") as given, gzip.open(target, "wb") as packed:
        shutil.copyfileobj(given, packed)
