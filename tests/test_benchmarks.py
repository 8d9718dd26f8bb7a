"""The figures of benchmarks: reported, recorded, compared, published; the runner with scripts that fail and hang."""

import importlib
import json
import socket
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
MODULES = ("figures", "records", "run_all", "compare", "publish", "timing")


@pytest.fixture(scope="module")
def bench():
    """The modules of `benchmarks/` by name."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield {name: importlib.import_module(name) for name in MODULES}
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in MODULES:
            sys.modules.pop(name, None)


def entry(*figures: dict, command: str = "bench_a.py", machine: str = "here") -> dict:
    given = {"command": command, "subject": "reading", "machine": machine, "versions": "keras 3"}
    rows = [{"title": "job", "unit": "s"} | figure for figure in figures]
    return given | {"started": "2026-01-01T10:00", "seconds": 3, "figures": rows}


def write(bench, path: Path, *entries: dict) -> str:
    bench["records"].write_record(path, list(entries))
    return str(path)


def test_figures_are_printed_and_recorded(bench, tmp_path, monkeypatch, capsys):
    Figure, report = bench["figures"].Figure, bench["figures"].report
    monkeypatch.setenv(bench["figures"].RECORD, str(tmp_path / "lines"))
    report("job, 5 files", [Figure("Keras", [4, 2, 8], "s"), Figure("ours", [1, 1, 6], "s", "Keras", "decoding")])
    assert capsys.readouterr().out.split("\n")[2:] == [
        f"  {'Keras':58} {4:9.2f} s",
        f"  {'ours':58} {1:9.2f} s",
        f"    {'to Keras':56} {0.5:9.2f} times",  # the median of 1/4, 1/2 and 6/8, and not 1/4
        "",
    ]
    rows = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert rows[0] == {"title": "job, 5 files", "name": "Keras", "rounds": [4, 2, 8], "unit": "s"}
    assert rows[1]["peer"] == "Keras" and rows[1]["bound"] == "decoding"


@pytest.mark.parametrize(
    "figures, words",
    [
        ([("a", [1], "s"), ("a", [1], "s")], "two figures are named 'a'"),
        ([("a", [1], "seconds")], "the unit of 'a' is 'seconds', expected one of pictures/s,"),
        ([("a", [1], "s", "b")], "the peer of 'a' is 'b', expected one of a"),
        ([("a", [1], "s"), ("b", [1, 2], "s", "a")], "'b' has 2 rounds"),
        ([("a", [], "s")], "'a' has 0 rounds"),
    ],
)
def test_figures_that_cannot_be_compared(bench, figures, words):
    with pytest.raises(ValueError, match=words):
        bench["figures"].report("job", [bench["figures"].Figure(*each) for each in figures])


PEER = {"name": "Keras", "rounds": [10.0, 10.0, 10.0]}


@pytest.mark.parametrize(
    "before, now, unit, verdict",
    [
        ([10, 10, 10], [12, 12, 12], "s", "worse"),
        ([10, 10, 10], [8, 8, 8], "s", "better"),
        ([10, 10, 10], [8, 8, 8], "pictures/s", "worse"),
        ([10, 10, 10], [12, 12, 12], "pictures/s", "better"),
        ([10, 10, 10], [10.5, 10.5, 10.5], "s", "same"),  # below the least noise
        ([8, 10, 12], [12, 12, 12], "s", "same"),  # a fifth slower, and half of the rounds differ as much
        ([10, 10, 10], [9, 12, 15], "s", "same"),  # the noise of the later one counts too
        ([10, 10, 10], [12, 12, 12, 30, 12], "s", "worse"),  # one round that was disturbed is no noise
        ([10], [12], "s", "same"),
        ([10], [14], "s", "worse"),
        ([10, 10], [15, 15], "pictures/s", "better"),
    ],
)
def test_what_became_worse(bench, before, now, unit, verdict):
    """Directly, by the value; through a peer that did not change, the verdict is the same."""
    figures = bench["compare"].compare_figures
    Figure = bench["figures"].Figure
    own = [{("job", "ours"): Figure("ours", rounds, unit)} for rounds in (before, now)]
    assert [row[0] for row in figures(*own, same_machine=True)] == [verdict]
    with_peer = [
        {("job", "ours"): Figure("ours", each, unit, "peer"), ("job", "peer"): Figure("peer", [5.0] * len(each), unit)}
        for each in (before, now)
    ]
    assert [row[0] for row in figures(*with_peer, same_machine=False)] == [verdict]


def test_a_slower_machine_is_not_a_slower_program(bench):
    old = entry(PEER, {"name": "ours", "rounds": [5.0, 5.0, 5.0], "peer": "Keras"}, {"name": "all", "rounds": [7.0]})
    new = entry(
        {"name": "Keras", "rounds": [30.0, 20.0, 40.0]},
        {"name": "ours", "rounds": [15.0, 10.0, 20.0], "peer": "Keras"},
        {"name": "all", "rounds": [21.0]},
        machine="elsewhere",
    )
    rows = bench["compare"].compare_entries({old["command"]: old}, [new])
    assert [row[:2] for row in rows] == [("same", "job: ours")]  # neither the peer nor what has none
    on_the_same = bench["compare"].compare_entries({old["command"]: old}, [new | {"machine": "here"}])
    assert [row[:2] for row in on_the_same] == [("worse", "job: all"), ("same", "job: ours")]


def test_compare_prints_and_exits_with_1_if_something_became_worse(bench, tmp_path, capsys):
    slow, plain = ({"name": "a", "rounds": [each] * 3} for each in (2.0, 1.0))
    old = write(bench, tmp_path / "old.json", entry(plain, {"name": "gone", "rounds": [1.0]}))
    new = write(bench, tmp_path / "new.json", entry(slow, {"name": "come", "rounds": [1.0]}))
    assert bench["compare"].main(new, old) == 1
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert lines[1] == ["worse", "job:", "a", "1", "s", "2", "s", "+100%", "15%", "bench_a.py"]
    assert [line[0] for line in lines[1:]] == ["worse", "missing", "new"]
    assert "1 worse, 1 missing, 1 new" in err
    assert bench["compare"].main(old, new) == 0  # better, and what is missing fails nothing
    assert "1 better" in capsys.readouterr().err


def test_compare_takes_the_last_record_of_each_command_line(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench["compare"], "FOLDER", tmp_path)
    monkeypatch.setattr(bench["compare"], "PUBLISHED", tmp_path / "published.json")
    with pytest.raises(SystemExit, match="there is no record in"):
        bench["compare"].main()
    values = {"published": 9.0, "2026-01-01": 1.0, "2026-01-03": 2.0}
    for name, value in values.items():
        write(bench, tmp_path / f"{name}.json", entry({"name": "a", "rounds": [value] * 3}))
    failed = entry() | {"error": "ended after its limit of 9 seconds"}
    write(bench, tmp_path / "2026-01-02.json", failed, entry({"name": "b", "rounds": [1.0]}, command="bench_b.py"))
    assert bench["compare"].main() == 1  # with the first day, as the second has no figures
    assert "+100%" in capsys.readouterr().out
    assert bench["compare"].main(str(tmp_path / "2026-01-01.json")) == 0  # with what was published: better
    with pytest.raises(SystemExit, match="there is no record .*nowhere.json"):
        bench["compare"].main(str(tmp_path / "nowhere.json"))


SCRIPTS = {
    "good": "from figures import Figure, report\nimport sys\nreport('good', [Figure('a', [len(sys.argv)], 's')])",
    "bad": "from figures import Figure, report\nreport('bad', [Figure('b', [1], 's')])\nraise ValueError('no luck')",
    "mute": "print('nothing to say')",
    # the process that it starts holds a connection, and must end with it
    "slow": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import os, socket, time; "
    'line = socket.create_connection(("127.0.0.1", int(os.environ["PORT"]))); time.sleep(60)\'])',
}


def test_a_script_that_fails_does_not_stop_the_others(bench, tmp_path, monkeypatch, capsys):
    run_all = bench["run_all"]
    for name, text in SCRIPTS.items():
        (tmp_path / f"bench_{name}.py").write_text(text)
    jobs = [run_all.Job(name, "reading", small=()) for name in ("slow", "bad", "mute")]
    jobs += [run_all.Job("good", "reading", (), ("two words",)), run_all.Job("good", "reading", ("x",), None)]
    jobs.append(run_all.Job("none", "reading", small=(), needs="a_package_that_nobody_has"))
    monkeypatch.setattr(run_all, "JOBS", jobs)
    monkeypatch.setattr(run_all, "FOLDER", tmp_path)
    monkeypatch.setattr(run_all.Job, "seconds", lambda job, size: 2 if job.script == "slow" else 30)
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        monkeypatch.setenv("PORT", str(server.getsockname()[1]))
        assert run_all.main(["--size", "small", "--out", str(tmp_path / "record.json")]) == 1
        line, _ = server.accept()
        with line:
            line.settimeout(20)
            assert line.recv(1) == b""  # it is gone
    entries = {each["command"]: each for each in bench["records"].read_record(tmp_path / "record.json")}
    assert list(entries) == ["bench_slow.py", "bench_bad.py", "bench_mute.py", "bench_good.py 'two words'"]
    errors = {name: each.get("error") for name, each in entries.items()}
    assert list(errors.values()) == [
        "ended after its limit of 2 seconds",
        "failed: ValueError: no luck",
        "no figures: nothing to say",
        None,
    ]
    assert entries["bench_slow.py"]["seconds"] < 20
    assert entries["bench_bad.py"]["figures"][0]["name"] == "b"  # reported before it failed
    assert entries["bench_good.py 'two words'"]["figures"][0]["rounds"] == [2]
    out, err = capsys.readouterr()
    assert "good: a" in out and "bench_good.py 'two words'" in out
    assert "none is left out: a_package_that_nobody_has is not installed" in err
    assert run_all.main(["--only", "good", "--size", "small", "--out", str(tmp_path / "record.json")]) == 0
    with pytest.raises(SystemExit, match="there is no benchmark 'goood', only slow, bad, mute, good, none"):
        run_all.main(["--only", "goood"])


def test_every_benchmark_is_run(bench):
    scripts = {path.stem.removeprefix("bench_") for path in BENCHMARKS.glob("bench_*.py")}
    assert scripts <= {job.script for job in bench["run_all"].JOBS}


def test_the_timed_functions_of_a_small_job_exist(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    for name in importlib.import_module("bench_small_job").PARTS:
        place, _, attribute = f"transferkit.{name}".rpartition(".")
        assert callable(getattr(importlib.import_module(place), attribute)), name


def test_calls_take_turns_after_a_round_that_warms_up(bench):
    calls: list[str] = []
    wall, processor = bench["timing"].time_in_turn({name: lambda name=name: calls.append(name) for name in "ab"}, 2)
    assert calls == ["a", "b"] * 3
    assert [len(each) for each in (*wall.values(), *processor.values())] == [2] * 4


def test_a_published_entry_takes_the_place_of_the_earlier_one(bench, tmp_path, monkeypatch):
    publish, page = bench["publish"], tmp_path / "page.md"
    page.write_text("before\n<!-- reading: benchmarks/publish.py -->\nold\n<!-- end of reading -->\nafter\n")
    monkeypatch.setattr(publish, "PAGE", page)
    monkeypatch.setattr(publish, "PUBLISHED", tmp_path / "published.json")
    ours = {"name": "ours", "rounds": [5.0, 6.0, 20.0], "peer": "Keras", "bound": "decoding"}
    other, failed = (
        entry({"name": "b | c", "rounds": [1234.5]}, command="bench_b.py"),
        entry(PEER) | {"error": "failed"},
    )
    publish.main(write(bench, tmp_path / "1.json", entry(PEER), other))
    publish.main(write(bench, tmp_path / "2.json", entry(PEER, ours)))
    publish.main(write(bench, tmp_path / "3.json", failed))
    assert len(bench["records"].read_record(tmp_path / "published.json")) == 2
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert (
        "| ours | 6 s | Keras: 10 s | 0.60 (0.55 to 1.30) | decoding |" in text
        and r"| b \| c | 1,234 s |  |  |  |" in text
    )
    assert text.count("| job | figure | peer |") == 2 and "| Keras |" not in text  # a peer is in the rows of others
    with pytest.raises(ValueError, match="no place <!-- memory: benchmarks/publish.py --> with an end"):
        publish.fill_in(text, [entry(PEER) | {"subject": "memory"}])


def test_the_page_has_the_published_figures(bench):
    publish, page = bench["publish"], bench["publish"].PAGE.read_text("utf-8")
    assert publish.fill_in(page, bench["records"].read_record(bench["records"].PUBLISHED)) == page
    assert bench["records"].PUBLISHED.stat().st_size < 50_000
