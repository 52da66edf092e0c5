"""`cov3d report`: what it is made of, where it goes, and what it says is missing."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from cov3d.datasets import scan_table as tables
from tests.conftest import Ended
from tests.reports.runs import scan_table, write_run

Command = Callable[..., Ended]
PAPERS = {f"table-{n}.{suffix}" for n in (1, 2, 5, 6, 7) for suffix in ("csv", "md")}
FIGURES = {f"figure-{n}.{suffix}" for n in (1, 2) for suffix in ("png", "svg")}


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that are not drawn: what they show is tested with the reports."""

    def save(figure: Figure, file: Any, **_: Any) -> None:
        if isinstance(file, io.BytesIO):
            file.write(b"a picture")
        else:
            Path(file).write_bytes(b"a picture")

    monkeypatch.setattr(Figure, "savefig", save)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dataset with a scan table, numbers of slices, and a run of experiment 12."""
    scans = scan_table({("validation", "non-covid", 0): 4, ("validation", "mild", 0): 3, ("train", "covid", 1): 2})
    tables.save(scans, tmp_path / "data" / "scans.csv")
    folder = tmp_path / "data" / "preprocessed" / "tiny"
    folder.mkdir(parents=True)
    scans[["scan"]].assign(slices_found=range(20, 29)).to_csv(folder / "manifest.csv", index=False)
    write_run(tmp_path / "data" / "runs" / "experiment-12_fold-0_seed-12", scans, experiment=12)
    return tmp_path / "data"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_all_that_a_dataset_has_is_reported(cov3d: Command, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = cov3d("report", "--data", data)
    assert ended.code == 0, ended.err
    assert names(data / "report") >= PAPERS | FIGURES | {"report.html"}
    assert str(data / "report") in ended.out
    table = pd.read_csv(data / "report" / "table-5.csv").set_index("experiment")
    assert table["presence_ours"].notna().tolist() == [number == 12 for number in table.index]
    before = {path.name: path.read_bytes() for path in (data / "report").iterdir()}

    # A run is enough to find the dataset by, from anywhere, and what was in the folder of others stays.
    (data / "report" / "notes.txt").write_text("mine")
    monkeypatch.chdir(data.parent)
    assert cov3d("report", "data/runs/experiment-12_fold-0_seed-12").code == 0
    assert {path.name: path.read_bytes() for path in (data / "report").iterdir()} == {**before, "notes.txt": b"mine"}
    monkeypatch.chdir(data)
    assert cov3d("report", "--output-dir", data.parent / "elsewhere").code == 0
    assert {path.name: path.read_bytes() for path in (data.parent / "elsewhere").iterdir()}.keys() == before.keys()


def test_what_is_missing_is_reported_and_no_error(cov3d: Command, data: Path) -> None:
    (data / "preprocessed" / "tiny" / "manifest.csv").unlink()
    broken = data / "runs" / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    ended = cov3d("report", "--data", data)
    assert ended.code == 0, ended.err
    assert "Figure 1 (slices per scan): no scan is preprocessed: run cov3d preprocess" in ended.err
    assert f"the options of the run in {broken / 'config.json'} can't be read" in ended.err
    assert names(data / "report") & (PAPERS | FIGURES) == (PAPERS | FIGURES) - {"figure-1.png", "figure-1.svg"}

    (data / "scans.csv").unlink()
    ended = cov3d("report", "--data", data)
    assert ended.code == 0, ended.err
    assert "run cov3d folds" in ended.err
    assert not {"table-1.csv", "table-2.md", "figure-2.png"} & names(data / "report")  # nor those of before


def test_tables_and_stores_elsewhere_are_read(cov3d: Command, data: Path, tmp_path: Path) -> None:
    (data / "preprocessed" / "tiny").rename(tmp_path / "store")
    (data / "scans.csv").rename(tmp_path / "table.csv")
    words = ["report", data / "runs", "--data", data, "--table", tmp_path / "table.csv", "--store", tmp_path / "store"]
    ended = cov3d(*words)
    assert ended.code == 0, ended.err
    assert names(data / "report") >= PAPERS | FIGURES | {"report.html"}


def test_nothing_to_report_is_one_sentence(cov3d: Command, data: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for words, sentence in (
        (["--data", empty], "has neither a scan table (scans.csv) nor runs"),
        ([empty], f"{empty} has no run, cross-validation or predictions"),
        ([tmp_path / "nowhere"], "nowhere is not a folder: give the folder of a run"),
        (["--data", data, "--table", tmp_path / "no.csv"], "there is no scan table at"),
    ):
        ended = cov3d("report", *words)
        assert (ended.code, sentence in ended.err) == (2, True), ended.err
    assert not (empty / "report").exists()
