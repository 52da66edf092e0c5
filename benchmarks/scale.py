"""Does `cov3d preprocess` hold at any number of scans? Memory and rate over a long run; the same store however it ran.

    python benchmarks/scale.py                       500 scans at size small
    python benchmarks/scale.py --scans 5000 --jobs 8

A few phantoms stand for many scans, by links. One run goes through unbroken; its rate and the memory (RSS) of parent
and workers are printed for every tenth of it. Then the same scans are preprocessed by a run that is killed again
and again (parent killed, interrupted, or killed after a worker) and started again, by two shares at once, and on a
local Dask cluster. Each store is compared with the first, file by file, manifest included.
"""

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from PIL import Image
from rich.console import Console
from rich.table import Table

from cov3d.phantom.scan import make_scan

console = Console(width=120)


def make_dataset(root: Path, scans: int, different: int, slices: int) -> Path:
    """`scans` scans, `different` of them different, the others links."""
    for number in range(different):
        folder = root / "different" / str(number)
        folder.mkdir(parents=True)
        for index, image in enumerate(make_scan(550, number=number, slices=slices).voxels, start=1):
            Image.fromarray(image).save(folder / f"{index}.jpg", quality=90)
    data = root / "data" / "all"
    data.mkdir(parents=True)
    for number in range(scans):
        (data / f"scan_{number}").symlink_to(root / "different" / str(number % different))
    return data.parent


def start(data: Path, store: Path, size: str, *words: str) -> subprocess.Popen[bytes]:
    """Start `cov3d preprocess`; what it says is dropped."""
    command = ["preprocess", "--data", str(data), "--size", size, "--store", str(store), "--no-report", *words]
    return subprocess.Popen(
        [sys.executable, "-m", "cov3d", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def finish(*running: subprocess.Popen[bytes]) -> None:
    """Wait, and make sure that all went well."""
    for one in running:
        if one.wait() != 0:
            raise SystemExit(f"{' '.join(map(str, one.args))} ended with {one.returncode}")


def done(store: Path) -> int:
    """How many scans are in a store."""
    return sum(1 for _ in store.glob("records/**/*.json"))


def workers(running: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes that preprocess."""
    children = psutil.Process(running.pid).children()
    return [child for child in children if any("spawn_main" in word for word in child.cmdline())]


def watch(running: subprocess.Popen[bytes], store: Path, scans: int) -> Table:
    """Rate and memory over a run, in ten rows."""
    table = Table("scans done", "rate, scans a second", "parent, MB", "workers, MB each", title="One run, unbroken")
    step, count, parent, each = max(1, scans // 10), 0, 0.0, 0.0
    began: float | None = None
    while running.poll() is None:
        time.sleep(0.1)
        try:
            parent = max(parent, psutil.Process(running.pid).memory_info().rss / 1e6)
            each = max([each, *(one.memory_info().rss / 1e6 for one in workers(running))])
        except psutil.NoSuchProcess:
            continue
        now = done(store)
        if now and began is None:  # the start-up is over
            began, count, parent, each = time.monotonic(), now, 0.0, 0.0
        elif began is not None and (now // step > count // step or now == scans) and now > count:
            rate = (now - count) / (time.monotonic() - began)
            table.add_row(str(now), f"{rate:.1f}", f"{parent:.0f}", f"{each:.0f}")
            began, count, parent, each = time.monotonic(), now, 0.0, 0.0
    finish(running)
    return table


def kill_and_resume(begin: Callable[[], subprocess.Popen[bytes]], store: Path, scans: int) -> int:
    """Run to the end in spite of about ten kills; how many there were."""
    chance, kills = random.Random(0), 0
    while True:
        running, aim = begin(), done(store) + chance.randint(1, scans // 8)
        while running.poll() is None and (done(store) < aim or not workers(running)):
            time.sleep(0.02)
        if running.poll() is not None:
            finish(running)
            return kills
        if kills % 3 == 2:
            chance.choice(workers(running)).kill()
            time.sleep(1)
        running.send_signal(signal.SIGINT if kills % 3 == 1 else signal.SIGKILL)
        running.wait()
        kills += 1


def digests(store: Path) -> dict[str, str]:
    """The SHA-256 of every file."""
    return {
        file.relative_to(store).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(store.rglob("*"))
        if file.is_file()
    }


def compare(root: Path, data: Path, scans: int, size: str, jobs: int) -> None:
    """Run in every way, and print what came out."""
    from distributed import LocalCluster

    first = root / "unbroken"
    console.print(watch(start(data, first, size, "--jobs", str(jobs)), first, scans))
    wanted = digests(first)
    console.print(f"{len(wanted)} files, {sum(file.stat().st_size for file in first.rglob('*.zst')) / 1e6:.0f} MB")
    table = Table("how", "seconds", "kills", "the same, byte for byte", title="Other ways to the same store")

    def row(how: str, run: Callable[[Path], int | None]) -> None:
        store, began = root / how.replace(" ", "-"), time.monotonic()
        kills = run(store)
        same = digests(store) == wanted
        table.add_row(how, f"{time.monotonic() - began:.0f}", str(kills or ""), "yes" if same else "NO")

    row(
        "killed and resumed",
        lambda store: kill_and_resume(lambda: start(data, store, size, "--jobs", str(jobs)), store, scans),
    )
    row(
        "two shares at once",
        lambda store: finish(*(start(data, store, size, "--jobs", "1", "--shard", f"{n}/2") for n in (1, 2))),
    )
    with LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        row("Dask cluster", lambda store: finish(start(data, store, size, "--dask", cluster.scheduler_address)))
    console.print(table)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=500, help="how many (default: 500)")
    parser.add_argument("--different", type=int, default=10, help="how many of them differ (default: 10)")
    parser.add_argument("--slices", type=int, default=40, help="slices of 512×512 in each (default: 40)")
    parser.add_argument("--size", default="small", help="size to preprocess to (default: small)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = make_dataset(root, options.scans, options.different, options.slices)
        compare(root, data, options.scans, options.size, options.jobs)


if __name__ == "__main__":
    main()
