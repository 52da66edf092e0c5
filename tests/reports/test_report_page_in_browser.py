"""The page of runs in a real browser: pictures, sorting, print; and how it looks wide, on a phone and dark."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.reports.browser import watch
from tests.reports.conftest import Fill
from tests.reports.runs import scan_table, write_run
from tests.reports.test_report_page import COUNTS, predicted, report


@pytest.fixture
def scans() -> pd.DataFrame:
    """Eighteen scans in fold 0 and as many in fold 1."""
    return scan_table({("train", label, fold): count for fold in (0, 1) for label, count in COUNTS.items()})


A_PERSON = """<script>
(async () => {
  const images = [...document.images];
  const loaded = () => images.filter((image) => image.naturalWidth > 0).length;
  for (let left = 20000; left > 0 && loaded() < images.length; left--) await new Promise((go) => setTimeout(go, 10));
  const table = document.querySelector("#paper .wide table");
  const paper = [...document.querySelectorAll("#paper .others table")].find((each) => each.rows[0].cells.length > 15);
  const column = (table, place) => [...table.tBodies[0].rows].map((row) => row.cells[place].textContent);
  const click = (table, place) => table.tHead.rows[0].cells[place].querySelector("button").click();
  const seen = { images: images.length, crops: images.filter((image) => image.naturalWidth === 488).length };
  seen.loaded = loaded();
  seen.start = column(paper, 0);
  click(paper, 9); seen.ascending = column(paper, 9);
  seen.reported = paper.tHead.rows[0].cells[9].getAttribute("aria-sort");
  click(paper, 9); seen.descending = column(paper, 9);
  click(paper, 12); seen.unknownLast = column(paper, 12);
  click(paper, 12); seen.unknownLastToo = column(paper, 12);
  click(table, 1); seen.counts = column(table, 0); seen.total = table.tFoot.rows[0].cells[0].textContent;
  seen.wide = document.documentElement.scrollWidth <= innerWidth;
  const folded = () => document.querySelectorAll("details:not([open], .others)").length;
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
    assert seen["start"] == [str(number) for number in range(1, 23) if number != 12]
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
    assert seen["reported"] == "ascending"
    assert seen["unknownLast"][0] == "92.6 ± 0.6"
    assert seen["unknownLastToo"][0] == "93.5 ± 0.5"
    assert seen["unknownLast"][-8:] == seen["unknownLastToo"][-8:] == ["–"] * 8
    assert (seen["counts"][-1], seen["total"]) == ("non-covid", "all")
    assert seen["wide"]
    assert (seen["folded"], seen["foldedInPrint"], seen["foldedAfter"]) == (True, 0, True)


A_LOOK = """<script>
(async () => {
  const images = [...document.images];
  for (let left = 2000; left > 0 && !images.every((image) => image.naturalWidth); left--)
    await new Promise((resolve) => setTimeout(resolve, 10));
  const box = (element) => element.getBoundingClientRect();
  const shown = (element) => element.checkVisibility();
  const seen = { inner: innerWidth, page: document.documentElement.scrollWidth };
  const cut = (element) => element.scrollWidth > element.clientWidth + 1;
  const hinted = (element) => /scroll/i.test(element.previousElementSibling?.textContent ?? "");
  const hints = () => [...document.querySelectorAll(".wide")].filter(shown).map((one) => [cut(one), hinted(one)]);
  const told = async () => {
    for (let left = 2000; left > 0 && !hints().every(([is, says]) => is === says); left--)
      await new Promise((resolve) => setTimeout(resolve, 10));
    return hints();
  };
  seen.hints = await told();
  // Of each task: how much of the area of its tables and explanations is taken, between the first and the last.
  seen.full = [...document.querySelectorAll(".facts, .tasks")].map((facts) => {
    const parts = [...facts.querySelectorAll("h4, .wide, p, .terms div")].flatMap(
      (part) => [...part.getClientRects()]);
    const columns = new Map();
    for (const part of parts) {
      const column = part.left < box(facts).left + box(facts).width / 2 ? 0 : 1;
      columns.set(column, Math.max(columns.get(column) ?? 0, part.bottom - box(facts).top));
    }
    return Math.min(...columns.values()) / box(facts).height;
  });
  const colour = (cell) => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    canvas.fillStyle = getComputedStyle(cell).backgroundColor;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  seen.cells = [...document.querySelectorAll(".confusion tbody tr")].flatMap((row) =>
    [...row.cells].slice(1).map((cell, at) => [at === row.sectionRowIndex, Number(cell.textContent), colour(cell)]));
  const plot = images.find((image) => image.closest(".plots, .pictures"));
  const canvas = document.createElement("canvas").getContext("2d");
  canvas.filter = getComputedStyle(plot).filter;
  canvas.drawImage(plot, 0, 0);
  seen.plot = [...canvas.getImageData(2, 2, 1, 1).data].slice(0, 3);
  seen.paper = [...document.querySelectorAll("#paper table")].filter(shown).map(
    (table) => table.tBodies[0].rows.length);
  seen.letters = images.filter((image) => image.naturalWidth === 488).map(
    (image) => image.parentElement.querySelectorAll("svg use").length);
  seen.heading = box(document.querySelector("summary h2")).height;
  for (const details of document.querySelectorAll("details")) details.open = true;
  seen.opened = await told();
  seen.errors = errors;
  top.document.title = JSON.stringify(seen);
})().catch((error) => { top.document.title = JSON.stringify({ errors: [String(error)] }); });
</script>"""

LONG = "resnet_medium_fold-0_seed-0_epochs-3_dropout-0.3_emd-weight-0.15_weight-decay-0.001_brightness-0.02"


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_its_window_without_holes(fill: Fill, scans: pd.DataFrame, tmp_path: Path, width: int) -> None:
    run = tmp_path / "runs" / LONG
    write_run(run, scans, epochs=3, skill=1.0, dropout=0.3)
    store = fill({scan: {} for scan in scans["scan"]})
    store.write_manifest()
    seen = watch(report(tmp_path / "report", [run], scans, [store.folder]), A_LOOK, tmp_path / "page.html", width)
    assert seen["errors"] == []
    assert seen["inner"] == width
    assert seen["page"] <= width
    # A table that is cut says so, and no other does.
    for hints in (seen["hints"], seen["opened"]):
        assert all(cut == hinted for cut, hinted in hints)
        cut = sum(cut for cut, _ in hints)
        assert cut == 0 if width == 1280 else cut >= 2
    assert len(seen["opened"]) > len(seen["hints"])
    assert seen["heading"] < (40 if width == 1280 else 60)
    assert len(seen["full"]) == 2
    assert min(seen["full"]) > 0.75
    # Right predictions are bluer than red, wrong ones redder than blue.
    for right, count, (red, _, blue, alpha) in seen["cells"]:
        if right:
            assert blue > red
        elif count:
            assert red > blue
        else:
            assert alpha == 0
    assert {right for right, count, _ in seen["cells"] if count} == {True, False}
    # Nothing of ours is in the tables of the paper: tables 1 and 2 only.
    assert len(seen["paper"]) == 2
    assert max(seen["paper"]) < 10
    assert seen["letters"]
    assert set(seen["letters"]) == {1}


def test_plots_are_dark_on_a_dark_page(scans: pd.DataFrame, tmp_path: Path) -> None:
    page = report(tmp_path / "report", [predicted(scans, tmp_path / "alike", (0.1, 0.2, 0.2, 0.4, 0.1))], scans)
    light, dark = (watch(page, A_LOOK, tmp_path / f"{dark}.html", dark=dark) for dark in (False, True))
    assert light["errors"] == dark["errors"] == []
    assert min(light["plot"]) > 250
    assert max(dark["plot"]) < 40


def test_rows_of_the_paper_with_scores_of_ours_are_shown(scans: pd.DataFrame, tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "mine", scans, experiment=12)
    seen = watch(report(tmp_path / "report", [tmp_path / "runs"], scans), A_LOOK, tmp_path / "page.html")
    assert seen["errors"] == []
    assert seen["paper"][2:] == [1]
