"""Boxes given by a person: read with care, honoured to the byte, and a change of mind done again."""

from pathlib import Path

import numpy as np
import pytest

from cov3d.errors import DatasetError, ScanError
from cov3d.preprocessing import overrides
from cov3d.preprocessing.batch import preprocess_scans
from cov3d.preprocessing.crop import Box
from cov3d.preprocessing.overrides import Override
from cov3d.preprocessing.resize import resize
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.readers import read_volume
from tests.conftest import sphere_chest, write_slices
from tests.preprocessing.test_store import contents

HEADER = "scan,z0,z1,y0,y1,x0,x1\n"
SCANS = ("train/covid/ct_scan_1", "train/covid/ct_scan_2")


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    file = folder / "overrides.csv"
    file.write_text(text, encoding=encoding)
    return file


def test_boxes_are_read_as_people_and_spreadsheets_write_them(tmp_path: Path) -> None:
    text = (
        "x0,x1,y0,y1,z0,z1,scan,why\r\n"
        '5, 60 ,3,4,0,9,train/covid/ct_scan_2,"cut, at the base"\r\n'
        "\r\n"
        "1,2,3,4,5,6,train/covid/ct_scan_1,\r\n"
    )
    file = written(tmp_path, text, encoding="utf-8-sig")
    assert overrides.load(file, SCANS) == {
        "train/covid/ct_scan_2": Override(Box(z0=0, z1=9, y0=3, y1=4, x0=5, x1=60), f"{file} line 2"),
        "train/covid/ct_scan_1": Override(Box(z0=5, z1=6, y0=3, y1=4, x0=1, x1=2), f"{file} line 4"),
    }
    assert overrides.load(written(tmp_path, HEADER), SCANS) == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "line 1: the columns scan,z0,z1,y0,y1,x0,x1 are missing"),
        ("scan,z0,z1\n", "line 1: the columns y0,y1,x0,x1 are missing"),
        (HEADER + "\nct_scan_1,0,1,0,1,0,1\n", "line 3: there is no scan 'ct_scan_1'"),
        (HEADER + f"{SCANS[0]},0,1,0,1,0\n", "line 2: it must have 7 values"),
        (HEADER + f"{SCANS[0]},0,1,0,1,0,1,9\n", "line 2: it must have 7 values"),
        (HEADER + f"{SCANS[0]},0,1,0,1,0,2.5\n", r"line 2: x1 is '2\.5', but must be a whole number"),
        (HEADER + f"{SCANS[0]},-1,1,0,1,0,1\n", "line 2: z0 is '-1', but must be a whole number, 0 or more"),
        (HEADER + f"{SCANS[0]},0,1,,1,0,1\n", "line 2: y0 is '', but must be"),
        (HEADER + f"{SCANS[0]},0,1,٣,9,0,1\n", "line 2: y0 is '٣', but must be"),
        (HEADER + f"{SCANS[0]},0,1,7,7,0,1\n", "line 2: the box is empty: y0 is 7 and must be less than y1, 7"),
        (HEADER + f"{SCANS[0]},0,1,0,1,0,1\n" * 2, "line 3: train/covid/ct_scan_1 already has a box, in .* line 2"),
        (HEADER + f'"{SCANS[0]},0,1,0,1,0,1\n', "can't be read as a table"),
    ],
)
def test_a_line_that_is_no_box_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(DatasetError, match=rf"overrides\.csv.* ?{sentence}"):
        overrides.load(written(tmp_path, text), SCANS)


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no overrides file at"):
        overrides.load(tmp_path / "none.csv", SCANS)
    with pytest.raises(DatasetError, match="can't be read as a table"):
        overrides.load(written(tmp_path, HEADER + "Müller,0,1,0,1,0,1\n", encoding="latin-1"), SCANS)


@pytest.fixture
def scans(tmp_path: Path) -> dict[str, Path]:
    named = {name: tmp_path / "data" / name for name in SCANS}
    for number, folder in enumerate(named.values()):
        write_slices(folder, np.roll(sphere_chest(), number, axis=2))
    return named


def test_an_override_is_the_crop_to_the_byte(tmp_path: Path, scans: dict[str, Path]) -> None:
    store = Store.create(tmp_path / "store", Size.TINY)
    preprocess_scans(scans, store)
    found = store.record(SCANS[0])
    box = Box(2, 20, 10, 90, 5, 80)
    preprocess_scans(scans, store, overrides={SCANS[0]: Override(box, "here")})
    inside = read_volume(scans[SCANS[0]]).voxels[2:20, 10:90, 5:80]
    assert np.array_equal(store.read(SCANS[0]), resize(inside, (32, 64, 64)))
    record = store.record(SCANS[0])
    assert record.box == box
    assert record.crop == "override"
    assert record.notes == (
        f"box given by a person, in place of z {found.z0}–{found.z1}, y {found.y0}–{found.y1}, "
        f"x {found.x0}–{found.x1} (lungs)"
    )
    measured = ("lung_share", "left_share", "opacity", "depth", "slices_used")
    assert [getattr(record, key) for key in measured] == [getattr(found, key) for key in measured]
    assert store.record(SCANS[1]).crop == "lungs"


def test_a_change_of_mind_is_done_again_for_that_scan_alone(tmp_path: Path, scans: dict[str, Path]) -> None:
    store = Store.create(tmp_path / "store", Size.TINY)
    preprocess_scans(scans, store)
    plain = contents(tmp_path / "store")
    one, other = Override(Box(2, 20, 10, 90, 5, 80), "line 2"), Override(Box(2, 20, 10, 90, 5, 81), "line 2")
    for boxes, wanted in (
        ({}, []),
        ({SCANS[0]: one}, [SCANS[0]]),
        ({SCANS[0]: one}, []),
        ({SCANS[0]: Override(one.box, "line 7")}, []),
        ({SCANS[0]: other}, [SCANS[0]]),
        ({SCANS[0]: other, SCANS[1]: one}, [SCANS[1]]),
        ({SCANS[1]: one}, [SCANS[0]]),
        ({}, [SCANS[1]]),
    ):
        outcome = preprocess_scans(scans, store, overrides=boxes)
        assert outcome.done == wanted
        assert sorted(outcome.present + outcome.done) == sorted(SCANS)
    assert contents(tmp_path / "store") == plain


@pytest.mark.parametrize("box", [Box(0, 25, 0, 96, 0, 96), Box(0, 24, 0, 97, 0, 96), Box(0, 24, 0, 96, 0, 97)])
def test_a_box_that_does_not_fit_its_scan_fails_that_scan_alone(
    tmp_path: Path, scans: dict[str, Path], box: Box
) -> None:
    boxes = {SCANS[0]: Override(box, "overrides.csv line 2"), SCANS[1]: Override(Box(0, 24, 0, 96, 0, 96), "line 3")}
    store = Store.create(tmp_path / "store", Size.TINY)
    outcome = preprocess_scans(scans, store, overrides=boxes, skip_errors=True)
    assert outcome.done == [SCANS[1]]
    assert "overrides.csv line 2: the box" in outcome.failed[SCANS[0]]
    assert "which has 24 × 96 × 96 voxels" in outcome.failed[SCANS[0]]
    with pytest.raises(ScanError, match=r"overrides\.csv line 2: the box"):
        preprocess_scans(scans, store, overrides=boxes)


def test_a_scan_killed_while_it_is_done_again_is_absent_not_half_old(
    tmp_path: Path, scans: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.create(tmp_path / "store", Size.TINY)
    preprocess_scans(scans, store)
    boxes = {SCANS[0]: Override(Box(2, 20, 10, 90, 5, 80), "here")}

    def killed(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            preprocess_scans(scans, store, overrides=boxes)
    assert not store.has(SCANS[0])
    assert preprocess_scans(scans, store).done == [SCANS[0]]
