"""Where a run can be watched: what `train` asks for, and what it says at the end."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cov3d.training import learner, tracking
from cov3d.training.learner import Run
from tests.app.conftest import ReachedError
from tests.conftest import Ended
from tests.training.conftest import fill

Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """A command line that trains on two scans."""
    root = tmp_path_factory.mktemp("tracking")
    _, table = fill(root / "preprocessed" / "tiny", ["non-covid", "mild"], [0, 1])
    table.to_csv(root / "scans.csv", index=False)
    return ["train", "--data", root, "--size", "tiny", "--no-pretrained"]


def test_what_is_asked_for_reaches_the_trackers(
    reached: Callable[..., ReachedError], base: list[object], tmp_path: Path
) -> None:
    nothing = {"tensorboard": False, "wandb": False, "offline": False, "project": None}
    words = [*base, "--output-dir", tmp_path / "run"]
    plain = reached(tracking, "make_trackers", *words)
    assert plain.options.items() >= nothing.items()
    assert plain.arguments[0] == tmp_path / "run"
    assert plain.arguments[1].size == "tiny"
    for given, changed in (
        (["--tensorboard"], {"tensorboard": True}),
        (["--wandb", "--wandb-project", "lungs"], {"wandb": True, "project": "lungs"}),
        (["--wandb-offline"], {"wandb": True, "offline": True}),
    ):
        asked = reached(tracking, "make_trackers", *words, *given).options
        assert {name: asked[name] for name in nothing} == nothing | changed


def test_trackers_reach_the_run_and_it_ends_with_where_to_look(
    cov3d: Command, base: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []

    def train(*arguments: object, trackers: list[tracking.Tracker], **options: object) -> Run:
        names.extend(type(tracker).__name__ for tracker in trackers)
        history = pd.DataFrame({name: [0.5] for name in HISTORY})
        return Run(tmp_path, None, {}, history)  # type: ignore[arg-type]

    monkeypatch.setattr(learner, "train", train)
    ended = cov3d(*base, "--output-dir", tmp_path / "runs" / "a", "--tensorboard", "--wandb-offline")
    assert ended.code == 0, ended.err
    assert names == ["TensorBoard", "WeightsAndBiases"]
    assert f"tensorboard --logdir {tmp_path / 'runs'}" in ended.out
    assert f"wandb sync {tmp_path / 'runs' / 'a' / 'wandb'}" in ended.out


HISTORY = ("epoch", "train_loss", "valid_loss", "presence_f1", "severity_f1", "learning_rate")
