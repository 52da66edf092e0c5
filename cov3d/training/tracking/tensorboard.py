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
    """fastai's callback, without what it does that can't be had here.

    It would trace the network, which takes a batch of scans away from the first epoch and fails in mixed precision;
    draw predictions, which asks of loaders what plain ones lack and would put pictures of scans into the log; count
    steps from the resumption of a run; and TensorBoard would name its files by the host.
    """

    def __init__(self, folder: Path, options: TrainingOptions, warn: Callable[[str], None]) -> None:
        super().__init__(options, warn, log_dir=folder / TENSORBOARD_FOLDER, trace_model=False, log_preds=False)

    def begin(self, step: int) -> None:
        with self._writing(), _nameless_files():
            # What an interrupted run sent from this step on is hidden: the resumed run sends it again.
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
    """Event files are named by time, host and process: let the host be called `run`."""
    module: Any = event_file_writer
    module.socket = SimpleNamespace(gethostname=lambda: "run")
    try:
        yield
    finally:
        module.socket = socket
