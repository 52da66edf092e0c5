"""`cov3d crossval` of runs that lie elsewhere, of runs of another scan table, and of data that is only read."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cov3d.errors import OutputError
from cov3d.training import checkpoint, learner
from tests.app.test_crossval import NAME, PROBABILITIES, Command, forbid_training
from tests.training.conftest import fill

LABELS = ["non-covid", "mild", "severe"] * 5


def write_table(root: Path) -> pd.DataFrame:
    """Fifteen scans in five folds, every class in each, and their store."""
    _, table = fill(root / "preprocessed" / "tiny", LABELS, [fold for fold in range(5) for _ in range(3)])
    table.to_csv(root / "scans.csv", index=False)
    return table


def files_below(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_table(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def crossval(cov3d: Command, data: Path) -> Command:
    base = ["crossval", "--data", data, "--size", "tiny", "--no-pretrained", "--epochs", 1, "--device", "cpu"]
    return lambda *words: cov3d(*base, *words)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def trained(crossval: Command, data: Path, quick_network: None, kept: Path) -> Path:
    """The folder of five finished runs, DATA/runs: trained once, and copied."""
    if any(kept.iterdir()):
        shutil.copytree(kept, data / "runs")
    else:
        assert crossval().code == 0
        shutil.copytree(data / "runs", kept, dirs_exist_ok=True)
    return data / "runs"


def run_of(trained: Path, fold: int) -> Path:
    return trained / NAME.format(fold).replace("epochs-2", "epochs-1")


def test_nothing_is_written_to_the_data(crossval: Command, data: Path, tmp_path: Path, quick_network: None) -> None:
    before = files_below(data)
    for words in (["--fold", 2], [], ["--output-dir", tmp_path / "collected"]):
        ended = crossval("--runs", tmp_path / "runs", *words)
        assert ended.code == 0, ended.err
    assert files_below(data) == before
    assert len(pd.read_csv(tmp_path / "collected" / "out-of-fold-presence.csv")) == len(LABELS)
    assert (tmp_path / "runs" / "crossval_resnet_tiny_epochs-1_pretrained-False_seed-0" / "folds.csv").is_file()


def test_runs_of_any_name_are_found_by_their_options(
    crossval: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected = pd.read_csv(next(trained.glob("crossval_*")) / "out-of-fold-presence.csv")
    gathered = tmp_path / "gathered"
    for fold, name in enumerate(("a", "b", "machine-1/c", "machine-1/runs/d", "machine-2/runs/e")):
        shutil.copytree(run_of(trained, fold), gathered / name)
    (gathered / "not-a-run").mkdir()
    (gathered / "not-a-run" / "config.json").write_text("[]")
    forbid_training(monkeypatch)
    ended = crossval("--runs", gathered, "--output-dir", tmp_path / "out")
    assert ended.code == 0, ended.err
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "out-of-fold-presence.csv"), collected)

    shutil.copytree(run_of(trained, 3), gathered / "again")
    ended = crossval("--runs", gathered, "--output-dir", tmp_path / "out")
    assert ended.code == 2
    assert "fold 3 was trained 2 times with these options" in ended.err
    assert all(str(gathered / name) in ended.err for name in ("again", "machine-1/runs/d"))


def test_runs_of_other_options_are_not_taken(
    crossval: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(run_of(trained, 0), tmp_path / "gathered" / "a")
    asked: list[int] = []
    monkeypatch.setattr(learner, "train", lambda options, *_, **__: asked.append(options.fold) or pytest.skip())
    words = ("--runs", tmp_path / "gathered", "--fold", 0)
    assert crossval(*words).code == 0
    assert asked == []
    with pytest.raises(pytest.skip.Exception):
        crossval(*words, "--gamma", 3)
    assert asked == [0]


def changed(table: pd.DataFrame, change: str) -> pd.DataFrame:
    """The table with one scan more, less, labelled otherwise, or in another fold; scan_4 was in fold 1."""
    scan = table["scan"] == "train/x/scan_4"
    if change == "added":
        return pd.concat([table, table[scan].assign(scan="train/x/another")])
    if change == "gone":
        return table[~scan]
    if change == "relabelled":
        return table.assign(label=table["label"].mask(scan, "critical"))
    return table.assign(fold=table["fold"].mask(scan, 3))


@pytest.mark.parametrize("record", ["fold.csv", "checkpoints and tables"])
@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ("added", "1 scan is added to the scan table since (train/x/another)"),
        ("gone", "1 scan is no longer in the scan table"),
        ("relabelled", "1 scan is labelled differently since (train/x/scan_4: mild, now critical)"),
        ("moved", "1 scan is in another fold since (train/x/scan_4)"),
    ],
)
def test_runs_of_another_scan_table_are_refused(
    crossval: Command,
    data: Path,
    trained: Path,
    change: str,
    reported: str,
    record: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if record != "fold.csv":  # as an older version left the runs
        for fold in range(5):
            (run_of(trained, fold) / "fold.csv").unlink()
    changed(pd.read_csv(data / "scans.csv"), change).to_csv(data / "scans.csv", index=False)
    before = files_below(trained)
    forbid_training(monkeypatch)
    ended = crossval()
    assert ended.code == 2
    assert reported in ended.err
    assert str(run_of(trained, 1)) in ended.err
    assert "Traceback" not in ended.err
    assert "macro F1" not in ended.out
    assert files_below(trained) == before
    alone = crossval("--fold", 1)
    assert (alone.code, reported in alone.err) == (2, True)


def test_a_label_of_a_training_scan_alone_is_noticed(crossval: Command, data: Path, trained: Path) -> None:
    changed(pd.read_csv(data / "scans.csv"), "relabelled").to_csv(data / "scans.csv", index=False)
    ended = crossval("--fold", 0)  # which was not validated on the scan
    assert ended.code == 2
    assert "train/x/scan_4: mild, now critical" in ended.err


def test_runs_that_started_from_other_weights_are_not_put_together(crossval: Command, trained: Path) -> None:
    config = run_of(trained, 2) / "config.json"
    config.write_text(config.read_text().replace('"kind": "random"', '"kind": "kinetics"'))
    ended = crossval()
    assert ended.code == 2
    assert f"{run_of(trained, 2)} and {run_of(trained, 0)} differ in their initial weights" in ended.err


def test_runs_that_can_only_be_read_are_collected(
    crossval: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Likely by a little, and right nine times of ten: a temperature below 1 that is not at the end of its range.
    for fold in range(5):
        for task in ("presence", "severity"):
            file = run_of(trained, fold) / f"validation-{task}.csv"
            table = pd.read_csv(file)
            true = [["non-covid", "mild", "moderate", "severe"].index(label) for label in table["label"]]
            true = [1 - place if place < 2 and fold == 0 else place for place in true]
            table[PROBABILITIES] = 0.1 + 0.5 * np.eye(5)[true]
            table["presence"] = np.where(np.array(true) == 0, "non-covid", "covid")
            table.to_csv(file, index=False)
    write = checkpoint.write_temperature

    def refuse(file: Path, temperature: float) -> None:
        raise OutputError(f"{file} can't be written: Read-only file system")

    monkeypatch.setattr(checkpoint, "write_temperature", refuse)
    ended = crossval("--output-dir", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "presence: the temperature is not written" in ended.err
    assert "Read-only file system" in ended.err
    assert (tmp_path / "out" / "scores.json").is_file()
    monkeypatch.setattr(checkpoint, "write_temperature", write)


def test_a_scan_table_that_can_not_be_written_beside_the_data(
    cov3d: Callable[..., object], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cov3d.datasets import scan_table

    (data / "scans.csv").unlink()
    (data / "train" / "covid" / "ct_scan_1").mkdir(parents=True)
    for number in (1, 2):
        (data / "train" / "covid" / "ct_scan_1" / f"{number}.jpg").write_bytes(b"")
    original = scan_table.write_text

    def write(file: Path, text: str) -> None:
        if file.is_relative_to(data):
            raise OutputError(f"{file} can't be written: Read-only file system") from OSError(errno.EROFS, "")
        original(file, text)

    monkeypatch.setattr(scan_table, "write_text", write)
    ended = cov3d("folds", "--data", data)
    assert (ended.code, "give another place with --table" in ended.err) == (2, True)
    table = tmp_path / "scans.csv"
    assert cov3d("folds", "--data", data, "--table", table).code == 0
    assert table.is_file()
