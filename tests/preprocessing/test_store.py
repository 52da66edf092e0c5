"""The store and the batch that fills it: whole or absent, resumable, never mixed."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.transform import resize

from cov3d.errors import OutputError, ScanError, StoreError
from cov3d.preprocessing.batch import Outcome, preprocess_scans
from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.pipeline import preprocess, preprocess_scan
from cov3d.preprocessing.record import RECORD_COLUMNS
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.volume import Volume
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
    assert found.dtype == np.uint8
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


RECORDS = {
    "records/b/jpeg.json": """\
{"scan": "b/jpeg", "slices_found": 25, "slices_used": 24, "depth": 24, "height": 96, "width": 96, "z0": 3, "z1": 21, \
"y0": 26, "y1": 70, "x0": 13, "x1": 83, "crop": "lungs", "lung_share": 0.1923, "lung_ml": null, "spacing_z": null, \
"spacing_y": null, "spacing_x": null, "left_share": 0.5, "opacity": 0.0, "outside_box": 0.0, "other_air": 0.0, \
"step": 0.135, "beyond": 0.0625, "cut_above": 0.0, "cut_below": 0.0, "format": "slices", "orientation": "assumed", \
"window": "assumed", "missing": 0, "doubled": 0, "corrupt": 1, "series": "", \
"notes": "1 unreadable slice left out (5)", "bytes": BYTES}
""",
    "records/a/nifti ü.json": """\
{"scan": "a/nifti ü", "slices_found": 24, "slices_used": 24, "depth": 24, "height": 96, "width": 96, "z0": 2, \
"z1": 20, "y0": 10, "y1": 90, "x0": 5, "x1": 80, "crop": "override", "lung_share": 0.1923, "lung_ml": 161, \
"spacing_z": 5.0, "spacing_y": 1.25, "spacing_x": 1.25, "left_share": 0.5, "opacity": 0.0, "outside_box": 0.0082, \
"other_air": 0.0, "step": 0.135, "beyond": 0.5, "cut_above": 0.0, "cut_below": 0.0, "format": "nifti", \
"orientation": "known", "window": "known", "missing": 0, "doubled": 0, "corrupt": 0, "series": "2 of 3", \
"notes": "box given by a person, in place of z 3–21, y 26–70, x 13–83 (lungs)", "bytes": BYTES}
""",
    "manifest.csv": """\
scan,slices_found,slices_used,depth,height,width,z0,z1,y0,y1,x0,x1,crop,lung_share,lung_ml,spacing_z,spacing_y,\
spacing_x,left_share,opacity,outside_box,other_air,step,beyond,cut_above,cut_below,format,orientation,window,missing,\
doubled,corrupt,series,notes
a/nifti ü,24,24,24,96,96,2,20,10,90,5,80,override,0.1923,161.0,5.0,1.25,1.25,0.5,0.0,0.0082,0.0,0.135,0.5,0.0,0.0,\
nifti,known,known,0,0,0,2 of 3,"box given by a person, in place of z 3–21, y 26–70, x 13–83 (lungs)"
b/jpeg,25,24,24,96,96,3,21,26,70,13,83,lungs,0.1923,,,,,0.5,0.0,0.0,0.0,0.135,0.0625,0.0,0.0,\
slices,assumed,assumed,0,0,1,,1 unreadable slice left out (5)
c/old,24,24,24,96,96,2,20,10,90,5,80,lungs,0.1923,161.0,5.0,1.25,1.25,0.5,0.0,0.0082,0.0,0.135,0.5,0.0,0.0,\
,,,,,,,
""",
}
"""The files of a store as the version 0.1.0 wrote them; BYTES is the length of the volume's file."""


def test_records_and_manifest_keep_their_bytes(tmp_path: Path) -> None:
    """Also beside a record of an earlier version, which lacks the columns of the reader."""
    store = Store.create(tmp_path / "store", Size.TINY)
    plain = Volume(sphere_chest(), Path("x"), 25, notes=("1 unreadable slice left out (5)",), format="slices")
    plain = replace(plain, orientation_known=False, window_known=False, corrupt=1)
    store.write("b/jpeg", preprocess(plain, [Size.TINY]))
    spaced = Volume(sphere_chest(), Path("x"), 24, (5.0, 1.25, 1.25), format="nifti", series="2 of 3")
    store.write("a/nifti ü", preprocess(spaced, [Size.TINY], override=Box(2, 20, 10, 90, 5, 80)))
    for name in ("b/jpeg", "a/nifti ü"):
        length = store.volume_file(name).stat().st_size
        file = f"records/{name}.json"
        assert (store.folder / file).read_text(encoding="utf-8") == RECORDS[file].replace("BYTES", str(length))
    old = json.loads((store.folder / "records/a/nifti ü.json").read_text(encoding="utf-8"))
    for column in ("format", "orientation", "window", "missing", "doubled", "corrupt", "series"):
        del old[column]
    old |= {"scan": "c/old", "crop": "lungs", "notes": ""}
    (store.folder / "records/c").mkdir()
    (store.folder / "records/c/old.json").write_text(json.dumps(old), encoding="utf-8")
    store.write_manifest()
    assert (store.folder / "manifest.csv").read_bytes().decode() == RECORDS["manifest.csv"]


@pytest.mark.parametrize(("column", "value"), [("z0", "3"), ("crop", "all"), ("opacity", None), ("notes", 0)])
def test_a_record_with_a_wrong_value_is_refused(tmp_path: Path, column: str, value: object) -> None:
    store = Store.create(tmp_path / "store", Size.TINY)
    store.write("one", preprocess(Volume(sphere_chest(), Path("x"), 24), [Size.TINY]))
    file = tmp_path / "store" / "records" / "one.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {column: value}))
    with pytest.raises(StoreError, match=rf"one\.json can't be read \({column} is .*: delete it and preprocess again"):
        store.record("one")


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
    file = tmp_path / "store" / "volumes" / "train/covid/ct_scan_0.diff.npy.zst"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(StoreError, match=r"ct_scan_0\.diff\.npy\.zst is damaged .*: delete it and preprocess again"):
        store.read("train/covid/ct_scan_0")


def test_a_volume_that_was_cut_short_is_made_again(tmp_path: Path, scans: dict[str, Path]) -> None:
    store = Store.create(tmp_path / "store", Size.TINY)
    preprocess_scans(scans, store)
    whole = contents(tmp_path / "store")
    file = tmp_path / "store" / "volumes" / "train/covid/ct_scan_0.diff.npy.zst"
    file.write_bytes(file.read_bytes()[:-10])  # as a copy that was broken off leaves it
    assert preprocess_scans(scans, store).done == ["train/covid/ct_scan_0"]
    assert contents(tmp_path / "store") == whole


def test_a_store_of_an_earlier_segmentation_is_refused_with_the_command_that_makes_it_again(tmp_path: Path) -> None:
    Store.create(tmp_path / "store", Size.TINY)
    file = tmp_path / "store" / "settings.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"hash": "0" * 16, "algorithm": 2}))
    with pytest.raises(StoreError, match=r"algorithm is 2, not 3\).*run cov3d preprocess --size tiny again"):
        Store.create(tmp_path / "store", Size.TINY)


def test_a_store_of_plain_npy_is_refused(tmp_path: Path) -> None:
    Store.create(tmp_path / "store", Size.TINY)
    file = tmp_path / "store" / "settings.json"
    settings = json.loads(file.read_text())
    del settings["format"], settings["volumes"]
    file.write_text(json.dumps(settings))
    with pytest.raises(StoreError, match=r"made with other settings \(format is 1, not 2\)"):
        Store.open(tmp_path / "store", Size.TINY)


def test_what_a_killed_process_left_goes_when_its_scan_is_done(tmp_path: Path, scans: dict[str, Path]) -> None:
    store = Store.create(tmp_path / "store", Size.TINY)
    (name, path), *_ = scans.items()
    preprocessed = preprocess_scan(path, [Size.TINY])
    store.write(name, preprocessed)
    whole = contents(tmp_path / "store")
    for scan in (name, "of/a/neighbour"):
        left = store._aside(scan) / ".0123.part"
        left.parent.mkdir(parents=True)
        left.write_bytes(b"half a volume")
    store.write(name, preprocessed)
    assert set(contents(tmp_path / "store")) - set(whole) == {left.relative_to(store.folder).as_posix()}
    store.tidy()
    assert left.exists()  # its owner may live, on whatever machine
    for old in (left, left.parent):
        os.utime(old, times=(0, 0))
    store.tidy()
    assert contents(tmp_path / "store") == whole
    assert not (tmp_path / "store" / ".writing").exists()


def test_a_file_removed_by_who_did_the_same_scan_is_written_again(
    tmp_path: Path, scans: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.create(tmp_path / "store", Size.TINY)
    (name, path), *_ = scans.items()
    preprocessed = preprocess_scan(path, [Size.TINY])
    removed: list[Path] = []
    write_bytes = Path.write_bytes

    def write_and_lose(file: Path, data: bytes) -> int:
        written = write_bytes(file, data)
        if not removed:
            removed.append(file)
            shutil.rmtree(file.parent)
        return written

    monkeypatch.setattr(Path, "write_bytes", write_and_lose)
    store.write(name, preprocessed)
    assert removed
    assert store.has(name)


def test_records_that_come_while_the_manifest_is_written_are_in_it(
    tmp_path: Path, scans: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when two shares end at once: whoever writes last has seen what the other did."""
    store = Store.create(tmp_path / "store", Size.TINY)
    (first, path), (second, _), *_ = scans.items()
    preprocessed = preprocess_scan(path, [Size.TINY])
    store.write(first, preprocessed)
    replace = Path.replace

    def neighbour_then_replace(aside: Path, file: Path) -> Path:
        if file.name == "manifest.csv" and not store.has(second):
            store.write(second, preprocessed)
        return replace(aside, file)

    monkeypatch.setattr(Path, "replace", neighbour_then_replace)
    store.write_manifest()
    rows = (tmp_path / "store" / "manifest.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [first, second]


@pytest.mark.parametrize("links", [True, False])
def test_a_store_begun_by_many_at_once_is_one(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*files: object) -> None:
        raise OSError(1, "Operation not permitted")

    if not links:  # as on some network file systems
        monkeypatch.setattr(os, "link", no_links)
    with ThreadPoolExecutor(8) as threads:
        stores = list(threads.map(lambda _: Store.create(tmp_path / "store", Size.TINY), range(64)))
    assert len({store.settings_file.read_bytes() for store in stores}) == 1
    assert set(contents(tmp_path / "store")) == {"settings.json"}


def test_of_two_sizes_at_once_the_first_has_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda file: file.name != "settings.json" and exists(file))  # looked too early
    Store.create(tmp_path / "store", Size.TINY)
    with pytest.raises(StoreError, match="size is 'tiny', not 'small'"):
        Store.create(tmp_path / "store", Size.SMALL)


def test_a_store_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="can't be written"):
        Store.create(tmp_path / "file" / "store", Size.TINY)
