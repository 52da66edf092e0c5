"""The synthetic dataset: what is promised of its layout, its truth and its repeatability."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK
from numpy.typing import NDArray
from PIL import Image

from cov3d.errors import DatasetError, OutputError
from cov3d.labels import LABELS, NON_COVID, SEVERITIES, UNKNOWN_SEVERITY
from cov3d.phantom import make_scan, plan, write_phantom
from cov3d.phantom.acquire import draw_slice_count
from cov3d.phantom.lesions import INVOLVEMENT
from cov3d.volume import hounsfield_to_grey

SCANS, SEED, RESOLUTION = 12, 101, 64
"""Of the first 150 seeds this one draws the fewest slices, which keeps the tests quick."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantom") / "data"
    write_phantom(root, n_scans=SCANS, seed=SEED, resolution=RESOLUTION, masks=True)
    return root


@pytest.fixture(scope="module")
def truth(dataset: Path) -> pd.DataFrame:
    return pd.read_csv(dataset / "phantom_truth.csv", keep_default_na=False)


def _digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _read(folder: Path) -> NDArray[np.uint8]:
    return np.stack([np.asarray(Image.open(folder / f"{n}.jpg")) for n in range(1, len(list(folder.iterdir())) + 1)])


def test_the_layout_is_that_of_2023(dataset: Path, truth: pd.DataFrame) -> None:
    assert sorted(path.name for path in dataset.iterdir()) == [
        "ICASSP_severity_train_partition.xlsx",
        "ICASSP_severity_validation_partition.xlsx",
        "README.txt",
        "masks",
        "phantom.json",
        "phantom_truth.csv",
        "task1",
        "task2",
        "train",
        "validation",
    ]
    folders = {path.parent.relative_to(dataset).as_posix() for path in dataset.rglob("1.jpg")}
    assert folders == set(truth["scan"])
    parents = {folder.rsplit("/", 1)[0] for folder in folders}
    assert parents == {
        "train/covid",
        "train/non-covid",
        "validation/covid",
        "validation/non-covid",
        "task1/subset1",
        "task1/subset2",
        "task2/part_2_test_set_ICASSP_23",
    }
    assert len(truth) == SCANS
    assert set(truth["label"]) <= set(LABELS)


def test_slices_are_numbered_from_one_and_grey(dataset: Path, truth: pd.DataFrame) -> None:
    for scan, slices in zip(truth["scan"], truth["slices"], strict=True):
        names = {path.name for path in (dataset / scan).iterdir()}
        assert names == {f"{number}.jpg" for number in range(1, slices + 1)}
    with Image.open(dataset / truth["scan"][0] / "1.jpg") as image:
        assert (image.mode, image.size) == ("L", (RESOLUTION, RESOLUTION))


def test_names_have_two_forms_and_repeat_across_classes(truth: pd.DataFrame) -> None:
    for partition in ("train", "validation"):
        names = truth.loc[truth["partition"] == partition, "scan"].str.rsplit("/", n=1).str[-1]
        assert names.str.match(r"ct_scan_\d+$").any()
        assert names.str.match(r"ct_scan\d+$").any()
        assert names.duplicated().any()
    tests = truth.loc[truth["partition"] == "test", "scan"]
    assert tests.str.contains(r"/test_ct_scan_\d+$").all()


@pytest.mark.parametrize("partition", ["train", "validation"])
def test_severity_rows_name_scans_and_one_repeats(dataset: Path, truth: pd.DataFrame, partition: str) -> None:
    rows = pd.read_excel(dataset / f"ICASSP_severity_{partition}_partition.xlsx")
    assert list(rows.columns) == ["Name", "Category"]
    assert rows.duplicated().sum() == 1
    with_severity = truth[(truth["partition"] == partition) & truth["label"].isin(SEVERITIES)]
    expected = {
        scan.rsplit("/", 1)[-1]: SEVERITIES.index(label) + 1 for scan, label in with_severity[["scan", "label"]].values
    }
    assert dict(rows.values.tolist()) == expected


def test_it_says_that_it_is_synthetic(dataset: Path) -> None:
    facts = json.loads((dataset / "phantom.json").read_text())
    assert (facts["seed"], facts["scans"], facts["resolution"]) == (SEED, SCANS, RESOLUTION)
    assert "not CT of any person" in facts["notice"]
    assert facts["notice"] in (dataset / "README.txt").read_text()


def test_the_same_seed_gives_the_same_bytes_whatever_the_jobs(dataset: Path, tmp_path: Path) -> None:
    told: list[str] = []
    table = write_phantom(
        tmp_path, n_scans=SCANS, seed=SEED, resolution=RESOLUTION, masks=True, jobs=2, on_scan=told.append
    )
    assert _digests(tmp_path) == _digests(dataset)
    assert told == list(table["scan"])


def test_another_seed_gives_another_scan() -> None:
    first, again, other = (make_scan(seed, "train", 0, resolution=64, slices=8) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.voxels, again.voxels)
    assert not np.array_equal(first.voxels, other.voxels)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_mask_holds_the_involvement_of_the_severity(severity: str, seed: int) -> None:
    scan = make_scan(seed, category=severity, resolution=80, slices=40)
    low, high = INVOLVEMENT[severity]
    assert low < (scan.mask > 2).sum() / (scan.mask > 0).sum() < high
    assert scan.involvement == pytest.approx(scan.findings.involvement, abs=0.02)


def test_a_scan_without_covid_has_no_lesion() -> None:
    scan = make_scan(0, category=NON_COVID, resolution=64, slices=30)
    assert scan.involvement == 0
    assert scan.mask.max() == 2


def test_masks_lie_on_the_grid_of_the_slices(dataset: Path, truth: pd.DataFrame) -> None:
    for scan in truth["scan"]:
        image = SimpleITK.ReadImage(str(dataset / "masks" / f"{scan}.nii.gz"))
        mask, voxels = SimpleITK.GetArrayFromImage(image), _read(dataset / scan)
        assert mask.shape == voxels.shape
        assert image.GetDirection()[8] == -1
        lung, body = (mask == 1) | (mask == 2), (mask == 0) & (voxels > hounsfield_to_grey(-150))
        assert np.median(voxels[lung]) < hounsfield_to_grey(-600) < hounsfield_to_grey(-200)
        assert np.median(voxels[body]) > hounsfield_to_grey(-120)


@pytest.mark.parametrize("seed", range(2))
def test_two_lungs_lie_where_they_belong(seed: int) -> None:
    scan = make_scan(seed, "train", seed, resolution=96, slices=40)
    left, right = np.isin(scan.mask, (1, 3)), np.isin(scan.mask, (2, 4))
    assert np.nonzero(left)[2].mean() > np.nonzero(right)[2].mean() + 20
    litres = (scan.mask > 0).sum() * np.prod(scan.spacing) / 1e6
    assert 1.2 < litres < 9.5
    assert 0.35 < right.sum() / (right.sum() + left.sum()) < 0.68
    # The lungs neither start nor end with the scan, and their bases are lowest at the back.
    filled = (scan.mask > 0).any(axis=(1, 2))
    assert not filled[0]
    lowest = np.nonzero(scan.mask[np.flatnonzero(filled)[-1]])
    assert lowest[0].mean() > np.nonzero(scan.mask)[1].mean()


def test_slice_counts_have_two_peaks() -> None:
    rng = np.random.default_rng(0)
    counts = np.array([draw_slice_count(rng) for _ in range(3000)])
    near_60, middle, near_345 = (((counts >= a) & (counts < b)).mean() for a, b in ((40, 80), (150, 240), (300, 390)))
    assert near_60 > 0.4
    assert near_345 > 0.3
    assert middle < 0.05
    assert counts.min() < 35
    assert counts.max() > 700
    assert (counts > 450).mean() < 0.03


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(OutputError, match="not an empty folder"):
        write_phantom(tmp_path, n_scans=12, seed=0, resolution=64)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_scans": 11, "seed": 0}, "at least 12 scans"),
        ({"n_scans": 12, "seed": -1}, "seed"),
        ({"n_scans": 12, "seed": 0, "resolution": 8}, "resolution"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, settings: dict[str, int], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        write_phantom(tmp_path / "new", **settings)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("scans", [12, 30, 200, 1000])
def test_a_plan_fills_its_partitions(scans: int) -> None:
    planned = plan.plan(scans, seed=3)
    assert len(planned) == scans
    assert len({one.path for one in planned}) == scans
    for partition in ("train", "validation"):
        labels = [one.label for one in planned if one.partition == partition]
        sick = sum(label != NON_COVID for label in labels)
        assert abs(sick - len(labels) / 2) <= 1
    train = [one.label for one in planned if one.partition == "train"]
    if scans >= 30:
        assert set(SEVERITIES) <= set(train)
    if scans >= 200:
        assert 0.35 < train.count(UNKNOWN_SEVERITY) / (len(train) / 2) < 0.6
    assert all(one.category in SEVERITIES for one in planned if one.partition == "task2")


def test_a_plan_follows_its_seed_and_keeps_its_scans() -> None:
    names = [[one.path for one in plan.plan(40, seed)] for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
    small, large = plan.plan(20, 0), plan.plan(60, 0)
    kept = {(one.partition, one.number): one.category for one in large}
    assert all(kept[one.partition, one.number] == one.category for one in small)
    numbers = [int(one.path.rsplit("_", 1)[-1]) for one in large if one.partition == "task1"]
    assert all(a < b for a, b in pairwise(numbers))


def test_an_interrupted_phantom_is_continued_to_the_same_bytes(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def stopped(*arguments: object, **how: object) -> object:
        if len(made) == stop_at:
            raise KeyboardInterrupt
        made.append(stop_at)
        return make_scan(*arguments, **how)  # type: ignore[arg-type]

    monkeypatch.setattr("cov3d.phantom.write.make_scan", stopped)
    stop_at = 5
    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path, n_scans=SCANS, seed=SEED, resolution=RESOLUTION, masks=True)
    with pytest.raises(OutputError, match="not an empty folder"):
        write_phantom(tmp_path, n_scans=SCANS, seed=SEED + 1, resolution=RESOLUTION, masks=True)
    stop_at = 100
    write_phantom(tmp_path, n_scans=SCANS, seed=SEED, resolution=RESOLUTION, masks=True)
    assert len(made) == SCANS
    assert _digests(tmp_path) == _digests(dataset)
