"""`cov3d crossval`: every fold once, done ones skipped, interrupted ones gone on with, and the whole put together."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from cov3d.evaluation import crossval as crossvalidation
from cov3d.evaluation.temperature import Temperature
from cov3d.labels import SEVERITIES
from cov3d.training import learner
from cov3d.training.checkpoint import read_info, seen_in_training
from tests.conftest import Ended
from tests.training.conftest import fill

Command = Callable[..., Ended]
PROBABILITIES = ["p_non_covid", "p_mild", "p_moderate", "p_severe", "p_critical"]
NAME = "resnet_tiny_epochs-2_pretrained-False_fold-{}_seed-0"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Fifteen scans in five folds; fold 4 has no graded scan."""
    labels = ["non-covid", "mild", "severe"] * 4 + ["non-covid", "covid", "non-covid"]
    _, table = fill(tmp_path / "preprocessed" / "tiny", labels, [fold for fold in range(5) for _ in range(3)])
    table.to_csv(tmp_path / "scans.csv", index=False)
    return tmp_path


@pytest.fixture
def crossval(cov3d: Command, data: Path) -> Command:
    base = ["crossval", "--data", data, "--size", "tiny", "--no-pretrained", "--epochs", 2, "--device", "cpu"]
    return lambda *words: cov3d(*base, *words)


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "train", lambda *_, **__: pytest.fail("a fold was trained again"))


@pytest.mark.usefixtures("quick_network")
def test_every_labelled_scan_is_predicted_by_the_network_that_did_not_see_it(
    crossval: Command, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = crossval()
    assert ended.code == 0, ended.err
    folder = data / "runs" / "crossval_resnet_tiny_epochs-2_pretrained-False_seed-0"
    table, scans = pd.read_csv(folder / "out-of-fold-presence.csv"), pd.read_csv(data / "scans.csv")
    together = table.merge(scans, on="scan", suffixes=("", "_of_table"), validate="one_to_one")
    assert len(together) == len(scans)
    assert (together["label"] == together["label_of_table"]).all()
    found = json.loads((folder / "scores.json").read_text())["calibration"]["presence"]
    for fold in range(5):
        run = data / "runs" / NAME.format(fold)
        mine = table[table["scan"].isin(scans.loc[scans["fold"] == fold, "scan"])].reset_index(drop=True)
        assert set(mine.pop("fold")) == {fold}
        pd.testing.assert_frame_equal(mine, pd.read_csv(run / "validation-presence.csv"))
        info = read_info(run / "presence.safetensors")
        assert seen_in_training(info, mine["scan"]) == 0
        assert info.temperature == pytest.approx(found["temperature"])

    origin = json.loads((folder / "origin.json").read_text())
    assert origin["seen_in_training"] == 0
    assert [(folder / network / "config.json").exists() for network in origin["networks"]] == [True] * 5

    wanted = f1_score(table["label"] != "non-covid", table["presence"] == "covid", average="macro")
    assert f"{wanted:.3f}" in ended.out
    folds = pd.read_csv(folder / "folds.csv")
    presence = folds[folds["task"] == "presence"]
    assert presence["macro_f1"].notna().all()
    mean, deviation = np.mean(presence["macro_f1"]), np.std(presence["macro_f1"], ddof=1)
    assert f"{mean:.3f} ± {deviation:.3f}" in ended.out
    severity = folds[folds["task"] == "severity"]
    assert severity["macro_f1"].isna().tolist() == [False] * 4 + [True]

    before = {file: file.read_bytes() for file in (data / "runs").rglob("*") if file.is_file()}
    forbid_training(monkeypatch)
    assert crossval().code == 0
    assert {file: file.read_bytes() for file in (data / "runs").rglob("*") if file.is_file()} == before


def sources_of(data: Path) -> Path:
    """A table of the source of every scan."""
    pd.read_csv(data / "scans.csv")[["scan"]].assign(source="north").to_csv(data / "sources.csv", index=False)
    return data / "sources.csv"


@pytest.mark.usefixtures("quick_network")
def test_every_source_is_scored_by_its_out_of_fold_predictions(crossval: Command, data: Path) -> None:
    sources = data / "sources.csv"
    sources.write_text("scan,source\ntrain/elsewhere,north\n")
    ended = crossval("--sources", sources)
    assert (ended.code, "has none of the scans" in ended.err, (data / "runs").exists()) == (2, True, False)

    scans = pd.read_csv(data / "scans.csv")["scan"]
    of_scan = {scan: ("north", "south")[number % 2] for number, scan in enumerate(scans)}
    pd.DataFrame(of_scan.items(), columns=["scan", "source"]).to_csv(sources, index=False)
    ended = crossval("--sources", sources, "--output-dir", data / "collected")
    assert (ended.code, "Macro F1 by source" in ended.out) == (0, True), ended.err
    found = pd.read_csv(data / "collected" / "centres.csv", keep_default_na=False)
    for task, true in (("presence", ["non-covid", "covid"]), ("severity", list(SEVERITIES))):
        table = pd.read_csv(data / "collected" / f"out-of-fold-{task}.csv")
        for source in ("north", "south"):
            mine = table[table["scan"].map(of_scan) == source]
            if task == "severity":
                mine = mine[mine["label"].isin(SEVERITIES)]
            labels = mine["label"].where(mine["label"].isin(true), "covid")
            wanted = f1_score(labels, mine[task], labels=true, average="macro", zero_division=0.0)
            rows = found[(found["source"] == source) & (found["task"] == task) & (found["score"] == "macro F1")]
            assert rows["value"].astype(float).tolist() == [pytest.approx(wanted)]


@pytest.mark.usefixtures("quick_network")
def test_a_fold_a_job_and_then_collected(crossval: Command, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for fold in (3, 1):
        ended = crossval("--fold", fold)
        assert (ended.code, "the same command with --collect, without --fold" in ended.out) == (0, True)
    assert "folds 0, 2, 4 are not finished" in ended.out
    assert sorted(path.name for path in (data / "runs").iterdir()) == [NAME.format(1), NAME.format(3)]
    trained: list[int] = []
    original = learner.train

    def noting(options: learner.TrainingOptions, *arguments: object, **how: object) -> learner.Run:
        trained.append(options.fold)
        return original(options, *arguments, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(learner, "train", noting)
    refused = crossval("--collect")
    assert refused.code == 2
    assert "3 of 5 runs" in refused.err
    assert "(folds 0, 2, 4): run the same command with --fold 0 and so on" in " ".join(refused.err.split())
    assert trained == []
    assert crossval().code == 0
    assert trained == [0, 2, 4]
    collected = crossval("--collect")
    assert (collected.code, trained) == (0, [0, 2, 4]), collected.err
    assert "cannot be combined" in crossval("--collect", "--fold", 1).err


@pytest.mark.usefixtures("quick_network")
def test_runs_of_different_scan_tables_are_not_put_together(crossval: Command, data: Path) -> None:
    assert crossval("--fold", 0).code == 0
    table = pd.read_csv(data / "scans.csv")
    table["fold"] = (table["fold"] + 1) % 5
    table.to_csv(data / "scans.csv", index=False)
    ended = crossval()
    assert ended.code == 2
    assert "6 scans are in another fold since" in ended.err
    assert "--table" in ended.err


@pytest.mark.usefixtures("quick_network")
def test_a_run_that_lost_a_file_is_named(crossval: Command, data: Path) -> None:
    assert crossval("--sources", sources_of(data), "--output-dir", data / "c").code == 0
    assert crossval("--output-dir", data / "c").code == 0
    assert not (data / "c" / "centres.csv").exists()
    run = data / "runs" / NAME.format(1)
    for name, content in (("validation-severity.csv", None), ("summary.json", "{}"), ("config.json", "[]")):
        file = run / name
        kept = file.read_bytes()
        if content is None:
            file.unlink()
        else:
            file.write_text(content)
        ended = crossval()
        assert (ended.code, str(file) in ended.err, "Traceback" in ended.err) == (2, True, False), ended.err
        file.write_bytes(kept)
    table = pd.read_csv(run / "validation-presence.csv")
    table.drop(columns="label").to_csv(run / "validation-presence.csv", index=False)
    ended = crossval()
    assert (ended.code, "has no labels" in ended.err) == (2, True)


@pytest.mark.usefixtures("quick_network")
def test_a_temperature_that_would_spoil_the_calls_is_not_written(
    crossval: Command, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert crossval("--no-temperature").code == 0
    checkpoints = [data / "runs" / NAME.format(fold) / "presence.safetensors" for fold in range(5)]
    assert [read_info(file).temperature for file in checkpoints] == [None] * 5
    for fold in range(5):  # sure of non-COVID by a little more than half: any softening calls it positive
        file = data / "runs" / NAME.format(fold) / "validation-presence.csv"
        table = pd.read_csv(file)
        positive = (table["label"] != "non-covid").to_numpy()[:, None]
        table[PROBABILITIES] = np.where(positive, [0.1, 0.9, 0.0, 0.0, 0.0], [0.55, 0.15, 0.1, 0.1, 0.1])
        table["presence"] = np.where(positive[:, 0], "covid", "non-covid")
        table.to_csv(file, index=False)
    monkeypatch.setattr(
        crossvalidation, "fit_temperature", lambda table, categories: Temperature(3.0, 1.0, 0.9, 12, False)
    )
    ended = crossval()
    assert ended.code == 0, ended.err
    assert "presence: the temperature is not written: it would lower macro F1 from 1.000 to" in ended.err
    assert [read_info(file).temperature for file in checkpoints] == [None] * 5


@pytest.mark.usefixtures("quick_network")
def test_a_full_disk_while_collecting_leaves_what_was_collected_and_no_fold_is_trained_again(
    crossval: Command, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert crossval().code == 0
    folder = data / "runs" / "crossval_resnet_tiny_epochs-2_pretrained-False_seed-0"
    forbid_training(monkeypatch)
    replace = Path.replace

    def full(path: Path, target: Path) -> Path:
        if Path(target).name == "origin.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(path, target)

    for name in ("folds.csv", "scores.json"):
        (folder / name).write_text("as collected before")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        ended = crossval()
    assert ended.code == 2
    assert f"{folder / 'origin.json'} can't be written: No space left on device" in ended.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert crossval().code == 0
    assert json.loads((folder / "scores.json").read_text())["presence"]
