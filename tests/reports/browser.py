"""A real browser for tests of pages. Skipped where there is no Chromium that opens files (some packages are shut in).

A page is opened without any driver: a script added to a copy of it does what a person would and leaves what it saw in
the title.
"""

import html
import json
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

NARROWEST = 500
"""Pixels: a window can't be narrower. Narrower pages are shown in a frame."""

ERRORS = "<script>var errors = []; addEventListener('error', (event) => errors.push(event.message));</script>"


def opened(page: Path, width: int = 1440, *, dark: bool = False) -> str:
    """The document of a page once its scripts have run, in a window so many pixels wide; empty if the browser fails."""
    words = [
        *(str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--dump-dom"),
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        *("--virtual-time-budget=1000000", f"--user-data-dir={page.parent / 'browser'}", page.as_uri()),
    ]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def browse(page: Path, text: str, width: int = 1440, *, dark: bool = False) -> str:
    """The title that a page ends with."""
    page.write_text(text, encoding="utf-8")
    return html.unescape(opened(page, width, dark=dark).partition("<title>")[2].partition("</title>")[0])


@cache
def _works() -> bool:
    if BROWSER is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        return browse(Path(folder) / "probe.html", "<title>it works</title>") == "it works"


def watch(page: str, person: str, file: Path, width: int = 1440, *, dark: bool = False) -> dict[str, Any]:
    """What a person saw on a page, as their script says it; the test is skipped where there is no browser.

    Args:
        page: the HTML.
        person: the script, which ends with `top.document.title = JSON.stringify(...)`.
        file: where to put the copy that is opened.
        width: of the window, in pixels.
        dark: whether the person prefers dark pages.
    """
    if not _works():
        pytest.skip("no Chromium here, or none that opens files")
    text = page.replace("<head>", f"<head>{ERRORS}").replace("</body>", f"{person}</body>")
    if width < NARROWEST:
        text = f'<title></title><iframe style="width:{width}px;height:800px;border:0" srcdoc="{html.escape(text)}">'
    return dict(json.loads(browse(file, text, width, dark=dark)))


def printed(page: str, file: Path) -> bytes:
    """A page as PDF, as a browser prints it; the test is skipped where there is no browser.

    Args:
        page: the HTML.
        file: where to put the copy that is opened.
    """
    if not _works():
        pytest.skip("no Chromium here, or none that opens files")
    file.write_text(page, encoding="utf-8")
    paper = file.with_suffix(".pdf")
    words = [
        *(str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000"),
        *(f"--print-to-pdf={paper}", f"--user-data-dir={file.parent / 'browser'}", file.as_uri()),
    ]
    subprocess.run(words, capture_output=True, check=True, timeout=120)
    return paper.read_bytes()
