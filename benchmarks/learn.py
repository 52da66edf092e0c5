"""Does training learn, and is the lung crop worth it? Four runs on phantoms, with and without crop, λ = 0 and 0.2.

    python benchmarks/learn.py             400 scans to train on, 400 to validate on, size small: for a GPU
    python benchmarks/learn.py --at-once 2 the same, two runs at a time: a GPU has room for several
    python benchmarks/learn.py --cpu       two short runs at size tiny, with and without crop

Phantoms are made on the spot, in as many processes as there are processors, and kept in --folder: the next time, it
starts with the training. Each is put into two stores: cropped to the lungs, as `cov3d preprocess` does, and whole, as
if a person had drawn the box around all of it. Half of the positive scans to train on have no severity, as in
COV19-CT-DB; all scans to validate on have. Networks start from random weights.

Scores are macro F1s of the best epoch on the scans that it was chosen on, as in the paper, so they are optimistic; the
last epoch's stand beside them. Intervals hold 95 % of a bootstrap over the validation scans, stratified by label; that
of the difference between crop and whole draws the same scans for both. They say nothing of what another seed gives.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product, repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import bootstrap

from cov3d.app.options import cpus, default_workers
from cov3d.labels import NON_COVID, SEVERITIES, UNKNOWN_SEVERITY
from cov3d.phantom.plan import category_of, label_of
from cov3d.phantom.scan import make_scan
from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.pipeline import preprocess
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training.device import choose_device
from cov3d.training.learner import Run, train
from cov3d.training.loaders import Fold
from cov3d.training.options import Compute, TrainingOptions
from cov3d.volume import Volume

CROP, WHOLE = "crop", "whole"
PRESENCE = (NON_COVID, UNKNOWN_SEVERITY)
CLASSES = {"presence": PRESENCE, "severity": SEVERITIES}
WANTED = {"presence": 0.95, "severity": 0.80}
ON_A_CPU = {"train": 80, "validation": 40, "size": Size.TINY, "epochs": 3, "emd_weight": [0.2], "device": "cpu"}
SEED = 2303

Statistic = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Rows of a table, any number of them along the last axis → a number for each of the other axes."""

console = Console(width=150)


@dataclass(frozen=True)
class Scored:
    """A run: what it was, predictions of its best epochs by task, its last epoch's macro F1 by task, and its time."""

    crop: str
    emd_weight: float
    predictions: dict[str, pd.DataFrame]
    best_epoch: dict[str, int]
    last: dict[str, float]
    seconds: float


def make_phantom(scan: tuple[str, int], stores: dict[str, Store], resolution: int) -> None:
    """Make one scan and put it into both stores."""
    partition, number = scan
    name = f"{partition}/{number}"
    voxels = make_scan(SEED, partition, number, resolution=resolution).voxels
    depth, height, width = voxels.shape
    volume = Volume(voxels=voxels, path=Path(name), slices_found=depth)
    size = stores[CROP].size
    stores[CROP].write(name, preprocess(volume, [size]))
    stores[WHOLE].write(name, preprocess(volume, [size], override=Box(0, depth, 0, height, 0, width)))


def make_stores(folder: Path, counts: dict[str, int], size: Size, resolution: int, jobs: int) -> dict[str, Store]:
    """Both stores, with all scans in them."""
    stores = {kind: Store.create(folder / f"{resolution}-{size}-{kind}", size) for kind in (CROP, WHOLE)}
    scans = [
        (partition, number)
        for partition, count in counts.items()
        for number in range(count)
        if not all(store.has(f"{partition}/{number}") for store in stores.values())
    ]
    work = partial(make_phantom, stores=stores, resolution=resolution)
    if jobs == 1 or not scans:
        for scan in track(scans, "phantoms", console=console):
            work(scan)
        return stores
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for _ in track(pool.map(work, scans), "phantoms", total=len(scans), console=console):
            pass
    return stores


def make_fold(counts: dict[str, int]) -> Fold:
    """The scans with their labels: as a dataset has them to train on, the truth to validate on."""
    labels = {"train": label_of, "validation": category_of}
    tables = {
        partition: pd.DataFrame(
            [(f"{partition}/{number}", labels[partition](partition, number)) for number in range(count)],
            columns=["scan", "label"],
        )
        for partition, count in counts.items()
    }
    return Fold(train=tables["train"], validation=tables["validation"])


def scored(run: Run, crop: str, emd_weight: float, seconds: float) -> Scored:
    """What there is to say of a run."""
    last = run.history.iloc[-1]
    return Scored(
        crop=crop,
        emd_weight=emd_weight,
        predictions={task: best.table for task, best in run.best.items()},
        best_epoch={task: best.epoch for task, best in run.best.items()},
        last={task: float(last[f"{task}_f1"]) for task in run.best},
        seconds=seconds,
    )


def scored_scans(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """The scans that a task is scored on."""
    return table if task == "presence" else table[table["label"] != NON_COVID].reset_index(drop=True)


def macro_f1(table: pd.DataFrame, task: str) -> Statistic:
    """Macro F1 of a task as a function of the `scored_scans` scans that there are: their rows, along the last axis."""
    truth = table["label"].to_numpy(dtype=str)
    if task == "presence":
        truth = np.where(truth == NON_COVID, *PRESENCE)
    found_class = table[task].to_numpy(dtype=str)

    def of(scans: NDArray[np.int64]) -> NDArray[np.float64]:
        found = []
        for name in CLASSES[task]:
            true, predicted = (truth == name)[scans], (found_class == name)[scans]
            either = true.sum(axis=-1) + predicted.sum(axis=-1)
            found.append(2 * (true & predicted).sum(axis=-1) / np.maximum(1, either))
        return np.mean(found, axis=0)

    return of


def interval(statistic: Statistic, labels: pd.Series, resamples: int = 9999) -> tuple[float, float]:
    """95 % of a bootstrap of the statistic, stratified by label; a label's only scan is always drawn.

    NaN where no label has several scans.
    """
    groups = [np.flatnonzero(labels == label) for label in sorted(labels.unique())]
    several = [group for group in groups if len(group) > 1]
    if not several:
        return float("nan"), float("nan")
    alone = np.concatenate([group for group in groups if len(group) == 1] or [np.empty(0, dtype=np.int64)])

    def of(*drawn: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        always = np.broadcast_to(alone, (*drawn[0].shape[:-1], len(alone)))
        return statistic(np.concatenate([*drawn, always], axis=axis))

    found = bootstrap(
        several, of, n_resamples=resamples, batch=500, vectorized=True, method="percentile", random_state=SEED
    )
    return found.confidence_interval.low, found.confidence_interval.high


def in_words(statistic: Statistic, labels: pd.Series) -> tuple[float, str]:
    """A statistic of all scans, and how it is printed, with its interval."""
    value = float(statistic(np.arange(len(labels))))
    low, high = interval(statistic, labels)
    return value, f"{value:.3f} ({low:.3f} to {high:.3f})"


def results(runs: Sequence[Scored], tasks: Sequence[str]) -> Table:
    """A row a run."""
    table = Table("input", "λ", *(f"{task}: {what}" for task in tasks for what in ("best", "epoch", "last")), "seconds")
    for run in runs:
        cells: list[str] = []
        for task in tasks:
            scans = scored_scans(run.predictions[task], task)
            best = in_words(macro_f1(scans, task), scans["label"])[1]
            cells += [best, str(run.best_epoch[task]), f"{run.last[task]:.3f}"]
        table.add_row(run.crop, f"{run.emd_weight:g}", *cells, f"{run.seconds:.0f}")
    return table


def verdicts(runs: Sequence[Scored], tasks: Sequence[str]) -> list[str]:
    """What was wanted, and whether it was reached."""
    sentences = []
    for task in tasks:
        for run in runs:
            if run.crop == CROP:
                scans = scored_scans(run.predictions[task], task)
                value = float(macro_f1(scans, task)(np.arange(len(scans))))
                reached = "reached" if value >= WANTED[task] else "not reached"
                sentences.append(f"{task}, crop, λ = {run.emd_weight:g}: {WANTED[task]:.2f} {reached}")
    for task, emd_weight in product(tasks, sorted({run.emd_weight for run in runs})):
        of = {run.crop: scored_scans(run.predictions[task], task) for run in runs if run.emd_weight == emd_weight}
        crop, whole = macro_f1(of[CROP], task), macro_f1(of[WHOLE], task)
        difference = in_words(_difference(crop, whole), of[CROP]["label"])[1]
        sentences.append(f"{task}, crop less whole, λ = {emd_weight:g}: {difference}")
    return sentences


def _difference(one: Statistic, other: Statistic) -> Statistic:
    return lambda scans: one(scans) - other(scans)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true", help=f"these defaults instead: {ON_A_CPU}")
    parser.add_argument("--folder", type=Path, default=Path("cov3d-learn"), help="stores and runs (%(default)s)")
    parser.add_argument("--train", type=int, default=400, help="scans to train on (%(default)s)")
    parser.add_argument("--validation", type=int, default=400, help="scans to validate on (%(default)s)")
    parser.add_argument("--resolution", type=int, default=128, help="of the phantoms, in pixels (%(default)s)")
    parser.add_argument("--size", type=Size, default=Size.SMALL, help="of the network's input (%(default)s)")
    parser.add_argument("--epochs", type=int, default=30, help="of each run (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=4, help="scans to a step (%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="maximum (%(default)s)")
    parser.add_argument("--emd-weight", type=float, nargs="+", default=[0.2, 0.0], help="λ (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--at-once", type=int, default=1, choices=range(1, 5), help="runs at a time (%(default)s)")
    parser.add_argument("--jobs", type=int, default=cpus(), help="processes that make phantoms (%(default)s)")
    if parser.parse_known_args()[0].cpu:
        parser.set_defaults(**ON_A_CPU)
    return parser.parse_args()


def train_one(kind: tuple[float, str], chosen: argparse.Namespace, counts: dict[str, int], store: Store) -> Scored:
    """One run: its λ and its input."""
    emd_weight, crop = kind
    device = choose_device(chosen.device)
    workers = default_workers(None, device.type)
    if chosen.at_once > 1:
        torch.set_num_threads(max(1, cpus() // chosen.at_once))
    console.rule(f"{crop}, λ = {emd_weight:g}", align="left")
    options = TrainingOptions(
        size=chosen.size,
        epochs=chosen.epochs,
        batch_size=chosen.batch_size,
        learning_rate=chosen.learning_rate,
        emd_weight=emd_weight,
        pretrained=False,
    )
    started = time.monotonic()
    run = train(
        options,
        make_fold(counts),
        store,
        chosen.folder / "runs" / f"{crop}-{emd_weight:g}",
        device=device,
        compute=Compute(workers=-(-workers // chosen.at_once)),
        overwrite=True,
        console=console,
    )
    return scored(run, crop, emd_weight, time.monotonic() - started)


def train_all(chosen: argparse.Namespace, counts: dict[str, int], stores: dict[str, Store]) -> list[Scored]:
    """All runs, as many at the same time as requested; each has a process of its own then."""
    kinds = list(product(chosen.emd_weight, stores))
    if chosen.at_once == 1:
        return [train_one(kind, chosen, counts, stores[kind[1]]) for kind in kinds]
    with ProcessPoolExecutor(chosen.at_once, mp_context=get_context("spawn")) as pool:
        return list(pool.map(train_one, kinds, repeat(chosen), repeat(counts), [stores[crop] for _, crop in kinds]))


def main() -> None:
    """Read the command line, train, and say what came of it."""
    chosen = arguments()
    device = choose_device(chosen.device)
    counts = {"train": chosen.train, "validation": chosen.validation}
    begun = time.monotonic()
    stores = make_stores(chosen.folder, counts, chosen.size, chosen.resolution, chosen.jobs)
    made = time.monotonic() - begun
    runs = train_all(chosen, counts, stores)
    tasks = ("presence",) if chosen.cpu else ("presence", "severity")
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    console.rule("[bold]macro F1", align="left")
    console.print(results(runs, tasks))
    for sentence in verdicts(runs, tasks):
        console.print(sentence, highlight=False)
    total = time.monotonic() - begun
    console.print(f"phantoms {made:.0f} s, everything {total:.0f} s, on {on}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
