"""Synthetic datasets in the layouts of STOIC2021 and MosMedData, and the main job on them from end to end."""

import gzip
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK

from cov3d.datasets import scan_table
from cov3d.datasets.names import LesionSides, PhantomLayout
from cov3d.labels import CATEGORIES, NON_COVID
from cov3d.phantom import PhantomScan, make_scan, write, write_phantom
from cov3d.phantom.layouts import placed, to_hounsfield
from cov3d.phantom.plan import plan
from cov3d.readers import read_volume
from cov3d.volume import hounsfield_to_grey
from tests.conftest import Ended
from tests.training.conftest import fill

Command = Callable[..., Ended]
SCANS, SEED, RESOLUTION = 12, 101, 64
STOIC_OF_SEVERITY = {
    **{"": "non-covid", "mild": "covid-not-severe", "moderate": "covid-not-severe"},
    **{"severe": "covid-severe", "critical": "covid-severe"},
}
FOLDERS = {"": "CT-0", "mild": "CT-1", "moderate": "CT-2", "severe": "CT-3", "critical": "CT-4"}


@cache
def short_scan(seed: int, partition: str, number: int, *, resolution: int, lesions: LesionSides) -> PhantomScan:
    """A scan of the datasets below: with few slices, and drawn once for both layouts, to keep the tests quick."""
    return make_scan(seed, partition, number, resolution=resolution, slices=28, lesions=lesions)


@pytest.fixture(scope="module", params=["stoic", "mosmed"])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantom") / request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "make_scan", short_scan)
        layout = PhantomLayout(request.param)
        write_phantom(root, n_scans=SCANS, seed=SEED, resolution=RESOLUTION, masks=True, layout=layout)
    return root


@pytest.fixture
def truth(dataset: Path) -> pd.DataFrame:
    return pd.read_csv(dataset / "phantom_truth.csv", keep_default_na=False)


def test_scans_lie_where_the_real_dataset_has_them(dataset: Path, truth: pd.DataFrame) -> None:
    assert len(truth) == truth["scan"].nunique() == SCANS
    assert set(truth["partition"]) == {"train"}
    for scan, label, severity in zip(truth["scan"], truth["label"], truth["severity"], strict=True):
        assert (dataset / scan).is_file()
        if dataset.name == "stoic":
            assert Path(scan).match("data/mha/*.mha")
            assert Path(scan).stem.isdecimal()
            assert label == STOIC_OF_SEVERITY[severity]
        else:
            assert Path(scan).match(f"studies/{FOLDERS[severity]}/study_????.nii.gz")
            assert label == (severity or NON_COVID)
    assert json.loads((dataset / "phantom.json").read_text())["layout"] == dataset.name
    assert ("STOIC2021" in (dataset / "README.txt").read_text()) == (dataset.name == "stoic")
    if dataset.name == "stoic":
        reference = pd.read_csv(dataset / "metadata" / "reference.csv")
        assert list(reference.columns) == ["PatientID", "probCOVID", "probSevere"]
        assert reference["PatientID"].is_monotonic_increasing


def test_the_scan_table_has_the_labels_of_the_truth(dataset: Path, truth: pd.DataFrame) -> None:
    built = scan_table.build(dataset, seed=0)
    assert dict(zip(built.table["scan"], built.table["label"], strict=True)) == dict(
        zip(truth["scan"], truth["label"], strict=True)
    )
    assert all("folds drawn" in problem for problem in built.problems)
    assert set(built.table["fold"]) == set(range(5))


def test_a_file_read_back_is_the_person_of_the_slices(dataset: Path, truth: pd.DataFrame) -> None:
    """In canonical order: the phantom's voxels, of the same number in the layout of COV19-CT-DB."""
    for place, planned in enumerate(plan(SCANS, SEED)):
        scan = short_scan(SEED, planned.partition, planned.number, resolution=RESOLUTION, lesions=LesionSides.BOTH)
        assert truth["severity"][place] == ("" if scan.category == NON_COVID else scan.category)
        volume = read_volume(dataset / truth["scan"][place])
        assert np.abs(volume.voxels.astype(int) - scan.voxels).max() <= 1
        assert volume.spacing == pytest.approx(scan.spacing, rel=1e-5)
        assert volume.notes == ()
        image = SimpleITK.ReadImage(str(dataset / truth["scan"][place]))
        assert image.GetPixelID() == SimpleITK.sitkInt16
        # The same place by the header: the highest slice of the file's world is slice 0, and its air is air.
        top = SimpleITK.GetArrayFromImage(image)[-1]
        np.testing.assert_allclose(hounsfield_to_grey(top.astype(float)), scan.voxels[0], atol=0.5)
        mask = SimpleITK.ReadImage(str(dataset / "masks" / f"{truth['scan'][place].split('.')[0]}.nii.gz"))
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(mask)[::-1], scan.mask)
        assert mask.GetOrigin() == image.GetOrigin()
        assert mask.GetDirection() == image.GetDirection()
        assert mask.GetSpacing() == pytest.approx(image.GetSpacing(), rel=1e-5)


def test_every_grey_level_survives_hounsfield_units() -> None:
    levels = np.arange(256, dtype=np.uint8)
    hounsfield = to_hounsfield(levels)
    assert (hounsfield[0], hounsfield[255]) == (-1150, 350)
    np.testing.assert_array_equal(np.rint((hounsfield + 1150.0) * 255 / 1500), levels)


def test_a_file_written_again_later_has_the_same_bytes(dataset: Path, truth: pd.DataFrame, tmp_path: Path) -> None:
    file = dataset / truth["scan"][0]
    (tmp_path / "p").mkdir()
    patient = write._Task(
        *(tmp_path / "p", placed(plan(SCANS, SEED)[0], PhantomLayout(dataset.name)), SEED, RESOLUTION, True),
        PhantomLayout(dataset.name),
        LesionSides.BOTH,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "make_scan", short_scan)
        assert write._write_scan(patient)["scan"] == truth["scan"][0]
    mask = f"masks/{truth['scan'][0].split('.')[0]}.nii.gz"
    for name in (truth["scan"][0], mask):
        assert (tmp_path / "p" / name).read_bytes() == (dataset / name).read_bytes()
    for name in {truth["scan"][0], mask} if file.suffix == ".gz" else {mask}:
        assert (dataset / name).read_bytes()[4:8] == bytes(4)  # the time in the header of gzip
    assert b"synthetic" in (gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes())


def test_from_files_to_scores(dataset: Path, cov3d: Command) -> None:
    on: list[object] = ["--data", dataset]
    assert cov3d("folds", *on).code == 0
    ended = cov3d("preprocess", *on, "--size", "tiny", "--jobs", 1)
    assert ended.code == 0, ended.err
    manifest = pd.read_csv(dataset / "preprocessed" / "tiny" / "manifest.csv", keep_default_na=False)
    table = scan_table.load(dataset / "scans.csv")
    assert manifest["scan"].tolist() == table["scan"].tolist()
    assert (manifest["lung_ml"].astype(float) > 500).all()
    page = (dataset / "preprocessed" / "tiny" / "report" / "crops.html").read_text()
    assert all(f'data-scan="{scan}"' in page for scan in table["scan"])
    few = table[table["fold"] == 0].head(2), table[(table["fold"] > 0) & (table["label"] != NON_COVID)].head(2)
    scan_table.save(pd.concat(few), dataset / "few.csv")  # a network of the paper's size: two steps are enough
    on += ["--table", dataset / "few.csv"]
    run = dataset / "runs" / "one"
    ended = cov3d("train", *on, "--size", "tiny", "--no-pretrained", "--epochs", 1, "--output-dir", run)
    assert ended.code == 0, ended.err
    categories = ("non-covid", "covid-not-severe", "covid-severe") if dataset.name == "stoic" else CATEGORIES
    assert json.loads((run / "config.json").read_text())["categories"] == list(categories)
    ended = cov3d("validate", *on, "--checkpoint", run / "presence.safetensors")
    assert ended.code == 0, ended.err
    found = pd.read_csv(run / "presence-fold-0" / "predictions.csv")
    assert sorted(found["scan"]) == sorted(few[0]["scan"])
    assert found.filter(like="p_").shape[1] == len(categories)
    # The labels of another dataset are refused.
    rows = [f"{scan},train,{'mild' if dataset.name == 'stoic' else 'covid-severe'},0" for scan in table["scan"]]
    (dataset / "others.csv").write_text("\n".join(["scan,partition,label,fold", *rows, ""]))
    words = [*on[:2], "--table", dataset / "others.csv", "--output-dir", dataset / "runs" / "x"]
    ended = cov3d("validate", *words, "--checkpoint", run / "presence.safetensors")
    assert ended.code == 2
    assert "non-covid, covid-not-severe, covid-severe" in ended.err
    assert "non-covid, mild, moderate, severe, critical" in ended.err
    assert not (dataset / "runs" / "x").exists()


def test_distances_between_five_categories_are_refused_for_three(tmp_path: Path, cov3d: Command) -> None:
    labels = ["non-covid", "covid-severe", "covid-not-severe"]
    _, table = fill(tmp_path / "preprocessed" / "tiny", labels, [0, 1, 1])
    scan_table.save(table, tmp_path / "scans.csv")
    words = ["train", "--data", tmp_path, "--size", "tiny", "--no-pretrained"]
    ended = cov3d(*words, "--distances", 1, 2, 1, 1)
    assert ended.code == 2
    assert "--distances has 4 values" in ended.err
    assert not (tmp_path / "runs").exists()
