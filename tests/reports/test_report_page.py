"""The page of runs: its values against those worked out otherwise, its links, and how it looks to a real browser."""

import json
import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from cov3d.inference.origin import write_origin
from cov3d.labels import CATEGORIES
from cov3d.reports.calls import Calls
from cov3d.reports.entries import Mistake, read_entry, worst_mistakes
from cov3d.reports.report import PAGE, write_report
from cov3d.reports.sources import Kind, Source, find_sources
from cov3d.training.predictions import save_predictions
from tests.reports.browser import watch
from tests.reports.conftest import Fill
from tests.reports.runs import scan_table, write_run

GRADES = list(CATEGORIES[1:])
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
    calls = Calls(
        scans=("right", "near", "far", "surer", "furthest"),
        classes=tuple(GRADES),
        true=np.array([0, 1, 0, 1, 3]),
        called=np.array([0, 2, 2, 0, 0]),
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
    graded = severity[severity["label"].isin(GRADES)]
    truth = np.where(presence["label"] == "non-covid", "non-covid", "covid")
    scores = (
        f1_score(truth, presence["presence"], average="macro"),
        f1_score(graded["label"], graded["severity"], labels=GRADES, average="macro", zero_division=0),
    )
    for score in scores:
        assert f"macro F1 {score:.3f}" in text
    for true, called, classes in (
        (truth, presence["presence"], ["non-covid", "covid"]),
        (graded["label"], graded["severity"], GRADES),
    ):
        rows = zip(classes, confusion_matrix(true, called, labels=classes), strict=True)
        assert " ".join(f"{name} {' '.join(map(str, row))}" for name, row in rows) in text
    last = json.loads((run / "summary.json").read_text())["tasks"]["presence"]["last"]["macro_f1"]
    assert f"epoch 2 among 40, selected on this fold by presence macro F1; the last epoch: {last:.3f}" in text
    wrong = int((truth != presence["presence"]).sum())
    assert f"{min(wrong, 8)} of {wrong} scans that were called wrong" in text
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
    assert source.kind == Kind.CROSSVAL
    entry = read_entry(source)
    assert sorted(entry.histories) == [0, 1]
    assert len(entry.tasks["presence"].evaluation.calls) == 36
    text = as_text(report(tmp_path / "report", [folder], scans))
    assert "presence 0 18 0.500 2 of 40 0.250 presence 1 18 0.750 2 of 40 –" in text
    assert f"presence mean ± sd 36 0.625 ± {0.25 / 2**0.5:.3f} –" in text
    assert [source.kind for source in find_sources([tmp_path])] == [Kind.CROSSVAL, Kind.RUN, Kind.RUN]


HISTORY_OF_WORDS = "epoch,train_loss,valid_loss,presence_f1,severity_f1\n1,much,1,1,1\n"


def test_what_can_not_be_read_is_noted_on_the_page(scans: pd.DataFrame, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "begun"
    write_run(run, scans, finished=False)
    (run / "validation-severity.csv").write_text("scan\nx\n")
    (run / "history.csv").unlink()
    entry = read_entry(Source(run, Kind.RUN))
    assert list(entry.tasks) == ["presence"]
    assert entry.notes[0] == "this run is not finished"
    assert "is no prediction table" in entry.notes[1]
    assert "this run is not finished" in as_text(report(tmp_path / "report", [run], scans))
    unlabelled = scan_table({("test", "", None): 1}).assign(presence="covid", severity="mild", **PROBABILITIES)
    save_predictions(unlabelled[["scan", *PROBABILITIES, "presence", "severity"]], tmp_path / "p" / "predictions.csv")
    assert "no predictions of labelled scans" in read_entry(Source(tmp_path / "p", Kind.PREDICTIONS)).notes[0]


@pytest.mark.parametrize("content", ["epoch,train_loss\n1,2\n", HISTORY_OF_WORDS])
def test_a_history_that_is_none_is_noted_on_the_page(scans: pd.DataFrame, tmp_path: Path, content: str) -> None:
    run = tmp_path / "runs" / "mine"
    write_run(run, scans)
    (run / "history.csv").write_text(content)
    assert f"{run / 'history.csv'} can't be read" in as_text(report(tmp_path / "report", [run], scans))


PROBABILITIES = {"p_" + name.replace("-", "_"): 0.2 for name in CATEGORIES}

A_PERSON = """<script>
(async () => {
  const images = [...document.images];
  const loaded = () => images.filter((image) => image.naturalWidth > 0).length;
  for (let left = 20000; left > 0 && loaded() < images.length; left--) await new Promise((go) => setTimeout(go, 10));
  const table = document.querySelector("#paper h3 ~ .wide table");
  const paper = [...document.querySelectorAll("#paper table")].find((each) => each.rows[0].cells.length > 15);
  const column = (table, place) => [...table.tBodies[0].rows].map((row) => row.cells[place].textContent);
  const click = (table, place) => table.tHead.rows[0].cells[place].querySelector("button").click();
  const seen = { images: images.length, crops: images.filter((image) => image.naturalWidth === 488).length };
  seen.loaded = loaded();
  seen.start = column(paper, 0);
  click(paper, 9); seen.ascending = column(paper, 9);
  seen.said = paper.tHead.rows[0].cells[9].getAttribute("aria-sort");
  click(paper, 9); seen.descending = column(paper, 9);
  click(paper, 12); seen.unknownLast = column(paper, 12);
  click(paper, 12); seen.unknownLastToo = column(paper, 12);
  click(table, 1); seen.counts = column(table, 0); seen.total = table.tFoot.rows[0].cells[0].textContent;
  seen.wide = document.documentElement.scrollWidth <= innerWidth;
  const folded = () => document.querySelectorAll("details:not([open])").length;
  seen.folded = folded() > 0;
  dispatchEvent(new Event("beforeprint")); seen.foldedInPrint = folded();
  dispatchEvent(new Event("afterprint")); seen.foldedAfter = folded() > 0;
  seen.errors = errors;
  top.document.title = JSON.stringify(seen);
})().catch((error) => { top.document.title = JSON.stringify({ errors: [String(error)] }); });
</script>"""


@pytest.fixture
def seen(fill: Fill, scans: pd.DataFrame, tmp_path: Path) -> dict[str, Any]:
    """What a person saw on the page of a run whose scans have pictures, all but one that was called wrong."""
    run = tmp_path / "runs" / "mine"
    tables = write_run(run, scans, experiment=12, skill=0.0)
    presence = tables["presence"]
    wrong = presence[(presence["label"] == "non-covid") != (presence["presence"] == "non-covid")]
    store = fill({scan: {"preview": scan != wrong["scan"].iloc[0]} for scan in scans["scan"]})
    store.write_manifest()
    page = report(tmp_path / "report", [run], scans, [store.folder])
    return {**watch(page, A_PERSON, tmp_path / "page.html"), "without": page.count("no picture:")}


def test_a_browser_shows_every_picture_and_sorts_the_tables(seen: dict[str, Any]) -> None:
    assert seen["errors"] == []
    assert seen["loaded"] == seen["images"]
    assert seen["crops"] >= 4
    assert seen["without"] >= 1
    assert seen["start"] == [str(number) for number in range(1, 23)]
    papers = [
        93.2,
        93.1,
        92.9,
        92.8,
        92.2,
        92.1,
        92.1,
        92.0,
        91.7,
        91.6,
        91.5,
        91.3,
        91.2,
        91.2,
        91.2,
        91.0,
        90.9,
        90.9,
    ]
    papers += [90.7, 90.6, 90.6, 90.2]
    assert [float(text) for text in seen["ascending"]] == sorted(papers)
    assert [float(text) for text in seen["descending"]] == papers
    assert seen["said"] == "ascending"
    assert seen["unknownLast"][0] == "92.6 ± 0.6"
    assert seen["unknownLastToo"][0] == "93.5 ± 0.5"
    assert seen["unknownLast"][-9:] == seen["unknownLastToo"][-9:] == ["–"] * 9
    assert (seen["counts"][-1], seen["total"]) == ("non-covid", "all")
    assert seen["wide"]
    assert (seen["folded"], seen["foldedInPrint"], seen["foldedAfter"]) == (True, 0, True)
