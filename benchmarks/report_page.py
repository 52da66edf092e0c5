"""How long does the page of crops take to open? And how long the report takes to write, and a preview to draw.

    python benchmarks/report_page.py --scans 3000
    python benchmarks/report_page.py --scans 3000 --screenshots DIR     and look at it: light, dark, and on a phone

Previews of noisy phantoms, repeated under other names, make a store of that many scans; headless Chromium opens its
page and says when it was loaded. Needs Chromium (apt-get install chromium) and Selenium (pip install selenium).
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from cov3d.phantom import make_scan
from cov3d.preprocessing.pipeline import locate, preprocess
from cov3d.preprocessing.preview import preview
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.reports.crops import write_report
from cov3d.volume import Volume

PHANTOMS = 12
SCREENS = {"light": (1440, 900, "light"), "dark": (1440, 900, "dark"), "phone": (390, 844, "light")}


def volume(number: int, slices: int, resolution: int, variant: str | None = None) -> Volume:
    """A phantom, as a reader would give it."""
    voxels = make_scan(5, number=number, resolution=resolution, slices=slices, variant=variant).voxels
    return Volume(voxels, Path("phantom"), slices)


def preview_time() -> float:
    """Milliseconds to draw the preview of 350 slices of 512 × 512, the median of 30, one thread, caches cold."""
    found = locate(volume(3, 350, 512))
    others = np.zeros(64 * 2**20, dtype=np.uint8)
    times = []
    with threadpool_limits(1):
        for _ in range(30):
            others += 1
            started = time.perf_counter()
            preview(found.volume.voxels, found.segmentation, found.crop.box)
            times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def fill(store: Store, scans: int) -> None:
    """A store of that many scans, as far as a report reads it."""
    made = [preprocess(volume(number, 60, 256, "noisy"), [store.size], draw=True) for number in range(PHANTOMS)]
    for number in range(scans):
        scan, done = f"train/covid/ct_scan_{number}", made[number % PHANTOMS]
        for folder, suffix, content in (
            ("previews", ".webp", done.preview or b""),
            ("records", ".json", json.dumps(replace(done.record, scan=scan).by_column()).encode()),
        ):
            file = store.folder / folder / f"{scan}{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def browser(width: int, height: int, scheme: str) -> Any:
    """Chromium, without a window."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},{height}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Given the driver's path, Selenium does not look for one on the network.
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    return driver


def open_page(page: Path) -> tuple[float, float, list[Any]]:
    """Seconds to the first paint and until all is loaded, in a browser just started; what its console says."""
    driver = browser(*SCREENS["light"])
    try:
        driver.get(page.as_uri())
        paint, loaded = driver.execute_script(
            "return [performance.getEntriesByType('paint')[0].startTime,"
            " performance.getEntriesByType('navigation')[0].loadEventEnd]"
        )
        return paint / 1000, loaded / 1000, driver.get_log("browser")
    finally:
        driver.quit()


def take_screenshots(page: Path, folder: Path) -> None:
    """Pictures of the page and of a scan enlarged, on each kind of screen."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, screen in SCREENS.items():
        driver = browser(*screen)
        try:
            driver.get(page.as_uri())
            time.sleep(1)
            driver.save_screenshot(str(folder / f"{name}.png"))
            driver.execute_script("document.querySelector('.picture').click()")
            time.sleep(0.5)
            driver.save_screenshot(str(folder / f"{name}-enlarged.png"))
        finally:
            driver.quit()


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=3000, help="rows of the page (default: 3000)")
    parser.add_argument("--times", type=int, default=5, help="times to open it (default: 5)")
    parser.add_argument("--screenshots", type=Path, help="folder to put pictures of the page into")
    options = parser.parse_args()
    table = Table("what", "measured", title=f"The report on {options.scans} crops")
    table.add_row("draw a preview, 350 slices of 512 × 512", f"{preview_time():.1f} ms")
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "store", Size.TINY)
        fill(store, options.scans)
        sizes = sorted(file.stat().st_size for file in (store.folder / "previews").rglob("*.webp"))
        table.add_row("size of a preview, median and largest", f"{sizes[len(sizes) // 2]} and {sizes[-1]} bytes")
        started = time.perf_counter()
        report = write_report(store, {})
        table.add_row("write the report", f"{time.perf_counter() - started:.1f} s")
        table.add_row("size of the page", f"{report.page.stat().st_size / 1e6:.1f} MB")
        sheets = sum(file.stat().st_size for file in report.sheets)
        table.add_row("contact sheets", f"{len(report.sheets)} pages, {sheets / 1e6:.0f} MB")
        opened = [open_page(report.page) for _ in range(options.times)]
        for what, times in zip(("first paint", "loaded"), list(zip(*opened, strict=True))[:2], strict=True):
            table.add_row(f"open the page: {what}", f"{statistics.median(times):.2f} s (worst {max(times):.2f} s)")
        table.add_row("lines on the browser's console", str(sum(len(said) for _, _, said in opened)))
        if options.screenshots:
            take_screenshots(report.page, options.screenshots)
    Console().print(table)


if __name__ == "__main__":
    main()
