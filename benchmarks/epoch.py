"""What does a whole epoch cost, beside what it must? Training, validation, loading, checkpoints and all else.

    python benchmarks/epoch.py --scans 40 10 --rounds 3                              the ResNet at size tiny
    python benchmarks/epoch.py --size small medium large --output epoch.md           on a GPU

Three ways to do the same epoch take turns, after an epoch that is not counted:

- train: the learner of `cov3d train`, with its loaders, validation, journal and progress bar;
- bare PyTorch: the same network, precision, layout, optimiser, augmentation and loss in a plain loop, the same loaders,
  validation with reflections in the same precision and batches, and the same three files at the end;
- paper: the paper's settings, fastai's own learner and Adam, float16 with scaled gradients, default memory layout
  (float32 on a CPU), validation without reflections at the batch size of training, and one file of weights.

Every epoch is as expensive as the best one of a run: it writes `last.pt` and the checkpoints of both tasks. Loading is
the time in which the loop waits for a batch; it is part of the seconds of training and validation. Scans are phantoms
of a store that the system has in its cache.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from contenders import Job
from epoch_contenders import BareEpoch, PaperEpoch, Parts, TrainEpoch
from measures import fold_of, make_job, phantoms
from rich.console import Console
from rich.table import Table

from cov3d.app.options import default_workers
from cov3d.files import write_text
from cov3d.models.names import Architecture
from cov3d.preprocessing.sizes import Size
from cov3d.training.device import choose_device
from cov3d.training.loaders import Fold
from cov3d.training.options import Compute, Precision, TrainingOptions

PARTS = ("training", "validation", "loading", "checkpoints", "the rest")
COLUMNS = ("network", "size", "what", "how", "seconds an epoch", "over bare", "over the paper", *PARTS)


def compare(job: Job, compute: Compute, rounds: int, epochs: int, folder: Path) -> list[dict[str, str]]:
    """The rows of one network at one size."""
    made: dict[str, Any] = {}
    for what, kind in (("train", TrainEpoch), ("bare PyTorch", BareEpoch), ("paper", PaperEpoch)):
        (folder / what).mkdir()
        made[what] = kind(job, compute, folder / what)
        made[what].take()
    found: dict[str, list[Parts]] = {what: [] for what in made}
    for _ in range(rounds):
        for what, contender in made.items():
            found[what].append(contender.take(epochs))
    return [_row(what, made[what].how, found, job) for what in made]


def _row(what: str, how: str, found: dict[str, list[Parts]], job: Job) -> dict[str, str]:
    def over(other: str) -> str:
        return f"{statistics.median(a.total / b.total for a, b in zip(found[what], found[other], strict=True)):.3f}"

    def seconds(value: Callable[[Parts], float]) -> str:
        return f"{statistics.median(map(value, found[what])):.3g}"

    return {
        "network": job.options.architecture.value,
        "size": job.options.size.value,
        "what": what,
        "how": how,
        "seconds an epoch": f"{statistics.median(one.total for one in found[what]):.4g}",
        "over bare": over("bare PyTorch"),
        "over the paper": over("paper"),
        "training": seconds(lambda one: one.training),
        "validation": seconds(lambda one: one.validation),
        "loading": seconds(lambda one: one.loading),
        "checkpoints": seconds(lambda one: one.checkpoints),
        "the rest": seconds(lambda one: one.rest),
    }


def as_markdown(rows: Sequence[dict[str, str]], head: str) -> str:
    """The rows under what they were measured on."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *([row[column] for column in COLUMNS] for row in rows)]
    return f"{head}:\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", nargs="+", choices=[*Architecture], default=[Architecture.RESNET])
    parser.add_argument("--size", nargs="+", choices=[*Size], default=[Size.TINY])
    parser.add_argument("--scans", nargs=2, type=int, default=[300, 70], help="to train on, to validate on")
    parser.add_argument("--batch-size", type=int, default=TrainingOptions().batch_size)
    parser.add_argument("--precision", choices=[*Precision], default=Precision.AUTO)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, help="of the loaders (default: as cov3d train)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="of a run in each round (%(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table: .md")
    chosen = parser.parse_args()
    device = choose_device(chosen.device)
    compute = Compute(workers=default_workers(chosen.workers, device.type))
    rows: list[dict[str, str]] = []
    for architecture, size in product(map(Architecture, chosen.architecture), map(Size, chosen.size)):
        with tempfile.TemporaryDirectory() as folder:
            store = phantoms(Path(folder) / "store", size)
            options = TrainingOptions(
                architecture=architecture,
                size=size,
                batch_size=chosen.batch_size,
                precision=Precision(chosen.precision),
            )
            job = make_job(options, store, device)
            whole = replace(job, fold=scans_of(*chosen.scans))
            rows += compare(whole, compute, chosen.rounds, chosen.epochs, Path(folder))
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    train, valid = chosen.scans
    how_often = f"{chosen.rounds} rounds of {chosen.epochs} epochs"
    head = f"{on}, torch {torch.__version__}; {train} scans to train on, {valid} to validate on, {how_often}"
    table = Table(*COLUMNS, title=head, title_justify="left")
    for row in rows:
        table.add_row(*(row[column] for column in COLUMNS))
    Console(width=190).print(table)
    if chosen.output is not None:
        write_text(chosen.output, as_markdown(rows, head))


def scans_of(train: int, valid: int) -> Fold:
    """A fold that goes through the phantoms again and again."""
    return Fold(train=fold_of(train).train, validation=fold_of(valid).train)


if __name__ == "__main__":
    main()
