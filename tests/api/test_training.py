"""Training from Python: as the commands do, with nothing printed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

import cov3d as package
from cov3d.api import training
from cov3d.api.given import computation, training_options
from cov3d.api.tracking import Tracking, asked
from cov3d.api.tuning import tune
from cov3d.api.weights import fetch_weights
from cov3d.errors import CheckpointError, Cov3dError, StoppedError
from cov3d.listener import Cov3dWarning, Listener
from cov3d.models.names import Architecture
from cov3d.preprocessing.sizes import Size
from cov3d.training.learner import Run
from cov3d.training.options import Compute, Precision, TrainingOptions
from tests.conftest import Ended
from tests.server import FakeServer
from tests.training.conftest import fill, quick_network  # noqa: F401  a fixture

Command = Callable[..., Ended]
QUICK = {"size": "tiny", "epochs": 1, "pretrained": False, "device": "cpu"}
WORDS = ("--size", "tiny", "--epochs", 1, "--no-pretrained", "--device", "cpu")
pytestmark = pytest.mark.filterwarnings("ignore::cov3d.listener.Cov3dWarning")


class Heard(Listener):
    """Notes what it hears."""

    def __init__(self) -> None:
        self.reported: list[str] = []
        self.warned: list[str] = []
        self.stopped: list[str] = []

    def say(self, sentence: str) -> None:
        self.reported.append(sentence)

    def warn(self, sentence: str) -> None:
        self.warned.append(sentence)

    @contextmanager
    def stoppable(self, what_then: str) -> Iterator[None]:
        self.stopped.append(what_then)
        yield


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three scans in each fold."""
    labels = ["non-covid", "mild", "severe"] * 5
    _, table = fill(tmp_path / "preprocessed" / "tiny", labels, [fold for fold in range(5) for _ in range(3)])
    table.to_csv(tmp_path / "scans.csv", index=False)
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    """The files of a run that hold no time and no path, by name."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix != ".pt"}


@pytest.mark.usefixtures("quick_network")
def test_train_writes_what_the_command_writes_and_prints_nothing(
    cov3d: Command, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = cov3d("train", "--data", data, *WORDS, "--output-dir", data / "command", "--gamma", 1)
    assert ended.code == 0, ended.err
    run = package.train(str(data), output_dir=str(data / "python"), gamma=1, **QUICK)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert isinstance(run, Run)
    assert files(data / "python") == files(data / "command")
    score = run.best["presence"].scores["presence"].macro_f1
    assert score is not None
    assert f"best presence macro F1 {score:.3f}" in ended.out


@pytest.mark.usefixtures("quick_network")
def test_three_lines_of_a_stranger_train_and_what_they_should_know_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, table = fill(tmp_path / "preprocessed" / "tiny", ["non-covid", "mild", "non-covid", "non-covid"], [1, 1, 0, 0])
    table.to_csv(tmp_path / "scans.csv", index=False)
    monkeypatch.chdir(tmp_path)
    with pytest.warns(Cov3dWarning, match="no scan of fold 0 could be scored for severity"):
        run = package.train(**QUICK)
    assert run.folder == Path("runs/resnet_tiny_epochs-1_pretrained-False_fold-0_seed-0")
    assert run.history["epoch"].tolist() == [1]


@pytest.mark.usefixtures("quick_network")
def test_a_finished_run_comes_back_as_it_was(data: Path) -> None:
    first = package.train(data, fold=2, **QUICK)
    (first.folder / "last.pt").unlink()
    heard = Heard()
    again = package.train(data, fold=2, resume=True, listener=heard, **QUICK)
    assert heard.reported == [f"the run in {first.folder} is finished"]
    assert again.model is None
    pd.testing.assert_frame_equal(again.history, first.history, check_dtype=False)
    for task in ("presence", "severity"):
        assert again.best[task].epoch == first.best[task].epoch
        assert again.best[task].scores[task].macro_f1 == first.best[task].scores[task].macro_f1
        assert again.last[task].macro_f1 == pytest.approx(first.last[task].macro_f1)
        assert again.last[task].classes == first.last[task].classes
    with pytest.raises(CheckpointError, match="is different"):
        package.train(data, output_dir=first.folder, fold=2, resume=True, gamma=1.0, **QUICK)


@pytest.mark.usefixtures("quick_network")
def test_a_listener_hears_what_the_command_prints(cov3d: Command, data: Path) -> None:
    heard = Heard()
    run = package.train(data, listener=heard, **QUICK)
    assert heard.stopped == [f"{run.folder} holds every epoch that was finished, and --resume continues"]
    printed = cov3d("train", "--data", data, *WORDS, "--overwrite")
    assert heard.reported
    assert [sentence for sentence in heard.reported if sentence not in printed.out] == []
    assert [sentence for sentence in heard.warned if sentence not in printed.err] == []


def test_keywords_are_the_fields_of_the_options() -> None:
    chosen = training_options(None, {"experiment": 6, "size": "tiny", "precision": "fp32", "epochs": None}, fold=3)
    assert (chosen.experiment, chosen.size, chosen.epochs, chosen.fold, chosen.seed) == (6, Size.TINY, 50, 3, 6)
    assert chosen.precision is Precision.FP32
    assert training_options(None, {"distances": [1, 2, 3, 4]}).distances == (1.0, 2.0, 3.0, 4.0)
    assert training_options(TrainingOptions(gamma=1.0), {"workers": 3}, fold=1) == TrainingOptions(gamma=1.0, fold=1)
    assert computation("cpu", None, {"compile": True, "gamma": 1.0}).compute == Compute(compile=True)
    assert computation("cpu", Compute(workers=4), {}).compute == Compute(workers=4)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"size": "huge"}, "size is one of tiny, small, medium, large, not 'huge'"),
        ({"architecture": "vgg"}, "architecture is one of resnet, "),
        ({"epochs": "3"}, "epochs is a whole number, not '3'"),
        ({"epochs": 2.5}, "epochs is a whole number, not 2.5"),
        ({"gamma": None, "dropout": True}, "dropout is a number, not True"),
        ({"reflect": "no"}, "reflect is True or False, not 'no'"),
        ({"fold": 7}, "--fold must be from 0 to 4, not 7"),
        ({"experiment": 23}, "the paper's experiments are 1 to 22"),
        ({"trackers": ["mlflow"]}, "trackers are tensorboard, wandb, wandb-offline, not 'mlflow'"),
        ({"resume": True, "overwrite": True}, "cannot be combined"),
    ],
)
def test_a_wrong_value_is_one_sentence(given: dict[str, object], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(Cov3dError, match=sentence):
        package.train(tmp_path, **given)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"epoch": 3}, "epoch is neither an argument nor a hyper-parameter; did you mean epochs"),
        ({"options": TrainingOptions(), "gamma": 1.0}, "give either options or gamma"),
        ({"compute": Compute(), "workers": 1}, "give either compute or workers"),
    ],
)
def test_a_wrong_keyword_is_a_type_error(given: dict[str, object], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=sentence):
        package.train(tmp_path, pretrained=None, **given)  # type: ignore[arg-type]


def test_trackers_go_by_name() -> None:
    assert asked(()) == Tracking()
    assert asked("tensorboard") == asked(["tensorboard"]) == Tracking(tensorboard=True)
    assert asked(["wandb-offline", "tensorboard"]) == Tracking(tensorboard=True, wandb=True, offline=True)


@pytest.mark.usefixtures("quick_network")
def test_crossval_collects_what_the_command_collects(cov3d: Command, data: Path) -> None:
    heard = Heard()
    assert package.crossval(data, fold=1, listener=heard, **QUICK) is None
    assert "folds 0, 2, 3, 4 are not finished" in heard.reported
    result = package.crossval(data, output_dir=data / "python", **QUICK)
    assert result is not None
    assert result.folder == data / "python"
    assert len(result.found.tables["presence"]) == 15
    ended = cov3d("crossval", "--data", data, *WORDS, "--output-dir", data / "command")
    assert ended.code == 0, ended.err
    assert files(data / "python") == files(data / "command")
    table = pd.read_csv(data / "scans.csv")
    table[table["scan"] != table["scan"].iloc[0]].to_csv(data / "scans.csv", index=False)
    with pytest.raises(CheckpointError, match="5 of 5 runs can't be used") as refused:
        package.crossval(data, **QUICK)
    assert [note.split(":")[0] for note in refused.value.__notes__] == [f"fold {fold}" for fold in range(5)]


@pytest.mark.usefixtures("quick_network")
def test_tune_gives_the_options_to_train_with(data: Path) -> None:
    heard = Heard()
    found = tune(data, trials=1, search=["gamma=1:2"], objective="mean", listener=heard, **QUICK)
    assert found.searched == ("gamma",)
    assert found.options.gamma == found.best.options["gamma"]
    assert (found.folder / "trials.csv").is_file()
    assert f"--gamma {found.options.gamma}" in found.command
    assert heard.reported[0].startswith("trial 1 of 1: gamma ")
    for wrong, sentence in (({"objective": "auc"}, "objective is one of"), ({"trials": 0}, "trials is 1 or more")):
        with pytest.raises(Cov3dError, match=sentence):
            tune(data, **wrong, **QUICK)  # type: ignore[arg-type]


def test_fetched_weights_come_back_as_paths(server: FakeServer, tmp_path: Path) -> None:
    heard = Heard()
    (file,) = fetch_weights("mc3", weights_dir=str(tmp_path), listener=heard)
    assert file.read_bytes() == server.published(Architecture.MC3)
    assert "checksum verified" in heard.reported[-1]
    with pytest.raises(Cov3dError, match="architecture is one of resnet"):
        fetch_weights("vgg", weights_dir=tmp_path)


@pytest.mark.usefixtures("quick_network")
def test_ctrl_c_reaches_a_python_caller_as_it_is(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training.learner, "train", interrupt)
    with pytest.raises(KeyboardInterrupt) as stopped:
        package.train(data, **QUICK)
    assert not isinstance(stopped.value, StoppedError)
