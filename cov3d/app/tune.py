"""The command `tune`: a search for hyper-parameters with Optuna."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchapp import Param

from cov3d.app import options
from cov3d.app.console import Printer, out, say
from cov3d.training import search_space
from cov3d.training.search_space import Objective

if TYPE_CHECKING:
    from cov3d.api.tuning_result import TuningResult

SEARCH = "Search"
_RANGES = "; ".join(f"{search_space.option(name)}={over}" for name, over in search_space.RANGES.items())


def tune(
    self: object,
    trials: int = Param(
        20, min=1, help="Number of trials, including finished ones in the folder.", rich_help_panel=SEARCH
    ),
    objective: Objective = Param(
        Objective.PRESENCE,
        help="The macro F1 that is maximised, on the fold after the last epoch.",
        rich_help_panel=SEARCH,
    ),
    search: list[str] = Param(
        [],
        help="What to search: NAME, NAME=LOW:HIGH or NAME=A,B; may be repeated. All other options keep their values. "
        f"The ranges: {_RANGES}.",
        show_default=", ".join(map(search_space.option, search_space.BY_DEFAULT)),
        rich_help_panel=SEARCH,
    ),
    prune: bool = Param(
        True,
        help="End a trial early if it is worse than the median of the earlier trials at the same epoch.",
        rich_help_panel=SEARCH,
    ),
    store: Path = options.store(),
    output_dir: Path = Param(
        None,
        help="Folder of the search. A search in it is continued.",
        show_default="DATA/tuning/<objective, experiment or options, fold, seed>",
        rich_help_panel=options.OUTPUT,
    ),
    overwrite: bool = options.overwrite(),
    **kwargs: Any,
) -> "TuningResult":
    """Search for hyper-parameters with Optuna: every trial is a run on the fold, and the best is printed at the end.

    Run it again to continue, after an interruption or with more --trials.
    """
    from cov3d.api import tuning
    from cov3d.reports.tuning import trial_table
    from cov3d.training.tune import BEST, TABLE

    found = tuning.tune(
        trials=trials,
        objective=objective,
        search=search,
        prune=prune,
        store=store,
        output_dir=output_dir,
        overwrite=overwrite,
        listener=Printer(),
        **kwargs,
    )
    out().print(trial_table([trial.row() for trial in found.trials], found.searched))
    say(
        f"the best, trial {found.best.number}, was chosen on this fold, so its score is optimistic: validate "
        "it on the other folds"
    )
    say(f"train it: {found.command}")
    say(f"all trials: {found.folder / TABLE}; the best: {found.folder / BEST}")
    return found
