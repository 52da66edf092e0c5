"""Weights & Biases: sends a run to its server, or writes files in the run's folder that can be sent later."""

import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import wandb
from fastai.callback.wandb import WandbCallback

from cov3d.errors import TrackingError
from cov3d.files import write_text
from cov3d.training.options import TrainingOptions
from cov3d.training.tracking.tracker import Tracker
from cov3d.training.tracking.values import WANDB_FOLDER, plain

_ID = "id.txt"


class WeightsAndBiases(Tracker, WandbCallback):
    """fastai's callback with some of its features switched off.

    fastai would send the arguments of every callback, including the names of scans; predictions with pictures of
    scans; the network as a pickle; and its own count of steps, which starts again in a resumed run. `wandb` would send
    the host, the user, the command line, the code's folder and repository, the output, and the machine's load. All of
    this is off.
    """

    def __init__(
        self,
        folder: Path,
        options: TrainingOptions,
        warn: Callable[[str], None],
        *,
        name: str,
        project: str | None,
        offline: bool,
    ) -> None:
        super().__init__(options, warn, log=None, log_preds=False, log_model=False, log_dataset=False)
        self.folder, self.run_name, self.project, self.offline = folder, name, project, offline
        self.tracked: Any = None
        self.synced_from: Path | None = None
        self.url: str | None = None

    def begin(self, step: int) -> None:
        with self._sending():
            self.tracked = wandb.init(
                project=self.project,
                name=self.run_name,
                id=self._identity(),
                resume=None if self.offline else "allow",
                config=plain(self.options),
                settings=_settings(self.folder, self.offline),
            )
            self.synced_from = Path(self.tracked.settings.sync_dir)
            self.url = None if self.offline else self.tracked.url
            # A resumed run sends the steps of an unfinished epoch again, which wandb's default step count refuses.
            self.tracked.define_metric("step", hidden=True)
            self.tracked.define_metric("*", step_metric="step")

    def send(self, values: dict[str, float], step: int) -> None:
        with self._sending():
            self.tracked.log({**values, "step": step})

    def end(self) -> None:
        failed = sys.exc_info()[0] is not None or any(getattr(cb, "error", None) for cb in self.learn.cbs)
        with self._sending():
            self.tracked.finish(exit_code=int(failed))
        _remove_diagnostics(self.folder / WANDB_FOLDER, self.synced_from)

    def where(self) -> str:
        if self.offline:
            return f"Weights & Biases, offline: wandb sync {self.synced_from or self.folder / WANDB_FOLDER} sends it"
        return f"Weights & Biases: {self.url}"

    def _identity(self) -> str:
        """The run's id, kept in its folder, so that a resumed run continues the same run on the server."""
        file = self.folder / WANDB_FOLDER / _ID
        if not file.exists():
            write_text(file, secrets.token_hex(4) + "\n")
        return file.read_text(encoding="utf-8").strip()

    @contextmanager
    def _sending(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # wandb's errors have no common class
            raise TrackingError(f"Weights & Biases can't be reached or written to ({error})") from error


def check_login() -> None:
    """Check that there is a key for the server. In a terminal, wandb asks for it.

    Raises:
        TrackingError: there is no key.
    """
    try:
        known = wandb.login()
    except wandb.Error:
        known = False
    if not known:
        raise TrackingError(
            "--wandb needs a Weights & Biases key: run wandb login, set WANDB_API_KEY, or write to files with "
            "--wandb-offline"
        )


def _settings(folder: Path, offline: bool) -> wandb.Settings:
    return wandb.Settings(
        mode="offline" if offline else "online",
        root_dir=str(folder),
        reinit="create_new",
        silent=True,
        console="off",
        host="",
        program="",
        username="",
        save_code=False,
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )


def _remove_diagnostics(folder: Path, run: Path | None) -> None:
    """Remove wandb's own logs and the links to them. They contain paths of this machine and are of no use here."""
    if run is not None:
        shutil.rmtree(run / "logs", ignore_errors=True)
    for link in folder.glob("debug*.log"):
        link.unlink(missing_ok=True)
