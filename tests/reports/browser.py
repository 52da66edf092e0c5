"""A real browser for tests of pages. Skipped where there is no Chromium that opens files (some packages are shut in).

A page is opened without any driver: a script added to a copy of it does what a person would and leaves what it saw in
the title.
"""

import html
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

ERRORS = "<script>var errors = []; addEventListener('error', (event) => errors.push(event.message));</script>"


def opened(page: Path) -> str:
    """The document of a page once its scripts have run; empty if the browser fails."""
    words = [
        *(str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1440,900", "--dump-dom"),
        *("--virtual-time-budget=1000000", f"--user-data-dir={page.parent / 'browser'}", page.as_uri()),
    ]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def browse(page: Path, text: str) -> str:
    """The title that a page ends with."""
    page.write_text(text, encoding="utf-8")
    return html.unescape(opened(page).partition("<title>")[2].partition("</title>")[0])


def watch(page: str, person: str, file: Path) -> dict[str, Any]:
    """What a person saw on a page, as their script says it; the test is skipped where there is no browser.

    Args:
        page: the HTML.
        person: the script, which ends with `document.title = JSON.stringify(...)`.
        file: where to put the copy that is opened.
    """
    if BROWSER is None or browse(file.with_name("probe.html"), "<title>it works</title>") != "it works":
        pytest.skip("no Chromium here, or none that opens files")
    text = page.replace("<head>", f"<head>{ERRORS}").replace("</body>", f"{person}</body>")
    return dict(json.loads(browse(file, text)))
