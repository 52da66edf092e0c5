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
  const sortBy = (column) => { find("#sort").value = column; find("#sort").dispatchEvent(new Event("change")); };
  sortBy("lung_share"); seen.ascending = names(); seen.sorted = find(".sorted", rows[0]).textContent;
  find("#turn").click(); seen.descending = names();
  head("scan").click(); seen.byName = names();
  sortBy("lung_ml"); seen.unknownLast = names(); seen.unknown = find(".sorted", rows[4]).textContent;
  head("doubts").click(); seen.byDoubt = names(); seen.unsorted = document.querySelectorAll(".sorted").length;
  seen.reported = find("th[data-column=doubts]").getAttribute("aria-sort");

  type(find("#name"), "SCAN_1"); seen.named = names(); seen.shown = find("#shown").textContent;
  type(find("#name"), "");
  find("#doubtful").click(); seen.doubtful = names();
  find("#doubtful").click();

  const evil = rows.find((row) => row.dataset.scan.includes('"'));
  find(".picture", evil).click();
  seen.line = line.value;
  seen.numbers = [...document.querySelectorAll(".numbers div")].map(
    (pair) => [...pair.children].map((part) => part.textContent));
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
  seen.frames = canvas.querySelectorAll("rect.changed").length;
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
  top.document.title = JSON.stringify(seen);
})().catch((error) => { top.document.title = JSON.stringify({ errors: [String(error)] }); });
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
    assert seen["sorted"] == "lungs, share of body: 0.01"
    assert seen["unknown"] == "lungs, ml: unknown"
    assert seen["unsorted"] == 0
    assert seen["ascending"] == [evil, "scan_2", "scan_3", "scan_1", "scan_10"]
    assert seen["descending"] == list(reversed(seen["ascending"]))
    assert seen["byName"] == [evil, "scan_1", "scan_2", "scan_3", "scan_10"]
    assert seen["unknownLast"] == ["scan_10", "scan_1", evil, "scan_2", "scan_3"]
    assert seen["byDoubt"] == [evil, "scan_1", "scan_2", "scan_3", "scan_10"]
    assert seen["reported"] == "descending"
    assert seen["named"] == ["scan_1", "scan_10"]
    assert seen["shown"] == "2 of 5 shown"
    assert seen["doubtful"] == [evil, "scan_1"]

    numbers = dict(seen["numbers"])
    assert numbers["lungs, share of body"] == "0.01"
    assert (numbers["slices used"], numbers["cropped to"], numbers["lungs, ml"]) == ("60", "fallback", "unknown")
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


A_LOOK = """<script>
(async () => {
  const until = async (done) => {
    for (let left = 2000; left > 0 && !done(); left--) await new Promise((resolve) => setTimeout(resolve, 10));
  };
  const image = document.querySelector(".picture img");
  await until(() => image.naturalWidth === 488);
  const box = (element) => element.getBoundingClientRect();
  const seen = { inner: innerWidth, table: box(document.querySelector("table")).right };
  seen.page = document.documentElement.scrollWidth;
  seen.picture = box(image).width;
  seen.numbersInTable = /0\\.1851|0\\.4709/.test(document.querySelector("table").textContent);
  const letters = [...document.querySelectorAll("#marks text")].map((text) => [
    text.textContent, Number(text.getAttribute("x")), Number(text.getAttribute("y"))]);
  seen.letters = document.querySelector(".picture svg use") ? letters : [];
  seen.frame = [...document.querySelectorAll(".picture svg")][0]?.querySelectorAll("rect.box").length;
  seen.thick = getComputedStyle(document.querySelector("rect.box") ?? document.body).strokeWidth;
  document.querySelector(".picture").click();
  const values = [...document.querySelectorAll("#large dd")];
  seen.values = values.map((value) => value.textContent);
  const touching = (a, b) => box(a).right > box(b).left - 4 && box(b).right > box(a).left - 4
    && box(a).bottom > box(b).top && box(b).bottom > box(a).top;
  const texts = values.flatMap((value) => [value, value.previousElementSibling]);
  const shown = texts.map((element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    return range;
  });
  seen.touching = values.length === 0 || shown.some((a, i) => shown.some((b, j) => i < j && touching(a, b)));
  seen.dialog = [box(document.querySelector("#large")).left, box(document.querySelector("#large")).right];
  seen.dialogOver = document.querySelector("#large").scrollWidth > document.querySelector("#large").clientWidth;
  seen.errors = errors;
  top.document.title = JSON.stringify(seen);
})().catch((error) => { top.document.title = JSON.stringify({ errors: [String(error)] }); });
</script>"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scans", [1, 30])
def test_the_page_fits_its_window_and_shows_numbers_in_the_dialog_only(
    fill: Fill, tmp_path: Path, width: int, scans: int
) -> None:
    known = {"lung_ml": 3512, "spacing_z": 5.0, "spacing_y": 0.703125, "spacing_x": 0.703125}
    records = {
        f"train/covid/a_rather_long_folder_name/ct_scan_{n}": {**known, "lung_share": 0.1851, "left_share": 0.4709}
        for n in range(scans)
    }
    text = write_report(fill(records), {}).page.read_text(encoding="utf-8")
    seen = watch(text, A_LOOK, tmp_path / "page.html", width)
    assert seen["errors"] == []
    assert seen["inner"] == width
    assert seen["page"] <= width
    assert seen["table"] <= width
    assert seen["picture"] >= (480 if width == 1280 else 0.85 * width)
    assert not seen["numbersInTable"]
    assert {"0.1851", "0.4709", "3512", "0.7031"} <= set(seen["values"])
    assert not seen["touching"]
    assert 0 <= seen["dialog"][0] < seen["dialog"][1] <= width
    assert not seen["dialogOver"]
    assert (seen["frame"], seen["thick"]) == (3, "2px")
    # Three squares of 160 pixels with gaps of 4: axial and coronal plane, then the sagittal one.
    sides = [(letter, x) for letter, x, _ in seen["letters"] if letter in "RL"]
    assert [letter for letter, _ in sides] == ["R", "L", "R", "L"]
    assert all(
        left < x < right
        for (_, x), (left, right) in zip(sides, ((0, 40), (120, 160), (164, 204), (284, 324)), strict=True)
    )
    feet = [(x, y) for letter, x, y in seen["letters"] if letter == "F"]
    assert [(x > 164, y > 80) for x, y in feet] == [(True, True)] * 2
