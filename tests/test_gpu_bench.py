"""The benchmark of GPUs: its rows in processes of their own, the ratios, and the profile by layer."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
PROGRAM = """HloModule jit_train_step

%fused_computation.1 (p: bf16[8]) -> (f32[], f32[]) {
  %p = bf16[8]{0} parameter(0)
  %sum = f32[] reduce(%p), metadata={op_name="jit(train_step)/jvp(layer1.0.bn1)/reduce_sum"}
  %var = f32[] reduce(%p), metadata={op_name="jit(train_step)/jvp(layer1.0.bn1)/reduce_sum"}
  ROOT %both = (f32[], f32[]) tuple(%sum, %var)
}

ENTRY %main.9 (a: bf16[8]) -> bf16[8] {
  %conv.1 = (bf16[8]{0}, u8[0]{0}) custom-call(%a), custom_call_target="__cudnn$convForward", metadata={op_name="jit(train_step)/jvp(layer1.0.conv1)/conv_general_dilated"}
  %conv.2 = (bf16[8]{0}, u8[0]{0}) custom-call(%a), custom_call_target="__cudnn$convBackwardFilter", metadata={op_name="jit(train_step)/transpose(jvp(layer1.0.conv1))/conv_general_dilated"}
  %gemm_fusion.3 = bf16[8]{0} fusion(%a), calls=%x, metadata={op_name="jit(train_step)/transpose(jvp(layer1.0.conv1))/conv_general_dilated"}
  %reduce_fusion.1 = (f32[], f32[]) fusion(%a), kind=kInput, calls=%fused_computation.1
  %add_fusion.5 = bf16[8]{0} fusion(%a), calls=%x, metadata={op_name="jit(train_step)/extended_sgd/mul"}
  %divide_fusion.6 = bf16[8]{0} fusion(%cudnn-conv.4), kind=kLoop, calls=%x
  ROOT %transpose.7 = bf16[8]{0} transpose(%a), metadata={op_name="jit(train_step)/jvp(layer1.0.conv1)/transpose"}
}
"""  # noqa: E501
CLASSES = {"layer1.0.conv1": "Conv2D", "layer1.0.bn1": "BatchNormalization"}
FAKE = {
    "quick.py": 'import sys, json\nsys.stdin.readline()\nprint(json.dumps({"what": "train", "rates": [2, 4, 3], '
    '"peak_gib": None}), flush=True)\nprint("not a result")',
    "slow.py": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(99)'])",
    "broken.py": "raise ValueError('no such network')",
}


def load(name: str):
    specification = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "kernel, instruction, kind",
    [
        ("sm90_xmma_fprop_implicit_gemm", "conv.1", "Conv2D forward"),
        ("sm90_xmma_wgrad_implicit_gemm", "conv.2", "Conv2D backward, filter"),
        ("gemm_fusion_3", "", "Conv2D backward"),
        ("reduce_fusion_1", "", "BatchNormalization forward"),
        ("add_fusion_5", "add_fusion.5", "optimizer"),
        ("transpose_7", "transpose.7", "change of layout"),
        ("void cudnn::nchwToNhwcKernel", "", "change of layout"),
        ("sm90_xmma_dgrad_implicit_gemm", "", "Conv2D backward, input"),
        ("nvjet_hsh_128x256", "", "products of matrices"),
        ("MemcpyD2D", "", "copies of memory"),
        ("divide_fusion_6", "", "other"),
        ("something", "", "other"),
    ],
)
def test_a_kernel_belongs_to_the_layer_of_its_instruction(kernel, instruction, kind):
    profile = load("gpu_profile")
    found = profile.add_up([(kernel, instruction, 6e6)], profile.read_program(PROGRAM), CLASSES, steps=3)
    assert found["costs"] == [(kind, 2.0, 1.0)]


def test_costs_are_milliseconds_of_one_step_and_the_largest_come_first():
    profile = load("gpu_profile")
    events = [("add_fusion_5", "", 1e6), ("conv", "conv.1", 2e6), ("add_fusion_5", "", 1e6), ("conv", "conv.1", 6e6)]
    found = profile.add_up(events, profile.read_program(PROGRAM), CLASSES, steps=2)
    assert found["ms"] == 5.0
    assert found["costs"] == [("Conv2D forward", 4.0, 0.8), ("optimizer", 1.0, 0.2)]
    assert found["operations"][0] == ("conv.1", "jit(train_step)/jvp(layer1.0.conv1)/conv_general_dilated", 4.0)


def test_a_row_that_fails_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    bench = load("bench_gpu")
    for name, text in FAKE.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    rows = {"broken": "broken.py", "ours_bfloat16": "quick.py", "torch_bfloat16": "quick.py"}
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "ROWS", {name: (script, {}) for name, script in rows.items()} | {"absent": ("none", {})})
    monkeypatch.setattr(bench, "NEEDS", dict.fromkeys(FAKE, "json") | {"none": "no_such_package"})
    bench.main(["--only", ",".join([*rows, "absent"]), "--out", str(tmp_path / "out")])
    record = json.loads((tmp_path / "out" / "record.json").read_text("utf-8"))
    why = {each["row"]: each.get("why", each.get("rates")) for each in record["results"]}
    assert why == {
        "broken": "status 1 ValueError: no such network",
        "ours_bfloat16": [2, 4, 3],
        "torch_bfloat16": [2, 4, 3],
        "absent": "no_such_package is not installed",
    }
    assert record["ratios"] == [["train", "ours_bfloat16 / torch_bfloat16", 1.0]]
    assert "3.0 pictures/s (2.0 to 4.0)" in capsys.readouterr().out


def test_a_row_that_takes_too_long_ends_with_what_it_started(tmp_path, monkeypatch):
    bench = load("bench_gpu")
    (tmp_path / "slow.py").write_text(FAKE["slow.py"], encoding="utf-8")
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "ROWS", {"slow": ("slow.py", {})})
    row = bench.Row("slow", bench.parse_arguments(["--out", str(tmp_path)]))
    # its output is read to the end, which what it started would keep open for 99 seconds
    assert list(row.results(0.5)) == [{"row": "slow", "what": "failed", "why": "too slow"}]


def test_when_the_time_is_over_nothing_more_is_measured(tmp_path, monkeypatch):
    bench = load("bench_gpu")
    (tmp_path / "quick.py").write_text(FAKE["quick.py"], encoding="utf-8")
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "ROWS", {"a": ("quick.py", {}), "b": ("quick.py", {})})
    monkeypatch.setattr(bench, "NEEDS", {"quick.py": "json"})
    options = bench.parse_arguments(["--budget", "0", "--out", str(tmp_path)])
    assert [each["why"] for each in bench.measure(options)] == ["no time left"] * 2


def test_ratios_are_of_medians():
    results = [
        {"row": "paper_bfloat16", "what": "train", "rates": [10.0, 30.0, 20.0]},
        {"row": "keras_bfloat16", "what": "train", "rates": [8.0, 8.0, 100.0]},
        {"row": "ours_bfloat16", "what": "infer", "rates": [1.0]},
        {"row": "torch_bfloat16", "what": "failed", "why": "too slow"},
    ]
    assert load("bench_gpu").compare(results) == [("train", "paper_bfloat16 / keras_bfloat16", 2.5)]


def test_an_unknown_row_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        load("bench_gpu").parse_arguments(["--only", "ours_bfloat61"])
    assert ended.value.code == 2
    assert "there is no row 'ours_bfloat61': expected some of torch_bfloat16, ours_bfloat16" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="needs jax")
def test_losses_agree_on_jax_without_tensorflow(tmp_path):
    arguments = ["--only", "ours_float32,agreement", "--agree-steps", "5", "--steps", "1", "--rounds", "1"]
    command = [sys.executable, str(FOLDER / "bench_gpu.py"), *arguments, "--out", str(tmp_path)]
    subprocess.run(command, check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    results = json.loads((tmp_path / "record.json").read_text("utf-8"))["results"]
    assert [each["what"] for each in results] == ["train", *["agree"] * 4]
    assert results[0]["rates"][0] > 0
    assert {each["precision"] for each in results[1:]} == {"again", "float32", "bfloat16", "float16"}
    assert all(each["difference"] < 0.1 for each in results[1:])
