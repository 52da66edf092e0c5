"""The weights that training starts from, by the command line: fetched, found, and refused in one sentence."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cov3d.challenge.run_names import run_name
from cov3d.models import weights
from cov3d.models.names import Architecture
from cov3d.preprocessing.sizes import Size
from cov3d.training import checkpoint, learner
from cov3d.training.options import TrainingOptions
from cov3d.training.start import Start
from tests.app.conftest import ReachedError
from tests.conftest import Ended
from tests.server import FakeServer
from tests.training.conftest import fill
from tests.training.test_checkpoint import INFO

Command = Callable[..., Ended]
Reached = Callable[..., ReachedError]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two scans, preprocessed at size tiny; the second is in fold 0."""
    root = tmp_path_factory.mktemp("weights")
    _, table = fill(root / "preprocessed" / "tiny", ["non-covid", "mild"], [1, 0])
    table.to_csv(root / "scans.csv", index=False)
    return root


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_weights_are_fetched_once_and_reported(cov3d: Command, server: FakeServer, tmp_path: Path) -> None:
    folder = tmp_path / "w"
    ended = cov3d("weights", "--weights-dir", folder)
    assert ended.code == 0, ended.err
    assert [file.name for file in folder.iterdir()] == [weights.file_name(Architecture.RESNET)]
    for part in (server.source(Architecture.RESNET), str(folder), "checksum verified"):
        assert part in ended.out
    assert cov3d("weights", "--weights-dir", folder, "--all").code == 0
    assert {file.name for file in folder.iterdir()} == {weights.file_name(name) for name in weights.published()}
    assert len(server.requests) == len(weights.published())
    damaged = folder / weights.file_name(Architecture.SWIN)
    damaged.write_bytes(b"")
    ended = cov3d("weights", "--weights-dir", folder, "--architecture", "swin")
    assert damaged.read_bytes() == server.published(Architecture.SWIN)
    assert f"{damaged} is damaged" in flat(ended.err)
    assert len(server.requests) == len(Architecture) + 1


def test_weights_go_where_the_environment_says(
    cov3d: Command,
    server: FakeServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cov3d("weights", "--architecture", "mc3").code == 0
    assert (tmp_path / "hub" / "checkpoints" / weights.file_name(Architecture.MC3)).exists()
    monkeypatch.setenv("COV3D_WEIGHTS_DIR", str(tmp_path / "named"))
    assert cov3d("weights", "--architecture", "mc3").code == 0
    assert (tmp_path / "named" / weights.file_name(Architecture.MC3)).exists()


def test_weights_that_can_not_be_fetched_are_one_sentence(
    cov3d: Command,
    server: FakeServer,
    tmp_path: Path,
) -> None:
    assert cov3d("weights", "--all", "--architecture", "swin").code == 2
    server.damage("changed")
    ended = cov3d("weights", "--weights-dir", tmp_path / "w")
    assert (ended.code, "Traceback" in ended.err) == (2, False)
    assert "wrong checksum" in ended.err
    assert not list((tmp_path / "w").iterdir())


def test_train_without_network_and_weights_says_so_before_any_data_is_read(
    cov3d: Command,
    server: FakeServer,
    tmp_path: Path,
) -> None:
    server.damage("down")
    ended = cov3d("train", "--data", tmp_path / "nowhere", "--weights-dir", tmp_path / "w", "--architecture", "swin")
    assert ended.code == 2
    assert "Traceback" not in ended.err
    for part in ("cov3d weights --architecture swin", "login node", "--no-pretrained", str(tmp_path / "w")):
        assert part in flat(ended.err)
    assert "dataset" not in ended.err


def test_train_finds_weights_without_a_network(
    reached: Reached,
    server: FakeServer,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weights, "load", lambda architecture, file: {"from": file})
    words = ["train", "--data", data, "--size", "tiny"]
    fetched: Start = reached(learner, "train", *words).options["start"]
    assert fetched.state == {"from": tmp_path / "hub" / "checkpoints" / weights.file_name(Architecture.RESNET)}
    assert len(server.requests) == 1
    for folder in ("named", "given"):
        weights.fetch(Architecture.RESNET, tmp_path / folder)
    server.damage("down")
    monkeypatch.setenv("COV3D_WEIGHTS_DIR", str(tmp_path / "named"))
    named = reached(learner, "train", *words).options["start"]
    assert named.state["from"].parent == tmp_path / "named"
    given = reached(learner, "train", *words, "--weights-dir", tmp_path / "given").options["start"]
    assert given.state["from"].parent == tmp_path / "given"
    (tmp_path / "w.pth").write_bytes(b"w")
    file = reached(learner, "train", *words, "--weights", tmp_path / "w.pth").options["start"]
    assert file.state == {"from": tmp_path / "w.pth"}
    assert {begin.kind for begin in (fetched, named, given, file)} == {"kinetics"}


@pytest.fixture
def stoic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of STOIC's categories at size small, whose scans were preprocessed otherwise."""
    info = replace(
        INFO,
        size=Size.SMALL,
        categories=("non-covid", "covid-not-severe", "covid-severe"),
        preprocessing={"hash": "another"},
        trained_on=(checkpoint.fingerprint("train/x/scan_1"),),
    )
    monkeypatch.setattr(checkpoint, "load", lambda file: (torch.nn.Linear(2, 3), info))
    file = tmp_path / "stoic.safetensors"
    file.write_bytes(b"")
    return file


def test_train_starts_from_a_checkpoint_and_says_how_it_differs(
    reached: Reached, data: Path, stoic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[str] = []
    for speaker in ("say", "say_warning"):
        monkeypatch.setattr(f"cov3d.app.console.{speaker}", lambda text, by=speaker: reported.append(f"{by} {text}"))
    call = reached(learner, "train", "train", "--data", data, "--size", "tiny", "--from-checkpoint", stoic)
    assert call.options["start"].info.size == "small"
    assert call.options["start"].file == "stoic.safetensors"
    assert call.arguments[3].name == "resnet_tiny_from-checkpoint_fold-0_seed-0"
    text = "\n".join(reported)
    for part in (
        "say starting from stoic.safetensors: resnet of 3 categories",
        "say it was trained at size small and continues at tiny",
        "say_warning stoic.safetensors was trained on scans preprocessed otherwise",
        "say_warning stoic.safetensors was trained on 1 of the 1 scans of fold 0",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--no-pretrained"], "--from-checkpoint and --no-pretrained cannot be combined"),
        (["--weights", "w.pth"], "--from-checkpoint and --weights cannot be combined"),
        (["--architecture", "swin"], "stoic.safetensors has the network resnet, but the run trains swin"),
    ],
)
def test_a_checkpoint_that_can_not_be_started_from_is_one_sentence(
    cov3d: Command, stoic: Path, tmp_path: Path, words: list[str], sentence: str
) -> None:
    ended = cov3d("train", "--data", tmp_path / "nowhere", "--from-checkpoint", stoic, *words)
    assert ended.code == 2
    assert sentence in flat(ended.err)


def test_a_runs_name_says_that_it_began_with_a_checkpoint() -> None:
    assert run_name(TrainingOptions(), Path("x")) == "resnet_medium_from-checkpoint_fold-0_seed-0"
