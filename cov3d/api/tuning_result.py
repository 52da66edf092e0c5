"""What a search for hyper-parameters found, and the command that trains it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cov3d.api.run_inputs import RunInputs
from cov3d.challenge.run_names import differing
from cov3d.command_words import command
from cov3d.errors import Cov3dError
from cov3d.files import write_text
from cov3d.training.options import TrainingOptions
from cov3d.training.search_space import Objective
from cov3d.training.trials import Trial, best_of
from cov3d.training.tune import BEST, TABLE


@dataclass(frozen=True)
class TuningResult:
    """The trials of a search.

    Attributes:
        folder: where they are.
        trials: those that have ended, in order.
        searched: names of the options that were searched.
        base: the options that were not.
        inputs: what they were trained on.
    """

    folder: Path
    trials: tuple[Trial, ...]
    searched: tuple[str, ...]
    base: TrainingOptions
    inputs: RunInputs

    @property
    def best(self) -> Trial:
        """The trial with the highest score. It was chosen on the fold, so its score is optimistic.

        Raises:
            Cov3dError: no trial came to its end.
        """
        found = best_of(self.trials)
        if found is None:
            raise Cov3dError(f"none of the {len(self.trials)} trials came to its end: {self.folder / TABLE} says why")
        return found

    @property
    def options(self) -> TrainingOptions:
        """The options of the best trial, for `cov3d.train`."""
        return self.best.trained_with(self.base)

    @property
    def command(self) -> str:
        """The command line that trains with them, on the data that was searched on."""
        return train_command(self.options, self.inputs)


def write_best(
    folder: Path, ended: Sequence[Trial], base: TrainingOptions, objective: Objective, inputs: RunInputs
) -> None:
    """Write the best trial that has ended, if there is one, to `best.json`.

    Raises:
        OutputError: the file can't be written.
    """
    best = best_of(ended)
    if best is None:
        return
    content = {
        "trial": best.number,
        "objective": objective.value,
        "score": best.score,
        "presence_f1": best.presence_f1,
        "severity_f1": best.severity_f1,
        "options": {name: best.options[name] for name in best.searched},
        "command": train_command(best.trained_with(base), inputs),
    }
    write_text(folder / BEST, json.dumps(content, indent=2) + "\n")


def train_command(options: TrainingOptions, inputs: RunInputs) -> str:
    """The command line that trains with these options on these inputs; every size has its own store."""
    paths = {name: getattr(inputs, name) for name in ("data", "table", "weights", "weights_dir", "from_checkpoint")}
    kind: dict[str, object] = {"experiment": options.experiment}
    if options.experiment is None:
        kind = {"architecture": options.architecture, "size": options.size}
    return command("train", **paths, **kind, **{**differing(options), "fold": options.fold, "seed": options.seed})
