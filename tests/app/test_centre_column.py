"""Scores by centre where the scan table has the column `centre`, and no table of sources is given."""

from pathlib import Path

import pandas as pd
import pytest

from tests.app.conftest import Command
from tests.inference.conftest import LABELS, some_table
from tests.training.conftest import fill

TRAINING = ("--size", "tiny", "--no-pretrained", "--epochs", 1, "--device", "cpu")
NAME = "resnet_tiny_epochs-1_pretrained-False_fold-{}_seed-0"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty scans in five folds, of the centres north and south, two of no known centre."""
    labels = ["non-covid", "mild", "severe", "covid"] * 5
    _, table = fill(tmp_path / "preprocessed" / "tiny", labels, [fold for fold in range(5) for _ in range(4)])
    table["centre"] = ["", "", *(("north", "south")[number % 3 == 0] for number in range(2, 20))]
    table.to_csv(tmp_path / "scans.csv", index=False)
    return tmp_path


def scans_by_centre(data: Path) -> dict[str, int]:
    counts = pd.read_csv(data / "scans.csv", keep_default_na=False)["centre"].replace("", "unknown").value_counts()
    return {str(centre): int(count) for centre, count in counts.items()}


def presence_scans(file: Path) -> dict[str, int]:
    """Scans of each centre that the presence was scored on."""
    rows = pd.read_csv(file, keep_default_na=False)
    rows = rows[(rows["task"] == "presence") & (rows["score"] == "macro F1")]
    return dict(zip(rows["source"], rows["scans"].astype(int), strict=True))


@pytest.mark.usefixtures("quick_network")
def test_crossval_and_validate_score_each_centre_of_the_scan_table(cov3d: Command, data: Path, tmp_path: Path) -> None:
    ended = cov3d("crossval", "--data", data, *TRAINING)
    assert (ended.code, "Macro F1 by source" in ended.out) == (0, True), ended.err
    folder = data / "runs" / "crossval_resnet_tiny_epochs-1_pretrained-False_seed-0"
    assert presence_scans(folder / "centres.csv") == scans_by_centre(data) == {"north": 12, "south": 6, "unknown": 2}

    checkpoint = data / "runs" / NAME.format(0) / "presence.safetensors"
    words = ["validate", "--data", data, "--checkpoint", checkpoint, "--device", "cpu", "--overwrite"]
    ended = cov3d(*words, "--output-dir", tmp_path / "out")
    assert (ended.code, "Macro F1 by source" in ended.out) == (0, True), ended.err
    assert presence_scans(tmp_path / "out" / "centres.csv") == {"north": 1, "south": 1, "unknown": 2}

    # A table of sources wins over the column.
    sources = tmp_path / "sources.csv"
    pd.read_csv(data / "scans.csv")[["scan"]].assign(source="west").to_csv(sources, index=False)
    assert cov3d(*words, "--output-dir", tmp_path / "out", "--sources", sources).code == 0
    assert presence_scans(tmp_path / "out" / "centres.csv") == {"west": 4}

    # Without the column there are no scores by centre, and earlier ones do not stay.
    pd.read_csv(data / "scans.csv").drop(columns="centre").to_csv(data / "scans.csv", index=False)
    assert cov3d(*words, "--output-dir", tmp_path / "out").code == 0
    assert not (tmp_path / "out" / "centres.csv").exists()


def test_ensemble_takes_the_centres_of_the_dataset(cov3d: Command, tmp_path: Path) -> None:
    scans = [f"train/covid/ct_{number}" for number in range(20)]
    labels = [LABELS[number % len(LABELS)] for number in range(20)]
    for number in range(2):
        some_table(number, scans, labels).to_csv(tmp_path / f"{number}.csv", index=False)
    rows = [f"{scan},train,mild,1,{'' if number < 5 else number % 2}" for number, scan in enumerate(scans)]
    data = tmp_path / "data"
    data.mkdir()
    (data / "scans.csv").write_text("\n".join(("scan,partition,label,fold,centre", *rows, "other,test,,,9", "")))
    words = ["ensemble", tmp_path / "0.csv", tmp_path / "1.csv", "--task", "presence"]
    ended = cov3d(*words, "--data", data, "--output-dir", tmp_path / "a")
    assert ended.code == 0, ended.err
    assert presence_scans(tmp_path / "a" / "centres.csv") == {"0": 7, "1": 8, "unknown": 5}

    # A scan table of other scans has no centre for these, and one that can't be read is no reason to stop.
    (data / "scans.csv").write_text("scan,partition,label,fold,centre\nother,test,,,9\n")
    assert cov3d(*words, "--data", data, "--output-dir", tmp_path / "b").code == 0
    assert not (tmp_path / "b" / "centres.csv").exists()
    (data / "scans.csv").write_text("a,b\n")
    ended = cov3d(*words, "--data", data, "--output-dir", tmp_path / "c")
    assert ended.code == 0
    assert f"warning: no scores by centre: {data / 'scans.csv'} must have the columns scan," in ended.err
