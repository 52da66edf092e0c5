"""torchvision's weights: found, fetched and read, or refused in one sentence. No test leaves this machine."""

from pathlib import Path

import pytest
import torch
from torchvision.models.video import r3d_18

from cov3d.errors import OutputError, WeightsError
from cov3d.models import weights
from cov3d.models.names import Architecture
from cov3d.models.registry import build
from tests.server import FakeServer

RESNET, SWIN = Architecture.RESNET, Architecture.SWIN


def test_torchvisions_file_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(3)
    published = r3d_18(weights=None).state_dict()
    file = tmp_path / "r3d_18.pth"
    torch.save(published, file)
    loaded = weights.load(RESNET, file)
    model = build(RESNET, outputs=5, dropout=0.0, kinetics=loaded)
    assert torch.equal(model.state_dict()["layer1.0.0.conv1.0.weight"], published["layer1.0.conv1.0.weight"])
    with pytest.raises(WeightsError, match="does not hold the weights of torchvision's network for swin"):
        weights.load(SWIN, file)


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no weights file"),
        (b"", "can't be read as a file of weights"),
        (b"text", "can't be read as a file of weights"),
        ({"stem.0.weight": torch.zeros(2)}, "does not hold the weights"),
        ([1, 2], "has no weights by name"),
        ({"weights": _Harmful()}, "can't be read as a file of weights"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(
    tmp_path: Path, content: object, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(WeightsError, match=sentence) as error:
        weights.load(RESNET, file)
    assert str(file) in str(error.value)
    assert "executed" not in capsys.readouterr().out


def test_the_files_are_torchvisions_by_name() -> None:
    assert weights.file_name(RESNET) == "r3d_18-b3b3357e.pth"  # as README says
    for architecture in weights.published():
        assert weights.source(architecture).startswith("https://download.pytorch.org/models/")
        assert len(weights.file_name(architecture).removesuffix(".pth").rpartition("-")[2]) == 8


def test_a_file_is_fetched_whole_and_verified(server: FakeServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    file = weights.fetch(RESNET, tmp_path / "new" / "folder", lambda done, total: seen.append((done, total)))
    assert file == tmp_path / "new" / "folder" / weights.file_name(RESNET)
    assert file.read_bytes() == server.published(RESNET)
    assert weights.is_intact(RESNET, file)
    size = len(server.published(RESNET))
    assert seen[-1] == (size, size)
    assert len(seen) > 1
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("changed", r"incomplete or damaged \(wrong checksum\)"),
        ("cut", r"incomplete or damaged"),
        ("missing", r"can't be fetched from http.*\(HTTP Error 404"),
        ("down", r"can't be fetched from http.*refused"),
    ],
)
def test_what_does_not_come_whole_leaves_nothing(
    server: FakeServer, tmp_path: Path, damage: str, sentence: str
) -> None:
    (tmp_path / weights.file_name(RESNET)).write_bytes(b"before")
    server.damage(damage)
    with pytest.raises(WeightsError, match=sentence):
        weights.fetch(RESNET, tmp_path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"]


def test_a_folder_that_can_not_be_written_is_an_error(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="can't be written"):
        weights.fetch(RESNET, tmp_path / "file")


def test_folders_are_searched_in_order_before_anything_is_fetched(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, named, cache = tmp_path / "given", tmp_path / "named", tmp_path / "hub" / "checkpoints"
    assert weights.folders() == [cache]
    assert weights.folders(given) == [given, cache]
    monkeypatch.setenv("COV3D_WEIGHTS_DIR", str(named))
    assert weights.folders(given) == [given, named, cache]
    assert weights.folders() == [named, cache]

    for folder in (cache, named, given):  # each goes before the ones that were filled earlier
        weights.fetch(SWIN, folder)
        server.requests.clear()
        assert weights.find_or_fetch(SWIN, given).parent == folder
        assert not server.requests
    assert weights.find(RESNET, given) is None
    assert weights.find_or_fetch(RESNET, given).parent == given
    assert len(server.requests) == 1


def test_a_damaged_file_is_named_and_not_used(server: FakeServer, tmp_path: Path) -> None:
    file = weights.fetch(RESNET, tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        WeightsError, match=r"is damaged, or.*cov3d weights --architecture resnet --weights-dir"
    ) as error:
        weights.find_or_fetch(RESNET, tmp_path)
    assert str(file) in str(error.value)


def test_without_a_network_the_error_says_where_it_looked_and_what_to_do(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COV3D_WEIGHTS_DIR", str(tmp_path / "named"))
    server.damage("down")
    with pytest.raises(WeightsError) as error:
        weights.find_or_fetch(SWIN, tmp_path / "given")
    reported = str(error.value)
    for part in (
        *(str(tmp_path / "given"), str(tmp_path / "named"), str(tmp_path / "hub" / "checkpoints")),
        *(weights.source(SWIN), "cov3d weights --architecture swin", "--weights FILE", "--no-pretrained"),
    ):
        assert part in reported
    assert not list(tmp_path.iterdir())
