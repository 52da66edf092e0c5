"""Find the run of an experiment and a fold in a folder of runs, or give the command that makes it."""

from collections import Counter
from collections.abc import Iterable, Sequence
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
    """A missing run, and how to make it.

    Attributes:
        what: is missing.
        remedy: what to do.
        experiment: whose run it is; None if unknown.
        for_all_folds: the command that makes the runs of all folds of the experiment; empty if that is no remedy.
    """

    what: str
    remedy: str
    experiment: int | None = None
    for_all_folds: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


class MissingRunsError(SubmissionError):
    """Runs of experiments are missing. Each note names what is missing and how to make it.

    Several runs of one experiment are one note, with the command that makes them all.
    """

    def __init__(self, sentence: str, missing: Sequence[object]) -> None:
        super().__init__(sentence)
        known = [one for one in missing if isinstance(one, Missing)]
        counts = Counter(one.for_all_folds for one in known if one.for_all_folds)
        notes = []
        for one in missing:
            if isinstance(one, Missing) and counts[one.for_all_folds] > 1:
                number = counts[one.for_all_folds]
                notes.append(f"experiment {one.experiment}, {number} folds: {one.for_all_folds}")
            else:
                notes.append(str(one))
        for note in dict.fromkeys(notes):
            self.add_note(note)


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
            together = self._crossval(experiment)
            return Missing(f"{what} is not in {self.folder}", self._command(experiment, fold), experiment, together)
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

    def _crossval(self, experiment: int) -> str:
        """The command that makes the runs of all folds of an experiment."""
        return command(
            "crossval",
            data=None if self.data == Path() else self.data,
            experiment=experiment,
            from_checkpoint="STOIC.safetensors" if find(experiment).stoic else None,
            runs=None if self.folder == self.data / "runs" else self.folder,
        )

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
