"""The resume state `last.pt`: all that an interrupted run needs to go on as if it had not been.

It is written after every epoch, aside and put in place in one step, before the other files of that epoch, which can
be made again from it. Chance is not in it: each epoch draws from seed and number (`callbacks.Chance`).
"""

import os
import pickle
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from cov3d.errors import CheckpointError, OutputError
from cov3d.files import replacing
from cov3d.values import Field, WrongValueError, check_fields, integer, listed, mapping, text

FILE_NAME = "last.pt"
FORMAT = 1
# What torch's restricted unpickler raises on a file that is not one of ours, whatever is in it.
_UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError, TypeError, AttributeError, LookupError),
    *(pickle.UnpicklingError, zipfile.BadZipFile),
)


@dataclass(frozen=True)
class ResumeState:
    """A run after an epoch, in tensors and plain values.

    Attributes:
        identity: what the run is of: options, data, number of processes. A run goes on only as what it was begun.
        versions: of cov3d and of what it computes with, when the state was written.
        epoch: the number of epochs done.
        model: weights of the network.
        optimiser: state of the optimiser.
        scaler: state of the gradient scaler; empty without one.
        history: a row an epoch.
        best: by task, the epoch with the best score and its probabilities on the validation fold.
        last: probabilities of the last epoch.
    """

    identity: dict[str, Any]
    versions: dict[str, str]
    epoch: int
    model: dict[str, Any]
    optimiser: dict[str, Any]
    scaler: dict[str, Any]
    history: list[dict[str, Any]]
    best: dict[str, dict[str, Any]]
    last: torch.Tensor


def _probabilities(value: Any) -> torch.Tensor:
    if not isinstance(value, torch.Tensor) or value.ndim != 2 or not value.is_floating_point():
        raise WrongValueError("must be a table of probabilities")
    if not bool(((value >= 0) & (value <= 1 + 1e-6)).all()):
        raise WrongValueError("holds values that are not probabilities")
    return value


_BEST = {"epoch": Field(integer(1)), "probabilities": Field(_probabilities)}
_ROW = {"epoch": Field(integer(1))}
_FIELDS = {
    "identity": Field(mapping()),
    "versions": Field(mapping(text(200))),
    "epoch": Field(integer(1)),
    "model": Field(mapping()),
    "optimiser": Field(mapping()),
    "scaler": Field(mapping()),
    "history": Field(lambda value: list(listed(lambda row: check_fields(row, _ROW))(value))),
    "best": Field(mapping(lambda value: check_fields(value, _BEST))),
    "last": Field(_probabilities),
}


def save(folder: Path, state: ResumeState) -> None:
    """Write the resume state of a run, whole or not at all.

    Raises:
        OutputError: it can't be written.
    """
    file = folder / FILE_NAME
    content = {"format": FORMAT, **{item.name: getattr(state, item.name) for item in fields(state)}}
    try:
        with replacing(file) as aside, aside.open("wb") as opened:
            torch.save(content, opened)
            opened.flush()
            os.fsync(opened.fileno())  # a machine that goes down must not leave an empty file in its place
    except RuntimeError as error:  # what torch makes of a full disk, on the way from the system's own error
        cause = error.__context__
        if not isinstance(cause, OSError):
            raise
        raise OutputError(f"{file} can't be written: {cause.strerror}") from error


def load(folder: Path) -> ResumeState | None:
    """The resume state of the run in `folder`; None where no epoch was finished. Nothing in the file is executed.

    Raises:
        CheckpointError: the file is no resume state of this version.
    """
    file = folder / FILE_NAME
    if not file.exists():
        return None
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        if content.pop("format") != FORMAT:
            raise ValueError("another version of cov3d wrote it")
        state = ResumeState(**check_fields(content, _FIELDS))
        if len(state.history) != state.epoch:
            raise ValueError("it has not a row an epoch")
        return state
    except _UNREADABLE as error:
        raise CheckpointError(
            f"{file} is damaged, or of another version of cov3d: begin anew with --overwrite"
        ) from error


def fit_into(receiver: Any, state: dict[str, Any], folder: Path) -> None:
    """Load a part of the state into the network or the optimiser that it is of.

    Raises:
        CheckpointError: it is of another one.
    """
    try:
        receiver.load_state_dict(state)
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder / FILE_NAME} does not fit this version of cov3d or of torch: go on with the one that began the "
            "run, or begin anew with --overwrite"
        ) from error


def check_identity(
    state: ResumeState, identity: dict[str, Any], folder: Path, scans_differ: Sequence[str] = ()
) -> None:
    """Refuse to go on with a run as another one.

    Args:
        state: of the run.
        identity: of the run that is asked for.
        folder: the run's.
        scans_differ: how their scans differ, in words, as far as it is known.

    Raises:
        CheckpointError: options, data or the number of processes are not those that it was begun with.
    """
    differing = [
        f"{key.replace('_', ' ')} was {state.identity.get(key)}, now {identity.get(key)}"
        for key in sorted(state.identity.keys() | identity.keys())
        if state.identity.get(key) != identity.get(key) and not (key == "scans" and scans_differ)
    ]
    differing += scans_differ
    if differing:
        raise CheckpointError(
            f"the run in {folder} was begun otherwise ({'; '.join(differing)}): resume it with the options and the "
            "data that it was begun with, or begin anew with --overwrite"
        )
