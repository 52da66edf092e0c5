"""Kill a training run at random moments, resume it each time, and compare its end with that of an unbroken run.

    python benchmarks/kill.py --kills 20

The scans are random volumes at size tiny; the network, the loop and the files are those of every run. After each kill
every file in the run's folder is read: none may be half-written.
"""

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import typer
from rich.console import Console

from cov3d.preprocessing.pipeline import Preprocessed, locate, make_record
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training import checkpoint, resume
from cov3d.volume import Volume

LABELS = ("non-covid", "mild", "severe", "covid")


def make_data(root: Path) -> None:
    """A store of random volumes and its scan table: four scans to train on, four to validate on."""
    rng = np.random.default_rng(0)
    store = Store.create(root / "preprocessed" / "tiny", Size.TINY)
    rows = []
    for fold in (0, 1):
        for number, label in enumerate(LABELS):
            scan = f"train/{fold}/{number}"
            voxels = rng.integers(0, 80, Size.TINY.shape, dtype=np.uint8) + np.uint8(40 * number)
            located = locate(Volume(voxels, root / scan, len(voxels)))
            record = replace(make_record(located), crop="lungs", lung_share=0.2)
            store.write(scan, Preprocessed({Size.TINY: voxels}, record))
            rows.append((scan, "train", label, fold))
    pd.DataFrame(rows, columns=["scan", "partition", "label", "fold"]).to_csv(root / "scans.csv", index=False)


def command(root: Path, folder: Path, epochs: int, *words: str) -> list[str]:
    return [
        *(sys.executable, "-m", "cov3d", "train", "--data", str(root), "--size", "tiny", "--no-pretrained"),
        *("--epochs", str(epochs), "--device", "cpu", "--learning-rate", "1e-3", "--output-dir", str(folder), *words),
    ]


def read_all(folder: Path) -> int:
    """Read every file of a run as what its name says, and give the epochs that are done."""
    for file in folder.glob("*.safetensors"):
        checkpoint.load(file)
    for file in folder.glob("*.json"):
        json.loads(file.read_text())
    for file in folder.glob("*.csv"):
        pd.read_csv(file)
    state = resume.load(folder)
    return 0 if state is None else state.epoch


def differing(first: Path, second: Path) -> list[str]:
    """The names of files that are not the same in both folders; aside files of killed processes do not count."""
    names = {file.name for folder in (first, second) for file in folder.iterdir() if file.suffix != ".part"}
    return sorted(
        name
        for name in names - {resume.FILE_NAME}
        if not ((first / name).exists() and (second / name).exists())
        or (first / name).read_bytes() != (second / name).read_bytes()
    )


def main(kills: int = 20, epochs: int = 12, seed: int = 0) -> None:
    """Kill, resume, compare."""
    console = Console()
    rng = random.Random(seed)
    root = Path(tempfile.mkdtemp())
    make_data(root)
    started = time.monotonic()
    subprocess.run(command(root, root / "unbroken", epochs), check=True, stdout=subprocess.DEVNULL)
    whole = time.monotonic() - started
    console.print(f"unbroken: {epochs} epochs in {whole:.0f} s")
    folder, done = root / "killed", []
    while len(done) < kills:
        running = subprocess.Popen(command(root, folder, epochs, "--resume"), stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.1, 1.0) * whole / 3)
        if running.poll() is not None:
            console.print(f"the run ended before kill {len(done) + 1}: give more --epochs")
            break
        running.kill()
        running.wait()
        done.append(read_all(folder) if folder.exists() else 0)
    console.print(f"killed {len(done)} times, after epochs {done}: every file was whole each time")
    ended = subprocess.run(command(root, folder, epochs, "--resume"), stdout=subprocess.DEVNULL)
    apart = differing(root / "unbroken", folder)
    state = [resume.load(root / name) for name in ("unbroken", "killed")]
    same = all(a.equal(state[1].model[name]) for name, a in state[0].model.items())  # type: ignore[union-attr]
    console.print(f"exit code {ended.returncode}; files that differ: {apart or 'none'}; last weights equal: {same}")
    shutil.rmtree(root)
    raise typer.Exit(int(bool(apart) or not same))


if __name__ == "__main__":
    typer.run(main)
