"""The page of crops in a real browser: it opens without an error, sorts, filters, and gives the line to copy."""

from pathlib import Path
from typing import Any

import pytest

from cov3d.reports.crops import write_report
from tests.reports.browser import watch
from tests.reports.conftest import Fill

A_PERSON = """<script>
(async () => {
  // The browser's clock runs ahead whenever nothing is to do, so what it does beside is waited for in many small steps.
  const until = async (done) => {
    for (let left = 20000; left > 0 && !done(); left--) await new Promise((resolve) => setTimeout(resolve, 10));
  };
  const names = () => rows.filter((row) => !row.hidden).map((row) => row.dataset.scan);
  const type = (input, value) => { input.value = value; input.dispatchEvent(new Event("input", { bubbles: true })); };
  const seen = { start: names() };
  const pictures = () => [...document.images].filter((image) => image.naturalWidth === 488).length;
  await until(() => pictures() === 5);
  seen.pictures = pictures();

  const head = (column) => find(`th[data-column=${column}] button`);
  head("lung_share").click(); seen.ascending = names();
  head("lung_share").click(); seen.descending = names();
  head("scan").click(); seen.byName = names();
  head("lung_ml").click(); seen.unknownLast = names();
  head("doubts").click(); seen.byDoubt = names();
  seen.said = find("th[data-column=doubts]").getAttribute("aria-sort");

  type(find("#name"), "SCAN_1"); seen.named = names(); seen.shown = find("#shown").textContent;
  type(find("#name"), "");
  find("#doubtful").click(); seen.doubtful = names();
  find("#doubtful").click();

  const evil = rows.find((row) => row.dataset.scan.includes('"'));
  find(".picture", evil).click();
  seen.line = line.value;
  type(find("[name=z0]", dialog), "99"); seen.wrong = [line.value, find(".copy").disabled];
  type(find("[name=z0]", dialog), "7"); seen.typed = [line.value, find(".copy").disabled];
  await until(() => find("img", canvas).naturalWidth === 488);
  // Drag over the left half of the axial plane, top quarter to the middle.
  const box = canvas.getBoundingClientRect();
  const at = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type, {
    clientX: box.left + box.width * x / 488, clientY: box.top + box.height * y / 160, bubbles: true }));
  Element.prototype.setPointerCapture = () => {};
  at("pointerdown", 0, 40); at("pointermove", 40, 60); at("pointermove", 80, 80); at("pointerup", 80, 80);
  seen.dragged = line.value;
  seen.frames = canvas.querySelectorAll("rect:not(.under)").length;
  find(".keep", dialog).click();
  let saved;
  URL.createObjectURL = (blob) => { saved = blob; return "#"; };
  seen.saveSays = find("#save").textContent;
  dialog.close();
  find("#save").click();
  seen.saved = await saved.text();

  find(".picture", rows.find((row) => "settled" in row.dataset)).click();
  find(".drop", dialog).click();
  find("#save").click();
  seen.savedWithout = await saved.text();
  find(".before", dialog).click();
  seen.walked = find("h2", dialog).textContent;
  seen.errors = errors;
  document.title = JSON.stringify(seen);
})().catch((error) => { document.title = JSON.stringify({ errors: [String(error)] }); });
</script>"""


@pytest.fixture
def seen(fill: Fill, tmp_path: Path) -> dict[str, Any]:
    """What a person saw on the page of five scans."""
    store = fill(
        {
            "scan_2": {"lung_share": 0.1},
            "scan_10": {"lung_share": 0.3, "lung_ml": 900},
            "scan_1": {"lung_share": 0.2, "lung_ml": 4000, "outside_box": 0.1},
            'a "b", c': {"crop": "fallback", "lung_share": 0.01},
            "scan_3": {"crop": "override", "lung_share": 0.15, "notes": "box given by a person"},
        }
    )
    text = write_report(store, {}).page.read_text(encoding="utf-8")
    return watch(text, A_PERSON, tmp_path / "page.html")


def test_a_person_finds_their_way_about_the_page(seen: dict[str, Any]) -> None:
    assert seen["errors"] == []
    evil = 'a "b", c'
    assert seen["start"] == [evil, "scan_1", "scan_10", "scan_2", "scan_3"]
    assert seen["pictures"] == 5
    assert seen["ascending"] == [evil, "scan_2", "scan_3", "scan_1", "scan_10"]
    assert seen["descending"] == list(reversed(seen["ascending"]))
    assert seen["byName"] == [evil, "scan_1", "scan_2", "scan_3", "scan_10"]
    assert seen["unknownLast"] == ["scan_10", "scan_1", evil, "scan_2", "scan_3"]
    assert seen["byDoubt"] == [evil, "scan_1", "scan_2", "scan_3", "scan_10"]
    assert seen["said"] == "descending"
    assert seen["named"] == ["scan_1", "scan_10"]
    assert seen["shown"] == "2 of 5 shown"
    assert seen["doubtful"] == [evil, "scan_1"]

    # The record's box is 6 48 100 400 60 460 in 60 × 512 × 512 voxels.
    quoted = '"a ""b"", c"'
    assert seen["line"] == f"{quoted},6,48,100,400,60,460"
    assert seen["wrong"] == ["z0 must be less than z1", True]
    assert seen["typed"] == [f"{quoted},7,48,100,400,60,460", False]
    # 160 pixels show 512 voxels: rows from 40 to 80 pixels, columns from 0 to 80.
    assert seen["dragged"] == f"{quoted},7,48,128,256,0,256"
    assert seen["frames"] == 3
    assert seen["saveSays"] == "Save overrides.csv (2 scans)"
    header = "scan,z0,z1,y0,y1,x0,x1\n"
    mine = f"{quoted},7,48,128,256,0,256\n"
    assert seen["saved"] == f"{header}{mine}scan_3,6,48,100,400,60,460\n"
    assert seen["savedWithout"] == header + mine
    assert seen["walked"] == "scan_2"
