"""The page of runs: its values against those worked out otherwise, its links, and how it looks to a real browser."""

import json
import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from cov3d.evaluation.predictions import prediction_table, save_predictions
from cov3d.evaluation.task_predictions import TaskPredictions
from cov3d.inference.origin import write_origin
from cov3d.labels import CATEGORIES
from cov3d.reports.entries import Mistake, read_entry, worst_mistakes
from cov3d.reports.report import PAGE, write_report
from cov3d.reports.sources import Source, SourceKind, find_sources
from tests.reports.runs import scan_table, write_run

SEVERITY_NAMES = list(CATEGORIES[1:])
COUNTS = {"non-covid": 6, "mild": 3, "moderate": 2, "severe": 3, "critical": 2, "covid": 2}


@pytest.fixture
def scans() -> pd.DataFrame:
    """Eighteen scans in fold 0 and as many in fold 1."""
    return scan_table({("train", label, fold): count for fold in (0, 1) for label, count in COUNTS.items()})


def report(folder: Path, runs: Sequence[Path], scans: pd.DataFrame, stores: Sequence[Path] = ()) -> str:
    """The text of a report's page."""
    write_report(folder, find_sources(runs), scans=scans, data=folder.parent, stores=stores)
    return (folder / PAGE).read_text(encoding="utf-8")


def as_text(page: str) -> str:
    """A page without what is in tags, one space between words."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)))


def test_the_worst_mistakes_come_first() -> None:
    calls = TaskPredictions(
        scans=("right", "near", "far", "surer", "furthest"),
        classes=tuple(SEVERITY_NAMES),
        true=np.array([0, 1, 0, 1, 3]),
        predicted=np.array([0, 2, 2, 0, 0]),
        probabilities=np.array(
            [[0.9, 0.1, 0, 0], [0, 0.3, 0.7, 0], [0.1, 0, 0.9, 0], [0.8, 0.2, 0, 0], [0.4, 0.3, 0.3, 0]]
        ),
    )
    labels = dict(zip(calls.scans, ("mild", "moderate", "mild", "moderate", "critical"), strict=True))
    assert worst_mistakes(calls, labels) == (
        Mistake("furthest", "critical", "mild", 0.4),
        Mistake("far", "mild", "severe", 0.9),
        Mistake("surer", "moderate", "mild", 0.8),
        Mistake("near", "moderate", "severe", 0.7),
    )


def test_the_page_says_what_the_tables_of_the_run_say(scans: pd.DataFrame, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a run, 100%"
    tables = write_run(run, scans, experiment=12, skill=1.5)
    text = as_text(report(tmp_path / "report", [run], scans))
    presence, severity = tables["presence"], tables["severity"]
    with_severity = severity[severity["label"].isin(SEVERITY_NAMES)]
    truth = np.where(presence["label"] == "non-covid", "non-covid", "covid")
    scores = (
        f1_score(truth, presence["presence"], average="macro"),
        f1_score(
            with_severity["label"], with_severity["severity"], labels=SEVERITY_NAMES, average="macro", zero_division=0
        ),
    )
    for score in scores:
        assert f"macro F1 {score:.3f}" in text
    for true, called, classes in (
        (truth, presence["presence"], ["non-covid", "covid"]),
        (with_severity["label"], with_severity["severity"], SEVERITY_NAMES),
    ):
        rows = zip(classes, confusion_matrix(true, called, labels=classes), strict=True)
        assert " ".join(f"{name} {' '.join(map(str, row))}" for name, row in rows) in text
    last = json.loads((run / "summary.json").read_text())["tasks"]["presence"]["last"]["macro_f1"]
    selected = "Weights of epoch 2 of 40, selected on this fold: the epoch with the highest presence macro F1."
    assert f"{selected} Expect lower scores on new scans." in text
    assert f"Macro F1 of the last epoch, which was not selected: {last:.3f}." in text
    wrong = int((truth != presence["presence"]).sum())
    assert f"{min(wrong, 8)} of {wrong} wrong predictions" in text
    assert "emd weight 0.1" in text
    assert "few scans (3 mild, 2 moderate, 3 severe, 2 critical)" in text
    assert "experiment 12: no run on folds 1–4" in text


def test_every_link_leads_somewhere_and_nothing_is_fetched(scans: pd.DataFrame, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a run, 100% #1"
    write_run(run, scans, experiment=12)
    (run / "presence-fold-1").mkdir()
    (run / "presence-fold-1" / "scores.json").write_text("{}")
    (run / ".lock").touch()
    page = report(tmp_path / "deep" / "report", [run], scans)
    links = [unescape(link) for link in re.findall(r'href="([^"]*)"', page)]
    files = [(tmp_path / "deep" / "report" / unquote(link)).resolve() for link in links if not link.startswith("#")]
    assert all(file.is_file() for file in files)
    assert {file for file in run.rglob("*") if file.is_file()} - set(files) == {run / ".lock"}
    assert {link[1:] for link in links if link.startswith("#")} <= set(re.findall(r'id="([^"]*)"', page))
    assert not re.search(r'(src|href)="(https?:|//|file:|/)', page)
    assert str(tmp_path) not in page
    assert report(tmp_path / "deep" / "report", [run], scans) == page


def test_a_cross_validation_shows_its_folds_and_the_curves_of_their_runs(scans: pd.DataFrame, tmp_path: Path) -> None:
    parts = [write_run(tmp_path / f"mine_fold-{fold}_seed-0", scans, fold=fold, seed=fold) for fold in (0, 1)]
    folder = tmp_path / "collected" / "mine"
    for task in ("presence", "severity"):
        save_predictions(pd.concat([part[task] for part in parts]), folder / f"out-of-fold-{task}.csv")
    rows = [
        (fold, task, 18, score, 2, 40, last)
        for task in ("presence", "severity")
        for fold, score, last in ((0, 0.5, 0.25), (1, 0.75, np.nan))
    ]
    columns = ["fold", "task", "scans", "macro_f1", "best_epoch", "epochs", "last_macro_f1"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "folds.csv", index=False)
    networks = [f"../../mine_fold-{fold}_seed-0" for fold in (0, 1)]
    write_origin(folder, networks=networks, seen_in_training=0)
    (source,) = find_sources([folder])
    assert source.kind == SourceKind.CROSSVAL
    entry = read_entry(source)
    assert sorted(entry.histories) == [0, 1]
    assert len(entry.tasks["presence"].evaluation.predictions) == 36
    text = as_text(report(tmp_path / "report", [folder], scans))
    assert "presence 0 18 0.500 2 of 40 0.250 presence 1 18 0.750 2 of 40 –" in text
    assert f"presence mean ± sd 36 0.625 ± {0.25 / 2**0.5:.3f} –" in text
    assert [source.kind for source in find_sources([tmp_path])] == [SourceKind.CROSSVAL, SourceKind.RUN, SourceKind.RUN]


HISTORY_OF_WORDS = "epoch,train_loss,valid_loss,presence_f1,severity_f1\n1,much,1,1,1\n"


def test_what_can_not_be_read_is_noted_on_the_page(scans: pd.DataFrame, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "begun"
    write_run(run, scans, finished=False)
    (run / "validation-severity.csv").write_text("scan\nx\n")
    (run / "history.csv").unlink()
    entry = read_entry(Source(run, SourceKind.RUN))
    assert list(entry.tasks) == ["presence"]
    assert entry.notes[0] == "this run is not finished"
    assert "is not a prediction table" in entry.notes[1]
    assert "this run is not finished" in as_text(report(tmp_path / "report", [run], scans))
    unlabelled = scan_table({("test", "", None): 1}).assign(presence="covid", severity="mild", **PROBABILITIES)
    save_predictions(unlabelled[["scan", *PROBABILITIES, "presence", "severity"]], tmp_path / "p" / "predictions.csv")
    assert "no predictions of labelled scans" in read_entry(Source(tmp_path / "p", SourceKind.PREDICTIONS)).notes[0]


@pytest.mark.parametrize("content", ["epoch,train_loss\n1,2\n", HISTORY_OF_WORDS])
def test_a_history_that_is_none_is_noted_on_the_page(scans: pd.DataFrame, tmp_path: Path, content: str) -> None:
    run = tmp_path / "runs" / "mine"
    write_run(run, scans)
    (run / "history.csv").write_text(content)
    assert f"{run / 'history.csv'} can't be read" in as_text(report(tmp_path / "report", [run], scans))


PROBABILITIES = {"p_" + name.replace("-", "_"): 0.2 for name in CATEGORIES}


def predicted(scans: pd.DataFrame, folder: Path, probabilities: Sequence[float]) -> Path:
    """A folder of predictions that are the same for every scan."""
    names, labels = list(scans["scan"]), list(scans["label"])
    table = prediction_table(names, np.tile(probabilities, (len(names), 1)), CATEGORIES, labels=labels)
    folder.mkdir(parents=True)
    save_predictions(table, folder / "predictions.csv")
    return folder


@pytest.mark.parametrize(
    ("probabilities", "presence", "severity"),
    [((0.1, 0.2, 0.2, 0.4, 0.1), "COVID-19", "severe"), ((0.6, 0.1, 0.2, 0.05, 0.05), "non-COVID-19", "moderate")],
)
def test_the_page_says_where_every_scan_was_predicted_alike(
    scans: pd.DataFrame, tmp_path: Path, probabilities: Sequence[float], presence: str, severity: str
) -> None:
    page = report(tmp_path / "report", [predicted(scans, tmp_path / "alike", probabilities)], scans)
    notes = [as_text(note).strip() for note in re.findall(r'<p class="note">(.*?)</p>', page)]
    assert [note for note in notes if note.startswith("every scan")] == [
        f"every scan was predicted {presence}",
        f"every scan was predicted {severity}",
    ]
    run = tmp_path / "runs" / "mixed"
    write_run(run, scans)
    assert "every scan was predicted" not in as_text(report(tmp_path / "other", [run], scans))


def test_a_run_of_one_epoch_selected_none(scans: pd.DataFrame, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "short"
    write_run(run, scans, epochs=3)
    summary = json.loads((run / "summary.json").read_text())
    for task in summary["tasks"].values():
        task["best_epoch"] = 1
    (run / "summary.json").write_text(json.dumps({**summary, "epochs": 1}))
    text = as_text(report(tmp_path / "report", [run], scans))
    assert text.count("Weights of epoch 1, the only epoch.") == 2
    assert "epoch 1 of 1" not in text


def test_every_score_and_interval_in_a_table_is_explained_beside_it(scans: pd.DataFrame, tmp_path: Path) -> None:
    page = report(tmp_path / "report", [predicted(scans, tmp_path / "alike", (0.1, 0.2, 0.2, 0.4, 0.1))], scans)
    sections = re.findall(r'<section class="task">(.*?)</section>', page, flags=re.DOTALL)
    assert len(sections) == 2
    seen = set()
    for section in sections:
        rows = re.findall(r"<tr>(<td>.*?)</tr>", section)
        cells = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
        words = {row[0] for row in cells} | {row[-1] for row in cells if row[-1] != "–"} | {"95 % interval"}
        terms = {unescape(term): text for term, text in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", section)}
        for word in words:
            (term,) = [term for term in terms if word == term or word.startswith(f"{term} ")]
            assert len(terms[term]) > 20
            seen.add(term)
        assert set(terms) <= seen  # none that the table has not
    assert seen >= {"macro F1", "ROC area", "sensitivity at specificity", "weighted kappa", "BCa", "posterior"}


def test_titles_are_short_and_unlike(scans: pd.DataFrame, tmp_path: Path) -> None:
    long = "resnet_medium_fold-0_seed-0_epochs-3_dropout-0.3_emd-weight-0.15_weight-decay-0.001_brightness-0.02"
    options = {"dropout": 0.3, "emd_weight": 0.15, "weight_decay": 0.001, "brightness": 0.02, "epochs": 3}
    write_run(tmp_path / "runs" / long, scans, **options)
    page = report(tmp_path / "one", [tmp_path / "runs"], scans)
    assert titles(page) == ["resnet medium, fold 0, seed 0"]
    assert f"folder {long}" in as_text(page)
    write_run(tmp_path / "runs" / "other", scans, **{**options, "dropout": 0.5})
    write_run(tmp_path / "runs" / "third", scans, experiment=12, fold=1)
    write_run(tmp_path / "runs" / "zz", scans, **{**options, "dropout": 0.5})
    (alone,) = [predicted(scans, tmp_path / "runs" / "ensemble", (0.1, 0.2, 0.2, 0.4, 0.1))]
    assert titles(report(tmp_path / "many", [tmp_path / "runs", alone], scans)) == [
        "resnet medium, fold 0, seed 0, dropout 0.5 (1)",
        "resnet medium, fold 0, seed 0, dropout 0.3",
        "Experiment 12: resnet small, fold 1, seed 12",
        "resnet medium, fold 0, seed 0, dropout 0.5 (2)",
        "ensemble",
    ]


def titles(page: str) -> list[str]:
    return re.findall(r"<summary><h2>(.*?)</h2>", page)
