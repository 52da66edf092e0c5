"""Folds and training scans of one class are warned of before training; what can't be scored is a dash."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from cov3d.reports import figures
from tests.app.conftest import Command
from tests.training.conftest import fill

MIXED = ["non-covid", "mild", "severe"]


def write_data(root: Path, folds: dict[int, Sequence[str]]) -> None:
    """A store and a scan table with these labels in each fold."""
    pairs = [(label, fold) for fold, labels in folds.items() for label in labels]
    _, table = fill(root / "preprocessed" / "tiny", [label for label, _ in pairs], [fold for _, fold in pairs])
    table.to_csv(root / "scans.csv", index=False)


def words(command: str, data: Path, *more: object) -> list[object]:
    return [command, "--data", data, "--size", "tiny", "--no-pretrained", "--epochs", 1, "--device", "cpu", *more]


CASES = {
    "training scans of one class": (
        {0: MIXED, 1: ["mild", "mild", "covid"]},
        [
            "presence: all training scans are COVID-positive",
            "severity: all training scans with a severity are mild",
        ],
    ),
    "training scans without a severity": (
        {0: MIXED, 1: ["covid", "non-covid"]},
        ["severity: no training scan has a severity"],
    ),
    "a fold of one class": (
        {0: ["severe", "severe"], 1: MIXED},
        [
            "presence: all scans of fold 0 are COVID-positive: macro F1 is at most 0.5",
            "severity: all scans of fold 0 with a severity are severe",
        ],
    ),
    "a fold of negative scans": (
        {0: ["non-covid", "non-covid"], 1: MIXED},
        ["presence: all scans of fold 0 are non-covid", "severity: no scan of fold 0 has a severity"],
    ),
    "nothing to warn of": ({0: MIXED, 1: MIXED}, []),
}


@pytest.mark.usefixtures("quick_network")
@pytest.mark.parametrize("case", CASES)
def test_train_warns_of_one_class_before_it_trains(cov3d: Command, tmp_path: Path, case: str) -> None:
    folds, notes = CASES[case]
    write_data(tmp_path, folds)
    ended = cov3d(*words("train", tmp_path, "--fold", 0))
    assert ended.code == 0, ended.err
    every = [
        line for line in " ".join(ended.err.split()).split("warning: ") if " are " in line or "no training" in line
    ]
    assert all(any(note in line for line in every) for note in notes if "no scan" not in note), ended.err
    assert all(note in " ".join(ended.err.split()) for note in notes)
    assert bool(every) == bool(notes)
    # What has no score is a dash, as everywhere.
    assert "nan" not in ended.out + ended.err
    assert ("severity F1 –" in ended.out) == (case == "a fold of negative scans")


@pytest.mark.usefixtures("quick_network")
def test_crossval_and_validate_warn_of_one_class_too(cov3d: Command, tmp_path: Path) -> None:
    write_data(tmp_path, {0: MIXED, 1: MIXED, 2: ["covid", "mild"], 3: MIXED, 4: MIXED})
    note = "presence: all scans of fold 2 are COVID-positive"
    for _ in ("trained", "collected again"):
        ended = cov3d(*words("crossval", tmp_path))
        assert ended.code == 0, ended.err
        assert ended.err.count(note) == 1
    run = next((tmp_path / "runs").glob("*fold-2*"))
    ended = cov3d("validate", "--data", tmp_path, "--checkpoint", run / "presence.safetensors", "--device", "cpu")
    assert ended.code == 0, ended.err
    assert note in ended.err


class KilledError(BaseException):
    """Stands for a kill: nothing in the code catches it."""


@pytest.mark.usefixtures("quick_network")
def test_a_run_killed_while_its_curves_are_drawn_gets_them(
    cov3d: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(tmp_path, dict.fromkeys(range(5), MIXED))

    def kill(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(figures, "save", kill)
        with pytest.raises(KilledError):
            cov3d(*words("crossval", tmp_path, "--fold", 1))
    (run,) = (tmp_path / "runs").iterdir()
    assert (run / "history.csv").exists()
    assert cov3d(*words("crossval", tmp_path, "--fold", 1)).code == 0
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (run / "summary.json").exists()

    (run / "curves.png").unlink()  # as a kill of an older version left it
    (run / "last.pt").unlink()
    for command in (words("crossval", tmp_path, "--fold", 1), words("train", tmp_path, "--fold", 1, "--resume")):
        ended = cov3d(*command)
        assert (ended.code, "is finished" in ended.out) == (0, True), ended.err
        assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
        (run / "curves.png").unlink()

    (run / "history.csv").write_text("no history")
    ended = cov3d(*words("crossval", tmp_path, "--fold", 1))
    assert (ended.code, "can't be drawn" in ended.err) == (0, True)
    assert not (run / "curves.png").exists()
