"""The paper's experiments as data: Table 5, the ensembles of Tables 6 and 7, the submissions of section 6.

Table 5 is `experiments.csv`, beside this file: a row an experiment, its hyper-parameters and then the paper's macro F1s
in percent, on the validation partition and as mean and standard deviation over the five folds; empty where the paper
gives none. Two pairs of rows, 1 and 2, 13 and 17, are one setting trained twice. So that they differ here too, the
seed of an experiment is its number. What the rows do not name, such as γ or the learning rate, is the same for all:
the defaults of `TrainingOptions`.
"""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from cov3d.errors import Cov3dError
from cov3d.models.names import Architecture
from cov3d.preprocessing.sizes import Size
from cov3d.training.options import TrainingOptions


@dataclass(frozen=True)
class PaperScore:
    """A macro F1 of the paper, in percent; None where it gives none.

    Attributes:
        validation: on the official validation partition.
        cv: mean over the five folds.
        cv_sd: standard deviation over the five folds.
    """

    validation: float
    cv: float | None = None
    cv_sd: float | None = None


@dataclass(frozen=True)
class Experiment:
    """A row of Table 5.

    Attributes:
        number: from 1 to 22.
        architecture: the network.
        size: of its input.
        stoic: whether it was pretrained on STOIC after Kinetics-400.
        dropout: probability that an activation is dropped; None for a network without dropout.
        emd_weight: λ of the loss.
        brightness: σ_b of equation 8.
        contrast: σ_c of equation 8.
        epochs: passes over the training scans.
        presence: the paper's scores of presence.
        severity: the paper's scores of severity.
    """

    number: int
    architecture: Architecture
    size: Size
    stoic: bool
    dropout: float | None
    emd_weight: float
    brightness: float
    contrast: float
    epochs: int
    presence: PaperScore
    severity: PaperScore

    def hyper_parameters(self) -> dict[str, Any]:
        """The options in the row, by the names of `TrainingOptions`; without dropout if the network has none."""
        names = ("architecture", "size", "dropout", "emd_weight", "brightness", "contrast", "epochs")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None} | {"seed": self.number}


@dataclass(frozen=True)
class Ensemble:
    """A row of Table 6 or 7: the mean of several experiments' probabilities, and the paper's score of it."""

    name: str
    task: str
    experiments: tuple[int, ...]
    score: PaperScore


@dataclass(frozen=True)
class Submission:
    """A set of predictions that the paper submitted (section 6).

    Attributes:
        task: the task that it was submitted to.
        number: from 1, in the order of the paper.
        source: the experiment's number or the ensemble's name.
        folds: the folds whose networks are averaged.
    """

    task: str
    number: int
    source: int | str
    folds: tuple[int, ...]


ENSEMBLES = (
    Ensemble("EP1", "presence", (1, 2), PaperScore(93.2, 94.0, 0.6)),
    Ensemble("EP2", "presence", (1, 2, 3), PaperScore(93.2, 93.6, 0.6)),
    Ensemble("EP3", "presence", (1, 2, 3, 4), PaperScore(93.4, 93.8, 0.6)),
    Ensemble("EP4", "presence", (1, 2, 3, 4, 5), PaperScore(93.2, 93.8, 0.8)),
    Ensemble("ES1", "severity", (16, 18), PaperScore(68.4)),
    Ensemble("ES2", "severity", (16, 18, 13), PaperScore(67.5)),
    Ensemble("ES3", "severity", (16, 18, 13, 11), PaperScore(66.5)),
    Ensemble("ES4", "severity", (16, 18, 13, 11, 21), PaperScore(66.5)),
)

_ONE, _ALL = (0,), (0, 1, 2, 3, 4)
SUBMISSIONS = (
    Submission("presence", 1, 1, _ONE),
    Submission("presence", 2, 1, _ALL),
    Submission("presence", 3, 4, _ALL),
    Submission("presence", 4, "EP3", _ONE),
    Submission("presence", 5, "EP3", _ALL),
    Submission("severity", 1, 16, _ONE),
    Submission("severity", 2, 18, _ONE),
    Submission("severity", 3, 13, _ONE),
    Submission("severity", 4, 13, _ALL),
    Submission("severity", 5, "ES1", _ONE),
)


def table_as_csv() -> str:
    """Table 5 as the CSV text that it is kept in."""
    return files("cov3d.challenge").joinpath("experiments.csv").read_text(encoding="utf-8")


def all_as_json() -> str:
    """Experiments, ensembles and submissions as JSON."""
    rows: dict[str, Iterable[Experiment | Ensemble | Submission]] = {
        "experiments": experiments().values(),
        "ensembles": ENSEMBLES,
        "submissions": SUBMISSIONS,
    }
    return json.dumps({name: [asdict(row) for row in of_kind] for name, of_kind in rows.items()}, indent=2)


@cache
def experiments() -> Mapping[int, Experiment]:
    """Table 5: the experiments by number, in order."""
    return {int(row["experiment"]): _parse(row) for row in csv.DictReader(table_as_csv().splitlines())}


def _parse(row: dict[str, str]) -> Experiment:
    def score(task: str) -> PaperScore:
        values = [row[f"{task}_{name}"] for name in ("validation", "cv", "cv_sd")]
        return PaperScore(*(float(value) if value else None for value in values))  # type: ignore[arg-type]

    return Experiment(
        number=int(row["experiment"]),
        architecture=Architecture(row["architecture"]),
        size=Size(row["size"]),
        stoic=row["stoic"] == "yes",
        dropout=float(row["dropout"]) if row["dropout"] else None,
        emd_weight=float(row["emd_weight"]),
        brightness=float(row["brightness"]),
        contrast=float(row["contrast"]),
        epochs=int(row["epochs"]),
        presence=score("presence"),
        severity=score("severity"),
    )


def find(number: int) -> Experiment:
    """The experiment with a number.

    Raises:
        Cov3dError: there is no such experiment.
    """
    if number not in experiments():
        raise Cov3dError(
            f"--experiment {number}: the paper's experiments are 1 to {len(experiments())} (see cov3d experiments)"
        )
    return experiments()[number]


def find_ensemble(name: str) -> Ensemble:
    """The ensemble with a name, in any case.

    Raises:
        Cov3dError: there is no such ensemble.
    """
    named = {ensemble.name: ensemble for ensemble in ENSEMBLES}
    if name.upper() not in named:
        raise Cov3dError(f"{name} is not one of the paper's ensembles: {', '.join(named)}")
    return named[name.upper()]


def check_start(number: int | None, from_checkpoint: object) -> None:
    """Check that an experiment that was pretrained on STOIC has a checkpoint to start from.

    Args:
        number: number of the experiment; None for no experiment.
        from_checkpoint: value of `--from-checkpoint`; None if not given.

    Raises:
        Cov3dError: the checkpoint is missing; the message has the commands that make one.
    """
    if number is None or from_checkpoint is not None or not (row := find(number)).stoic:
        return
    raise Cov3dError(
        f"experiment {number} starts from a network that was pretrained on STOIC: give its checkpoint with "
        f"--from-checkpoint, or make one first, with cov3d preprocess --data STOIC --size {row.size} and "
        f"cov3d train --data STOIC --architecture {row.architecture} --size {row.size} --dropout {row.dropout}, "
        "where STOIC is the folder of the STOIC2021 data"
    )


def options_of(number: int | None, **given: Any) -> TrainingOptions:
    """The options of one of the paper's experiments, or the defaults if None; `given` options replace them.

    Raises:
        Cov3dError: there is no such experiment, or a value can't be trained with.
    """
    if number is None:
        return TrainingOptions(**given)
    row = find(number).hyper_parameters()
    if not given.get("architecture", row["architecture"]).has_dropout:
        row.pop("dropout", None)
    return TrainingOptions(**{**row, **given, "experiment": number})
