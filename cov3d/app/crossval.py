"""The command `crossval`: one configuration on all of its folds, and what that says of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from torchapp import Param

from cov3d.app import options
from cov3d.app.console import out, say
from cov3d.app.training import run_name
from cov3d.training.options import TrainingOptions

FOLDS = range(5)


def crossval(
    self: Any,
    store: Path = options.store(),
    output_dir: Path = Param(
        None,
        help="Folder of what is collected; the runs themselves are where cov3d train puts them.",
        show_default="DATA/runs/crossval_<experiment or options, seed>",
        rich_help_panel=options.OUTPUT,
    ),
    **kwargs: Any,
) -> Any:
    """Train a configuration on each of the five folds in turn, and put what the runs found together.

    With --fold, train on that one only, as in a job of an array; the command without it then collects. What is done is
    skipped, and what was interrupted goes on.
    """
    from cov3d.errors import Cov3dError
    from cov3d.reports import crossval as crossvalidation
    from cov3d.training import distributed

    chosen = self.training_options(**kwargs)
    data: Path = kwargs["data"]
    runs = run_folders(data, chosen, kwargs.get("from_checkpoint"))
    only = kwargs["fold"]
    if only is None and distributed.launched().size > 1:
        raise Cov3dError("on several GPUs give --fold: one run of torchrun a fold, then cov3d crossval without both")
    for fold in FOLDS if only is None else [only]:
        if (runs[fold] / "summary.json").exists():
            say(f"fold {fold}: {runs[fold]} is finished")
        else:
            say(f"fold {fold}: {runs[fold]}")
            self.train(**{**kwargs, "fold": fold, "store": store, "output_dir": runs[fold], "resume": True})
    if only is not None:
        left = crossvalidation.unfinished(runs)
        say(f"folds {', '.join(map(str, left))} are not finished" if left else "all folds are finished")
        say("when they are, collect them: the same command without --fold")
        return None
    found = crossvalidation.collect(runs)
    folder = output_dir or data / "runs" / f"crossval_{_without_fold(runs[0].name)}"
    crossvalidation.save(found, folder)
    out().print(crossvalidation.fold_scores_table(found))
    say("A score selected on a fold flatters: the epoch was chosen for it.")
    say(f"out-of-fold predictions and scores in {folder}")
    return found


def run_folders(data: Path, chosen: TrainingOptions, from_checkpoint: Path | None) -> dict[int, Path]:
    """Where `cov3d train` puts the run of each fold."""
    return {fold: data / "runs" / run_name(replace(chosen, fold=fold), from_checkpoint) for fold in FOLDS}


def _without_fold(name: str) -> str:
    return "_".join(part for part in name.split("_") if not part.startswith("fold-"))
