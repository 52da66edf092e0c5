"""What a tracker is told of a run, and when; the trackers differ only in where they send it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from fastai.callback.core import Callback, CancelFitException

from cov3d.errors import Cov3dError
from cov3d.training.options import TrainingOptions

_STEPS = 10


@contextmanager
def closing(trackers: Iterable["Tracker"]) -> Iterator[None]:
    """Close the trackers when the block ends, however it does."""
    try:
        yield
    finally:
        for tracker in trackers:
            tracker.close()


class Tracker(Callback):
    """Sends the options of a run, its loss every few steps and its history's row every epoch somewhere.

    Nothing else: no picture, no name of a scan or a person, no host, no path. A tracker that can't begin ends the fit
    before its first step; one that fails later is switched off and says so, and the run goes on without it.

    Attributes:
        error: why it could not begin.
        warn: is told the sentence when it fails later.
    """

    order = 58  # after the journal

    def __init__(self, options: TrainingOptions, warn: Callable[[str], None], **of_fastai: Any) -> None:
        super().__init__(**of_fastai)
        self.options, self.warn = options, warn
        self.begun = False
        self.error: Cov3dError | None = None

    def begin(self, step: int) -> None:
        """Get ready; `step` is the first that will be sent, above 1 in a run that was resumed.

        Raises:
            Cov3dError: it can't be done.
        """
        raise NotImplementedError

    def send(self, values: dict[str, float], step: int) -> None:
        """Send values at a step.

        Raises:
            Cov3dError: it can't be done.
        """
        raise NotImplementedError

    def end(self) -> None:
        """Send what is left; the fit has ended, well or not."""
        raise NotImplementedError

    def where(self) -> str:
        """A sentence on where to look at what was sent."""
        raise NotImplementedError

    # fastai's trackers define more of the events, for what is not to be sent; all that they define is defined here.
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
        """End what was begun. fastai leaves out its last event where an error or Ctrl-C ends the fit."""
        if self.begun:
            self.begun = False
            self._guarded(self.end)

    def _step(self, done: int) -> int:
        """The number, over the whole run, of an epoch's batch; fastai's own count begins anew in a resumed run."""
        return self.learn.epoch * len(self.learn.dls.train) + done

    def _send(self, values: dict[str, float], step: int) -> None:
        self._guarded(lambda: self.send(values, step))

    def _guarded(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Cov3dError as error:
            self.run = False
            self.warn(f"{error}; the run goes on without it, and its history.csv has every epoch")
