"""Checkpoints: what goes in comes out, and nothing else is taken for one."""

import json
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cov3d.errors import CheckpointError, OutputError
from cov3d.labels import STOIC_CATEGORIES
from cov3d.models.names import Architecture
from cov3d.models.registry import build
from cov3d.preprocessing.pipeline import settings
from cov3d.preprocessing.sizes import Size
from cov3d.training import checkpoint
from cov3d.training.checkpoint import CheckpointInfo

INFO = CheckpointInfo(
    architecture=Architecture.RESNET,
    model={"dropout": 0.2},
    size=Size.TINY,
    preprocessing=settings(Size.TINY),
    categories=("non-covid", "mild", "moderate", "severe", "critical"),
    task="presence",
    fold=3,
    trained_on=("0123456789ab",),
    epoch=7,
    score=0.9,
    seed=1,
    lung_share=(0.1, 0.2),
    started_from={"kind": "random"},
    options={"gamma": 2.0},
    versions={"cov3d": "0"},
)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return build(Architecture.RESNET, outputs=5, dropout=0.2)


@pytest.fixture(scope="module")
def saved(model: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("checkpoint") / "presence.safetensors"
    checkpoint.save(file, model, INFO)
    return file


def test_weights_and_description_come_back(model: torch.nn.Module, saved: Path) -> None:
    loaded, info = checkpoint.load(saved)
    assert info == INFO
    assert checkpoint.read_info(saved) == INFO
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name


@pytest.mark.parametrize("architecture", [Architecture.SWIN, Architecture.R2PLUS1D, Architecture.MC3])
def test_a_checkpoint_of_every_network_is_loaded_again(architecture: Architecture, tmp_path: Path) -> None:
    network = build(architecture, outputs=5)
    info = replace(INFO, architecture=architecture, model={"dropout": 0.1} if architecture.has_dropout else {})
    checkpoint.save(tmp_path / "c", network, info)
    loaded, found = checkpoint.load(tmp_path / "c")
    assert found == info
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in network.state_dict().items())


def test_a_prediction_from_the_file_equals_the_one_in_memory(model: torch.nn.Module, saved: Path) -> None:
    loaded, _ = checkpoint.load(saved)
    volumes = torch.rand(1, 1, 16, 32, 32)
    model.eval()
    with torch.inference_mode():
        assert torch.equal(loaded(volumes), model(volumes))


def test_an_older_file_that_says_less_is_read(tmp_path: Path) -> None:
    optional = {field.name for field in fields(INFO) if (field.default, field.default_factory) != (MISSING, MISSING)}
    assert optional >= {"trained_on", "lung_share", "started_from", "options"}
    required = {name: value for name, value in asdict(INFO).items() if name not in optional}
    text = json.dumps({"format": 1, **required})
    save_file({"x": torch.zeros(1)}, tmp_path / "older", metadata={"cov3d": text})
    info = checkpoint.read_info(tmp_path / "older")
    assert (info.trained_on, info.lung_share, info.started_from, info.score) == ((), None, {}, INFO.score)


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x04N.", b"\xff" * 64])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        checkpoint.load(file)


def test_missing_foreign_and_damaged_files_are_refused(tmp_path: Path, model: torch.nn.Module) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        checkpoint.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        checkpoint.load(tmp_path)
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="not a checkpoint that cov3d train wrote"):
        checkpoint.load(tmp_path / "foreign")
    newer = '{"format": 1, "colour": "blue", "versions": {"cov3d": "9.9"}}'
    for text, sentence in (
        ("{}", "is damaged"),
        ("no json", "is damaged"),
        ('{"format": 99}', "format 99"),
        (newer, r"another version of cov3d \(9.9\) and has fields that this version does not know \(colour\)"),
    ):
        save_file({"x": torch.zeros(1)}, tmp_path / "damaged", metadata={"cov3d": text})
        with pytest.raises(CheckpointError, match=sentence):
            checkpoint.load(tmp_path / "damaged")


def test_weights_that_do_not_fit_the_description_are_refused(tmp_path: Path, model: torch.nn.Module) -> None:
    file = tmp_path / "three.safetensors"
    checkpoint.save(file, model, replace(INFO, categories=STOIC_CATEGORIES))
    with pytest.raises(
        CheckpointError, match=r"weights do not fit resnet \(head.bias has the shape \(5,\), not \(3,\)"
    ):
        checkpoint.load(file)
    checkpoint.save(file, model, replace(INFO, model={"dropout": 0.2, "window": 7}))
    with pytest.raises(CheckpointError, match="window"):
        checkpoint.load(file)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path, saved: Path) -> None:
    file = tmp_path / "truncated.safetensors"
    with saved.open("rb") as whole:
        file.write_bytes(whole.read(1_000_000))
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        checkpoint.load(file)


def test_a_folder_that_can_not_be_written_is_an_error(tmp_path: Path, model: torch.nn.Module) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="can't be written"):
        checkpoint.save(tmp_path / "file" / "c.safetensors", model, INFO)


def test_a_temperature_is_written_and_the_weights_stay_byte_for_byte(saved: Path, tmp_path: Path) -> None:
    file = tmp_path / "copy.safetensors"
    file.write_bytes(saved.read_bytes())
    for temperature in (1.25, 2.0):
        checkpoint.write_temperature(file, temperature)
        assert checkpoint.read_info(file) == replace(INFO, temperature=temperature)
    before, after = saved.read_bytes(), file.read_bytes()
    tensors = [content[8 + int.from_bytes(content[:8], "little") :] for content in (before, after)]
    assert tensors[0] == tensors[1]
    headers = [json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]) for content in (before, after)]
    for header in headers:
        header.pop("__metadata__")
    assert headers[0] == headers[1]


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_temperature_is_refused_and_the_file_stays(saved: Path, temperature: float) -> None:
    before = saved.read_bytes()
    with pytest.raises(CheckpointError, match="a temperature must be a number from"):
        checkpoint.write_temperature(saved, temperature)
    assert saved.read_bytes() == before


def test_a_temperature_that_cannot_be_written_leaves_the_file(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "copy.safetensors"
    file.write_bytes(saved.read_bytes())

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left on device"):
        checkpoint.write_temperature(file, 2.0)
    monkeypatch.undo()
    assert file.read_bytes() == saved.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
