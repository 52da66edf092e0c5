"""docs/howto/your-own-scans.md: a scan table written by hand, from which one can crop, train and predict."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Ended
from tests.training.conftest import quick_network  # noqa: F401  a fixture

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "your-own-scans.md"


@pytest.mark.usefixtures("quick_network")
def test_a_table_written_by_hand_is_enough_to_train_and_predict(
    cov3d: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = re.findall(r"^```\n(scan,partition,label,fold\n.*?)^```", PAGE.read_text("utf-8"), re.M | re.DOTALL)
    names = [line.partition(",")[0] for line in example.splitlines()[1:]]
    assert cov3d("phantom", tmp_path / "M", "--layout", "mosmed", "--scans", 12, "--resolution", 64).code == 0
    own = tmp_path / "own"
    for name, file in zip(names, sorted((tmp_path / "M").rglob("*.nii.gz")), strict=False):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        file.rename(own / name)
    (own / "scans.csv").write_text(example)

    monkeypatch.chdir(own)
    assert cov3d("preprocess", "--size", "tiny").code == 0
    trained = cov3d("train", "--fold", 0, "--size", "tiny", "--epochs", 1, "--no-pretrained", "--output-dir", "run")
    assert "training on 2 scans, validating on 1" in trained.out
    # The only scan to validate on is `covid`: presence can be scored, severity can't.
    assert [file.name for file in Path("run").glob("*.safetensors")] == ["presence.safetensors"]
    predicted = cov3d("infer", "--checkpoint", "run/presence.safetensors", "--scans", own / "site-b", "--no-submission")
    assert predicted.code == 0
    table = pd.read_csv("predictions/predictions.csv")
    assert list(table["scan"]) == ["patient-101.nii.gz", "patient-102.nii.gz"]
