"""A row of `bench_gpu.py` in PyTorch: torchvision's network, channels last, with autocast, eager or compiled."""

import sys
import time

import gpu_rounds
import numpy as np
import torch
import torchvision
from torch.fx.experimental.optimization import fuse

PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def synchronise(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_gib(device) -> float | None:
    return torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None


def make_pictures(job: dict, device):
    """Pictures on the device, (n, 3, h, w) in channels-last order, as bytes, and their labels."""
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(rng.integers(0, 256, (job["batch"], job["size"], job["size"], 3)).astype("uint8"))
    labels = torch.from_numpy(rng.integers(0, gpu_rounds.CLASSES, job["batch"]))
    return pictures.to(device).permute(0, 3, 1, 2), labels.to(device)


class Normalised(torch.nn.Module):
    """The network with the normalisation of its pictures, which ours has too."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        for name, value in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, 255 * torch.tensor(value).reshape(1, 3, 1, 1))

    def forward(self, pictures):
        return self.network((pictures.to(self.mean.dtype) - self.mean) / self.std)


def make_training_step(job: dict, model, device):
    """A function of pictures and labels that does a step and returns the loss, on the device."""
    groups = [
        {"params": [each for each in model.parameters() if each.ndim > 1], "weight_decay": gpu_rounds.DECAY},
        {"params": [each for each in model.parameters() if each.ndim <= 1], "weight_decay": 0.0},
    ]
    rules = {"lr": gpu_rounds.RATE, "momentum": gpu_rounds.MOMENTUM, "nesterov": True}
    optimizer = torch.optim.SGD(groups, **rules, fused=device.type == "cuda")
    loss_function = torch.nn.CrossEntropyLoss(label_smoothing=gpu_rounds.SMOOTHING)
    precision = PRECISIONS[job["precision"]]
    scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)

    def step(pictures, labels):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, precision, enabled=precision is not torch.float32):
            loss = loss_function(model(pictures), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    return step


def train(job: dict, device) -> None:
    model = Normalised(getattr(torchvision.models, job["network"])()).to(device, memory_format=torch.channels_last)
    step = make_training_step(job, torch.compile(model) if job["compile"] else model, device)
    batch = make_pictures(job, device)

    def run_steps(count):
        for _ in range(count):
            step(*batch)
        synchronise(device)

    started = time.perf_counter()
    run_steps(1)
    first = time.perf_counter() - started
    run_steps(2)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()  # without what the first steps tried
    rates = gpu_rounds.measure_rounds(run_steps, job)
    gpu_rounds.report("train", rates=rates, first=first, peak_gib=peak_gib(device))
    if "profile" in job["jobs"]:
        profile(run_steps, device)


def profile(run_steps, device, steps: int = 3):
    """Milliseconds of a step by operation."""
    kinds = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[kinds.CUDA, kinds.CPU] if device.type == "cuda" else [kinds.CPU]) as trace:
        run_steps(steps)
    field = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    rows = [(each.key, getattr(each, field) / 1e3 / steps, each.device_type) for each in trace.key_averages()]
    rows = sorted(((key, ms, kind) for key, ms, kind in rows if ms), key=lambda row: -row[1])
    # an operation has the time of its kernels, which are rows of their own
    costs = [(key, ms) for key, ms, kind in rows if kind == torch.autograd.DeviceType.CPU]
    kernels = [(key, "", ms) for key, ms, kind in rows if kind != torch.autograd.DeviceType.CPU]
    total = sum(ms for _, ms in costs)
    costs = [(key, ms, ms / total) for key, ms in costs[:20]]
    gpu_rounds.report("profile", ms=total, costs=costs, operations=kernels[:40])


def infer(job: dict, device):
    """A network with folded batch norm and weights in the precision."""
    precision = PRECISIONS[job["precision"]]
    model = Normalised(fuse(getattr(torchvision.models, job["network"])().eval())).eval()
    model = model.to(device, precision, memory_format=torch.channels_last)
    model = torch.compile(model) if job["compile"] else model
    pictures, _ = make_pictures(job, device)

    @torch.inference_mode()
    def run_steps(count):
        for _ in range(count):
            model(pictures)
        synchronise(device)

    run_steps(3)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    rates = gpu_rounds.measure_rounds(run_steps, job)
    gpu_rounds.report("infer", rates=rates, peak_gib=peak_gib(device))


def main():
    job = gpu_rounds.wait_for_turn()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")  # TF32, as JAX has it by default
    print(f"{job['name']}: torch {torch.__version__}, {device}", file=sys.stderr)
    train(job, device)
    if "infer" in job["jobs"]:
        infer(job, device)


if __name__ == "__main__":
    main()
