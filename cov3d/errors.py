"""The failures that a user can meet. Each carries one sentence: what is wrong, where, what to do.

Cov3dError                     bad input or usage: the command line prints the sentence and exits 2
├── ScanError                  one scan can't be read or used; `--skip-errors` goes on past it
├── DatasetError               a dataset's folders, scan table, severity files or overrides are not as they should be
├── StoreError                 the store of preprocessed volumes is missing, incomplete or of other settings
├── CheckpointError            a file is not a checkpoint of ours, or does not fit what is asked of it
├── PredictionsError           a prediction table can't be read, or does not fit what it is compared with
├── SubmissionError            submission files, or a list of those to make, are not as they should be
├── WeightsError               pretrained weights can't be fetched or don't fit
├── ClusterError               the Dask cluster can't be reached, or its workers are not fit for the work
├── TrainingDivergedError      the loss is no longer a number
├── DeviceMemoryError          a batch does not fit into the memory of the device
├── PeerLostError              another process of a run on several GPUs has ended
├── TrackingError             TensorBoard or Weights & Biases can't be written to or reached
├── OutputError                an output folder can't be written, or would be overwritten
└── StoppedError               the work was interrupted (Ctrl-C) or told to stop (SIGTERM): exit code 130
"""

import re

_LONGEST, _AT_THE_END = 600, 200


def one_line(text: str) -> str:
    """A text of several lines in one, and without its middle where that is long: libraries list all that differs."""
    text = text.strip("\r\n")
    if not re.search(r"[\r\n]", text):
        return text
    folded = re.sub(r"\s*[\r\n]\s*", " ", text)
    if len(folded) <= _LONGEST:
        return folded
    return f"{folded[: _LONGEST - _AT_THE_END].rstrip()} … {folded[-_AT_THE_END:].lstrip()}"


class Cov3dError(Exception):
    """Bad input or usage; `str(error)` is one sentence for the user."""

    exit_code = 2

    def __str__(self) -> str:
        # torch hands an error over from a loading process as the text of its traceback, which ends with our sentence.
        text = super().__str__()
        name = f"\n{type(self).__module__}.{type(self).__qualname__}: "
        return one_line(text.rpartition(name)[2])


class ScanError(Cov3dError):
    """One scan can't be read or used."""


class DatasetError(Cov3dError):
    """A dataset's folders, scan table, severity files or overrides are not as they should be."""


class StoreError(Cov3dError):
    """The store of preprocessed volumes is missing, incomplete or of other settings."""


class CheckpointError(Cov3dError):
    """A file is not a checkpoint of ours, or does not fit what is asked of it."""


class PredictionsError(Cov3dError):
    """A prediction table can't be read, or does not fit what it is compared with."""


class SubmissionError(Cov3dError):
    """Submission files, or a list of those to make, are not as they should be."""


class WeightsError(Cov3dError):
    """Pretrained weights can't be fetched or don't fit the network."""


class ClusterError(Cov3dError):
    """The Dask cluster can't be reached, or its workers are not fit for the work."""


class TrainingDivergedError(Cov3dError):
    """The loss is no longer a number."""


class DeviceMemoryError(Cov3dError):
    """A batch does not fit into the memory of the device."""


class PeerLostError(Cov3dError):
    """Another process of a run on several GPUs has ended."""


class TrackingError(Cov3dError):
    """TensorBoard or Weights & Biases can't be written to or reached."""


class OutputError(Cov3dError):
    """An output folder can't be written, or would be overwritten."""


class StoppedError(Cov3dError):
    """The work was interrupted or told to stop; the sentence says what becomes of what was done."""

    exit_code = 130
