"""Exported networks give the probabilities that cov3d gives, and say what they need."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cov3d.inference.export import export as write
from cov3d.inference.export_format import ExportFormat
from cov3d.models.names import Architecture
from cov3d.models.registry import build
from cov3d.preprocessing.pipeline import preprocess_scan
from cov3d.preprocessing.sizes import Size
from cov3d.training import checkpoint
from tests.app.conftest import Command
from tests.conftest import sphere_chest, write_slices
from tests.inference.cell_network import cell_info

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def resnet(tmp_path: Path) -> Path:
    """A checkpoint of a random ResNet at a temperature of 2."""
    torch.manual_seed(3)
    network = build(Architecture.RESNET, outputs=5)
    network.get_submodule("head").weight.data *= 20  # type: ignore[union-attr, operator]
    info = cell_info(architecture=Architecture.RESNET, temperature=2.0, is_synthetic=True)
    checkpoint.save(tmp_path / "presence.safetensors", network, info)
    return tmp_path / "presence.safetensors"


def onnx_probabilities(file: Path, crops: np.ndarray) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"crop": crops})[0]


def torch_probabilities(file: Path, crops: np.ndarray) -> np.ndarray:
    return torch.export.load(file).module()(torch.from_numpy(crops)).detach().numpy()


@pytest.mark.parametrize("form", ExportFormat)
def test_an_exported_network_predicts_what_infer_predicts(
    form: ExportFormat, resnet: Path, tmp_path: Path, cov3d: Command
) -> None:
    if form == ExportFormat.ONNX:
        pytest.importorskip("onnxscript")
    from cov3d import Predictor

    for number in range(3):
        voxels = sphere_chest(depth=40 + number)
        voxels[20:28, 40:56, 60 : 64 + 4 * number] = 250
        write_slices(tmp_path / "scans" / f"ct_{number}", voxels)
    paths = [tmp_path / "scans" / f"ct_{number}" for number in range(3)]
    ended = cov3d("export", "--checkpoint", resnet, "--format", form)
    assert ended.code == 0, ended.err
    file = resnet.with_suffix(form.suffix)
    assert str(file) in ended.out.replace("\n", "")
    crops = np.stack([preprocess_scan(path, [Size.TINY]).voxels[Size.TINY] for path in paths])[:, None]
    run = onnx_probabilities if form == ExportFormat.ONNX else torch_probabilities
    found = run(file, crops)
    predictor = Predictor(resnet, device="cpu", jobs=1)
    wanted = np.array([list(predictor.predict(path).probabilities.values()) for path in paths])
    assert found.dtype == np.float32
    assert found == pytest.approx(wanted, abs=1e-5)
    assert np.ptp(found[:, 0]) > 1e-3  # the scans differ
    assert run(file, crops[:1]) == pytest.approx(wanted[:1], abs=1e-5)  # any batch
    again = cov3d("export", "--checkpoint", resnet, "--format", form)
    assert again.code == 2
    assert "exists: give another" in again.err


def test_the_metadata_state_preprocessing_and_categories(
    resnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    write(resnet, tmp_path / "presence.onnx", ExportFormat.ONNX)
    session = onnxruntime.InferenceSession(tmp_path / "presence.onnx")
    facts = json.loads(session.get_modelmeta().custom_metadata_map["cov3d"])
    info = checkpoint.read_info(resnet)
    assert facts["output"]["categories"] == list(info.categories)
    assert facts["input"]["preprocessing"] == info.preprocessing
    assert facts["input"]["shape"] == ["batch", 1, 32, 64, 64]
    assert (facts["temperature"], facts["task"], facts["is_synthetic"]) == (2.0, "presence", True)
    assert "research only" in facts["use"]
    page = (DOCS / "howto" / "export.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    example = next(code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "onnxruntime" in code)
    exec(example, {})
    assert "non-covid" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("form", ExportFormat)
@pytest.mark.parametrize("architecture", Architecture)
def test_every_network_can_be_exported(architecture: Architecture, form: ExportFormat, tmp_path: Path) -> None:
    if form == ExportFormat.ONNX:
        pytest.importorskip("onnxscript")
    torch.manual_seed(1)
    info = cell_info(architecture=architecture, temperature=0.7)
    checkpoint.save(tmp_path / "a.safetensors", build(architecture, outputs=5), replace(info, size=Size.TINY))
    assert write(tmp_path / "a.safetensors", tmp_path / f"a{form.suffix}", form).difference <= 1e-4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--format", "torch", "--output", "a.onnx"), "ends in .pt2"),
        (("--checkpoint", "nothing.safetensors"), "there is no checkpoint at nothing.safetensors"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    words: tuple[str, ...], sentence: str, resnet: Path, cov3d: Command
) -> None:
    ended = cov3d("export", "--checkpoint", resnet, *words)
    assert ended.code == 2
    assert sentence in " ".join(ended.err.split())
