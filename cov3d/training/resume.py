"""The resume state `last.pt`, from which an interrupted run continues with the same result.

It is written after each epoch, in one step, before the other files of the epoch, which can be restored from it. It has
no state of random generators: they are seeded before each epoch (`callbacks.EpochSeeds`).
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
# Exceptions of torch's restricted unpickler for files with other content.
_UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError, TypeError, AttributeError, LookupError),
    *(pickle.UnpicklingError, zipfile.BadZipFile),
)


@dataclass(frozen=True)
class ResumeState:
    """A run after an epoch, in tensors and plain values.

    Attributes:
        identity: options, data and number of processes. A run can be resumed only with the same values.
        versions: of cov3d and its libraries, when the state was written.
        epoch: number of finished epochs.
        model: weights of the network.
        optimiser: state of the optimiser.
        scaler: state of the gradient scaler; empty if there is none.
        history: one row for each epoch.
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
    """Write the resume state of a run, completely or not at all.

    Raises:
        OutputError: it can't be written.
    """
    file = folder / FILE_NAME
    content = {"format": FORMAT, **{item.name: getattr(state, item.name) for item in fields(state)}}
    try:
        with replacing(file) as aside, aside.open("wb") as opened:
            torch.save(content, opened)
            opened.flush()
            os.fsync(opened.fileno())  # so that a crash of the machine can't leave an empty file
    except RuntimeError as error:  # torch raises this for a full disk, while it handles the system's error
        cause = error.__context__
        if not isinstance(cause, OSError):
            raise
        raise OutputError(f"{file} can't be written: {cause.strerror}") from error


def load(folder: Path) -> ResumeState | None:
    """The resume state of the run in `folder`; None if no epoch was finished. Nothing in the file is executed.

    Raises:
        CheckpointError: the file is not a resume state of this version.
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
            raise ValueError("the number of rows and epochs differs")
        return state
    except _UNREADABLE as error:
        raise CheckpointError(
            f"{file} is damaged, or was written by another version of cov3d: start again with --overwrite"
        ) from error


def fit_into(receiver: Any, state: dict[str, Any], folder: Path) -> None:
    """Load a part of the state into its network or optimiser.

    Raises:
        CheckpointError: it does not fit.
    """
    try:
        receiver.load_state_dict(state)
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder / FILE_NAME} does not fit this version of cov3d or torch: resume with the versions that started "
            "the run, or start again with --overwrite"
        ) from error


def check_identity(
    state: ResumeState, identity: dict[str, Any], folder: Path, scans_differ: Sequence[str] = ()
) -> None:
    """Check that a run can be resumed with the given options and data.

    Args:
        state: of the run.
        identity: the requested one.
        folder: of the run.
        scans_differ: differences of the scans, in words, as far as known.

    Raises:
        CheckpointError: options, data or the number of processes differ.
    """
    differing = [
        f"{key.replace('_', ' ')} was {state.identity.get(key)}, now {identity.get(key)}"
        for key in sorted(state.identity.keys() | identity.keys())
        if state.identity.get(key) != identity.get(key) and not (key == "scans" and scans_differ)
    ]
    differing += scans_differ
    if differing:
        raise CheckpointError(
            f"the run in {folder} was started differently ({'; '.join(differing)}): resume it with the options and "
            "the data that it was started with, or start again with --overwrite"
        )
