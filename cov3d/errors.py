"""The errors that a user can meet. Each has one sentence: what is wrong, where, and what to do.

Cov3dError                     bad input or usage: the command line prints the sentence and exits with code 2
├── ScanError                  one scan can't be read or used; `--skip-errors` skips it
├── DatasetError               a dataset's folders, scan table, severity files or overrides are wrong
├── StoreError                 the store of preprocessed volumes is missing, incomplete or has other settings
├── CheckpointError            a file is not a cov3d checkpoint, or can't be used for the task
├── PredictionsError           a prediction table can't be read, or does not match another table
├── SubmissionError            submission files, or a list of submissions, are wrong
├── WeightsError               pretrained weights can't be downloaded, or don't fit the network
├── ClusterError               the Dask cluster can't be reached, or its workers can't do the work
├── TrainingDivergedError      the loss is not a finite number
├── DeviceMemoryError          a batch does not fit into the memory of the device
├── PeerLostError              another process of a run on several GPUs has ended
├── TrackingError              TensorBoard or Weights & Biases can't be written to or reached
├── OutputError                an output folder can't be written, or would be overwritten
└── StoppedError               the work was interrupted (Ctrl-C) or stopped (SIGTERM): exit code 130
"""

import re

_LONGEST, _AT_THE_END = 600, 200


def one_line(text: str) -> str:
    """Join the lines of a text, and shorten it in the middle if it is long: libraries may list many differences."""
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
        # torch passes an error of a loading process on as the text of its traceback, which ends with the sentence.
        text = super().__str__()
        name = f"\n{type(self).__module__}.{type(self).__qualname__}: "
        return one_line(text.rpartition(name)[2])


class ScanError(Cov3dError):
    """One scan can't be read or used."""


class DatasetError(Cov3dError):
    """A dataset's folders, scan table, severity files or overrides are wrong."""


class StoreError(Cov3dError):
    """The store of preprocessed volumes is missing, incomplete or has other settings."""


class CheckpointError(Cov3dError):
    """A file is not a cov3d checkpoint, or can't be used for the task."""


class PredictionsError(Cov3dError):
    """A prediction table can't be read, or does not match another table."""


class SubmissionError(Cov3dError):
    """Submission files, or a list of submissions, are wrong."""


class WeightsError(Cov3dError):
    """Pretrained weights can't be downloaded, or don't fit the network."""


class ClusterError(Cov3dError):
    """The Dask cluster can't be reached, or its workers can't do the work."""


class TrainingDivergedError(Cov3dError):
    """The loss is not a finite number."""


class DeviceMemoryError(Cov3dError):
    """A batch does not fit into the memory of the device."""


class PeerLostError(Cov3dError):
    """Another process of a run on several GPUs has ended."""


class TrackingError(Cov3dError):
    """TensorBoard or Weights & Biases can't be written to or reached."""


class OutputError(Cov3dError):
    """An output folder can't be written, or would be overwritten."""


class StoppedError(Cov3dError):
    """The work was interrupted or stopped; the sentence states what is kept."""

    exit_code = 130
