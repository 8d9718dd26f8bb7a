"""Upload a run to the Hugging Face Hub: its network, card, figures and labels, and nothing that names a picture."""

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import transferkit
from transferkit import atomic, bases, hub, model_note, path_kinds, recipe_files, runs, untrusted_files
from transferkit.lookup import UnknownName, as_text
from transferkit.recipe import Recipe, list_knobs
from transferkit.report import model_card
from transferkit.report.model_card import without_folders

CARD, REPORT, EXPORTS = "README.md", "report.html", "exports"
SHIFT = "shift.npz"  # of `evaluation.shift`, which loads Keras
# what one push has and the next may not: removed from the repository then
PASSING = (runs.CALIBRATION, SHIFT, REPORT)
PRIVATE_KNOBS = (
    "data", "image_col", "label_col", "split_col", "image_dir", "image_suffix", "data_dir", "group_by", "pca",
    "classes", "teacher", "workers", "log",
)  # fmt: skip


@dataclass(frozen=True)
class Push:
    """What was uploaded.

    Attributes:
        name: `hf://USER/NAME`.
        url: of its page.
        commit: the revision that holds it, for `hf://USER/NAME@COMMIT`.
        files: their names, sorted.
    """

    name: str
    url: str
    commit: str
    files: tuple[str, ...]

    def to_dict(self) -> dict:
        return asdict(self)


def push(
    run: str | os.PathLike | runs.Run,
    name: str,
    *,
    private: bool = False,
    card: str | os.PathLike | None = None,
    exports: Sequence[str | os.PathLike] = (),
    with_report: bool = False,
    overwrite: bool = False,
) -> Push:
    """Upload a finished run to the Hugging Face Hub, in one commit.

    `model.keras` is uploaded as the file and as its members, so that `keras.saving.load_model("hf://USER/NAME")` loads
    it too. The pictures, their names and their folders stay here.

    Args:
        run: its folder, or a `Run`.
        name: `hf://USER/NAME`. The repository is made if there is none; earlier uploads stay in its history.
        private: whether a new repository is private.
        card: a Markdown file to upload as the model card; by default one is written from the run.
        exports: files and folders that `export` wrote, for the folder `exports`.
        with_report: whether `report.html` is uploaded too, which shows pictures and names them.
        overwrite: whether a repository that holds something else is written to.

    Returns:
        What was uploaded.

    Raises:
        UnknownName: the name is not `hf://USER/NAME`, or the extra `hub` is not installed.
        FileNotFoundError: there is no such run or file, or the run is not finished.
        FileExistsError: the repository holds something that is not a run.
        PermissionError: there is no token.
        OSError: the Hub cannot be reached, or refuses the token.
        ValueError: it is not a run with a network, or the Hub refuses the card.

    Example:
        >>> push("runs/pets", "hf://ada/pets").url  # doctest: +SKIP
        'https://huggingface.co/ada/pets'
    """
    name = as_text(name, "name")
    run = run if isinstance(run, runs.Run) else as_text(run, "run")
    check_request(name, card=card, exports=exports)
    run = run if isinstance(run, runs.Run) else runs.load_run(run)
    with tempfile.TemporaryDirectory(prefix="transferkit-") as folder:
        staged = Path(folder)
        stage(run, name, staged, card=card, exports=exports, with_report=with_report)
        return _upload(name, staged, private=private, overwrite=overwrite)


def check_request(name: str, *, card=None, exports: Sequence = ()):
    """Check the name, the token and the files of a push.

    Raises:
        UnknownName, FileNotFoundError, PermissionError: as `push`.
    """
    revision = hub.check(name)[1]
    if revision:
        raise UnknownName(f"push writes to the branch main: omit @{revision}.")
    for path in (*exports, *([card] if card else [])):
        if not os.path.exists(path):
            raise FileNotFoundError(f"There is no {path} to upload.{path_kinds.suggest_path(str(path))}")
    from huggingface_hub import get_token

    if not get_token():
        raise PermissionError(
            f"There is no token for {hub.endpoint()}: make one with the permission to write there, and give it as "
            "HF_TOKEN, or once to `hf auth login`."
        )


def stage(run: runs.Run, name: str, folder: Path, *, card=None, exports: Sequence = (), with_report: bool = False):
    """Write all that is uploaded into a folder.

    Raises:
        FileNotFoundError: the run is not finished, or has no page.
        ValueError: it has no network.
    """
    figures, model = run.metrics, bases.find_model(str(run.folder))
    _copy_model(model, folder)
    text = Path(card).read_text("utf-8") if card else model_card.render_card(run, name.rpartition("/")[2], name)
    atomic.write(folder / CARD, text)
    atomic.write(folder / "metrics.json", without_paths(figures, frozenset(run.classes)))
    atomic.write(folder / "classes.txt", "".join(f"{label}\n" for label in run.classes))
    atomic.write(folder / "recipe.toml", recipe_files.dumps(without_private_knobs(run.recipe)))
    kept = [*PASSING[:2], *([REPORT] if with_report else [])]
    if with_report and not (run.folder / REPORT).is_file():
        raise FileNotFoundError(f"{run.folder} has no {REPORT}: transferkit report {run.folder} writes it.")
    for file in kept:
        if (run.folder / file).is_file():
            shutil.copyfile(run.folder / file, folder / file)
    for path in map(Path, exports):
        (folder / EXPORTS).mkdir(exist_ok=True)
        copy = shutil.copytree if path.is_dir() else shutil.copyfile
        copy(path, folder / EXPORTS / path.resolve().name)


def _copy_model(model: Path, folder: Path):
    """Copy a run's `model.keras`, without the folders of its base, and its members as Keras saves them to hf://."""
    with zipfile.ZipFile(model) as old, zipfile.ZipFile(folder / hub.MODEL, "w") as new:
        for member in old.infolist():
            if member.filename == model_note.NOTE:
                note = untrusted_files.from_json(untrusted_files.member(old, model_note.NOTE, model_note.MOST_BYTES))
                note["base"] = without_folders(note["base"])
                new.writestr(member, json.dumps(note, ensure_ascii=False, indent=1))
                continue
            with old.open(member) as source, new.open(member, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, 1 << 20)
        for file in hub.LAYOUT:
            old.extract(file, folder)


def without_paths(value: Any, labels: frozenset[str]) -> Any:
    """Figures without the texts that may be paths or names of pictures; labels stay.

    Example:
        >>> without_paths({"accuracy": 0.9, "from": "/home/ada/a.jpg"}, frozenset())
        {'accuracy': 0.9}
    """

    def is_public(text) -> bool:
        if not isinstance(text, str) or text in labels:
            return True
        return without_folders(text) == text and not text.lower().endswith(path_kinds.PICTURES)

    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if is_public(key) and is_public(each)}
        return {key: without_paths(each, labels) for key, each in kept.items()}
    if isinstance(value, list):
        return [without_paths(each, labels) for each in value if is_public(each)]
    return value


def without_private_knobs(recipe: Recipe) -> Recipe:
    """A recipe without the knobs that say where something is on this machine; a name that anybody may load stays."""
    knobs = list_knobs("data", "augment", "model", "train")
    private = {knob.name: knob.default for knob in knobs if knob.name in PRIVATE_KNOBS}
    if recipe.data.data.startswith("tfds:"):
        del private["data"]
    names = {knob: without_folders(getattr(recipe.model, knob)) for knob in ("base", "weights")}
    return recipe.override(**private, **names)


def _upload(name: str, folder: Path, *, private: bool, overwrite: bool) -> Push:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    repo, files = hub.parse(name)[0], sorted(path for path in folder.rglob("*") if path.is_file())
    api = HfApi(endpoint=hub.endpoint(), library_name="transferkit", library_version=transferkit.__version__)
    staged = {path.relative_to(folder).as_posix(): path for path in files}
    with hub.explained(name):
        api.create_repo(repo, private=private or None, exist_ok=True)
        present = set(api.list_repo_files(repo))
    _check_repository(name, present, overwrite=overwrite)
    passed = [file for file in sorted(present - set(staged)) if file in PASSING or file.startswith(f"{EXPORTS}/")]
    changes: list = [
        *(CommitOperationAdd(path_in_repo=file, path_or_fileobj=str(path)) for file, path in staged.items()),
        *(CommitOperationDelete(path_in_repo=file) for file in passed),
    ]
    with hub.explained(name):
        made = api.create_commit(repo, changes, commit_message=f"Upload with transferkit {transferkit.__version__}")
    hub.forget()
    return Push(name, f"{hub.endpoint()}/{repo}", made.oid, tuple(sorted(staged)))


def _check_repository(name: str, present: set[str], *, overwrite: bool):
    """Raise `FileExistsError` if a repository holds files, and none that only a run has."""
    others = sorted(present - {".gitattributes", CARD})
    if others and "recipe.toml" not in others and not overwrite:
        few = ", ".join(others[:3]) + (" and more" if len(others) > 3 else "")
        raise FileExistsError(f"{name} holds something that is not a run ({few}): give another name, or overwrite it.")
