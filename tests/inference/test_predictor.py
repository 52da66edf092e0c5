"""`Predictor` gives what `infer` writes, whatever the order, the batch and the way a scan is given."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cov3d as package
from cov3d.errors import Cov3dError, ScanError
from cov3d.evaluation.predictions import save_predictions
from cov3d.readers import read_volume
from cov3d.training import checkpoint
from tests.app.conftest import Command
from tests.conftest import sphere_chest, write_slices
from tests.inference.cell_network import CellNetwork, cell_info, use_cell_network

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five chests that differ, and two networks that differ."""
    use_cell_network(monkeypatch)
    for number in range(5):
        voxels = sphere_chest(depth=40 + number, side=128)
        voxels[20:28, 56:72, 86 : 92 + number] = 250
        write_slices(tmp_path / "scans" / f"ct_{number}", voxels)
    for number, name in enumerate(("presence", "second")):
        network = CellNetwork()
        network.head.weight.data *= 1 + number
        info = cell_info(task="presence", temperature=1.3 if number else None)
        checkpoint.save(tmp_path / f"{name}.safetensors", network, info)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(root: Path) -> dict[str, Path]:
    return {folder.name: folder for folder in sorted((root / "scans").iterdir())}


@pytest.mark.parametrize("networks", [["presence"], ["presence", "second"]])
def test_predictor_and_infer_give_the_same_table_bit_for_bit(networks: list[str], root: Path, cov3d: Command) -> None:
    files = [root / f"{name}.safetensors" for name in networks]
    words = [word for file in files for word in ("--checkpoint", file)]
    ended = cov3d(
        "infer", *words, "--scans", root / "scans", "--output-dir", root / "out", "--device", "cpu", "--jobs", 1
    )
    assert ended.code == 0, ended.err
    predictor = package.Predictor(files, device="cpu", jobs=1)
    found = list(predictor.predict_many(paths(root)))
    assert [one.scan for one in found] == [f"ct_{number}" for number in range(5)]
    table = predictor.table(found)
    save_predictions(table, root / "again.csv")
    assert (root / "again.csv").read_bytes() == (root / "out" / "predictions.csv").read_bytes()
    review = pd.read_csv(root / "out" / "review.csv", keep_default_na=False).set_index("scan")["review"]
    assert {one.scan: "; ".join(one.review) for one in found} == review.to_dict()
    facts = json.loads((root / "out" / "prediction.json").read_text())
    assert [one["temperature"] for one in facts["checkpoints"]] == list(found[0].temperatures)


def test_alone_in_a_batch_or_in_another_order_a_scan_is_predicted_alike(root: Path) -> None:
    one = package.Predictor(root / "presence.safetensors", device="cpu", batch_size=1, jobs=1)
    four = package.Predictor(root / "presence.safetensors", device="cpu", batch_size=4, jobs=1)
    alone = {name: one.predict(path) for name, path in paths(root).items()}
    backwards = {found.scan: found for found in four.predict_many(dict(reversed(paths(root).items())))}
    assert list(backwards) == list(reversed(alone))
    for name, found in alone.items():
        assert found.covid_probability == pytest.approx(backwards[name].covid_probability, abs=1e-6)
        assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-6)
        assert found.covid_probability == pytest.approx(1 - found.probabilities["non-covid"])
        assert sum(found.severity_probabilities.values()) == pytest.approx(1, abs=1e-6)
        assert found.presence == ("covid" if found.covid_probability > 0.5 else "non-covid")


def test_an_array_is_predicted_as_the_file_it_was_read_from(root: Path) -> None:
    predictor = package.Predictor(root / "presence.safetensors", device="cpu", jobs=1)
    voxels = read_volume(root / "scans" / "ct_2").voxels
    from_file, from_array = predictor.predict(root / "scans" / "ct_2"), predictor.predict(voxels)
    assert from_array.probabilities == from_file.probabilities
    hounsfield = (voxels.astype(np.float32) * 1500 / 255 - 1150).round().astype(np.int16)
    from_hu = predictor.predict(hounsfield, spacing=(5, 2.5, 2.5))
    assert from_hu.covid_probability == pytest.approx(from_file.covid_probability, abs=2e-3)
    assert from_hu.intake["spacing_z"] == 5
    with pytest.raises(ScanError, match="three axes"):
        predictor.predict(voxels[0])


def test_a_scan_that_cannot_be_read_stops_or_is_reported_and_skipped(root: Path) -> None:
    for file in (root / "scans" / "ct_3").iterdir():
        file.write_bytes(b"no picture")
    predictor = package.Predictor(root / "presence.safetensors", device="cpu", jobs=1)
    with pytest.raises(ScanError):
        list(predictor.predict_many(paths(root)))
    errors: dict[str, str] = {}
    found = list(predictor.predict_many(paths(root), on_error=errors.__setitem__))
    assert [one.scan for one in found] == ["ct_0", "ct_1", "ct_2", "ct_4"]
    assert list(errors) == ["ct_3"]


def test_the_explanation_comes_when_it_is_used_and_is_that_of_an_explaining_predictor(root: Path) -> None:
    lazy = package.Predictor(root / "presence.safetensors", device="cpu", jobs=1).predict(root / "scans" / "ct_4")
    at_once = package.Predictor(root / "presence.safetensors", device="cpu", jobs=1, explain=True).predict(
        root / "scans" / "ct_4"
    )
    assert lazy.explanation.zones == at_once.explanation.zones
    assert np.array_equal(lazy.explanation.presence_map, at_once.explanation.presence_map)  # type: ignore[arg-type]
    assert lazy.picture == at_once.picture
    assert lazy.picture[8:12] == b"WEBP"
    with pytest.raises(Cov3dError, match="presence and severity"):
        lazy.save_map(root / "x.nii.gz", of="lesions")


def test_the_example_of_the_documentation_runs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (DOCS / "explanation" / "answers.md").read_text(encoding="utf-8")
    example = next(code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "Predictor(" in code)
    (root / "scans" / "ct_1").rename(root / "scan")
    exec(example.replace('"scan.nii.gz"', '"scan"'), {})
    printed = capsys.readouterr().out
    assert printed.startswith(("covid", "non-covid"))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"batch_size": 0}, "at least 1"),
        ({"precision": "int8"}, "precision must be one of"),
        ({"mc_dropout": 3}, "has no dropout"),
        ({"device": "tpu"}, "--device must be"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(how: dict[str, object], sentence: str, root: Path) -> None:
    with pytest.raises(Cov3dError, match=sentence):
        package.Predictor(root / "presence.safetensors", **{"device": "cpu", **how})  # type: ignore[arg-type]
    with pytest.raises(Cov3dError, match="at least one checkpoint"):
        package.Predictor([])
