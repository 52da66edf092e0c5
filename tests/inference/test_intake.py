"""`intake.csv`: how each scan was read; all that was given and not predicted; and no patient in any file."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pydicom.dataset import Dataset

from cov3d.inference import networks
from cov3d.training import checkpoint
from tests.conftest import Ended, sphere_chest, write_slices
from tests.inference.test_inference import member
from tests.readers import dicom_files
from tests.readers.dicom_files import SECRETS, other_image, series
from tests.readers.test_dicom import put

Command = Callable[..., Ended]


def chest_hu(depth: int = 16) -> np.ndarray:
    """The simplest chest, in Hounsfield units, slice 0 at the feet."""
    rng = np.random.default_rng(0)
    levels = sphere_chest(depth, 48)[::-1].astype(np.float64)
    return np.rint(levels / 0.17 - 1150 + rng.normal(0, 5, levels.shape)).astype(np.int16)


def secret(study: int) -> dicom_files.Change:
    """Identifiers in every usual tag, in private ones and in free text."""
    values = dict(SECRETS, StudyInstanceUID=f"1.2.826.777{study}", SeriesInstanceUID=f"1.2.826.888{study}.1")
    plain = put(**values)

    def change(index: int, made: Dataset) -> None:
        plain(index, made)
        made.SOPInstanceUID = f"1.2.826.999{study}.{index}"
        made.FrameOfReferenceUID = "1.2.826.555"
        block = made.private_block(0x0011, "GEHEIM CREATOR", create=True)
        block.add_new(0x01, "LO", "Privat Geheim")

    return change


@pytest.fixture
def infer(cov3d: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Predict a folder by a network that needs no checkpoint."""
    monkeypatch.setattr(networks, "load_members", lambda files, device, **how: [member(1)])
    monkeypatch.setattr(checkpoint, "read_info", lambda file: member(1).info)

    def run(scans: Path, *words: object) -> Ended:
        to = ["--output-dir", tmp_path / "out", "--overwrite", "--jobs", 1]
        with torch.random.fork_rng():
            return cov3d("infer", "--checkpoint", "any.safetensors", "--scans", scans, *to, *words)

    return run


def test_every_scan_and_all_that_was_left_out_has_a_row(tmp_path: Path, infer: Command) -> None:
    root = tmp_path / "ct"
    series(root / "P1" / "thin", chest_hu(), secret(1))
    series(root / "P1" / "thick", chest_hu(8), _thick)
    other_image(root / "P1" / "scout.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    other_image(root / "P1" / "MR" / "1.dcm", Modality="MR")
    write_slices(root / "P2", sphere_chest(12, 48))
    (root / "P2" / "5.jpg").unlink()
    (root / "P2" / "7.jpg").write_bytes(b"damaged")
    (root / "P3").mkdir()
    (root / "P3" / "1.jpg").write_bytes(b"x")
    (root / "P3" / "2.jpg").write_bytes(b"x")
    (root / "P4.nii.bz2").write_bytes(b"x")
    ended = infer(root, "--skip-errors")
    assert ended.code == 3, ended.err
    table = pd.read_csv(tmp_path / "out" / "intake.csv", keep_default_na=False).set_index("scan")
    first, second = table.loc["P1/thin"], table.loc["P2"]
    assert (first["outcome"], first["format"], first["orientation"], first["window"]) == (
        *("predicted", "DICOM", "known", "known"),
    )
    assert [float(first[f"spacing_{axis}"]) for axis in "zyx"] == [2.5, 0.75, 0.5]
    assert float(first["y1_mm"]) == pytest.approx(float(first["y1"]) * 0.75, abs=0.06)
    assert float(first["lung_ml"]) > 0
    assert (second["format"], second["orientation"], second["window"], second["spacing_z"]) == (
        *("JPEG slices", "assumed", "assumed", ""),
    )
    assert (float(second["missing"]), float(second["corrupt"]), float(second["slices_found"])) == (1, 1, 11)
    assert "missing (5)" in second["warnings"]
    assert table.loc["P3", "outcome"] == "failed"
    reasons = {name.removeprefix(f"{root}/"): row["reason"] for name, row in table.iterrows()}
    assert {name for name in reasons if table["outcome"].get(f"{root}/{name}") == "left out"} == {
        *("P1/thick", "P1/scout.dcm", "P1/MR/1.dcm", "P4.nii.bz2")
    }
    assert "another series of the exam" in reasons["P1/thick"]
    assert "localizer" in reasons["P1/scout.dcm"]
    assert "MR image" in reasons["P1/MR/1.dcm"]
    assert "compressed by bzip2" in reasons["P4.nii.bz2"]


def _thick(index: int, made: Dataset) -> None:
    secret(1)(index, made)
    made.SeriesInstanceUID, made.ImagePositionPatient = "1.2.826.8881.2", [-10, -20, 100 + 5 * index]


def planted() -> list[bytes]:
    names = [word for value in SECRETS.values() for word in value.replace("^", " ").split() if len(word) > 3]
    return [word.encode() for word in (*names, "GEHEIM", "Privat", "1.2.826")]


def assert_nobody_is_named(folder: Path, ended: Ended) -> None:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    for word in planted():
        for file in files:
            assert word not in file.read_bytes(), (word, file)
            assert word.decode() not in file.as_posix()
        assert word.decode() not in ended.out + ended.err, word


@pytest.mark.parametrize("by", ["path", "series"])
def test_no_identifier_reaches_what_infer_writes_and_prints(tmp_path: Path, infer: Command, by: str) -> None:
    root = tmp_path / "ct"
    for number in (1, 2):
        series(root / f"P{number}", chest_hu(), secret(number))
    series(root / "P1" / "more", chest_hu(8), _thick)
    series(root / "P3", chest_hu(), secret(3), indices=range(0, 16, 15))
    (root / "P3" / "IM0001.dcm").write_bytes((root / "P3" / "IM0001.dcm").read_bytes()[:-2000])
    ended = infer(root, "--name-by", by, "--skip-errors")
    assert ended.code in (0, 3), ended.err
    assert_nobody_is_named(tmp_path / "out", ended)
    names = pd.read_csv(tmp_path / "out" / "predictions.csv")["scan"].tolist()
    if by == "series":
        assert all(name.startswith("series-") for name in names)
        assert len(names) >= 2
    else:
        assert names[-2:] == ["P2", "P3"] or names[-1] == "P2"


def named_after_patients(root: Path) -> None:
    """An export whose folders and files have patients' names: scans, failed scans, and all kinds of other files."""
    series(root / "Geheim^Gerda" / "Lunge Geheim", chest_hu(), secret(1), names="Geheim_{}.dcm".format)
    series(root / "Geheim^Gerda" / "thick Geheim", chest_hu(8), _thick, names="Geheim dick {}.dcm".format)
    write_slices(root / "Secret Anna", sphere_chest(12, 48))
    for number, name in enumerate(("scout Geheim.dcm", "Geheim.Gerda")):
        other_image(root / "Geheim^Gerda" / name, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], InstanceNumber=number)
    for name in ("MR Geheim 1.dcm", "MR Geheim 2.dcm"):
        other_image(root / "Geheim^Gerda" / "MR Geheim" / name, Modality="MR")
    for name in ("Geheim 1.dcm", "Geheim 2.dcm", "Geheim 3.dcm", "Geheim 4.dcm"):
        (root / "Secret Bert").mkdir(exist_ok=True)
        (root / "Secret Bert" / name).write_bytes(b"x")
    for name in ("Geheim.nii.gz", "Geheim.nii.bz2", "Brief Geheim.pdf", "Geheim Befund"):
        (root / name).write_bytes(b"x")
    (root / "gone Geheim.dcm").symlink_to(root / "nowhere Geheim.dcm")
    (root / "masks Geheim").mkdir()
    write_slices(root / "Secret twice", sphere_chest(12, 48))
    (root / "Secret twice" / "Geheim_2.jpg").write_bytes(b"other")
    with zipfile.ZipFile(root / "Geheim.zip", "w") as archive:
        archive.writestr("Geheim/Gerda Geheim.nii.gz", b"x")


def test_short_names_hide_every_name_in_the_tree(tmp_path: Path, infer: Command) -> None:
    """No folder or file name reaches a result or the printed table; with paths, all of them do."""
    root = tmp_path / "ct"
    named_after_patients(root)
    ended = infer(root, "--name-by", "series", "--skip-errors")
    assert ended.code == 3, ended.err
    written = {file.name: file.read_text() for file in (tmp_path / "out").glob("*.csv")}
    assert {"predictions.csv", "manifest.csv", "intake.csv", "left-out.csv"} <= set(written)
    for name, text in {**written, "stdout": ended.out, "stderr": ended.err}.items():
        text = text.replace(str(tmp_path / "out"), "")
        for word in ("Geheim", "Gerda", "Secret", "Anna", "Bert", "Lunge", "Befund", "Brief", str(tmp_path)):
            assert word not in text, (name, word)
    intake = pd.read_csv(tmp_path / "out" / "intake.csv", keep_default_na=False)
    assert intake["scan"].is_unique
    assert intake["scan"].str.fullmatch(r"(series|scan|file|folder)-[0-9a-f]{10}(\.[a-z0-9.]+)?").all()
    left = intake[intake["outcome"] == "left out"]
    assert {name.partition(".")[2] for name in left["scan"]} == {"", "dcm", "bz2", "pdf", "zip"}
    assert left["reason"].str.contains("holds 2 DICOM MR images (file-", regex=False).any()
    again = infer(root, "--name-by", "series", "--skip-errors")
    assert again.err == ended.err
    assert infer(root, "--name-by", "path", "--skip-errors").code == 3
    by_path = pd.read_csv(tmp_path / "out" / "intake.csv", keep_default_na=False)
    assert by_path["reason"].tolist() != intake["reason"].tolist()
    assert f"{root}/Geheim^Gerda/MR Geheim" in set(by_path["scan"])
    assert len(by_path) == len(intake)


def test_short_names_are_stable_when_files_move(tmp_path: Path, infer: Command) -> None:
    names = []
    for place in ("a/Geheim^Gerda", "b/c/d"):
        series(tmp_path / place, chest_hu(), secret(1))
        assert infer(tmp_path / place.split("/")[0], "--name-by", "series").code == 0
        names.append(pd.read_csv(tmp_path / "out" / "predictions.csv")["scan"].tolist())
        assert "Geheim" not in (tmp_path / "out" / "intake.csv").read_text()
    assert names[0] == names[1]


def test_a_series_is_chosen_by_its_uid_or_short_name(tmp_path: Path, infer: Command) -> None:
    series(tmp_path / "ct" / "thin", chest_hu(), secret(1))
    series(tmp_path / "ct" / "thick", chest_hu(8), _thick)
    assert infer(tmp_path / "ct", "--series", "1.2.826.8881.2").code == 0
    by_uid = pd.read_csv(tmp_path / "out" / "intake.csv")
    assert by_uid["spacing_z"][0] == 5
    ended = infer(tmp_path / "ct", "--series", "1.2.3")
    assert ended.code == 2
    assert "no exam holds the series that was asked for: check --series" in ended.err


def test_no_identifier_reaches_the_store_and_the_table_of_scans(tmp_path: Path, cov3d: Command) -> None:
    root = tmp_path / "data"
    for number in (1, 2):
        series(root / f"P{number}", chest_hu(), secret(number))
    ended = cov3d("preprocess", "--data", root, "--size", "tiny", "--jobs", 1)
    assert ended.code == 0, ended.err
    assert_nobody_is_named(root / "preprocessed", ended)
    manifest = pd.read_csv(next(root.rglob("manifest.csv")))
    assert manifest["scan"].tolist() == ["P1", "P2"]
    assert manifest["format"].tolist() == ["DICOM", "DICOM"]
