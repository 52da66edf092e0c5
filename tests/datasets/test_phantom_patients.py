"""Synthetic datasets in the layouts of PHAROS, CC-CCII and COVID-CT-MD."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from cov3d.datasets import scan_table
from cov3d.datasets.names import LesionSides, PhantomLayout
from cov3d.labels import NON_COVID
from cov3d.phantom import PhantomScan, make_scan, write, write_phantom
from cov3d.phantom.layouts import placed
from cov3d.phantom.plan import Planned, plan
from cov3d.readers import read_volume
from cov3d.volume import hounsfield_to_grey
from tests.app.conftest import Command

SCANS, SEED, RESOLUTION = 12, 101, 64
NAMES = {"pharos": "PHAROS 2025/2026", "cc-ccii": "CC-CCII", "covid-ct-md": "COVID-CT-MD"}
LAYOUTS = [PhantomLayout(name) for name in NAMES]


@cache
def short_scan(seed: int, partition: str, number: int, *, resolution: int, lesions: LesionSides) -> PhantomScan:
    """A scan with few slices, drawn once for all layouts, to keep the tests quick."""
    return make_scan(seed, partition, number, resolution=resolution, slices=12, lesions=lesions)


def write_quickly(root: Path, layout: PhantomLayout) -> pd.DataFrame:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "make_scan", short_scan)
        return write_phantom(root, n_scans=SCANS, seed=SEED, resolution=RESOLUTION, masks=True, layout=layout)


@pytest.fixture(scope="module", params=list(NAMES))
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantom") / request.param
    write_quickly(root, PhantomLayout(request.param))
    return root


def test_folds_finds_what_the_truth_says(dataset: Path, cov3d: Command) -> None:
    truth = pd.read_csv(dataset / "phantom_truth.csv", keep_default_na=False)
    ended = cov3d("folds", "--data", dataset)
    assert ended.code == 0, ended.err
    patients = {"pharos": "", "cc-ccii": " of 8 patients", "covid-ct-md": " of 12 patients"}[dataset.name]
    assert f"{SCANS} scans{patients}, laid out as {NAMES[dataset.name]}: " in ended.out
    table = scan_table.load(dataset / "scans.csv").merge(truth, on="scan", suffixes=("", "_true"), validate="1:1")
    assert len(table) == len(truth) == SCANS
    assert (table["partition"] == table["partition_true"]).all()
    known = table["partition"] != "test"
    assert (table["label"][known] == table["label_true"][known]).all()
    assert (table["label"] == "")[~known].all()
    assert ((table["severity"] == "") == (table["label_true"] == NON_COVID)).all()
    if dataset.name == "pharos":
        assert set(table["centre"][known]) == {"0", "1", "2"}
        assert set(table["centre"][~known]) == {""}
        assert set(table["partition"]) == {"train", "validation", "test"}
    else:
        assert known.all()
        assert (table["patient"] == table["scan"].str.split("/").str[1]).all()
    warned = [line for line in ended.err.splitlines() if line and "folds drawn" not in line and "have none" not in line]
    assert warned == []


def test_slices_hold_the_scan_in_its_order(dataset: Path) -> None:
    truth = pd.read_csv(dataset / "phantom_truth.csv")
    layout = PhantomLayout(dataset.name)
    for one in (placed(planned, layout) for planned in plan(SCANS, SEED)[:2]):
        assert one.path in set(truth["scan"])
        scan = short_scan(SEED, one.partition, one.number, resolution=RESOLUTION, lesions=LesionSides.BOTH)
        files = sorted((dataset / one.path).iterdir(), key=lambda file: int("".join(filter(str.isdigit, file.stem))))
        if layout == PhantomLayout.COVID_CT_MD:
            slices = [pydicom.dcmread(file) for file in files]
            heights = [float(one.ImagePositionPatient[2]) for one in slices]
            assert heights == sorted(heights, reverse=True)
            assert np.diff(heights) == pytest.approx(-scan.spacing[0], rel=1e-4)
            pixels = np.stack([one.pixel_array * one.RescaleSlope + one.RescaleIntercept for one in slices])
            np.testing.assert_allclose(hounsfield_to_grey(pixels.astype(float)), scan.voxels, atol=0.5)
        else:
            assert files[0].name == {"pharos": "0.jpg", "cc-ccii": "0000.jpg"}[dataset.name]
            found = read_volume(dataset / one.path).voxels
            assert np.abs(found.astype(int) - scan.voxels).mean() < 3
    assert len(list((dataset / "masks").rglob("*.nii.gz"))) == SCANS


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_scan_keeps_its_place_when_more_are_asked_for_and_no_two_have_one(layout: PhantomLayout) -> None:
    def places(scans: int) -> dict[tuple[str, int], Planned]:
        return {(one.partition, one.number): placed(one, layout) for one in plan(scans, SEED)}

    few, many = places(40), places(400)
    assert all(many[key].path == one.path for key, one in few.items())
    assert len({one.path for one in many.values()}) == 400
    if layout == PhantomLayout.CC_CCII:
        patients = pd.Series([one.path.split("/")[1] for one in many.values()]).value_counts()
        assert set(patients) == {1, 2}
        assert len({one.path.rsplit("/", 1)[0] for one in many.values()}) == len(patients)


def test_a_dataset_written_again_has_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    write_quickly(tmp_path / dataset.name, PhantomLayout(dataset.name))
    files = [file.relative_to(dataset) for file in dataset.rglob("*") if file.is_file() and file.name[:6] != "scans."]
    assert len(files) > SCANS * 12
    assert [
        str(file) for file in files if (dataset / file).read_bytes() != (tmp_path / dataset.name / file).read_bytes()
    ] == []
