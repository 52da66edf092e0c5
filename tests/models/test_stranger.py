"""A backbone of somebody else, without pretrained weights: one entry says all of it, and what is wrong with it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cov3d.errors import WeightsError
from cov3d.models import registry, weights
from cov3d.models.memory import blocks_of, checkpoint_activations
from cov3d.models.names import Architecture
from cov3d.models.network import Network
from cov3d.models.registry import REGISTRY, build, registered
from cov3d.preprocessing.sizes import Size
from cov3d.training import memory
from cov3d.training.options import TrainingOptions
from tests.conftest import Ended
from tests.training.conftest import fill

HERE = "tests.models.test_stranger"
STRANGER = Architecture.MC3
"""The name that the stranger goes by here."""


class Block(nn.Module):
    """A convolution that keeps several times its input for the backward pass, with another block inside."""

    def __init__(self, inner: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv3d(4, 4, 3, padding=1), nn.Sigmoid(), nn.Tanh(), inner or nn.Identity())

    def forward(self, volumes: Tensor) -> Tensor:
        return self.layers(volumes)


class Stranger(nn.Module):
    """Takes no pretrained weights, and calls its last layer otherwise."""

    def __init__(self, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.AvgPool3d(8), nn.Conv3d(1, 4, 1), Block(Block()), Block(), Block())
        self.end = nn.ModuleDict({"classifier": nn.Linear(4, outputs)})
        self.dropout = nn.Dropout(dropout)

    def forward(self, volumes: Tensor) -> Tensor:
        return self.end["classifier"](self.dropout(self.body(volumes).mean(dim=(2, 3, 4))))


ENTRY = Network(Stranger, blocks=(Block,), head="end.classifier")


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, STRANGER, ENTRY)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Every label in fold 1, and three scans in fold 0."""
    labels = ["non-covid", "mild", "moderate", "severe", "critical", "non-covid", "mild", "severe"]
    _, table = fill(tmp_path / "preprocessed" / "tiny", labels, [1] * 5 + [0] * 3)
    table.to_csv(tmp_path / "scans.csv", index=False)
    return tmp_path


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize("more", [(), ("--gradient-checkpointing",)])
def test_it_trains_by_the_default_command_and_says_from_what(
    cov3d: Callable[..., Ended], data: Path, more: tuple[str, ...]
) -> None:
    words = ["--data", data, "--architecture", STRANGER, "--size", "tiny", "--epochs", 1, "--output-dir", data / "run"]
    ended = cov3d("train", *words, *more)
    assert ended.code == 0, ended.err
    assert f"warning: there are no pretrained weights of {STRANGER}: training starts from random weights" in ended.err
    assert "estimated peak memory" in ended.out
    assert json.loads((data / "run" / "config.json").read_text())["started_from"] == {"kind": "random"}
    ended = cov3d("train", *words[:-1], data / "again", "--from-checkpoint", data / "run" / "presence.safetensors")
    assert (ended.code, "no pretrained weights" in ended.err) == (0, False), ended.err


@pytest.mark.usefixtures("stranger")
def test_weights_that_it_does_not_have_are_one_sentence(cov3d: Callable[..., Ended], data: Path) -> None:
    (data / "w.pth").write_bytes(b"")
    for words in (
        ["train", "--data", data, "--architecture", STRANGER, "--size", "tiny", "--weights", data / "w.pth"],
        ["weights", "--architecture", STRANGER, "--weights-dir", data],
    ):
        ended = cov3d(*words)
        assert (ended.code, "Traceback" in ended.err) == (2, False)
        assert f"there are no pretrained weights of {STRANGER}" in ended.err
    assert STRANGER not in weights.published()
    assert Architecture.RESNET in weights.published()
    with pytest.raises(WeightsError, match="--no-pretrained"):
        weights.source(STRANGER)


@pytest.mark.usefixtures("stranger")
def test_the_outer_of_two_blocks_is_computed_twice_and_the_gradients_are_the_same() -> None:
    torch.manual_seed(0)
    plain, saving = build(STRANGER, outputs=5), build(STRANGER, outputs=5)
    saving.load_state_dict(plain.state_dict())
    assert [type(block) for block in blocks_of(saving, STRANGER)] == [Block] * 3
    checkpoint_activations(saving, STRANGER)
    for model in (plain, saving):
        model.train()(torch.ones(1, 1, 16, 16, 16)).sum().backward()
    for wanted, found in zip(plain.parameters(), saving.parameters(), strict=True):
        assert torch.equal(wanted.grad, found.grad)
    options = TrainingOptions(STRANGER, Size.TINY)
    needed = [memory.estimate(plain, options, None, checkpointing=on) for on in (False, True)]
    assert needed[1] < needed[0]


def test_without_blocks_the_estimate_is_made_and_checkpointing_refused_before_anything_is_written(
    cov3d: Callable[..., Ended], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REGISTRY, STRANGER, replace(ENTRY, blocks=()))
    options = TrainingOptions(STRANGER, Size.TINY)
    assert memory.estimate(build(STRANGER, outputs=5), options, None) > 0
    words = ["--data", data, "--architecture", STRANGER, "--size", "tiny", "--no-pretrained"]
    ended = cov3d("train", *words, "--gradient-checkpointing", "--output-dir", data / "run")
    assert (ended.code, "Traceback" in ended.err) == (2, False)
    assert f"--gradient-checkpointing: the entry of {STRANGER} has no blocks" in ended.err
    assert not (data / "run" / "config.json").exists()


def no_outputs(dropout: float = 0.0) -> nn.Module:
    return Stranger(5, dropout)


def no_dropout(outputs: int) -> nn.Module:
    return Stranger(outputs)


NO_OUTPUTS, NO_DROPOUT = Network(no_outputs), Network(no_dropout)


def anything(**how: int) -> nn.Module:
    return Stranger(how["outputs"])


ANYTHING = Network(anything)
NO_KINETICS = replace(REGISTRY[Architecture.RESNET], build=Stranger)


class Named(str):
    """A name as a line of `names.py` makes it."""

    def __new__(cls, entry: str, *, has_dropout: bool = True) -> "Named":
        member = super().__new__(cls, "stranger")
        member.entry, member.has_dropout = f"{HERE}:{entry}", has_dropout  # type: ignore[attr-defined]
        return member


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (Named("NO_OUTPUTS"), "does not take outputs"),
        (Named("NO_DROPOUT"), "does not take dropout, and its line"),
        (Named("ENTRY", has_dropout=False), "takes dropout, but its line"),
        (Named("NO_KINETICS"), "does not take kinetics"),
        (Named("Stranger"), "is not a Network"),
        (Named("absent"), "is not a Network"),
    ],
)
def test_an_entry_that_breaks_the_contract_is_refused_when_it_is_registered(name: Named, sentence: str) -> None:
    for fine in (Named("ENTRY"), Named("NO_DROPOUT", has_dropout=False), Named("ANYTHING", has_dropout=False)):
        assert isinstance(registered(fine), Network)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=sentence):
        registered(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("head", ["head", "body", "dropout"])
def test_a_head_that_is_not_there_or_not_linear_is_refused(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.REGISTRY, STRANGER, replace(ENTRY, head=head))
    with pytest.raises(TypeError, match=f"{STRANGER}: {head} is not a Linear layer with a bias and 5 outputs"):
        build(STRANGER, outputs=5)


def test_every_name_is_light_and_says_where_its_entry_is() -> None:
    assert {name: registered(name) for name in Architecture} == REGISTRY
    assert [Architecture(str(name)) for name in Architecture] == list(Architecture)
    with pytest.raises(ValueError, match="nothing"):
        Architecture("nothing")
