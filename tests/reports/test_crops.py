"""The report on the crops: one page that needs nothing else, contact sheets, the doubtful first."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from cov3d.reports.crops import write_report
from tests.reports.conftest import Fill

EVIL = "train/<b>covid</b> & \"co\"/'scan', 3"


class Page(HTMLParser):
    """What a page holds: tags with their attributes, the text of each cell of each row, and that of all scripts."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.scripts: dict[str | None, str] = {}
        self.styles = ""
        self.text = ""
        self._inside: list[str] = []
        self._script: str | None = None
        self.source = file.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "input", "wbr"):
            self._inside.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "script":
            self._script = dict(attributes).get("data-scan")

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag, f"{tag} is closed, but is not the last that was opened"

    def handle_data(self, data: str) -> None:
        if "script" in self._inside:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        elif "style" in self._inside:
            self.styles += data
        elif "td" in self._inside or "th" in self._inside:
            self.rows[-1][-1] += data
        else:
            self.text += data

    def with_attribute(self, name: str) -> list[str | None]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def numbers(page: Page) -> list[dict[str, str]]:
    """The numbers of each row, by the words that the dialog has for them."""
    words = re.findall(r"<dt>(.*?)</dt>", page.source)
    return [dict(zip(words, json.loads(row), strict=True)) for row in page.with_attribute("data-numbers") if row]


def test_the_page_has_a_row_for_every_scan_the_doubtful_first(fill: Fill) -> None:
    store = fill(
        {
            "b/scan_2": {},
            "a/scan_9": {"notes": "2 unreadable slices left out (4, 5)"},
            EVIL: {"crop": "fallback"},
            "a/scan_1": {"crop": "override", "notes": "box given by a person, in place of z 1–2"},
        }
    )
    report = write_report(store, {"c/lost & gone": "none of the 3 slices can be read"})
    assert (report.n_scans, report.n_doubtful) == (4, 2)
    assert report.page == store.folder / "report" / "crops.html"
    page = Page(report.page)
    head, *rows = page.rows
    assert head == ["crop", "scan", "to check"]
    assert [row[1] for row in rows] == [EVIL, "a/scan_9", "a/scan_1", "b/scan_2"]
    assert [row[2] for row in rows] == [
        *("no lungs found", "2 unreadable slices left out (4, 5)"),
        *("box given by a person, in place of z 1–2", ""),
    ]
    assert numbers(page)[-1] == {
        **{"slices found": "60", "slices used": "60", "depth": "60", "height": "512", "width": "512"},
        **{"z0": "6", "z1": "48", "y0": "100", "y1": "400", "x0": "60", "x1": "460", "cropped to": "lungs"},
        **{"lungs, share of body": "0.2", "left lung, share of both": "0.46", "opaque, share of lungs": "0.05"},
    }
    reported = "2 of 4 crops to check, 1 with a box given by a person, 1 scan not preprocessed."
    assert reported in " ".join(page.text.split())
    assert "c/lost & gone: none of the 3 slices can be read" in page.text
    assert [attributes.get("data-box") for tag, attributes in page.tags if tag == "tr"][1:] == [
        "6 48 100 400 60 460"
    ] * 4


def test_what_only_some_scans_have_is_shown_without_needless_digits(fill: Fill) -> None:
    known = {"lung_ml": 3512, "spacing_z": 5.0, "spacing_y": 0.703125, "spacing_x": 0.703125}
    page = Page(write_report(fill({"one": known, "two": {}}), {}).page)
    one, two = numbers(page)
    names = ("lungs, ml", "spacing z, mm", "spacing x, mm")
    assert [one[name] for name in names] == ["3512", "5", "0.7031"]
    assert [two[name] for name in names] == ["", "", ""]


def test_the_page_needs_nothing_but_itself(fill: Fill) -> None:
    store = fill({"a/scan_1": {}, EVIL: {}, "a/scan_2": {"preview": False}})
    page = Page(write_report(store, {}).page)
    for name in ("src", "srcset", "action", "data-src", "href"):
        assert page.with_attribute(name) == []
    assert "url(" not in page.styles
    assert "@import" not in page.styles
    policy = page.with_attribute("content")
    assert any(text and text.startswith("default-src 'none'; img-src data:;") for text in policy)
    # Every picture is in the page, as the store has it.
    for scan in ("a/scan_1", EVIL):
        assert base64.b64decode(page.scripts[scan]) == store.preview(scan)
    assert "a/scan_2" not in page.scripts
    assert sum(tag == "img" for tag, _ in page.tags) == 3  # two in the table, one to enlarge into
    assert {row[1]: row[0] for row in page.rows[1:]} == {"a/scan_1": "", EVIL: "", "a/scan_2": "no picture"}


def test_names_can_not_become_html(fill: Fill) -> None:
    evil = '</script><img src=x onerror="alert(1)">'
    store = fill({EVIL: {"notes": "<i>note</i>"}, evil: {}})
    report = write_report(store, {"<u>lost</u>": "<s>why</s>"})
    page = Page(report.page)
    assert not {"b", "i", "u", "s"} & {tag for tag, attributes in page.tags if attributes}
    assert sorted(row[1] for row in page.rows[1:]) == sorted([EVIL, evil])
    assert page.with_attribute("onerror") == []
    assert page.with_attribute("data-scan").count(EVIL) == 2
    text = report.page.read_text(encoding="utf-8")
    assert "<i>note" not in text
    assert "<u>lost" not in text
    assert "&lt;b&gt;covid" in text


def test_contact_sheets_show_48_scans_a_page_and_leave_no_page_of_an_earlier_report(fill: Fill) -> None:
    store = fill({f"scan_{number:02}": {} for number in range(49)})
    names = ["crops-1.png", "crops-2.png"]
    sheets = write_report(store, {}).sheets
    assert [file.name for file in sheets] == names
    first, second = (np.asarray(Image.open(file).convert("L")) for file in sheets)
    assert first.shape[1] == second.shape[1]
    assert first.shape[0] > 8 * second.shape[0]
    mine = store.folder / "report" / "crops-mine.png"
    mine.write_bytes(b"a person's")
    (store.folder / "records" / "scan_48.json").unlink()
    write_report(store, {})
    assert sorted(file.name for file in mine.parent.glob("*.png")) == ["crops-1.png", "crops-mine.png"]
    # A scan that is not preprocessed takes a place, before all others.
    assert [file.name for file in write_report(store, {"lost": "why"}).sheets] == names


def test_a_sheet_shows_the_pictures_in_the_order_of_doubt(fill: Fill) -> None:
    # Greys 40, 60 and 80, in the order of names.
    store = fill({"a": {}, "b": {"outside_box": 0.1}, "c": {"crop": "fallback"}})
    sheet = Image.open(write_report(store, {}).sheets[0]).convert("RGB")
    greys = [sheet.getpixel((16 + 498 * column + 80, 60 + 80)) for column in range(4)]
    assert [abs(grey[0] - wanted) < 4 for grey, wanted in zip(greys, (80, 60, 40), strict=False)] == [True] * 3
    assert min(greys[3]) > 245  # paper


def test_a_sheet_marks_the_patients_right_and_left(fill: Fill) -> None:
    store = fill({"a": {}})  # a picture of one grey, 40
    sheet = np.asarray(Image.open(write_report(store, {}).sheets[0]).convert("L"))
    picture = sheet[60 : 60 + 160, 16 : 16 + 488]
    white = picture > 200
    # The letters stand at the middle of the sides of the axial and the coronal plane, 160 pixels each, 4 between them.
    for left in (0, 144, 164, 308):
        assert white[72:88, left : left + 16].sum() > 10, left
    # R has a closed bowl, which L has not: more ink.
    assert white[72:88, :16].sum() > 1.2 * white[72:88, 144:160].sum()


def test_a_damaged_picture_does_not_cost_the_report(fill: Fill) -> None:
    store = fill({"a": {}, "b": {}})
    (store.folder / "previews" / "a.webp").write_bytes(b"RIFF????WEBPVP8 broken")
    report = write_report(store, {})
    assert len(Page(report.page).rows) == 3


def test_the_same_store_gives_the_same_report(fill: Fill) -> None:
    store = fill({"a": {}, "b": {"z0": 0}})

    def made() -> dict[str, bytes]:
        write_report(store, {})
        return {file.name: file.read_bytes() for file in (store.folder / "report").iterdir()}

    assert made() == made()


def test_an_empty_store_gives_a_report_that_says_so(fill: Fill) -> None:
    report = write_report(fill({}), {"lost": "why"})
    assert (report.n_scans, report.n_doubtful, len(report.sheets)) == (0, 0, 1)
    page = Page(report.page)
    assert len(page.rows) == 1
    assert "0 of 0 crops to check, 1 scan not preprocessed." in " ".join(page.text.split())
    assert Image.open(io.BytesIO(report.sheets[0].read_bytes())).format == "PNG"
