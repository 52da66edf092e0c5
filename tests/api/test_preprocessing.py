"""`cov3d.preprocess`, `folds` and `phantom` from Python: what the commands do, silently."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from cov3d import preprocess
from cov3d.api.crop_report import crop_report
from cov3d.api.datasets import folds, phantom
from cov3d.api.preprocessing import PreprocessingResult
from cov3d.errors import Cov3dError, DatasetError, OutputError, ScanError, StoreError
from cov3d.listener import Cov3dWarning, Listener
from cov3d.preprocessing.sizes import Size
from tests.conftest import Ended, sphere_chest, write_slices

Command = Callable[..., Ended]


class Heard(Listener):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.reported: list[str] = []
        self.warned: list[str] = []

    def say(self, sentence: str) -> None:
        self.reported.append(sentence)

    def warn(self, sentence: str) -> None:
        self.warned.append(sentence)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of three scans in no known layout."""
    return three_scans(tmp_path / "data")


def three_scans(root: Path) -> Path:
    for name in ("one", "three", "two"):
        write_slices(root / name, sphere_chest(depth=16, side=64))
    return root


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_call_writes_the_files_of_the_command_and_prints_nothing(
    data: Path, tmp_path: Path, cov3d: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    other = three_scans(tmp_path / "other")
    assert cov3d("preprocess", "--data", data, "--size", "tiny", "--jobs", 1).code == 0
    preprocess(str(other), size="tiny", jobs=1, listener=Heard())
    assert capsys.readouterr() == ("", "")
    store = files_in(other / "preprocessed" / "tiny")
    assert {"manifest.csv", "settings.json", "report/crops.html"} < set(store)
    assert store == files_in(data / "preprocessed" / "tiny")
    assert (other / "scans.csv").read_bytes() == (data / "scans.csv").read_bytes()


def test_the_result_says_what_was_done(data: Path) -> None:
    first, again = (preprocess(data, size="tiny", jobs=1, listener=Heard()) for _ in range(2))
    assert isinstance(first, PreprocessingResult)
    assert (first.done, first.present) == (("one", "three", "two"), ())
    assert (again.done, again.present) == ((), ("one", "three", "two"))
    assert first.store == data / "preprocessed" / "tiny"
    assert first.size is Size.TINY
    assert list(first.manifest["scan"]) == ["one", "three", "two"]
    assert set(first.manifest["depth"]) == {16}
    assert (first.failed, first.left_out) == ({}, 0)
    assert first.page == first.store / "report" / "crops.html"
    assert first.page.is_file()
    assert first.doubtful == 3  # the lungs of these chests are too small


def test_the_listener_hears_what_the_command_prints(data: Path, tmp_path: Path, cov3d: Command) -> None:
    heard = Heard()
    other = three_scans(tmp_path / "other")
    preprocess(other, size="tiny", jobs=1, listener=heard)
    ended = cov3d("preprocess", "--data", data, "--size", "tiny", "--jobs", 1)
    assert [line.replace(str(data), str(other)) for line in ended.out.splitlines()] == heard.reported
    assert [line.replace(str(data), str(other)) for line in ended.err.splitlines()] == [
        f"warning: {sentence}" for sentence in heard.warned
    ]


def test_without_a_listener_doubts_are_warnings_of_python(data: Path) -> None:
    write_slices(data / "two", sphere_chest(depth=16, side=64) // 255)  # nothing to see
    with pytest.warns(Cov3dWarning, match="two: "):
        result = preprocess(data, size="tiny", jobs=1)
    assert list(result.manifest["crop"]) == ["lungs", "lungs", "fallback"]


def test_bad_scans_are_an_error_or_in_the_result(data: Path) -> None:
    (data / "two" / "3.jpg").write_bytes(b"no picture")
    for slice_file in (data / "two").iterdir():
        slice_file.write_bytes(b"no picture")
    with pytest.raises(ScanError, match="two"):
        preprocess(data, size="tiny", jobs=1, listener=Heard())
    result = preprocess(data, size="tiny", jobs=1, skip_errors=True, report=False, listener=Heard())
    assert list(result.failed) == ["two"]
    assert "two" in result.failed["two"]
    assert (result.page, result.doubtful) == (None, None)


def test_a_label_map_taken_for_a_scan_names_the_option_that_skips_it(data: Path) -> None:
    mask = np.zeros((16, 64, 64), np.uint8)
    mask[4:12, 16:48, 16:48] = 1
    nib.save(nib.Nifti1Image(mask, np.eye(4)), data / "segmentation.nii.gz")
    with pytest.raises(ScanError, match=r"segmentation\.nii\.gz is not in Hounsfield units .*, give --skip-errors$"):
        preprocess(data, size="tiny", jobs=1, listener=Heard())
    result = preprocess(data, size="tiny", jobs=1, skip_errors=True, report=False, listener=Heard())
    assert list(result.failed) == ["segmentation.nii.gz"]
    assert "--skip-errors" not in result.failed["segmentation.nii.gz"]


def test_a_share_is_preprocessed_without_a_report(data: Path) -> None:
    result = preprocess(data, size="tiny", jobs=1, shard="2/3", listener=Heard())
    assert result.done == ("three",)
    assert result.page is None
    assert list(result.manifest["scan"]) == ["three"]


def test_boxes_may_stand_in_another_file(data: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("scan,z0,z1,y0,y1,x0,x1\none,1,9,2,40,3,50\n")
    manifest = preprocess(data, size="tiny", jobs=1, overrides=str(boxes), listener=Heard()).manifest
    assert list(manifest["crop"]) == ["override", "lungs", "lungs"]
    assert manifest.loc[0, ["z0", "z1", "y0", "y1", "x0", "x1"]].tolist() == [1, 9, 2, 40, 3, 50]


@pytest.mark.parametrize(
    ("keywords", "error", "sentence"),
    [
        ({"size": "huge"}, Cov3dError, "size is one of tiny, small, medium, large, not 'huge'"),
        ({"shard": "4/3"}, Cov3dError, "shares are numbered from 1 to 3"),
        ({"shard": "a"}, Cov3dError, "such as 3/64, not 'a'"),
        ({"dask": "tcp://here:1", "jobs": 2}, Cov3dError, "cannot be combined"),
        ({"overrides": "none.csv"}, DatasetError, "none.csv"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    data: Path, keywords: dict[str, object], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        preprocess(data, **{"size": "tiny", "listener": Heard(), **keywords})
    assert not (data / "preprocessed").exists()


def test_the_pictures_are_made_again_from_the_store(data: Path) -> None:
    with pytest.raises(StoreError, match="cov3d preprocess --size tiny first"):
        crop_report(data, size="tiny")
    made = preprocess(data, size="tiny", jobs=1, listener=Heard())
    assert made.page is not None
    before = made.page.read_bytes()
    made.page.unlink()
    report = crop_report(str(data), size="tiny", listener=Heard())
    assert (report.page, report.n_scans, report.n_doubtful) == (made.page, 3, made.doubtful)
    assert made.page.read_bytes() == before


def test_labelled_scans_that_are_not_in_the_store_are_named(data: Path) -> None:
    made = preprocess(data, size="tiny", jobs=1, listener=Heard())
    table = pd.read_csv(data / "scans.csv", dtype=str, keep_default_na=False)
    table["label"], table["fold"] = ["covid", "", "non-covid"], ["0", "", "1"]
    table.to_csv(data / "scans.csv", index=False)
    for scan in table["scan"][:2]:
        (made.store / "records" / f"{scan}.json").unlink()
    heard = Heard()
    report = crop_report(data, size="tiny", listener=heard)
    assert report.absent == (table["scan"][0],)  # the scan without a label is not needed
    (warning,) = (sentence for sentence in heard.warned if "labelled" in sentence)
    assert warning.startswith("1 labelled scan is not in the store, and training is refused without ")


def test_three_lines_of_a_stranger_work(data: Path, tmp_path: Path) -> None:
    """A script without `if __name__ == "__main__"`, whose processes must not run it again."""
    script = tmp_path / "script.py"
    script.write_text(
        f"print('begun')\nimport cov3d\nmade = cov3d.preprocess({str(data)!r}, size='tiny', jobs=2)\n"
        "print(len(made.done), made.store.name)\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=120)
    assert ended.stdout.splitlines() == ["begun", "3 tiny"], ended.stderr


def test_importing_loads_no_torch() -> None:
    code = "import sys; from cov3d import preprocess; assert not {'torch', 'fastai', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_folds_gives_the_table_that_it_writes(tmp_path: Path, cov3d: Command) -> None:
    written = phantom(str(tmp_path / "data"), scans=12, seed=3, resolution=64, jobs=1)
    assert len(written) == 12
    made = folds(str(tmp_path / "data"), seed=5, listener=Heard())
    assert made.layout == "COV19-CT-DB"
    assert (made.file, made.changes, made.left_out) == (tmp_path / "data" / "scans.csv", None, 0)
    pd.testing.assert_frame_equal(
        made.table,
        pd.read_csv(made.file, keep_default_na=False, dtype=str).assign(
            fold=lambda table: pd.to_numeric(table["fold"]).astype("Int64")
        ),
    )
    by_call = made.file.read_bytes()
    with pytest.raises(OutputError, match="there is a scan table"):
        folds(tmp_path / "data")
    assert cov3d("folds", "--data", tmp_path / "data", "--seed", 5, "--overwrite").code == 0
    assert made.file.read_bytes() == by_call
    changed = folds(tmp_path / "data", seed=6, overwrite=True, listener=Heard()).changes
    assert changed is not None
    assert "moved to another fold" in changed


def test_a_phantom_of_an_unknown_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        Cov3dError, match="layout is one of cov19ctdb, stoic, mosmed, pharos, cc-ccii, covid-ct-md, not 'other'"
    ):
        phantom(tmp_path / "data", layout="other")
    assert not (tmp_path / "data").exists()
