"""What looks like a scan and is not taken: pictures beside scans, and formats that are not read."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cov3d.inference import networks
from cov3d.readers import find_scans, read_volume
from cov3d.training import checkpoint
from tests.conftest import Ended, sphere_chest, write_slices
from tests.inference.test_inference import member
from tests.readers import dicom_files

Command = Callable[..., Ended]
DICOM = bytes(128) + b"DICM" + bytes(100)


def put(root: Path, *names: str, content: bytes = b"x") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def slices(folder: Path, count: int) -> None:
    write_slices(folder, np.full((count, 8, 8), 90, dtype=np.uint8))


def picture(file: Path) -> None:
    slices(file.parent, 1)
    (file.parent / "1.jpg").rename(file)


def taken(root: Path) -> list[str]:
    return [scan.relative_to(root).as_posix() for scan in find_scans([root])]


@pytest.fixture
def folds(cov3d: Command) -> Callable[[Path], tuple[list[str], str]]:
    """The scans that `cov3d folds` lists of a tree, and its warnings."""

    def run(root: Path) -> tuple[list[str], str]:
        ended = cov3d("folds", "--data", root, "--overwrite")
        assert ended.code == 0, ended.err
        return pd.read_csv(root / "scans.csv")["scan"].tolist(), ended.err

    return run


@pytest.mark.parametrize("name", ["Figure1.jpg", "P1/preview_1.jpg", "P1/overview.jpg"])
def test_a_picture_beside_volumes_is_no_scan(tmp_path: Path, folds: Command, name: str) -> None:
    put(tmp_path, "P1/ct.nii.gz", "P2/ct.nii.gz")
    picture(tmp_path / name)
    scans, warnings = folds(tmp_path)
    assert scans == ["P1/ct.nii.gz", "P2/ct.nii.gz"]
    assert f"left out: {name} is a picture beside scans: not a scan" in warnings


def test_several_pictures_beside_a_volume_are_no_scan(tmp_path: Path, folds: Command) -> None:
    put(tmp_path, "P1/ct.mha")
    slices(tmp_path / "P1", 12)
    scans, warnings = folds(tmp_path)
    assert scans == ["P1/ct.mha"]
    assert "left out: P1 holds 12 pictures (1.jpg to 12.jpg) beside scans" in warnings


@pytest.mark.parametrize("figures", [1, 3, 40])
def test_pictures_above_the_folders_of_patients_are_no_scan(tmp_path: Path, folds: Command, figures: int) -> None:
    for patient in ("P1", "P2", "P3"):
        slices(tmp_path / patient, 30)
    slices(tmp_path, figures)
    scans, warnings = folds(tmp_path)
    assert scans == ["P1", "P2", "P3"]
    assert ("left out: 1.jpg is a picture" if figures == 1 else f"left out: . holds {figures} pictures") in warnings


def test_few_pictures_above_one_patient_are_no_scan_and_a_second_series_is_one(tmp_path: Path) -> None:
    slices(tmp_path / "few" / "P1", 30)
    slices(tmp_path / "few", 4)
    slices(tmp_path / "series" / "late", 30)
    slices(tmp_path / "series", 28)
    assert taken(tmp_path / "few") == ["P1"]
    assert taken(tmp_path / "series") == [".", "late"]


def test_a_folder_of_one_slice_is_left_out_unless_it_was_named(tmp_path: Path, folds: Command) -> None:
    slices(tmp_path / "P1", 5)
    slices(tmp_path / "P2", 1)
    put(tmp_path, "P2/report.txt")
    scans, warnings = folds(tmp_path)
    assert scans == ["P1"]
    assert "left out: P2 holds 1 slice (1.jpg): a scan has more than one" in warnings
    assert taken(tmp_path / "P2") == ["."]
    assert read_volume(tmp_path / "P2").slices_found == 1


def test_slices_without_a_number_do_not_make_one_slice_a_scan(tmp_path: Path, folds: Command) -> None:
    slices(tmp_path / "P1", 5)
    slices(tmp_path / "P2", 1)
    picture(tmp_path / "P2" / "scout.jpg")
    slices(tmp_path / "P2", 1)
    scans, warnings = folds(tmp_path)
    assert scans == ["P1"]
    assert "P2 holds 1 slice (1.jpg)" in warnings


def test_a_patient_of_one_slice_in_a_known_layout_is_reported(tmp_path: Path, folds: Command) -> None:
    for scan in ("train/covid/ct_scan_0", "train/non-covid/ct_scan_0"):
        slices(tmp_path / scan, 3)
    slices(tmp_path / "train" / "covid" / "ct_scan_1", 1)
    put(tmp_path, "train/covid/ct_scan_2/a.dcm", "train/covid/ct_scan_3.zip")
    scans, warnings = folds(tmp_path)
    assert scans == ["train/covid/ct_scan_0", "train/non-covid/ct_scan_0"]
    for name in (
        *(
            "ct_scan_1 holds 1 slice",
            "ct_scan_2 holds no JPEG slices",
            "ct_scan_2/a.dcm is a DICOM file by its name, but damaged",
        ),
        "ct_scan_3.zip is a damaged zip archive",
    ):
        assert f"left out: train/covid/{name}" in warnings


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (
            ["P3/IM1.dcm", "P3/IM2.dcm", "P3/IM3.dcm", "P3/IM4.dcm"],
            "P3 holds 4 damaged DICOM files (IM1.dcm to IM4.dcm)",
        ),
        (["P3/s1/IM1.dcm"], "P3/s1/IM1.dcm is a damaged DICOM file"),
        (["P3.DCM"], "P3.DCM is a damaged DICOM file"),
        (
            ["P3/IMG0001", "P3/IMG0002", "P3/IMG0003", "P3/IMG0010"],
            "P3 holds 4 damaged DICOM files (IMG0001 to IMG0010)",
        ),
        (["P3/1.2.840.113.7"], "P3/1.2.840.113.7 is a damaged DICOM file"),
        (["P3/DICOMDIR"], "P3/DICOMDIR is a DICOM index without the files that it lists"),
        (["P3/1.bmp", "P3/2.bmp"], "P3 holds 2 BMP pictures"),
        (["P3/1.webp", "P3/2.webp"], "P3 holds 2 WebP pictures"),
        (["P3/1.jp2", "P3/2.jp2"], "P3 holds 2 JPEG 2000 pictures"),
        (["P3/1.jfif", "P3/2.jfif"], "P3 holds 2 JPEG pictures by another name"),
        (["P3/stack.tif"], "P3/stack.tif is a TIFF picture: it holds no distance"),
        ([f"P3/{n}.tiff" for n in range(6)], "P3 holds 6 TIFF pictures"),
        (["P3.hdr", "P3.img"], "P3.hdr is an Analyze file"),
        (["P3.img"], "P3.img is an Analyze file"),
        (["P3.npy"], "P3.npy is a NumPy array"),
        (["P3.npz"], "P3.npz is a NumPy array"),
        (["P3.h5"], "P3.h5 is an HDF5 file"),
        (["P3.mgz"], "P3.mgz is a FreeSurfer volume"),
        (["P3.zip"], "P3.zip is a damaged zip archive: copy or download it again"),
        (["P3.tar"], "P3.tar is a tar archive"),
        (["P3.tar.gz"], "P3.tar.gz is a tar archive"),
        (["P3.7z"], "P3.7z is a 7-Zip archive"),
        (["P3.rar"], "P3.rar is a RAR archive"),
        (["P3.nii.bz2"], "P3.nii.bz2 is compressed by bzip2: unpack it"),
        (["P3.nii.xz"], "P3.nii.xz is compressed by xz"),
        (["P3.mha.gz"], "P3.mha.gz is compressed by gzip"),
        (["P3.nii.gz.part"], "P3.nii.gz.part is an incomplete download"),
        (["P3.nii.gz.1"], "P3.nii.gz.1 is a numbered copy"),
        (["P3.raw"], "P3.raw is a file of voxels without a header"),
    ],
)
def test_a_patient_in_a_format_that_is_not_read_is_named(
    tmp_path: Path, folds: Command, files: list[str], named: str
) -> None:
    put(tmp_path, "P1.nii.gz", "P2.nii.gz")
    put(tmp_path, *files, content=DICOM)
    scans, warnings = folds(tmp_path)
    assert scans == ["P1.nii.gz", "P2.nii.gz"]
    assert f"left out: {named}" in warnings
    assert warnings.count("left out: ") == 1
    assert "1 left out, 1 of which look like scans" in warnings
    table = pd.read_csv(tmp_path / "left-out.csv")
    assert table.columns.tolist() == ["path", "likely_scan", "reason"]
    assert table["likely_scan"].tolist() == ["yes"]
    assert named.startswith(table["path"][0])


def test_what_belongs_to_scans_or_is_none_is_not_named(tmp_path: Path, folds: Command) -> None:
    slices(tmp_path / "P2", 4)
    put(
        tmp_path, "P1.nii.gz", "P3.mhd", "P3.raw", "P1.zip", "P2.tar.gz", "P1.nii.xz", "README", "LICENSE", "labels.csv"
    )
    put(tmp_path, "labels.csv.gz", "P2/preview.png", "notes.txt", "masks/P1.nrrd", ".cache/a.dcm", "@eaDir/1.dcm")
    scans, warnings = folds(tmp_path)
    assert scans == ["P1.nii.gz", "P2", "P3.mhd"]
    assert warnings == ""
    assert not (tmp_path / "left-out.csv").exists()


def test_a_link_to_a_patient_that_is_gone_is_named(tmp_path: Path, folds: Command) -> None:
    put(tmp_path, "P1.nii.gz")
    (tmp_path / "P2").symlink_to(tmp_path / "gone" / "P2")
    assert "left out: P2 is a dead link" in folds(tmp_path)[1]


def test_pipes_are_not_opened(tmp_path: Path, folds: Command) -> None:
    put(tmp_path, "P1.nii.gz")
    for name in ("pipe", "P2.nii.gz"):
        os.mkfifo(tmp_path / name)
    assert folds(tmp_path) == (["P1.nii.gz"], "")


def test_the_table_of_what_was_left_out_goes_when_it_is_mended(tmp_path: Path, folds: Command) -> None:
    put(tmp_path, "P1.nii.gz", "P2.mnc")
    folds(tmp_path)
    (tmp_path / "P2.mnc").rename(tmp_path / "P2.nii.gz")
    assert folds(tmp_path) == (["P1.nii.gz", "P2.nii.gz"], "")
    assert not (tmp_path / "left-out.csv").exists()


def test_preprocess_names_what_is_left_out_each_time(cov3d: Command, tmp_path: Path) -> None:
    write_slices(tmp_path / "P1", sphere_chest(depth=12, side=48))
    put(tmp_path, "P2.mnc")
    words = ["preprocess", "--data", tmp_path, "--size", "tiny", "--jobs", 1, "--no-report"]
    first, second = cov3d(*words), cov3d(*words)
    assert (first.code, second.code) == (0, 0), first.err
    assert "left out: P2.mnc is a MINC file" in first.err
    for ended in (first, second):
        assert f"1 left out, 1 of which look like scans: {tmp_path / 'left-out.csv'}" in ended.err


@pytest.fixture
def infer(cov3d: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Predict a folder by a network that needs no checkpoint."""
    monkeypatch.setattr(networks, "load_members", lambda files, device, **how: [member(1)])
    monkeypatch.setattr(checkpoint, "read_info", lambda file: member(1).info)

    def run(scans: Path, *words: object) -> Ended:
        to = ["--output-dir", tmp_path / "out", "--overwrite", "--jobs", 1]
        with torch.random.fork_rng():
            return cov3d("infer", "--checkpoint", "any.safetensors", "--scans", scans, *to, *words)

    return run


def predicted(folder: Path) -> list[str]:
    return pd.read_csv(folder / "predictions.csv")["scan"].tolist()


def not_predicted(ended: Ended) -> dict[str, str]:
    """The table at the end of `infer`: reasons by name, each name once."""
    lines = [line.strip() for line in ended.err.splitlines()]
    start = next((at for at, line in enumerate(lines) if line.startswith("not predicted ")), len(lines))
    rows = []
    for line in lines[start + 2 :]:
        if not line or line.startswith(("…", "error:")):
            break
        rows.append(tuple(re.split(r"  +", line, maxsplit=1)))
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def test_infer_names_all_that_it_did_not_predict_once_with_the_reason(
    tmp_path: Path, infer: Callable[..., Ended]
) -> None:
    root, out = tmp_path / "ct", tmp_path / "out"
    write_slices(root / "P1", sphere_chest(depth=12, side=48))
    write_slices(root / "P2", sphere_chest(depth=12, side=48))
    dicom_files.other_image(root / "D" / "scout.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    dicom_files.other_image(root / "D" / "mr.dcm", Modality="MR")
    dicom_files.series(root / "D" / "ct", sphere_values(), indices=range(16))
    (root / "gone.dcm").symlink_to(tmp_path / "nowhere.dcm")
    put(root, "bad.nii.gz", "report.pdf", "D/DICOMDIR", "masks/P1.nii.gz", "D/notes.txt", ".DS_Store")
    slices(root / "P5", 1)
    (root / "empty").mkdir()
    ended = infer(root, "--skip-errors")
    assert ended.code == 3
    rows = {name.removeprefix(f"{root}/"): reason for name, reason in not_predicted(ended).items()}
    for name, reason in {
        "bad.nii.gz": "is damaged, or is not a NIfTI file",
        "gone.dcm": "is a dead link",
        "P5": "holds 1 slice",
        "empty": "no JPEG slices",
        "D/scout.dcm": "is a localizer",
        "D/mr.dcm": "is a DICOM MR image",
        "D/DICOMDIR": "is a DICOM index",
        "D/notes.txt": "is in no format that is read",
        "report.pdf": "is in no format that is read",
        "masks": "is a folder of label maps",
    }.items():
        assert reason in rows.pop(name), name
    assert rows == {}
    assert "warning: left out" not in ended.err
    assert "10 not predicted, 4 likely a scan" in ended.err
    assert ended.err.rstrip().endswith(
        f"not predicted: 2 could not be read, 2 left out that look like a scan; see {out / 'intake.csv'}"
    )
    intake = pd.read_csv(out / "intake.csv", keep_default_na=False)
    assert (intake["outcome"] != "predicted").sum() == 10


def test_a_long_table_shows_the_first_and_the_number_of_the_others(tmp_path: Path, infer: Callable[..., Ended]) -> None:
    root, out = tmp_path / "ct", tmp_path / "out"
    write_slices(root / "P", sphere_chest(depth=12, side=48))
    put(root, *(f"{number}.mnc" for number in range(27)))
    ended = infer(root)
    assert ended.code == 3
    assert len(not_predicted(ended)) == 20
    assert f"… and 7 more in {out / 'intake.csv'}" in ended.err


def test_the_table_needs_no_output_folder(capsys: pytest.CaptureFixture[str]) -> None:
    from cov3d.app.left_out import end_with_table
    from cov3d.readers import LeftOut

    entries = [LeftOut(Path(f"{number}.txt"), "is in no format that is read", is_scan=False) for number in range(22)]
    end_with_table({}, entries, [], None)
    printed = capsys.readouterr().err
    assert "22 not predicted" in printed
    assert printed.rstrip().endswith("… and 2 more")
    end_with_table({}, [], [], None)
    assert capsys.readouterr() == ("", "")


def sphere_values() -> np.ndarray:
    """The simplest chest in Hounsfield units."""
    return np.rint(sphere_chest(16, 48)[::-1].astype(float) / 0.17 - 1150).astype(np.int16)


def test_infer_predicts_the_others_names_who_was_left_out_and_exits_with_3(
    tmp_path: Path, infer: Callable[..., Ended]
) -> None:
    root, out = tmp_path / "ct", tmp_path / "out"
    for patient in ("P1", "P2"):
        write_slices(root / patient, sphere_chest(depth=12, side=48))
    put(root, "P3/series/IM0001", content=DICOM)
    put(root, "P4.nii.bz2")
    slices(root / "P5", 1)
    ended = infer(root)
    assert ended.code == 3
    assert predicted(out) == ["P1", "P2"]
    rows = not_predicted(ended)
    assert rows[f"{root}/P3/series/IM0001"].startswith("is a damaged DICOM file")
    assert rows[f"{root}/P4.nii.bz2"].startswith("is compressed by bzip2")
    assert rows[f"{root}/P5"].startswith("holds 1 slice")
    assert len(rows) == 3
    assert f"error: not predicted: 3 left out that look like a scan; see {out / 'intake.csv'}" in ended.err
    assert len(pd.read_csv(out / "left-out.csv")) == 3
    submitted = [name for file in ("covid.csv", "non-covid.csv") for name in (out / file).read_text().split()]
    assert sorted(submitted) == ["P1", "P2"]


def test_pictures_beside_scans_are_no_reason_to_fail(tmp_path: Path, infer: Callable[..., Ended]) -> None:
    root, out = tmp_path / "ct", tmp_path / "out"
    for patient in ("P1", "P2"):
        write_slices(root / patient, sphere_chest(depth=12, side=48))
    picture(root / "Figure1.jpg")
    ended = infer(root)
    assert ended.code == 0, ended.err
    assert predicted(out) == ["P1", "P2"]
    assert not_predicted(ended) == {str(root / "Figure1.jpg"): "is a picture beside scans: not a scan"}
    assert pd.read_csv(out / "left-out.csv")["likely_scan"].tolist() == ["no"]
    (root / "Figure1.jpg").unlink()
    assert infer(root).code == 0
    assert not (out / "left-out.csv").exists()


def test_a_tree_of_nothing_that_is_read_says_what_it_holds(tmp_path: Path, infer: Callable[..., Ended]) -> None:
    put(tmp_path / "ct", "P1/1.dcm", "P1/2.dcm", "P1/3.dcm", "P1/4.dcm", "P2.zip")
    ended = infer(tmp_path / "ct")
    assert ended.code == 2
    assert "no scan found under" in ended.err
    assert (
        "P1 holds 4 DICOM files by their names, but damaged (1.dcm to 4.dcm): copy or export the series again"
        in ended.err
    )
    assert "P2.zip is a damaged zip archive" in ended.err


def test_a_lost_scan_says_what_its_folder_holds(tmp_path: Path, infer: Callable[..., Ended]) -> None:
    slices(tmp_path / "ct" / "P1", 3)
    put(tmp_path / "ct", "P2/1.bmp", "P2/2.bmp")
    ended = infer(tmp_path / "ct")
    assert ended.code == 2
    assert f"no JPEG slices (1.jpg, 2.jpg, …) in {tmp_path / 'ct' / 'P2'}" in ended.err
    assert "P2 holds 2 BMP pictures (1.bmp to 2.bmp): save the slices as JPEG" in ended.err


def test_check_submission_names_what_is_no_test_scan(cov3d: Command, tmp_path: Path) -> None:
    slices(tmp_path / "test" / "ct_1", 3)
    put(tmp_path / "test", "ct_2/series/1.dcm")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "covid.csv").write_text("ct_1\n")
    (tmp_path / "made" / "non-covid.csv").write_text("")
    words = ["check-submission", tmp_path / "made", "--scans", tmp_path / "test", "--allow-empty"]
    assert (
        f"left out: {tmp_path / 'test' / 'ct_2' / 'series' / '1.dcm'} is a DICOM file by its name" in cov3d(*words).err
    )
