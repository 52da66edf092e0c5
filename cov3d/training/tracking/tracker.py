"""The base class of trackers: which values they send, and when. Subclasses send them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from fastai.callback.core import Callback, CancelFitException

from cov3d.errors import Cov3dError
from cov3d.training.options import TrainingOptions

_STEPS = 10


@contextmanager
def closing(trackers: Iterable["Tracker"]) -> Iterator[None]:
    """Close the trackers when the block ends, also after an error."""
    try:
        yield
    finally:
        for tracker in trackers:
            tracker.close()


class Tracker(Callback):
    """Sends the options of a run, its loss every few steps, and a row of its history after each epoch.

    It sends nothing else: no pictures, no names of scans or persons, no host, no paths. A tracker that can't start ends
    the fit before its first step. One that fails later is switched off with a warning, and the run continues.

    Attributes:
        error: why it could not start.
        warn: called with a message when it fails later.
    """

    order = 58  # after the journal

    def __init__(self, options: TrainingOptions, warn: Callable[[str], None], **of_fastai: Any) -> None:
        super().__init__(**of_fastai)
        self.options, self.warn = options, warn
        self.begun = False
        self.error: Cov3dError | None = None

    def begin(self, step: int) -> None:
        """Start; `step` is the first step that will be sent, above 1 in a resumed run.

        Raises:
            Cov3dError: the tracker can't start.
        """
        raise NotImplementedError

    def send(self, values: dict[str, float], step: int) -> None:
        """Send values at a step.

        Raises:
            Cov3dError: they can't be sent.
        """
        raise NotImplementedError

    def end(self) -> None:
        """Send the remaining values, after the fit has ended or failed."""
        raise NotImplementedError

    def where(self) -> str:
        """A sentence on where to see the values."""
        raise NotImplementedError

    # fastai's trackers use more events to send other data. All their events are overridden here.
    def after_create(self) -> None:
        pass

    def before_fit(self) -> None:
        pass

    def before_train(self) -> None:
        if self.begun:
            return
        try:
            self.begin(self._step(1))
        except Cov3dError as error:
            self.error = error
            raise CancelFitException from error
        self.begun = True

    def before_validate(self) -> None:
        pass

    def before_batch(self) -> None:
        pass

    def after_pred(self) -> None:
        pass

    def after_batch(self) -> None:
        done = self.learn.iter + 1
        if self.learn.training and (done % _STEPS == 0 or done == self.learn.n_iter):
            rate = float(self.learn.opt.hypers[-1]["lr"])
            self._send({"loss": self.learn.loss_watch.smooth, "learning_rate": rate}, self._step(done))

    def after_validate(self) -> None:
        pass

    def after_epoch(self) -> None:
        rows = self.learn.journal.rows
        if rows and rows[-1]["epoch"] == self.learn.epoch + 1:
            row: dict[str, Any] = {name: value for name, value in rows[-1].items() if name != "learning_rate"}
            self._send(row, self._step(len(self.learn.dls.train)))

    def after_fit(self) -> None:
        pass

    def close(self) -> None:
        """End the tracker if it was started. fastai skips `after_fit` if an error or Ctrl-C ends the fit."""
        if self.begun:
            self.begun = False
            self._guarded(self.end)

    def _step(self, done: int) -> int:
        """The step in the complete run of a batch of this epoch. fastai counts from 0 in a resumed run."""
        return self.learn.epoch * len(self.learn.dls.train) + done

    def _send(self, values: dict[str, float], step: int) -> None:
        self._guarded(lambda: self.send(values, step))

    def _guarded(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Cov3dError as error:
            self.run = False
            self.warn(f"{error}; the run continues without it, and history.csv has every epoch")
