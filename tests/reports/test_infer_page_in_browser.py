"""The page of predictions in a real browser: it opens without an error, sorts, filters, and shows the map of a scan."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cov3d.preprocessing.record import RECORD_COLUMNS
from cov3d.reports.infer_page import write_page
from cov3d.training import checkpoint
from tests.app.conftest import Command
from tests.conftest import sphere_chest, write_slices
from tests.inference.cell_network import CellNetwork, cell_info, use_cell_network
from tests.reports.browser import printed, watch

A_PERSON = """<script>
(async () => {
  const until = async (done) => {
    for (let left = 20000; left > 0 && !done(); left--) await new Promise((resolve) => setTimeout(resolve, 10));
  };
  const names = () => rows.filter((row) => !row.hidden).map((row) => row.dataset.scan);
  const choose = (selector, value) => {
    find(selector).value = value; find(selector).dispatchEvent(new Event("change", { bubbles: true })); };
  const seen = { start: names() };
  await until(() => [...document.querySelectorAll(".picture img")].every((image) => image.naturalWidth > 0));
  seen.pictures = document.querySelectorAll(".picture img").length;
  choose("#sort", "scan"); seen.byName = names();
  choose("#sort", "probability"); seen.byProbability = names();
  choose("#only", "positive"); seen.positive = names(); choose("#only", "review"); seen.review = names();
  choose("#only", "");
  find("#name").value = "LEFT"; find("#name").dispatchEvent(new Event("input", { bubbles: true }));
  seen.named = names(); seen.shown = find("#shown").textContent;
  find(".picture", rows.find((row) => !row.hidden)).click();
  await until(() => find(".overlay", dialog).naturalWidth > 0);
  seen.title = find("h2", dialog).textContent;
  seen.sameSize = find(".overlay", dialog).naturalWidth === find(".crop", dialog).naturalWidth;
  seen.opacity = find(".overlay", dialog).style.opacity;
  find("#opacity").value = 20; find("#opacity").dispatchEvent(new Event("input"));
  seen.faded = find(".overlay", dialog).style.opacity;
  choose("#which", "severity"); seen.otherMap = find(".overlay", dialog).src === source(current, "severity");
  seen.zones = [...document.querySelectorAll(".parts .bar")].map((bar) => bar.textContent);
  seen.categories = document.querySelectorAll(".categories .bar").length;
  seen.notice = document.body.textContent.includes("For research only");
  seen.fits = document.documentElement.scrollWidth <= innerWidth && dialog.getBoundingClientRect().right <= innerWidth;
  seen.marks = [...document.querySelectorAll("#marks text")].map((mark) => mark.textContent).sort().join("");
  dialog.close();
  seen.background = getComputedStyle(document.body).backgroundColor;
  seen.errors = errors;
  top.document.title = JSON.stringify(seen);
})().catch((error) => { top.document.title = JSON.stringify({ errors: [String(error)] }); });
</script>"""


@pytest.fixture
def page(tmp_path: Path, cov3d: Command, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page of three explained scans: a spot in the left lung, in the right lung, and no lungs."""
    use_cell_network(monkeypatch)
    for name, place in (("left", slice(86, 100)), ("right", slice(28, 36)), ("solid", slice(0, 0))):
        voxels = sphere_chest(depth=48, side=128)
        voxels[24:34, 56:72, place] = 250
        if name == "solid":
            voxels[voxels == 55] = 200
        write_slices(tmp_path / "scans" / f"ct_{name}", voxels)
    checkpoint.save(tmp_path / "a.safetensors", CellNetwork(), cell_info())
    ended = cov3d(
        *("infer", "--checkpoint", tmp_path / "a.safetensors", "--scans", tmp_path / "scans", "--explain"),
        *("--output-dir", tmp_path / "out", "--device", "cpu", "--jobs", 1, "--no-submission"),
    )
    assert ended.code == 0, ended.err
    return (tmp_path / "out" / "infer.html").read_text(encoding="utf-8")


def test_a_reader_sorts_filters_and_looks_at_a_map(page: str, tmp_path: Path) -> None:
    seen = watch(page, A_PERSON, tmp_path / "page.html")
    assert seen["errors"] == []
    assert seen["start"][0] == "ct_solid"  # to review first
    assert seen["pictures"] == 3
    assert seen["byName"] == ["ct_left", "ct_right", "ct_solid"]
    table = pd.read_csv(tmp_path / "out" / "review.csv", keep_default_na=False).set_index("scan")
    assert seen["byProbability"] == table["p_covid"].sort_values(ascending=False).index.tolist()
    assert seen["positive"] == [scan for scan in seen["byProbability"] if table.loc[scan, "presence"] == "covid"]
    assert seen["review"] == [scan for scan in seen["byProbability"] if table.loc[scan, "review"]]
    assert (seen["named"], seen["shown"], seen["title"]) == (["ct_left"], "1 of 3 shown", "ct_left")
    assert (seen["sameSize"], seen["opacity"], seen["faded"], seen["otherMap"]) == (True, "0.6", "0.2", True)
    zones = dict(re.fullmatch(r"([a-z ]+?)([+-]?\d+\.\d+)", text).groups() for text in seen["zones"])  # type: ignore[union-attr]
    assert float(zones["left lung"]) == pytest.approx(float(table.loc["ct_left", "without_left_lung"]), abs=0.006)
    assert float(zones["right lung"]) == 0
    assert (seen["categories"], seen["notice"], seen["fits"], seen["marks"]) == (5, True, True, "AAFFHHLLPPRR")


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1440, True)])
def test_it_fits_a_phone_and_a_dark_room(page: str, tmp_path: Path, width: int, dark: bool) -> None:
    seen = watch(page, A_PERSON, tmp_path / "page.html", width, dark=dark)
    assert (seen["errors"], seen["fits"]) == ([], True)
    brightness = sum(map(int, re.findall(r"\d+", seen["background"])[:3]))
    assert (brightness < 200) == dark


def test_nothing_is_fetched(page: str) -> None:
    assert re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?!#|data:)(https?:|//)", page) == []
    assert "default-src 'none'" in page


class Many:
    """Five hundred predictions, as the page needs them."""

    def __init__(self) -> None:
        names = [f"scan_{number:03d}" for number in range(500)]
        columns = ("p_non_covid", "p_mild", "p_moderate", "p_severe", "p_critical")
        self.table = pd.DataFrame(
            {"scan": names, **dict.fromkeys(columns, 0.2), "presence": "covid", "severity": "mild"}
        )
        self.manifest = pd.DataFrame([dict.fromkeys(RECORD_COLUMNS, 1) | {"scan": name} for name in names])
        self.review: dict[str, list[str]] = {names[7]: ["because"]}
        self.spread: dict[str, float] = {}
        self.zones: dict[str, dict[str, float]] = {}
        self.failed: dict[str, str] = {}
        self.left_out: list[Any] = []
        self.about = ["a network"]


def test_five_hundred_scans_are_listed_and_only_pictures_in_sight_are_drawn(tmp_path: Path) -> None:
    pictures = ((scan, "preview", b"RIFF" + bytes(6000)) for scan in Many().table["scan"])
    file = write_page(tmp_path / "many.html", Many(), ("non-covid", "mild", "moderate", "severe", "critical"), pictures)
    person = """<script>
    setTimeout(() => { top.document.title = JSON.stringify({ errors, rows: rows.length, first: rows[0].dataset.scan,
      drawn: [...document.querySelectorAll(".picture img")].filter((image) => image.src).length }); }, 500);
    </script>"""
    seen = watch(file.read_text(encoding="utf-8"), person, tmp_path / "page.html")
    assert (seen["errors"], seen["rows"], seen["first"]) == ([], 500, "scan_007")
    assert 0 < seen["drawn"] < 60


def test_it_is_printed_with_every_picture_and_without_its_controls(page: str, tmp_path: Path) -> None:
    paper = printed(page, tmp_path / "page.html")
    assert paper.count(b"/Subtype /Image") >= 3  # a crop for each scan
    assert paper.count(b"/Type /Page\n") == 1  # the dialog and its maps, which are not shown, take no room
    assert len(printed(page.replace("#tools, dialog { display: none; }", ""), tmp_path / "with.html")) > len(paper)
