"""What a run starts from: what it is, that the network has it, and that the run's files say so."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
import torch
from torchvision.models.video import r3d_18

from cov3d.errors import CheckpointError, WeightsError
from cov3d.labels import CATEGORIES
from cov3d.models.names import Architecture
from cov3d.models.registry import build
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training import checkpoint, start
from cov3d.training.learner import Run, train
from cov3d.training.loaders import choose_fold
from cov3d.training.options import TrainingOptions
from cov3d.training.start import RANDOM, Start, StartKind
from tests.models.test_transfer import STOIC, three_of_five
from tests.training.test_checkpoint import INFO

STILL = TrainingOptions(size=Size.TINY, epochs=1, learning_rate=1e-12, weight_decay=0.0)


def run(labelled: tuple[Store, pd.DataFrame], folder: Path, begin: Start) -> Run:
    store, table = labelled
    return train(STILL, choose_fold(table, 0), store, folder, device=torch.device("cpu"), start=begin)


def stoic_checkpoint(file: Path, architecture: Architecture = Architecture.RESNET) -> torch.nn.Module:
    """A network of STOIC's three categories in a file, with a head that has an opinion."""
    torch.manual_seed(4)
    model = build(architecture, outputs=3)
    torch.nn.init.normal_(model.head.weight)
    torch.nn.init.normal_(model.head.bias)
    arguments = {"dropout": 0.2} if architecture.has_dropout else {}
    checkpoint.save(file, model, replace(INFO, architecture=architecture, categories=STOIC, model=arguments))
    return model.eval()


@pytest.mark.parametrize("architecture", [Architecture.RESNET, Architecture.SWIN])
def test_a_network_of_three_categories_continues_with_five_and_says_the_same(
    architecture: Architecture, tmp_path: Path
) -> None:
    three = stoic_checkpoint(tmp_path / "stoic.safetensors", architecture)
    begin = start.from_checkpoint(tmp_path / "stoic.safetensors")
    five = begin.network(architecture, CATEGORIES, {}).eval()
    volumes = torch.rand(2, 1, 9, 33, 40)
    with torch.inference_mode():
        wanted = three(volumes).softmax(dim=-1)
        found = five(volumes).softmax(dim=-1)
    assert found.shape == (2, 5)
    assert wanted.std(dim=-1).min() > 0.01
    assert torch.allclose(three_of_five(found), wanted, rtol=0, atol=1e-6)


def test_a_network_of_our_categories_continues_as_it_is(tmp_path: Path) -> None:
    model = build(Architecture.MC3, outputs=5)
    info = replace(INFO, architecture=Architecture.MC3, size=Size.LARGE)
    checkpoint.save(tmp_path / "c.safetensors", model, info)
    begin = start.from_checkpoint(tmp_path / "c.safetensors")
    found = begin.network(Architecture.MC3, CATEGORIES, {"dropout": 0.5})
    assert all(torch.equal(tensor, found.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert found.layer1[-1].p == 0.5


def test_kinetics_weights_are_what_the_network_starts_from(tmp_path: Path) -> None:
    torch.manual_seed(8)
    kinetics = r3d_18(weights=None).state_dict()
    file = tmp_path / "r3d_18.pth"
    torch.save(kinetics, file)
    begin = start.from_kinetics(Architecture.RESNET, file)
    assert begin.describe() == {
        "kind": "kinetics",
        "file": "r3d_18.pth",
        "sha256": sha256(file.read_bytes()).hexdigest(),
    }
    state = begin.network(Architecture.RESNET, CATEGORIES, {"dropout": 0.2}).state_dict()
    assert torch.equal(state["layer2.0.0.conv1.0.weight"], kinetics["layer2.0.conv1.0.weight"])
    assert torch.allclose(state["stem.0.weight"], kinetics["stem.0.weight"].sum(dim=1, keepdim=True))
    with pytest.raises(WeightsError, match="no weights file"):
        start.from_kinetics(Architecture.RESNET, tmp_path / "absent")


@pytest.mark.usefixtures("quick_network")
def test_a_run_starts_from_it_and_its_files_say_so(labelled: tuple[Store, pd.DataFrame], tmp_path: Path) -> None:
    file = tmp_path / "somewhere" / "stoic.safetensors"
    stoic_checkpoint(file)
    begin = start.from_checkpoint(file)
    found = run(labelled, tmp_path / "run", begin)
    first = begin.network(Architecture.RESNET, CATEGORIES, {})
    for name, tensor in first.state_dict().items():
        assert torch.allclose(found.model.state_dict()[name], tensor, atol=1e-6), name

    reported = {"kind": "checkpoint", "file": "stoic.safetensors", "sha256": sha256(file.read_bytes()).hexdigest()}
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["started_from"] == reported
    assert checkpoint.read_info(tmp_path / "run" / "presence.safetensors").started_from == reported
    for name in ("config.json", "presence.safetensors"):
        assert b"somewhere" not in (tmp_path / "run" / name).read_bytes()


@pytest.mark.usefixtures("quick_network")
def test_a_run_from_random_weights_says_so_and_is_not_resumed_from_others(
    labelled: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    run(labelled, tmp_path / "run", RANDOM)
    info = checkpoint.read_info(tmp_path / "run" / "presence.safetensors")
    assert info.started_from == {"kind": "random"}
    stoic_checkpoint(tmp_path / "stoic.safetensors")
    store, table = labelled
    with pytest.raises(CheckpointError, match="started from"):
        train(
            *(STILL, choose_fold(table, 0), store, tmp_path / "run"),
            device=torch.device("cpu"),
            start=start.from_checkpoint(tmp_path / "stoic.safetensors"),
            continues=True,
        )


@pytest.mark.usefixtures("quick_network")
def test_a_run_is_resumed_though_the_file_it_started_from_has_another_name(
    labelled: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    stoic_checkpoint(tmp_path / "before.safetensors")
    begin = start.from_checkpoint(tmp_path / "before.safetensors")
    run(labelled, tmp_path / "run", begin)
    (tmp_path / "before.safetensors").rename(tmp_path / "after.safetensors")
    begin = start.from_checkpoint(tmp_path / "after.safetensors")
    store, table = labelled
    again = train(
        *(STILL, choose_fold(table, 0), store, tmp_path / "run"),
        device=torch.device("cpu"),
        start=begin,
        continues=True,
    )
    assert again.resumed_after == 1


@pytest.mark.usefixtures("quick_network")
def test_what_does_not_fit_is_refused_before_the_folder_is_claimed(
    labelled: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    stoic_checkpoint(tmp_path / "swin.safetensors", Architecture.SWIN)
    with pytest.raises(
        CheckpointError, match=r"swin\.safetensors has the network swin, but the run trains resnet.*--architecture"
    ):
        run(labelled, tmp_path / "run", start.from_checkpoint(tmp_path / "swin.safetensors"))
    begin = start.from_checkpoint(tmp_path / "swin.safetensors")
    assert begin.info is not None
    other = replace(begin, info=replace(begin.info, architecture=Architecture.RESNET, categories=("a", "b", "c")))
    with pytest.raises(CheckpointError, match="a, b, c can't be mapped to non-covid, mild"):
        run(labelled, tmp_path / "run", other)
    assert not (tmp_path / "run").exists()


def test_every_origin_has_a_name() -> None:
    assert RANDOM.describe() == {"kind": "random"}
    assert {origin.value for origin in StartKind} == {"random", "kinetics", "checkpoint"}


def test_a_checkpoint_of_another_preprocessing_is_distinguished() -> None:
    assert not start.differs_in_preprocessing(INFO)
    assert start.differs_in_preprocessing(replace(INFO, preprocessing={"hash": "0"}))
