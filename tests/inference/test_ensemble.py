"""The mean of prediction tables: against NumPy, from runs and by the paper's names; and every refusal."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from cov3d.challenge.experiments import options_of
from cov3d.challenge.run_names import run_name
from cov3d.challenge.runs import default_name
from cov3d.evaluation.predictions import load_predictions, save_predictions
from cov3d.inference.ensemble import average_tables
from cov3d.inference.member_tables import gather
from cov3d.inference.origin import write_origin
from cov3d.inference.task import Task
from cov3d.labels import CATEGORIES
from cov3d.training import checkpoint
from tests.conftest import Ended
from tests.inference.conftest import LABELS, make_run, some_table

Command = Callable[..., Ended]
P = ["p_non_covid", "p_mild", "p_moderate", "p_severe", "p_critical"]
SCANS = [f"test/ct_{number}" for number in range(40)]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three tables of the same scans, each in an order of its own."""
    made = []
    for number in range(3):
        table = some_table(number, SCANS).sample(frac=1, random_state=number)
        made.append(tmp_path / f"{number}.csv")
        save_predictions(table, made[-1])
    return made


def test_the_mean_is_numpys_and_no_order_changes_a_bit(cov3d: Command, files: list[Path], tmp_path: Path) -> None:
    tables = np.array([pd.read_csv(file).sort_values("scan")[P].to_numpy() for file in files])
    written = set()
    for number, order in enumerate(itertools.permutations(files)):
        assert cov3d("ensemble", *order, "--output-dir", tmp_path / f"out-{number}").code == 0
        written.add((tmp_path / f"out-{number}" / "predictions.csv").read_bytes())
    assert len(written) == 1
    found = pd.read_csv(tmp_path / "out-0" / "predictions.csv")
    assert found["scan"].tolist() == sorted(SCANS)
    assert np.abs(found[P].to_numpy() - tables.mean(axis=0)).max() < 1e-7
    conditional = (tables[..., 1:] / (1 - tables[..., :1])).mean(axis=0)
    assert np.abs(found[[f"severity_{name}" for name in CATEGORIES[1:]]].to_numpy() - conditional).max() < 1e-6
    assert found["severity"].tolist() == [CATEGORIES[1:][index] for index in conditional.argmax(axis=1)]
    assert found["presence"].tolist() == np.where(tables.mean(axis=0)[:, 0] < 0.5, "covid", "non-covid").tolist()


def test_severity_is_of_the_mean_of_conditional_probabilities_and_not_of_the_mean(tmp_path: Path) -> None:
    # The first is sure of a negative scan; were it positive, it would be critical. The second leans to mild.
    rows = {"a": [0.98, 0.0, 0.0, 0.0, 0.02], "b": [0.5, 0.3, 0.05, 0.05, 0.1]}
    for name, row in rows.items():
        table = some_table(0, ["x"])
        table[P] = [row]
        save_predictions(table, tmp_path / f"{name}.csv")
    mean = average_tables(gather([tmp_path / "a.csv", tmp_path / "b.csv"], Task.BOTH))
    assert mean[P].to_numpy()[0].argmax() == 0
    assert mean["p_mild"][0] > mean["p_critical"][0]
    assert mean["severity"][0] == "critical"
    assert mean["severity_critical"][0] == pytest.approx((1.0 + 0.2) / 2)


@pytest.mark.usefixtures("no_pictures")
def test_an_ensemble_of_ensembles_averages_what_they_call_by(cov3d: Command, files: list[Path], tmp_path: Path) -> None:
    for pair, name in ((files[:2], "a"), ([files[2], files[0]], "b")):
        assert cov3d("ensemble", *pair, "--output-dir", tmp_path / name).code == 0
    assert cov3d("ensemble", tmp_path / "a", tmp_path / "b", "--output-dir", tmp_path / "c").code == 0
    tables = np.array([pd.read_csv(file).sort_values("scan")[P].to_numpy() for file in files])
    conditional = tables[..., 1:] / (1 - tables[..., :1])
    wanted = (2 * conditional[0] + conditional[1] + conditional[2]) / 4
    found = load_predictions(tmp_path / "c" / "predictions.csv")[0]
    assert np.abs(found[[f"severity_{name}" for name in CATEGORIES[1:]]].to_numpy() - wanted).max() < 1e-6


@pytest.mark.parametrize("task", ["presence", "severity"])
def test_folds_of_a_run_are_put_together_and_scored(
    cov3d: Command, tmp_path: Path, quick_network: None, task: str
) -> None:
    runs = [make_run(tmp_path / "runs", number, fold) for number in (3, 4) for fold in (0, 1)]
    ended = cov3d("ensemble", *reversed(runs), "--task", task, "--output-dir", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "the mean of 2 members, of 48 scans" in ended.out
    assert "experiment-3_seed-3 (2 folds)" in ended.out
    tables = {
        number: pd.concat(
            pd.read_csv(tmp_path / "runs" / f"experiment-{number}_fold-{fold}_seed-{number}" / f"validation-{task}.csv")
            for fold in (0, 1)
        ).sort_values("scan")
        for number in (3, 4)
    }
    mean = (tables[3][P].to_numpy() + tables[4][P].to_numpy()) / 2
    found = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert np.abs(found[P].to_numpy() - mean).max() < 1e-7
    assert found["label"].tolist() == tables[3]["label"].tolist()
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    by_fold = []
    for rows in (found, *(found[found["scan"].str.contains(f"ct_{fold}_")] for fold in (0, 1))):
        if task == "severity":
            rows = rows[rows["label"].isin(CATEGORIES[1:])]
            score = f1_score(rows["label"], rows["severity"], labels=CATEGORIES[1:], average="macro", zero_division=0)
        else:
            true = np.where(rows["label"] == "non-covid", "non-covid", "covid")
            score = f1_score(true, rows["presence"], average="macro")
        by_fold.append(score)
    assert scores[task]["macro_f1"] == pytest.approx(by_fold[0])
    mean_and_sd = f"mean {np.mean(by_fold[1:]):.3f} ± {np.std(by_fold[1:], ddof=1):.3f}"
    assert f"{task} macro F1 by fold: 0: {by_fold[1]:.3f}, 1: {by_fold[2]:.3f}; {mean_and_sd}" in ended.out
    assert scores[task]["scores"][0]["low"] < by_fold[0] < scores[task]["scores"][0]["high"]
    for picture in ("confusion.png", "curves.png", "reliability.png"):
        assert (tmp_path / "out" / picture).read_bytes().startswith(b"\x89PNG")
    checkpoints = [run / f"{task}.safetensors" for run in runs]
    assert cov3d("ensemble", *checkpoints, "--output-dir", tmp_path / "again").code == 0
    assert (tmp_path / "again" / "predictions.csv").read_bytes() == (tmp_path / "out" / "predictions.csv").read_bytes()


@pytest.mark.usefixtures("no_pictures")
def test_each_source_of_a_mean_is_scored(cov3d: Command, tmp_path: Path) -> None:
    labels = [LABELS[number % len(LABELS)] for number in range(40)]
    for number in range(2):
        save_predictions(some_table(number, SCANS, labels), tmp_path / f"{number}.csv")
    pd.DataFrame({"scan": SCANS[:20], "source": "north"}).to_csv(tmp_path / "sources.csv", index=False)
    words = ["ensemble", tmp_path / "0.csv", tmp_path / "1.csv", "--sources", tmp_path / "sources.csv"]
    assert cov3d(*words, "--task", "presence", "--output-dir", tmp_path / "out").code == 0
    found = pd.read_csv(tmp_path / "out" / "centres.csv", keep_default_na=False)
    assert set(found["task"]) == {"presence"}
    macro = found[found["score"] == "macro F1"].set_index("source")["value"].astype(float)
    mean = pd.read_csv(tmp_path / "out" / "predictions.csv")
    mean["true"] = np.where(mean["label"] == "non-covid", "non-covid", "covid")
    for source, rows in (("north", mean["scan"].isin(SCANS[:20])), ("unknown", mean["scan"].isin(SCANS[20:]))):
        wanted = f1_score(mean["true"][rows], mean["presence"][rows], average="macro")
        assert macro[source] == pytest.approx(wanted)


@pytest.mark.usefixtures("no_pictures")
def test_a_run_says_what_its_checkpoint_would_at_its_temperature(
    cov3d: Command, tmp_path: Path, quick_network: None
) -> None:
    runs = [make_run(tmp_path / "runs", number, 0) for number in (1, 2)]
    checkpoint.write_temperature(runs[0] / "presence.safetensors", 2.0)
    given = {
        "run": [runs[0], runs[1]],
        "checkpoint": [run / "presence.safetensors" for run in runs],
        "file": [run / "validation-presence.csv" for run in runs],
    }
    each = [pd.read_csv(run / "validation-presence.csv").sort_values("scan")[P].to_numpy() for run in runs]
    softened = np.sqrt(each[0]) / np.sqrt(each[0]).sum(axis=1, keepdims=True)
    for name, members in given.items():
        ended = cov3d("ensemble", *members, "--task", "presence", "--output-dir", tmp_path / name)
        assert ended.code == 0, ended.err
        wanted = (each[0] if name == "file" else softened) + each[1]
        found = pd.read_csv(tmp_path / name / "predictions.csv")[P].to_numpy()
        assert np.abs(found - wanted / 2).max() < 1e-7
        assert ("the table at temperature 2, as its checkpoint would predict" in ended.out) == (name != "file")
        # What the files say is not what their networks would, so no submission is offered.
        assert (tmp_path / name / "set.json").exists() == (name != "file")
        plain = tmp_path / f"{name}-plain"
        ended = cov3d("ensemble", *members, "--task", "presence", "--no-temperature", "--output-dir", plain)
        assert ended.code == 0, ended.err
        assert np.abs(pd.read_csv(plain / "predictions.csv")[P].to_numpy() - (each[0] + each[1]) / 2).max() < 1e-7
        assert json.loads((plain / "set.json").read_text())[0]["fitted_temperature"] is False


@pytest.mark.usefixtures("no_pictures")
def test_the_papers_ensembles_have_no_temperature_unless_asked_for(
    cov3d: Command, tmp_path: Path, quick_network: None
) -> None:
    runs = [make_run(tmp_path / "runs", number, 0) for number in (16, 18)]
    each = [pd.read_csv(run / "validation-severity.csv").sort_values("scan")[P].to_numpy() for run in runs]
    for run in runs:
        checkpoint.write_temperature(run / "severity.safetensors", 2.0)
    halves = [np.sqrt(one) / np.sqrt(one).sum(axis=1, keepdims=True) for one in each]
    for word, wanted in ((None, each), ("--no-temperature", each), ("--temperature", halves)):
        to = tmp_path / str(word)
        words = ["ensemble", "--name", "ES1", "--data", tmp_path, "--output-dir", to, *([word] if word else [])]
        assert cov3d(*words).code == 0
        found = pd.read_csv(to / "predictions.csv")[P].to_numpy()
        assert np.abs(found - np.mean(wanted, axis=0)).max() < 1e-7


@pytest.mark.usefixtures("no_pictures")
def test_by_name_it_is_of_the_runs_of_its_experiments(cov3d: Command, tmp_path: Path, quick_network: None) -> None:
    runs = [make_run(tmp_path / "runs", number, fold) for number in (16, 18) for fold in (0, 2)]
    words = ["ensemble", "--name", "es1", "--data", tmp_path]
    ended = cov3d(*words, "--output-dir", tmp_path / "one")
    assert ended.code == 0, ended.err
    assert "the paper's ES1, in percent: fold 0 68.4" in ended.out
    wanted = [pd.read_csv(run / "validation-severity.csv")[P].to_numpy() for run in (runs[0], runs[2])]
    found = pd.read_csv(tmp_path / "one" / "predictions.csv")
    order = pd.read_csv(runs[0] / "validation-severity.csv")["scan"].argsort()
    assert np.abs(found[P].to_numpy() - np.mean(wanted, axis=0)[order]).max() < 1e-7
    assert json.loads((tmp_path / "one" / "set.json").read_text()) == [
        {
            **{"task": "severity", "number": 1, "members": ["16", "18"], "folds": [0], "threshold": 0.5},
            "fitted_temperature": False,
        }
    ]
    ended = cov3d(*words, "--fold", 2, "--fold", 0, "--output-dir", tmp_path / "two")
    assert ended.code == 0, ended.err
    assert "of 48 scans" in ended.out
    shutil.move(tmp_path / "runs", tmp_path / "elsewhere")
    ended = cov3d(*words, "--runs", tmp_path / "elsewhere", "--output-dir", tmp_path / "one", "--overwrite")
    assert ended.code == 0, ended.err


def test_by_name_every_missing_run_is_reported_with_its_command(
    cov3d: Command, tmp_path: Path, quick_network: None
) -> None:
    runs = tmp_path / "runs"
    make_run(runs, 1, 0)
    (make_run(runs, 2, 0) / "summary.json").unlink()
    (make_run(runs, 3, 0) / "validation-presence.csv").unlink()
    for name in ("one", "two"):
        make_run(runs, 5, 0, name=name)
    ended = cov3d("ensemble", "--name", "EP4", "--data", tmp_path, "--output-dir", tmp_path / "out")
    assert ended.code == 2
    data, stoic = f"--data {tmp_path}", "--from-checkpoint STOIC.safetensors"
    for sentence in (
        f"experiment 2, fold 0 is not finished: cov3d train {data} --experiment 2 --fold 0 {stoic} --resume",
        f"experiment 3, fold 0: {runs / 'experiment-3_fold-0_seed-3'} has no validation-presence.csv",
        f"experiment 4, fold 0 is not in {runs}: cov3d train {data} --experiment 4 --fold 0 {stoic}",
        f"experiment 5, fold 0 is in {runs} 2 times ({runs / 'one'} and {runs / 'two'})",
        "EP4 needs 4 runs more",
    ):
        assert sentence in ended.err
    assert not (tmp_path / "out").exists()
    ended = cov3d("ensemble", "--name", "ES1", "--data", tmp_path, "--runs", tmp_path / "r", "--all-folds")
    for number in (16, 18):
        command = f"cov3d crossval {data} --experiment {number} --runs {tmp_path / 'r'}"
        assert f"experiment {number}, 5 folds: {command}\n" in ended.err


@pytest.mark.usefixtures("no_pictures")
def test_a_run_with_other_options_stands_for_its_experiment_where_it_is_the_only_one(
    cov3d: Command, tmp_path: Path, quick_network: None
) -> None:
    for number in (16, 18):
        make_run(tmp_path / "runs", number, 0, name=f"experiment-{number}_size-tiny_fold-0_seed-{number}")
    assert cov3d("ensemble", "--name", "ES1", "--data", tmp_path, "--output-dir", tmp_path / "out").code == 0


@pytest.mark.parametrize("experiment", [1, 13, 17, 22])
def test_a_run_is_looked_for_under_the_name_that_train_gives_it(experiment: int) -> None:
    for fold in range(5):
        chosen = options_of(experiment, fold=fold)
        assert default_name(experiment, fold) == run_name(chosen, Path("stoic") if experiment != 22 else None)


def test_what_can_not_be_averaged_is_one_sentence_and_exit_code_2(
    cov3d: Command, files: list[Path], tmp_path: Path, quick_network: None
) -> None:
    run = make_run(tmp_path / "runs", 1, 0)
    same = make_run(tmp_path / "other", 1, 0)
    (same / "summary.json").rename(same / "kept")

    def write(name: str, table: pd.DataFrame) -> Path:
        save_predictions(table, tmp_path / name)
        return tmp_path / name

    labels = [LABELS[number % 6] for number in range(40)]
    labelled = write("labelled.csv", some_table(5, SCANS, labels))
    contradicting = write("contradicting.csv", some_table(6, SCANS, [*labels[:7], "critical", *labels[8:]]))
    lacking = write("lacking.csv", some_table(7, SCANS[:38]))
    twice = write("twice.csv", some_table(8, [*SCANS, SCANS[3]]))
    off = some_table(9, SCANS)
    off.loc[4, "p_mild"] += 0.1
    bad = write("off.csv", off)
    stoic = some_table(10, SCANS).rename(columns={"p_mild": "p_covid_not_severe", "p_moderate": "p_covid_severe"})
    stoic["p_covid_severe"] += stoic.pop("p_severe") + stoic.pop("p_critical")
    stoic["severity"] = "covid-severe"
    other = write("stoic.csv", stoic)
    (tmp_path / "text.csv").write_text("name,age\nx,3\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "folder").mkdir()
    one = files[0]
    refused: dict[tuple[object, ...], str] = {
        (one, lacking): f"{lacking} has no prediction of test/ct_38 (and 1 more), but {one} has",
        (lacking, one): f"{lacking} has no prediction of test/ct_38",
        (labelled, contradicting): f"test/ct_7 is mild in {labelled} but critical in {contradicting}",
        (one, other): f"{other} has the categories non-covid, covid-not-severe, covid-severe, but {one} has",
        (one, one): f"{one} is given twice",
        (one, tmp_path / "nowhere.csv"): f"there is no prediction table at {tmp_path / 'nowhere.csv'}",
        (one, tmp_path / "text.csv"): "text.csv is not a prediction table",
        (one, tmp_path / "empty.csv"): "empty.csv can't be read as a table",
        (one, tmp_path / "folder"): "folder is neither a run nor a folder with a predictions.csv",
        (one, bad): "off.csv line 6: the probabilities of test/ct_4 don't add up to 1",
        (one, twice): "twice.csv names the scan test/ct_3 more than once",
        (run, one): f"{run} has a prediction table for each task: choose one with --task",
        (run, same, "--task", "presence"): "both predict train/x/ct_0_0, and their runs have the same options",
        (): "give either prediction tables, folders, runs or checkpoints to average, or --name",
        (one, "--name", "EP1"): "give either prediction tables",
        (one, "--fold", 1): "--fold and --all-folds need --name",
        ("--name", "EP1", "--fold", 1, "--all-folds"): "--fold and --all-folds cannot be combined",
        ("--name", "EP9"): "EP9 is not one of the paper's ensembles: EP1, EP2",
        ("--name", "EP1", "--task", "severity"): "EP1 is an ensemble for presence, not severity",
    }
    for words, sentence in refused.items():
        ended = cov3d("ensemble", *words, "--output-dir", tmp_path / "out")
        assert ended.code == 2, words
        assert sentence in ended.err, (words, ended.err)
        assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_pictures")
def test_labels_of_one_table_do_for_all_and_results_are_not_overwritten(
    cov3d: Command, files: list[Path], tmp_path: Path
) -> None:
    labels = [LABELS[number % 6] if number < 20 else "" for number in range(40)]
    save_predictions(some_table(5, SCANS, labels), tmp_path / "labelled.csv")
    words = ["ensemble", files[0], tmp_path / "labelled.csv", "--output-dir", tmp_path / "out"]
    ended = cov3d(*words)
    assert ended.code == 0, ended.err
    assert "presence, 20 scans" in ended.out
    found = load_predictions(tmp_path / "out" / "predictions.csv")[0].set_index("scan")
    assert found.loc[SCANS, "label"].tolist() == labels
    assert cov3d(*words).code == 2
    assert cov3d(*words, "--overwrite").code == 0
    assert cov3d("ensemble", files[0], "--output-dir", tmp_path / "out", "--overwrite").code == 0
    assert not (tmp_path / "out" / "scores.json").exists()


@pytest.fixture
def crossval(tmp_path: Path, quick_network: None) -> Path:
    """The folder of a cross-validation of two runs, whose presence checkpoints have a temperature."""
    runs = [make_run(tmp_path / "runs", 1, fold) for fold in (0, 1)]
    folder = tmp_path / "runs" / "crossval"
    parts = [pd.read_csv(run / "validation-presence.csv").assign(fold=fold) for fold, run in enumerate(runs)]
    save_predictions(pd.concat(parts), folder / "out-of-fold-presence.csv")
    write_origin(folder, networks=[f"../{run.name}" for run in runs], seen_in_training=0)
    for run, temperature in zip(runs, (2.0, 0.5), strict=True):
        checkpoint.write_temperature(run / "presence.safetensors", temperature)
    return folder


@pytest.mark.usefixtures("no_pictures")
def test_a_cross_validation_stands_for_its_runs(cov3d: Command, crossval: Path, tmp_path: Path) -> None:
    runs = [crossval.with_name(default_name(1, fold)) for fold in (0, 1)]
    for name, members in (("folder", [crossval]), ("runs", runs)):
        ended = cov3d("ensemble", *members, "--task", "presence", "--output-dir", tmp_path / name)
        assert ended.code == 0, ended.err
        assert f"cov3d submit --set {tmp_path / name / 'set.json'}" in ended.out
    found = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("folder", "runs")]
    assert found[0] == found[1]
    (one,) = json.loads((tmp_path / "folder" / "set.json").read_text())
    named = [(tmp_path / "folder" / member).resolve() for member in one["members"]]
    assert named == [run / "presence.safetensors" for run in runs]
    table = pd.read_csv(crossval / "out-of-fold-presence.csv").sort_values("scan")
    powers = table[P].to_numpy() ** (1 / np.where(table["fold"] == 0, 2.0, 0.5))[:, None]
    mean = pd.read_csv(tmp_path / "folder" / "predictions.csv")[P].to_numpy()
    assert np.abs(mean - powers / powers.sum(axis=1, keepdims=True)).max() < 1e-6


@pytest.mark.usefixtures("no_pictures")
def test_where_no_set_can_be_written_it_is_reported_why(cov3d: Command, crossval: Path, tmp_path: Path) -> None:
    run = crossval.with_name(default_name(1, 0))
    save_predictions(some_table(0, SCANS), tmp_path / "table.csv")
    given = {
        "the networks that predicted": [tmp_path / "table.csv", "--task", "presence"],
        "a set has one task": [tmp_path / "table.csv"],
        "before a temperature was fitted": [run / "validation-presence.csv", "--task", "presence"],
    }
    for reported, words in given.items():
        ended = cov3d("ensemble", *words, "--output-dir", tmp_path / "out", "--overwrite")
        assert (ended.code, "no set.json for cov3d submit" in ended.out, reported in ended.out) == (0, True, True), (
            ended
        )
        assert not (tmp_path / "out" / "set.json").exists()
    shutil.move(run, tmp_path / "elsewhere")
    ended = cov3d("ensemble", crossval, "--task", "presence", "--output-dir", tmp_path / "out", "--overwrite")
    assert ended.code == 0, ended.err
    assert "is missing in the folders that origin.json beside it lists" in ended.out
    found, table = (
        pd.read_csv(file) for file in (tmp_path / "out/predictions.csv", crossval / "out-of-fold-presence.csv")
    )
    assert np.abs(found[P].to_numpy() - table.sort_values("scan")[P].to_numpy()).max() < 1e-7
