"""A real series gives the same volume and the same prediction in every format, and nearly the same as JPEG slices."""

from dataclasses import replace
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK
import torch

import cov3d
from cov3d.preprocessing.pipeline import settings
from cov3d.preprocessing.sizes import Size
from cov3d.readers import read_volume
from cov3d.training import checkpoint
from tests.conftest import write_slices
from tests.training.conftest import SmallNetwork
from tests.training.test_checkpoint import INFO

PROBABILITIES = [f"p_{name.replace('-', '_')}" for name in INFO.categories]
BOX = ["z0", "z1", "y0", "y1", "x0", "x1"]


@pytest.fixture
def series(real_ct: Path) -> Path:
    folder = real_ct / "dicom" / "P002"
    if not folder.is_dir():
        pytest.skip("no real DICOM here")
    return folder


def save_network(file: Path) -> Path:
    """A seeded network whose probabilities depend on every part of the volume."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SmallNetwork(5)
        network.head.weight.data.normal_(0, 0.5)
    info = replace(INFO, size=Size.TINY, preprocessing=settings(Size.TINY), model={}, lung_share=(0.0, 1.0))
    checkpoint.save(file, network, info)
    return file


def write_forms(series: Path, folder: Path) -> None:
    """The series as NIfTI, MetaImage and NRRD: axial, flipped, stored sagittally, with affines in RAS and in LPS."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    image = SimpleITK.Cast(reader.Execute(), SimpleITK.sitkInt16)
    SimpleITK.WriteImage(image, str(folder / "axial.nii"))
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(image, "RAI"), str(folder / "flipped.mha"))
    sagittal = SimpleITK.DICOMOrient(image, "PIR")
    SimpleITK.WriteImage(sagittal, str(folder / "sagittal.nrrd"))
    values = np.asarray(SimpleITK.GetArrayViewFromImage(sagittal)).T
    directions = np.array(sagittal.GetDirection()).reshape(3, 3) * np.array(sagittal.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1, -1, 1]) @ directions
    nifti = nibabel.Nifti1Image(values, affine)
    nifti.set_sform(None, code=0)
    nifti.set_qform(affine, code=1)
    nibabel.save(nifti, folder / "qform.nii")
    header = {"space": "right-anterior-superior", "space directions": affine[:3, :3].T, "encoding": "raw"}
    nrrd.write(str(folder / "ras.nrrd"), values, header)


@pytest.mark.usefixtures("quick_network")
def test_a_real_series_is_predicted_alike_in_every_format(series: Path, tmp_path: Path) -> None:
    forms = tmp_path / "forms"
    forms.mkdir()
    (forms / "dicom").symlink_to(series)
    write_forms(series, forms)
    volume = read_volume(series)
    files = sorted(file for file in forms.iterdir() if file.is_file())
    assert len(files) == 5
    for file in files:
        other = read_volume(file)
        assert np.array_equal(other.voxels, volume.voxels), file.name
        assert other.spacing == pytest.approx(volume.spacing, abs=1e-4), file.name
    write_slices(forms / "jpeg", volume.voxels)
    from_jpeg = read_volume(forms / "jpeg").voxels
    assert np.abs(from_jpeg.astype(np.int16) - volume.voxels).mean() <= 2

    found = cov3d.predict(forms, save_network(tmp_path / "small.safetensors"), device="cpu", jobs=1)
    table, boxes = (frame.set_index("scan") for frame in (found.table, found.manifest))
    assert sorted(table.index) == sorted(["dicom", "jpeg", *(file.name for file in files)])
    probabilities = table[PROBABILITIES]
    assert 0.05 < probabilities.loc["dicom"].max() < 0.999
    for file in files:
        assert np.abs(probabilities.loc[file.name] - probabilities.loc["dicom"]).max() <= 1e-6, file.name
        assert boxes.loc[file.name, BOX].tolist() == boxes.loc["dicom", BOX].tolist(), file.name
    assert np.abs((boxes.loc["jpeg", BOX] - boxes.loc["dicom", BOX]).astype(int)).max() <= 1
