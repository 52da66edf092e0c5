"""Evidence maps: what they add up to, and where they lie over the file of the scan."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from cov3d.inference.evidence import Contrast, MapError, captured, checked_map, interpolated
from cov3d.inference.predictor import Prediction, Predictor
from cov3d.training import checkpoint
from tests.conftest import sphere_chest
from tests.inference.cell_network import CELL, SOURCE, CellNetwork, cell_info, use_cell_network
from tests.readers import dicom_files

SPACING = (5.0, 2.5, 2.5)
"""mm along (depth, height, width) of the chests that are written here."""


@pytest.fixture
def predictor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    use_cell_network(monkeypatch)
    checkpoint.save(tmp_path / "cells.safetensors", CellNetwork(), cell_info())
    return Predictor(tmp_path / "cells.safetensors", device="cpu", jobs=1)


def marked_chest() -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """A chest in Hounsfield units with a bright marker in one lung, and the marker's centre as a voxel index."""
    grey = sphere_chest(depth=48, side=128).astype(np.float64)
    grey[30:35, 60:70, 86:96] = 250
    return (grey * 1500 / 255 - 1150).round().astype(np.int16), np.array([32.0, 64.5, 90.5])


def cell_in_mm(prediction: Prediction) -> float:
    """Half the diagonal of a cell of the network, plus a voxel, in millimetres."""
    record = prediction.intake
    sides = [
        (record[f"{axis}1"] - record[f"{axis}0"]) * step * CELL / voxels
        for axis, step, voxels in zip("zyx", SPACING, (32, 64, 64), strict=True)
    ]
    return float(np.linalg.norm(sides)) / 2 + max(SPACING)


def brightest(file: Path) -> NDArray[np.float64]:
    """Where the map of a file is largest, in its patient's (right, anterior, superior) millimetres."""
    image = nibabel.load(file)
    values = np.asanyarray(image.dataobj)  # type: ignore[attr-defined]
    top = np.argwhere(values >= values.max() * 0.98).mean(axis=0)
    return nibabel.affines.apply_affine(image.affine, top)  # type: ignore[attr-defined]


def oblique() -> NDArray[np.float64]:
    """An affine whose axes are turned by 10 and 6 degrees against the patient's, and one of them runs backwards."""
    a, b = np.deg2rad(10), np.deg2rad(6)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    # index (column, row, slice): a column to the left is −x in RAS, a row to the back −y, a slice to the feet −z
    steps = about_x @ about_z @ np.diag([-SPACING[2], -SPACING[1], -SPACING[0]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = steps, (120.0, -30.0, 800.0)
    return affine


@pytest.mark.parametrize("axes", ["straight", "oblique", "sagittal"])
def test_a_marker_is_found_where_it_is_in_a_nifti(axes: str, predictor: Predictor, tmp_path: Path) -> None:
    values, marker = marked_chest()
    affine = np.diag([-SPACING[2], -SPACING[1], -SPACING[0], 1.0]) if axes == "straight" else oblique()
    place = affine[:3, :3] @ marker[::-1] + affine[:3, 3]
    stored = values.transpose(2, 1, 0)
    if axes == "sagittal":  # the same voxels, with the file's axes in another order and one of them reversed
        stored = stored.transpose(1, 2, 0)[::-1]
        turn = np.array([[0, 0, 1, 0], [-1, 0, 0, stored.shape[0] - 1], [0, 1, 0, 0], [0, 0, 0, 1.0]])
        affine = affine @ turn
    nibabel.save(nibabel.Nifti1Image(stored, affine), tmp_path / "scan.nii.gz")  # type: ignore[attr-defined]
    prediction = predictor.predict(tmp_path / "scan.nii.gz")
    prediction.save_map(tmp_path / "map.nii.gz")
    made, scan = nibabel.load(tmp_path / "map.nii.gz"), nibabel.load(tmp_path / "scan.nii.gz")
    assert made.shape == scan.shape  # type: ignore[attr-defined]
    assert made.affine == pytest.approx(scan.affine, abs=1e-3)  # type: ignore[attr-defined]
    assert np.linalg.norm(brightest(tmp_path / "map.nii.gz") - place) <= cell_in_mm(prediction)


def test_a_marker_is_found_where_it_is_in_a_dicom_series(predictor: Predictor, tmp_path: Path) -> None:
    values, marker = marked_chest()
    dicom_files.series(tmp_path / "series", values)
    rows, columns = dicom_files.PIXEL
    left, posterior = -10.0 + columns * marker[2], -20.0 + rows * marker[1]  # see dicom_files.header
    place = np.array([-left, -posterior, 100.0 + dicom_files.STEP * marker[0]])
    prediction = predictor.predict(tmp_path / "series")
    prediction.save_map(tmp_path / "map.nii.gz")
    record = prediction.intake
    sides = [
        (record[f"{axis}1"] - record[f"{axis}0"]) * record[f"spacing_{axis}"] * CELL / voxels
        for axis, voxels in zip("zyx", (32, 64, 64), strict=True)
    ]
    allowed = float(np.linalg.norm(sides)) / 2 + max(record[f"spacing_{axis}"] for axis in "zyx")
    assert np.linalg.norm(brightest(tmp_path / "map.nii.gz") - place) <= allowed


def test_the_mean_of_a_map_is_what_the_cells_add_to_the_logits(predictor: Predictor, tmp_path: Path) -> None:
    values, _ = marked_chest()
    prediction = predictor.predict(values, spacing=SPACING)
    explanation = prediction.explanation
    network = CellNetwork().eval()
    volume = torch.from_numpy(explanation.voxels)[None, None].float() / 255
    with torch.inference_mode():
        z = network(volume).numpy()[0].astype(float)
        mean = float(network.cells(volume).mean())
    q = softmax(z[1:])
    weights = np.array([-4.0, 3.0, 2.0, 1.0, 0.5])
    assert explanation.presence_map is not None
    assert explanation.severity_map is not None
    cells = (q @ weights[1:] - weights[0]) * mean
    assert float(explanation.presence_map.mean()) == pytest.approx(cells, rel=2e-3)
    # and the log-odds are what the docstring says: the weighted difference and the entropy of q
    assert logsumexp(z[1:]) - z[0] == pytest.approx(q @ z[1:] - z[0] - (q * np.log(q)).sum())
    assert explanation.severity == prediction.severity
    chosen = ["mild", "moderate", "severe", "critical"].index(prediction.severity)
    others = [number for number in range(4) if number != chosen]
    r = softmax(z[1:][others])
    against = weights[1:][chosen] - r @ weights[1:][others]
    assert float(explanation.severity_map.mean()) == pytest.approx(against * mean, rel=2e-3)


def test_a_map_that_does_not_add_up_is_not_shown() -> None:
    network = CellNetwork().eval()
    with torch.inference_mode(), captured(network, SOURCE) as passes:
        network(torch.rand(1, 1, 16, 16, 16))
    ((features, logits),) = passes
    checked_map(network, SOURCE, features, logits)
    with pytest.raises(MapError, match="differs from the logits"):
        checked_map(network, SOURCE, features, logits + 1e-3 * logits.abs().max())


def test_the_contrast_of_presence_weighs_severities_by_their_share() -> None:
    logits = torch.tensor([0.5, 1.0, -2.0, 0.3])
    e = np.exp([1.0, -2.0, 0.3])
    assert Contrast.presence(logits).weights.numpy() == pytest.approx([-1, *(e / e.sum())], abs=1e-6)
    f = np.exp([1.0, 0.3])
    wanted = [0, -f[0] / f.sum(), 1, -f[1] / f.sum()]
    assert Contrast.severity(logits, 2).weights.numpy() == pytest.approx(wanted, abs=1e-6)


def test_values_between_cells_are_those_of_numpy() -> None:
    values = np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32)
    places = np.array([-1.0, 0.0, 0.25, 2.5, 3.9, 4.0, 7.0])
    wanted = np.stack([np.interp(places, range(5), column) for column in values.T], axis=1)
    assert interpolated(values, places, 0) == pytest.approx(wanted, abs=1e-6)
