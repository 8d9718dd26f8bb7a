"""The page of a run, the leaderboard, and the figures for notebooks."""

import base64
import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot
import numpy as np
import pytest
from html_reader import Page
from pictures import folder

import transferkit as tk
from transferkit import atomic, pages, runs
from transferkit.data import split_file
from transferkit.evaluation.metrics import compute_metrics
from transferkit.report import evaluation_page, leaderboard, page, run_page, sentences
from transferkit.training import closing_pages

CLASSES = ("cat", "<b>dog</b>", "fox & hen")


def make_run(place, paths, finished, classes=CLASSES, seed=0):
    """A finished run of three classes, with mistakes, whose figures are measured from drawn probabilities."""
    shutil.copytree(finished.folder, place, ignore=shutil.ignore_patterns("checkpoints"))
    rng = np.random.default_rng(seed)
    labels = np.arange(len(paths)) % len(classes)
    probabilities = rng.dirichlet(np.ones(len(classes)), len(paths))
    probabilities[np.arange(len(paths)), labels] += 0.5
    probabilities /= probabilities.sum(1, keepdims=True)
    predicted = probabilities.argmax(1)
    rows = [
        {"path": path, "label": classes[label], "predicted": classes[other], "probability": float(chance)}
        for path, label, other, chance in zip(paths, labels, predicted, probabilities.max(1), strict=True)
    ]
    atomic.write(place / "metrics.json", finished.metrics | compute_metrics(probabilities, labels, classes))
    atomic.write(place / "predictions.csv", rows)
    atomic.write(place / "classes.txt", "".join(f"{name}\n" for name in classes))
    listing = tk.Listing(
        tuple(paths), tuple(map(int, labels)), classes, duplicate_sets=("1", "1", *[""] * (len(paths) - 2))
    )
    atomic.write(place / "split.csv", split_file.split_rows(tk.Splits(listing, replace(listing, duplicate_sets=()))))
    return tk.load_run(place)


@pytest.fixture(scope="module")
def run(finished, tmp_path_factory):
    place = tmp_path_factory.mktemp("report")
    pictures = folder(place / "pictures", {"a": 40})
    return make_run(place / "run", sorted(map(str, pictures.rglob("*.*"))), finished)


@pytest.fixture(scope="module")
def made(run):
    return Page(run_page.write_run_page(run, advice=["Do <this>."]).read_text("utf-8"))


def test_the_page_shows_the_gradcam_of_mistakes(run, tmp_path):
    copy = tk.load_run(shutil.copytree(run.folder, tmp_path / "run"))
    closing_pages.write_pages(copy, copy.network)
    text = (copy.folder / "report.html").read_text("utf-8")
    assert (copy.folder / runs.GRADCAM).stat().st_size < 300_000
    sources = [attrs["src"] for attrs, _ in Page(text).all("img") if attrs["alt"].startswith("Grad-CAM")]
    assert sources == ["data:image/png;base64," + base64.b64encode((copy.folder / runs.GRADCAM).read_bytes()).decode()]
    right = [row | {"predicted": row["label"]} for row in copy.predictions]
    atomic.write(copy.folder / "predictions.csv", right)
    copy = tk.load_run(copy.folder)
    closing_pages.write_pages(copy, copy.network)  # as of a resumed run that makes no mistake any more
    assert not (copy.folder / runs.GRADCAM).exists()
    assert 'id="gradcam"' not in (copy.folder / "report.html").read_text("utf-8")


def test_a_training_writes_its_page_and_card(finished):
    text = (finished.folder / "report.html").read_text("utf-8")
    accuracy = finished.metrics["accuracy"]
    assert Page(text).figures()[0] == accuracy and f"{accuracy:.1%}" in text
    assert "</data> validation pictures, which also chose the checkpoint</p>" in text
    assert f"<li>kept: {sentences.describe_kept(finished.metrics)}</li>" in text
    assert "each half of the validation pictures has the temperature that the other half chose" in " ".join(
        text.split()
    )
    ids = {attrs["id"] for attrs, _ in Page(text).all("section")}
    absent = {"folds", "slices", "suspects"} | (set() if accuracy < 1 else {"gradcam"})
    assert ids == set(page.SECTIONS) - absent
    cells = {cell for _, cell in Page(text).all("td")}
    assert finished.choices and {choice["reason"] for choice in finished.choices} <= cells


def test_figures_are_those_of_the_metrics(run, made):
    metrics, shown = run.metrics, made.figures()
    assert shown[:4] == [metrics["accuracy"], *metrics["ci95"], metrics["n"]]
    scores = [metrics[name] for name in ("balanced_accuracy", "loss", "ece")] + metrics["intervals"]["loss"]
    scores += metrics["intervals"]["macro_f1"] + metrics["intervals"]["roc_auc"]
    scores += [metrics["macro"][name] for name in ("f1", "precision", "roc_auc", "average_precision")]
    scores += [metrics[name] for name in ("temperature", "ece_uncalibrated")]
    of_classes = [row[name] for row in metrics["per_class"].values() for name in ("n", "recall", "precision", "f1")]
    bins = [row[name] for row in metrics["reliability"] for name in ("confidence", "accuracy")]
    assert set(scores + of_classes + bins) <= set(shown)
    for attrs, text in made.all("data"):
        value = float(attrs["value"])
        assert text in (f"{value:.1%}", f"{value:.3f}", f"{value:,.0f}")


def test_the_confusion_matrix_has_counts_and_fractions(run, made):
    matrix = np.array(run.metrics["confusion"])
    cells = [(attrs, text) for attrs, text in made.all("td") if "title" in attrs]
    assert [attrs["title"].split(": ")[-1] for attrs, _ in cells] == [
        f"{count} of {row.sum()}" for row in matrix for count in row
    ]
    for (attrs, text), part, count in zip(
        cells, (matrix / matrix.sum(1, keepdims=True)).flat, matrix.flat, strict=True
    ):
        assert float(attrs["style"].removeprefix("--part: ")) == pytest.approx(part, abs=5e-4)
        assert text == (f"{round(100 * part):.0f}%{count}" if count else "")


def test_the_most_confused_pairs(run, made):
    cells = [text for attrs, text in made.all("td") if attrs.keys() <= {"class"}]
    for label, predicted, count in run.metrics["confused"]:
        assert [label, predicted, str(count)] in [cells[start : start + 3] for start in range(len(cells))]


def test_names_are_escaped_and_pictures_are_inside(run, made):
    """The reader fails on <b> that is open elsewhere; no element asks for a file or the network."""
    assert any(text == CLASSES[1] for _, text in made.all("th"))
    images = [attrs for attrs, _ in made.all("img")]
    wrong = round((1 - run.metrics["accuracy"]) * 40)
    assert len(images) == 3 + min(wrong, page.MAX_THUMBNAILS) and wrong > 1
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in images)
    assert not made.all("script") and not made.all("link")
    links = [attrs["href"].removeprefix("#") for attrs, _ in made.all("a")]
    assert set(links) == {attrs["id"] for attrs, _ in made.all("section")}
    assert any(text == "Do <this>." for _, text in made.all("li"))


def test_a_page_is_in_order_for_readers_of_screens(made):
    assert made.all("html")[0][0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in made.tags if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    assert all(attrs["scope"] in ("col", "row") for attrs, _ in made.all("th"))


def test_a_page_without_pictures_says_so(run, tmp_path):
    rows = [row | {"path": f"gone/{row['path']}"} for row in run.predictions]
    copied = shutil.copytree(run.folder, tmp_path / "run")
    atomic.write(copied / "predictions.csv", rows)
    made = Page(run_page.write_run_page(tk.load_run(copied), tmp_path / "page.html").read_text("utf-8"))
    assert len(made.all("img")) == 3
    assert any("no thumbnails, because the pictures cannot be read any more." in text for _, text in made.all("p"))
    with pytest.raises(FileNotFoundError, match="cannot be read any more, from gone/"):
        tk.load_run(copied).show_errors()


def test_names_that_are_not_text(run, tmp_path):
    copied = shutil.copytree(run.folder, tmp_path / "run")
    atomic.write(copied / "unreadable.csv", [{"path": "caf\udce9.jpg", "reason": "the file is empty"}])
    made = Page(run_page.write_run_page(tk.load_run(copied)).read_text("utf-8"))
    assert any(text == "caf?.jpg: the file is empty" for _, text in made.all("li"))


def test_a_missing_value_of_a_template_is_an_error():
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        pages.render("leaderboard.html", title="x")


def test_what_rejection_costs(run, tmp_path):
    """Of 101 pictures 99 are right: by one more mistake, 99/101 of the confident 100, and 99/102 of all."""
    copied = shutil.copytree(run.folder, tmp_path / "run")
    found = {
        "confidences": [0.9] * 100 + [0.5],
        "hits": [True] * 99 + [False, False],
        "label_probabilities": [0.5] * 101,
    }
    atomic.write(copied / "calibration.json", found)
    page = Page(run_page.write_run_page(tk.load_run(copied)).read_text("utf-8"))
    rows = [text.split() for _, text in page.all("tr") if text.split()[:1] in (["95%"], ["98%"], ["99%"])]
    assert rows == [["95%", "50.0%", "100.0%"], ["99%", "none", "is", "enough", "0.0%"]]


def test_folds_and_suspects(run, tmp_path):
    copied = shutil.copytree(run.folder, tmp_path / "run")
    fold = {"run": "runs/pets/fold-1", "accuracy": 0.75, "ci95": [0.5, 0.9], "n": 20, "loss": 0.625}
    folds = {"split": "folds", "folds": [fold], "mean": 0.75, "deviation": None}
    atomic.write(copied / "metrics.json", run.metrics | folds)
    suspect = {"path": run.predictions[0]["path"], "label": "cat", "likely": "fox & hen", "quality": "0.01"}
    atomic.write(copied / "suspects.csv", [suspect, suspect | {"path": "gone.jpg"}])
    page = Page(run_page.write_run_page(tk.load_run(copied)).read_text("utf-8"))
    assert {0.75, 0.5, 0.9, 0.625} <= set(page.figures())
    assert [attrs["alt"] for attrs, _ in page.all("img")][-1] == "A picture of class cat that is likely fox & hen"
    assert any(text.startswith("1 of 2 in suspects.csv") for _, text in page.all("p"))


# the page of an evaluation


def evaluate(cli, *words) -> tuple[dict, Page]:
    """The figures and the page of an evaluation."""
    status, out, error = cli("evaluate", *words, "--out", "found", "--json")
    assert status == 0, error
    with open("found/report.html", encoding="utf-8") as file:
        return json.loads(out), Page(file.read())


def test_an_evaluation_has_a_page(cli, finished, tmp_path):
    pictures = folder(tmp_path / "new", {"dog": 9, "cat": 9})  # in the colours of the other class
    found, page = evaluate(cli, finished.folder, "--data", pictures, "--slice", "brightness")
    assert page.figures()[:4] == [found["accuracy"], *found["ci95"], found["n"]]
    slices = [row["accuracy"] for row in found["slices"]["brightness"]]
    scores = [found["macro"]["f1"], found["loss"], found["ece"], found["binary"]["sensitivity"]]
    assert set(slices + scores) <= set(page.figures())
    ids = [attrs["id"] for attrs, _ in page.all("section")]
    assert ids == ["measured", "scores", "classes", "confusion", "calibration", "slices", "shift", "mistakes"]
    assert page.all("h1")[0][1] == f"{finished.folder} on {pictures}"
    assert not page.all("strong")


def test_an_evaluation_of_validation_pictures_has_the_saved_temperature(cli, finished):
    found, page = evaluate(cli, finished.folder)
    assert found["split"] == "val" and found["temperature"] == finished.network.temperature
    assert any("The temperature" in text for _, text in page.all("p"))
    assert not any("each half" in text for _, text in page.all("p"))


def test_the_page_says_what_was_trained_on(cli, finished, pets):
    found, page = evaluate(cli, finished.folder, "--data", pets)
    assert found["learned"] == 20 and page.figures()[:4] == [
        *(found["unseen"]["accuracy"], *found["unseen"]["ci95"], 4),
    ]
    assert any(f"Of all, {found['accuracy']:.1%} are right" in text for _, text in page.all("li"))
    document = atomic.read("found/metrics.json")
    del document["unseen"]
    atomic.write("found/metrics.json", document)
    page = Page(evaluation_page.write_evaluation_page(Path("found")).read_text("utf-8"))
    assert page.all("strong")[0][1] == "A network was trained on 20 of them, so the figures are too good."


def test_corrupted_pictures_are_a_table(tmp_path, run):
    rows = [{"strength": number, "accuracy": 0.9 - number / 10, "ci95": [0.1, 0.95], "n": 40} for number in range(1, 6)]
    document = run.metrics | {"networks": ["a", "b"], "data": "", "split": "test", "learned": 0}
    document |= {"crops": "10", "scales": [], "corrupted": {"mean": 0.61, "by_kind": {"noise": rows}}}
    document["unlike"] = {"n": 40, "count": 30, "share": 0.75, "p": 0.0, "clear": True}
    atomic.write(tmp_path / "metrics.json", document)
    shutil.copy(run.folder / "predictions.csv", tmp_path)
    page = Page(evaluation_page.write_evaluation_page(tmp_path).read_text("utf-8"))
    assert {0.61, *(row["accuracy"] for row in rows)} <= set(page.figures())
    texts = [text for tag in ("li", "p", "h1") for _, text in page.all(tag)]
    for part in (
        "a and b",
        "40 test pictures that they held out.",
        "10 crops",
        "30 of 40 pictures (75.0%) look unlike",
    ):
        assert any(part in text for text in texts), part


# the leaderboard


@pytest.fixture(scope="module")
def other(run, finished, tmp_path_factory):
    """A run on the same pictures with other figures, and another learning rate."""
    place = tmp_path_factory.mktemp("other")
    made = make_run(place / "run", [row["path"] for row in run.predictions], finished, seed=1)
    text = (made.folder / "recipe.toml").read_text("utf-8").replace("lr = 0.01 ", "lr = 0.02 ")
    (made.folder / "recipe.toml").write_text(text, "utf-8")
    return tk.load_run(made.folder)


def test_the_leaderboard(cli, run, other):
    status, out, err = cli("report", run.folder, other.folder, "--out", "runs.html", "--json")
    rows = json.loads(out)["runs"]
    best, worst = sorted((run, other), key=lambda each: -each.metrics["accuracy"])
    assert status == 0 and [row["run"] for row in rows] == [str(best.folder), str(worst.folder)]
    assert [row["ci95"] for row in rows] == [best.metrics["ci95"], worst.metrics["ci95"]]
    assert {row["run"]: row["knobs"] for row in rows} == {
        str(run.folder): {"lr": 0.01},
        str(other.folder): {"lr": 0.02},
    }
    assert "same pictures" not in err
    with open("runs.html", encoding="utf-8") as file:
        made = Page(file.read())
    assert made.figures()[:3] == [best.metrics["accuracy"], *best.metrics["ci95"]]
    assert [text for _, text in made.all("code")][0] == "lr"
    status, out, err = cli("report", run.folder, other.folder, "--out", "runs.html")
    assert status == 0 and f"{best.metrics['accuracy']:.1%}" in out


def test_the_leaderboard_says_if_pictures_differ(cli, run, finished):
    status, out, err = cli("report", run.folder, finished.folder, "--out", "runs.html")
    assert status == 0 and "not measured on the same pictures" in err


def test_wrong_command_lines(cli, run, tmp_path):
    assert cli("report", run.folder, run.folder)[0] == 2
    status, _, err = cli("report", run.folder, run.folder, "--out", "a.html")
    assert status == 2 and "needs two or more runs" in " ".join(err.split())
    status, _, err = cli("report", run.folder, "--out", "page.pdf")
    assert status == 2 and "--out must end in .html, not 'page.pdf'." in " ".join(err.split())
    status, _, err = cli("report", run.folder, "--out", "no/page.html")
    assert status == 2 and "no folder 'no' for --out" in " ".join(err.split())
    status, _, err = cli("report", "nowhere")
    assert status == 2 and "nowhere" in err
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(run.folder / "recipe.toml", unfinished)
    status, _, err = cli("report", unfinished)
    assert status == 2 and f"{unfinished} is not finished: transferkit finetune --resume" in " ".join(err.split())


def test_report_writes_the_page_again(cli, run, tmp_path):
    copied = shutil.copytree(run.folder, tmp_path / "again", ignore=shutil.ignore_patterns("report.html", "*.md"))
    status, out, err = cli("report", copied, "--json")
    assert status == 0 and json.loads(out)["files"] == [str(copied / "report.html"), str(copied / "MODEL_CARD.md")]
    assert Page((copied / "report.html").read_text("utf-8")).figures()[0] == run.metrics["accuracy"]
    assert (
        cli("report", copied, "--out", "elsewhere.html")[0] == 0
        and (tmp_path / "elsewhere.html").stat().st_size > 10_000
    )


def test_a_run_of_an_earlier_version(run, tmp_path):
    """Without choices, reliability and intervals the page has fewer sections."""
    copied = shutil.copytree(run.folder, tmp_path / "run")
    (copied / "choices.json").unlink()
    old = {name: value for name, value in run.metrics.items() if name not in ("reliability", "intervals", "macro")}
    atomic.write(copied / "metrics.json", old)
    earlier = tk.load_run(copied)
    made = Page(run_page.write_run_page(earlier).read_text("utf-8"))
    assert "calibration" not in {attrs["id"] for attrs, _ in made.all("section")}
    with pytest.raises(ValueError, match="has no reliability"):
        earlier.plot_calibration()
    assert leaderboard.compare_runs([run, earlier])[0]


# figures for notebooks


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_plots_of_a_run(run):
    matrix = np.array(run.metrics["confusion"])
    assert texts(run.plot_confusion(normalize=False)) == [str(count) for count in matrix.flat if count]
    fractions = (matrix / matrix.sum(1, keepdims=True)).flat
    assert texts(run.plot_confusion()) == [f"{part:.2f}" for part in fractions if part]
    line = run.plot_calibration().axes[0].lines[1]
    expected = [(row["confidence"], row["accuracy"]) for row in run.metrics["reliability"]]
    np.testing.assert_allclose(line.get_xydata(), expected)
    assert matplotlib.pyplot.get_fignums() == []


def test_show_errors(run):
    wrong = sorted(
        (row for row in run.predictions if row["label"] != row["predicted"]), key=lambda row: -row["probability"]
    )
    figure = run.show_errors(n=3)
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == [
        f"true: {row['label']}\npredicted ({row['probability']:.0%}): {row['predicted']}" for row in wrong[:3]
    ]
    assert len([axes for axes in run.show_errors(n=100).axes if axes.images]) == len(wrong)
    with pytest.raises(ValueError, match="n must be"):
        run.show_errors(n=0)


def test_an_unfinished_run_has_no_figures(run, tmp_path):
    (tmp_path / "recipe.toml").write_bytes((run.folder / "recipe.toml").read_bytes())
    for draw in ("plot_confusion", "plot_calibration", "show_errors"):
        with pytest.raises(FileNotFoundError, match="is not finished: transferkit finetune --resume"):
            getattr(tk.load_run(tmp_path), draw)()


def test_rows_are_those_of_the_file(run):
    with open(run.folder / "predictions.csv", newline="") as file:
        assert [row["path"] for row in run.predictions] == [row["path"] for row in csv.DictReader(file)]


def test_a_run_that_cannot_be_explained_has_its_page(run, monkeypatch):
    def fail(*_):
        raise ValueError("Explanations need Keras on TensorFlow, not on jax.")

    monkeypatch.setattr(closing_pages.explanations, "explain_surest", fail)
    (run.folder / "report.html").unlink(missing_ok=True)
    closing_pages.write_pages(run, run.network)
    assert (run.folder / "report.html").exists() and not (run.folder / "gradcam.png").exists()
