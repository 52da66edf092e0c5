"""TensorBoard: event files in the run's folder."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastai.callback.tensorboard import TensorBoardCallback
from tensorboard.summary.writer import event_file_writer
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from cov3d.errors import OutputError
from cov3d.training.options import TrainingOptions
from cov3d.training.tracking.tracker import Tracker
from cov3d.training.tracking.values import TENSORBOARD_FOLDER, plain

_SCORES = ("presence_f1", "severity_f1")


class TensorBoard(Tracker, TensorBoardCallback):
    """fastai's callback with some of its features switched off.

    - Tracing the network uses a batch of the first epoch and fails in mixed precision.
    - Drawing predictions needs fastai's loaders and would write pictures of scans to the log.
    - fastai counts steps from the start of a resumed run, not of the run.
    - TensorBoard puts the host's name into its file names.
    """

    def __init__(self, folder: Path, options: TrainingOptions, warn: Callable[[str], None]) -> None:
        super().__init__(options, warn, log_dir=folder / TENSORBOARD_FOLDER, trace_model=False, log_preds=False)

    def begin(self, step: int) -> None:
        with self._writing(), _nameless_files():
            # Hide values that an interrupted run sent from this step on: the resumed run sends them again.
            self.writer = SummaryWriter(log_dir=str(self.log_dir), purge_step=step)
            experiment, started, self.ended = hparams(plain(self.options), dict.fromkeys(_SCORES, 0.0))
            for summary in (experiment, started):
                self.writer._get_file_writer().add_summary(summary)

    def send(self, values: dict[str, float], step: int) -> None:
        with self._writing():
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)

    def end(self) -> None:
        with self._writing():
            self.writer._get_file_writer().add_summary(self.ended)
            self.writer.close()

    def where(self) -> str:
        return f"TensorBoard: tensorboard --logdir {self.log_dir.parent.parent}"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"{self.log_dir} can't be written: {error.strerror or error}") from error


@contextmanager
def _nameless_files() -> Iterator[None]:
    """Use `run` in place of the host's name in the names of event files."""
    module: Any = event_file_writer
    module.socket = SimpleNamespace(gethostname=lambda: "run")
    try:
        yield
    finally:
        module.socket = socket
