"""Find the run of an experiment and a fold in a folder of runs, or give the command that makes it."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cov3d.challenge.experiments import find, options_of
from cov3d.challenge.run_names import run_name
from cov3d.command_words import command
from cov3d.errors import SubmissionError
from cov3d.run_files import SUMMARY, run_options, runs_below


@dataclass(frozen=True)
class Missing:
    """A missing run, and how to make it."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


class MissingRunsError(SubmissionError):
    """Runs of experiments are missing. Each note of the error names a run and how to make it."""

    def __init__(self, sentence: str, missing: Iterable[object]) -> None:
        super().__init__(sentence)
        for one in missing:
            self.add_note(str(one))


class Runs:
    """The runs below a folder.

    Attributes:
        folder: folder of the runs' folders, at any depth.
        data: root of the dataset, for the commands.
        given: folders of the runs to use; None for all below `folder`.
    """

    def __init__(self, folder: Path, data: Path, given: Iterable[Path] | None = None) -> None:
        self.folder, self.data = folder, data
        self.given = None if given is None else list(given)

    def find(self, experiment: int, fold: int, file: str) -> Path | Missing:
        """A file of the finished run of an experiment and a fold.

        This is the run with the default name of `cov3d train`, else the only run whose options name the experiment and
        the fold, such as one with another size.
        """
        what = f"experiment {experiment}, fold {fold}"
        candidates = self._by_experiment.get((experiment, fold), [])
        named = [run for run in candidates if run.name == default_name(experiment, fold)]
        chosen = named or candidates
        if not chosen:
            return Missing(f"{what} is not in {self.folder}", self._command(experiment, fold))
        if len(chosen) > 1:
            fitting = " and ".join(str(run) for run in chosen[:2])
            return Missing(f"{what} is in {self.folder} {len(chosen)} times ({fitting})", "move all but one elsewhere")
        (run,) = chosen
        if not (run / SUMMARY).is_file():
            if not named:
                return Missing(f"{what} is not finished", f"run the command that started {run} again, with --resume")
            return Missing(f"{what} is not finished", f"{self._command(experiment, fold, run)} --resume")
        if not (run / file).is_file():
            remedy = "no scan of the fold could be scored for it, or the file was lost"
            return Missing(f"{what}: {run} has no {file}", remedy)
        return run / file

    def folds_of(self, experiment: int) -> set[int]:
        """The folds for which an experiment has a run, finished or not."""
        return {fold for number, fold in self._by_experiment if number == experiment}

    @cached_property
    def _by_experiment(self) -> dict[tuple[int, int], list[Path]]:
        found: dict[tuple[int, int], list[Path]] = {}
        for run in runs_below(self.folder) if self.given is None else self.given:
            options = run_options(run)
            if options.get("experiment") is not None:
                found.setdefault((options["experiment"], options["fold"]), []).append(run)
        return found

    def _command(self, experiment: int, fold: int, run: Path | None = None) -> str:
        """The command that makes or resumes a run."""
        folder = run or self.folder / default_name(experiment, fold)
        return command(
            "train",
            data=None if self.data == Path() else self.data,
            experiment=experiment,
            fold=fold,
            from_checkpoint="STOIC.safetensors" if find(experiment).stoic else None,
            output_dir=None if folder == self.data / "runs" / default_name(experiment, fold) else folder,
        )


def default_name(experiment: int, fold: int) -> str:
    """The name that `cov3d train` gives the run of an experiment and a fold."""
    checkpoint = Path() if find(experiment).stoic else None
    return run_name(options_of(experiment, fold=fold), checkpoint)
