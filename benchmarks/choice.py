"""How often does half precision choose another epoch than float32 would?

    python benchmarks/choice.py                              two short runs in bf16 at size tiny, on a CPU
    python benchmarks/choice.py --precision fp16 --size small --epochs 30 --scans 400 160        on a GPU

A run in half precision validates its epochs in that precision, and chooses the best one of each task by these scores.
Here every epoch is validated a second time, in float32. Both choices are made by the same rule, the first epoch with
the highest macro F1. `macro F1 lost` is by how much the float32 score of the chosen epoch is below that of the epoch
that float32 would have chosen.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from fastai.callback.core import Callback
from learn import CROP, make_fold, make_stores
from rich.console import Console
from rich.table import Table

from cov3d.app.options import cpus, default_workers
from cov3d.labels import TASKS
from cov3d.preprocessing.sizes import Size
from cov3d.training.callbacks import Validation
from cov3d.training.device import choose_device
from cov3d.training.distributed import ALONE
from cov3d.training.learner import train
from cov3d.training.options import Compute, Precision, TrainingOptions
from cov3d.training.rescore import float32_probabilities


class InFloat32(Callback):
    """Validates each epoch again in float32.

    Attributes:
        scores: macro F1 by task, a number an epoch.
        largest: largest difference of a probability between the precisions.
    """

    order = 59  # after the journal and the trackers
    error = None

    def __init__(self) -> None:
        super().__init__()
        self.scores: dict[str, list[float]] = {task: [] for task in TASKS}
        self.largest = 0.0

    def after_epoch(self) -> None:
        (validation,) = (callback for callback in self.learn.cbs if isinstance(callback, Validation))
        loader, device = self.learn.dls.valid, self.learn.device
        found = float32_probabilities(validation.network, loader, len(validation.labels), device, ALONE)
        validation.network.train()
        self.largest = max(self.largest, float(np.abs(found - validation.result.probabilities).max()))
        for task, score in validation.score(self.learn.epoch + 1, found).scores.items():
            self.scores[task].append(float("nan") if score.macro_f1 is None else score.macro_f1)

    def close(self) -> None:
        """There is nothing to close."""


def best_epoch(scores: list[float]) -> int:
    """The first epoch, from 1, with the highest score."""
    return int(np.nanargmax(scores)) + 1


def main() -> None:
    """Train, and compare the choices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, nargs=2, default=(40, 40), help="to train on, to validate on")
    parser.add_argument("--size", type=Size, default=Size.TINY)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--precision", default="bf16", choices=["bf16", "fp16"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folder", type=Path, default=Path("cov3d-learn"), help="of the phantoms, kept")
    given = parser.parse_args()
    console, device = Console(width=150), choose_device(given.device)
    counts = dict(zip(("train", "validation"), given.scans, strict=True))
    store = make_stores(given.folder, counts, given.size, 128, cpus())[CROP]
    table = Table("seed", "task", "chosen in half precision", "in float32", "epochs scored otherwise", "macro F1 lost")
    differing, largest = 0, 0.0
    for seed in given.seeds:
        options = TrainingOptions(
            size=given.size, epochs=given.epochs, seed=seed, pretrained=False, precision=Precision(given.precision)
        )
        watch = InFloat32()
        with TemporaryDirectory() as folder:
            run = train(
                options,
                make_fold(counts),
                store,
                Path(folder) / "run",
                device=device,
                compute=Compute(workers=default_workers(None, device.type)),
                console=console,
                trackers=[watch],  # type: ignore[list-item]
            )
        largest = max(largest, watch.largest)
        for task in TASKS:
            half = list(pd.to_numeric(run.history[f"{task}_f1"]))
            chosen, wanted = best_epoch(half), best_epoch(watch.scores[task])
            differing += chosen != wanted
            lost = watch.scores[task][wanted - 1] - watch.scores[task][chosen - 1]
            others = int(np.sum(~np.isclose(half, watch.scores[task], equal_nan=True)))
            table.add_row(str(seed), task, str(chosen), str(wanted), f"{others} of {len(half)}", f"{lost:.3f}")
    table.caption = (
        f"{differing} of {len(given.seeds) * len(TASKS)} choices differ; a probability by at most {largest:.2g}"
    )
    console.print(table)


if __name__ == "__main__":
    main()
