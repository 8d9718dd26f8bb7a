"""A network small enough to train in a test, and pictures it can tell apart."""

import os
import tarfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # pytest's workers share the processors
os.environ.setdefault("OMP_NUM_THREADS", "1")

import forked
import pytest
from pictures import folder

import transferkit as tk
from transferkit import atomic, commands, zoo
from transferkit.data.sources.resolve import find_splits
from transferkit.features import feature_folder
from transferkit.pixels import Pixels
from transferkit.zoo import layers
from transferkit.zoo.variant import Variant

UNIX_ONLY = ["test_full_disk.py", "test_only_files_are_read.py", "test_terminal.py"]  # they import modules of Unix
collect_ignore = [] if find_spec("resource") else UNIX_ONLY
PIXELS = Pixels(crop=32, resize=37)
QUICK = {"weights": "none", "size": 32, "batch_size": 8, "epochs": 4, "head_epochs": 2, "lr": 0.01, "seed": 3}


def _tiny(x, num_classes):
    for stage, width in enumerate((8, 16), start=1):
        x = layers.batch_norm(layers.conv(x, width, 3, 2, name=f"layer{stage}.conv"), name=f"layer{stage}.bn")
        x = layers.cut_point(layers.relu(x, name=f"layer{stage}.relu"), f"stage{stage}")
    return layers.head(layers.pooled(x), num_classes, name="fc")


@pytest.fixture(scope="session", autouse=True)
def tiny():
    """A network called `tiny`, of two convolutions, in the table of networks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.variants(), "tiny", Variant(_tiny, "fc", 18_416, 0, 16, PIXELS))
        yield "tiny"


@pytest.fixture(scope="session")
def pets(tmp_path_factory):
    """A folder of two classes that differ in colour."""
    return folder(tmp_path_factory.mktemp("pictures") / "pets", {"cat": 12, "dog": 12})


@pytest.fixture(scope="session")
def keras2(tmp_path_factory):
    """The folder with the models of `keras2_files.py`."""
    folder = tmp_path_factory.mktemp("keras2")
    with tarfile.open(Path(__file__).parent / "data" / "keras2.tar.xz") as file:
        file.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def listing(pets):
    return tk.list_images(pets)


@pytest.fixture(scope="session")
def finished(tiny, pets, tmp_path_factory):
    """A run of `tiny` on `pets` that ended well: two epochs of the head, two of all."""
    parts = find_splits(pets)
    return tk.finetune(tiny, parts.train, parts.val, out=tmp_path_factory.mktemp("runs") / "run", **QUICK)


@pytest.fixture(scope="session")
def zygote(tmp_path_factory):
    """Forks command lines into child processes: see `forked.py`."""
    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    with forked.zygote(tmp_path_factory.mktemp("home")) as process:
        yield process
        process.stdin.close()


@contextmanager
def cut_short(monkeypatch):
    """What is trained inside goes down as the second epoch of phase "all" begins."""
    from transferkit.training.fitting.progress_bar import ProgressBar

    begin = ProgressBar.on_epoch_begin

    def cut(self, epoch, logs=None):
        if epoch == 1 and self.phase.name == "all":
            raise MemoryError("the machine went down")
        begin(self, epoch, logs)

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(ProgressBar, "on_epoch_begin", cut)
        yield


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Tests never touch the user's cache folder."""
    monkeypatch.setenv("TRANSFERKIT_HOME", str(tmp_path / "home"))


@pytest.fixture
def cli(capsys, monkeypatch, tmp_path):
    """cli(*words) gives (exit status, standard output, standard error), in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        with pytest.raises(SystemExit) as end:
            commands.main([str(word) for word in words])
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture
def data(tmp_path):
    """A function that adds files to a folder of two good classes; names are paths below it."""
    root = folder(tmp_path / "data", {"cat": 3, "dog": 3})

    def add(files: dict[str, bytes]):
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return root

    return add


@pytest.fixture(scope="session")
def expected(tiny, listing):
    """The features of `tiny`, fresh, of `pets`."""
    return tk.FeatureExtractor("tiny", weights="none", cache=False).transform(listing)


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of 5 pictures."""
    begin = feature_folder.create_folder

    def smaller(*args):
        made = begin(*args)
        made.note["rows"] = 5
        atomic.write(made.path / feature_folder.NOTE, made.note)
        return made

    monkeypatch.setattr(feature_folder, "create_folder", smaller)
