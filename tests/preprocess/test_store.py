"""The store and the batch that fills it: whole or absent, resumable, never mixed."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.transform import resize

from cov3d.errors import OutputError, ScanError, StoreError
from cov3d.preprocess.batch import Outcome, preprocess_scans
from cov3d.preprocess.pipeline import RECORD_COLUMNS, preprocess_scan
from cov3d.preprocess.sizes import Size
from cov3d.preprocess.store import Store
from tests.conftest import sphere_chest, write_slices


@pytest.fixture
def scans(tmp_path: Path) -> dict[str, Path]:
    """Three scans, one of them with a corrupt slice."""
    named = {}
    for number in range(3):
        name = f"train/covid/ct_scan_{number}"
        named[name] = tmp_path / "data" / name
        write_slices(named[name], np.roll(sphere_chest(), number, axis=2))
    (named["train/covid/ct_scan_1"] / "5.jpg").write_bytes(b"broken")
    return named


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_scan_comes_back_as_the_pipeline_made_it(tmp_path: Path, scans: dict[str, Path]) -> None:
    store = Store.create(tmp_path / "store", Size.TINY)
    preprocess_scans(scans, store)
    name, path = next(iter(scans.items()))
    found = store.read(name)
    assert isinstance(found, np.memmap)
    assert found.shape == (32, 64, 64)
    assert np.array_equal(found, preprocess_scan(path, [Size.TINY]).voxels[Size.TINY])


def test_the_manifest_has_a_row_a_scan_sorted_with_boxes_and_notes(tmp_path: Path, scans: dict[str, Path]) -> None:
    store = Store.create(tmp_path / "store", Size.TINY)
    preprocess_scans(dict(reversed(scans.items())), store)
    table = store.write_manifest()
    assert tuple(table.columns) == RECORD_COLUMNS
    assert table["scan"].tolist() == sorted(scans)
    assert table["slices_found"].tolist() == [24, 24, 24]
    assert table["slices_used"].tolist() == [24, 23, 24]
    assert table["notes"].tolist() == ["", "1 unreadable slice left out (5)", ""]
    assert table["lung_ml"].isna().all()
    assert ((table["x0"] < table["x1"]) & (table["x1"] <= table["width"])).all()
    assert (tmp_path / "store" / "manifest.csv").read_text().startswith("scan,slices_found,slices_used,depth,")


def test_a_stored_volume_is_the_crop_resized(tmp_path: Path, scans: dict[str, Path]) -> None:
    store = Store.create(tmp_path / "store", Size.TINY)
    preprocess_scans(scans, store)
    row = store.manifest().iloc[0]
    decoded = np.stack([np.asarray(Image.open(scans[row["scan"]] / f"{n}.jpg")) for n in range(1, 25)])
    inside = decoded[row["z0"] : row["z1"], row["y0"] : row["y1"], row["x0"] : row["x1"]]
    assert inside.size < 0.6 * decoded.size
    wanted = np.rint(resize(inside, (32, 64, 64), order=3, preserve_range=True))
    assert np.abs(store.read(row["scan"]) - wanted).mean() < 0.1


def test_processes_and_order_do_not_change_a_byte(tmp_path: Path, scans: dict[str, Path]) -> None:
    for name, jobs, order in (("one", 1, 1), ("two", 2, -1)):
        store = Store.create(tmp_path / name, Size.TINY)
        preprocess_scans(dict(list(scans.items())[::order]), store, jobs=jobs)
        store.write_manifest()
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_what_is_there_stays_and_a_scan_without_its_record_is_done_again(
    tmp_path: Path, scans: dict[str, Path]
) -> None:
    store = Store.create(tmp_path / "store", Size.TINY)
    preprocess_scans(scans, store)
    whole = contents(tmp_path / "store")
    killed = tmp_path / "store" / "records" / "train/covid/ct_scan_2.json"
    killed.unlink()  # as if killed between volume and record
    outcome = preprocess_scans(scans, store)
    assert outcome.done == ["train/covid/ct_scan_2"]
    assert sorted(outcome.present) == ["train/covid/ct_scan_0", "train/covid/ct_scan_1"]
    assert contents(tmp_path / "store") == whole


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bad_scan_stops_the_batch_and_keeps_what_was_done(tmp_path: Path, scans: dict[str, Path], jobs: int) -> None:
    scans["train/covid/empty"] = tmp_path / "data" / "empty"
    store = Store.create(tmp_path / "store", Size.TINY)
    with pytest.raises(ScanError, match="there is no scan at"):
        preprocess_scans(scans, store, jobs=jobs)
    for scan in scans:
        if store.has(scan):
            assert store.read(scan).shape == (32, 64, 64)


def test_bad_scans_are_passed_over_and_listed_where_asked(tmp_path: Path, scans: dict[str, Path]) -> None:
    scans = {"missing": tmp_path / "missing", **scans}
    store = Store.create(tmp_path / "store", Size.TINY)
    seen: list[int] = []

    def on_scan(outcome: Outcome) -> None:
        seen.append(len(outcome.done) + len(outcome.failed))

    outcome = preprocess_scans(scans, store, skip_errors=True, on_scan=on_scan)
    assert list(outcome.failed) == ["missing"]
    assert len(outcome.done) == 3
    assert seen == [0, 1, 2, 3, 4]


def test_a_store_of_other_settings_is_refused_not_mixed(tmp_path: Path) -> None:
    Store.create(tmp_path / "store", Size.TINY)
    with pytest.raises(StoreError, match="size is 'tiny', not 'small'"):
        Store.create(tmp_path / "store", Size.SMALL)
    with pytest.raises(StoreError, match="other settings"):
        Store.open(tmp_path / "store", Size.SMALL)
    file = tmp_path / "store" / "settings.json"
    changed = json.loads(file.read_text()) | {"hash": "0" * 16, "grid": [1, 1]}
    file.write_text(json.dumps(changed))
    with pytest.raises(StoreError, match=r"grid is \[1, 1\], not"):
        Store.open(tmp_path / "store", Size.TINY)


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json"])
def test_broken_settings_are_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    Store.create(tmp_path / "store", Size.TINY)
    (tmp_path / "store" / "settings.json").write_text(text)
    with pytest.raises(StoreError, match=r"settings\.json can't be read"):
        Store.open(tmp_path / "store", Size.TINY)


def test_reading_says_what_to_do_about_what_is_missing_or_damaged(tmp_path: Path, scans: dict[str, Path]) -> None:
    with pytest.raises(StoreError, match="run cov3d preprocess --size tiny first"):
        Store.open(tmp_path / "nowhere", Size.TINY)
    store = Store.create(tmp_path / "store", Size.TINY)
    with pytest.raises(StoreError, match="run cov3d preprocess --size tiny first"):
        store.read("absent")
    preprocess_scans(scans, store)
    file = tmp_path / "store" / "volumes" / "train/covid/ct_scan_0.npy"
    damage: dict[str, Callable[[], object]] = {
        "is damaged": lambda: file.write_bytes(file.read_bytes()[:300]),
        "holds uint8 \\(2, 2\\)": lambda: np.save(file, np.zeros((2, 2), np.uint8)),
    }
    for sentence, harm in damage.items():
        harm()
        with pytest.raises(StoreError, match=sentence):
            store.read("train/covid/ct_scan_0")


def test_a_pickle_in_the_store_is_not_loaded(tmp_path: Path, scans: dict[str, Path]) -> None:
    store = Store.create(tmp_path / "store", Size.TINY)
    preprocess_scans(scans, store)
    np.save(tmp_path / "store" / "volumes" / "train/covid/ct_scan_0.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(StoreError, match="is damaged"):
        store.read("train/covid/ct_scan_0")


def test_a_store_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="can't be written"):
        Store.create(tmp_path / "file" / "store", Size.TINY)
