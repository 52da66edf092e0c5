"""What `infer`, `validate`, `compare` and the others do can be called from Python, prints nothing and is the same."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score

import cov3d
from cov3d.errors import Cov3dError, PredictionsError
from cov3d.evaluation.predictions import load_predictions, save_predictions
from cov3d.listener import Cov3dWarning
from tests.conftest import Ended, sphere_chest, write_slices
from tests.inference.test_inference import member
from tests.reports.predictions import predictions

Command = Callable[..., Ended]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        write_slices(tmp_path / "scans" / f"ct_scan_{number}", sphere_chest(depth=12 + number))
    return tmp_path / "scans"


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from cov3d.inference import networks
    from cov3d.training import checkpoint

    monkeypatch.setattr(networks, "load_members", lambda files, device, **how: [member(1)])
    monkeypatch.setattr(checkpoint, "read_info", lambda file: member(1).info)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file() and file.suffix != ".lock"}


def test_three_lines_predict_and_print_and_write_nothing(
    scans: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    found = cov3d.predict(str(scans), "presence.safetensors", device="cpu", jobs=1)
    assert list(found.table["scan"]) == ["ct_scan_1", "ct_scan_2", "ct_scan_3"]
    assert found.table.filter(like="p_").sum(axis=1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert list(found.manifest["slices_found"]) == [13, 14, 15]
    assert (found.failed, found.left_out) == ({}, ())
    assert sorted(tmp_path.rglob("*")) == before
    assert capsys.readouterr() == ("", "")


def test_python_writes_what_the_command_writes(cov3d: Command, scans: Path, tmp_path: Path) -> None:
    import cov3d as package

    words = ("--scans", scans, "--device", "cpu", "--jobs", "1", "--output-dir", tmp_path / "command")
    ended = cov3d("infer", "--checkpoint", "c.safetensors", *words)
    assert ended.code == 0, ended.err
    how = {"output_dir": tmp_path / "python", "device": "cpu", "jobs": 1, "submission": True}
    package.predict([scans], ["c.safetensors"], **how)
    assert files(tmp_path / "python") == files(tmp_path / "command")
    assert {"predictions.csv", "manifest.csv", "covid.csv"} <= files(tmp_path / "python").keys()


def test_what_looks_like_a_scan_and_is_left_out_is_warned_of(scans: Path) -> None:
    (scans / "study.zip").write_bytes(b"PK")
    with pytest.warns(Cov3dWarning, match="left out: .*study.zip"):
        found = cov3d.predict(scans, "c.safetensors", device="cpu", jobs=1)
    assert any(left.path.name == "study.zip" for left in found.left_out)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"task": "presense"}, "task is one of presence, severity, both, not 'presense'"),
        ({"submission": True}, "submission files are written to output_dir"),
        ({"batch_size": 0}, "batch_size and jobs must be at least 1"),
        ({"checkpoints": []}, "give at least one checkpoint"),
        ({"scans": []}, "give at least one scan"),
    ],
)
def test_wrong_arguments_are_one_sentence(scans: Path, given: dict[str, object], sentence: str) -> None:
    with pytest.raises(Cov3dError, match=sentence):
        cov3d.predict(**{"scans": scans, "checkpoints": "c.safetensors", "device": "cpu", **given})


def labelled() -> pd.DataFrame:
    return predictions({"non-covid": 12, "mild": 12, "moderate": 12, "severe": 12, "critical": 12})


def test_a_labelled_table_is_scored_from_memory_and_from_its_file(tmp_path: Path) -> None:
    save_predictions(labelled(), tmp_path / "predictions.csv")
    table, _ = load_predictions(tmp_path / "predictions.csv")
    in_memory, from_file = cov3d.evaluate(table), cov3d.evaluate(str(tmp_path / "predictions.csv"))
    expected = f1_score(table["label"] != "non-covid", table["presence"] == "covid", average="macro")
    assert in_memory["presence"].result.macro_f1 == pytest.approx(expected)
    assert {task: one.as_dict() for task, one in in_memory.items()} == {
        task: one.as_dict() for task, one in from_file.items()
    }


def test_each_source_is_scored_too() -> None:
    table = labelled()
    places = dict(zip(table["scan"], np.where(np.arange(len(table)) % 2, "A", "B"), strict=True))
    found = cov3d.evaluate(table, sources=places)
    assert set(found) == {f"{task}{of}" for task in ("presence", "severity") for of in ("", ", A", ", B")}
    assert len(found["presence, A"].predictions) + len(found["presence, B"].predictions) == len(table)


def test_small_classes_are_warned_of() -> None:
    with pytest.warns(Cov3dWarning, match=r"severity: fewer than 10 scans of a class \(3 critical\)"):
        cov3d.evaluate(predictions({"non-covid": 12, "mild": 12, "moderate": 12, "severe": 12, "critical": 3}))


def test_what_is_no_labelled_table_is_refused() -> None:
    table = labelled()
    with pytest.raises(PredictionsError, match="no column label"):
        cov3d.evaluate(table.drop(columns="label"))
    with pytest.raises(PredictionsError, match="is not a prediction table"):
        cov3d.evaluate(table.drop(columns="p_mild"))
    with pytest.raises(PredictionsError, match="label is 'Mild', but must be one of"):
        cov3d.evaluate(table.assign(label="Mild"))


def test_compare_and_ensemble_write_what_their_commands_write(cov3d: Command, tmp_path: Path) -> None:
    from cov3d.api.ensembles import ensemble
    from cov3d.api.evaluation import compare

    tables = [tmp_path / f"{seed}.csv" for seed in (1, 2)]
    for seed, file in enumerate(tables, start=1):
        counts = {"non-covid": 12, "mild": 12, "moderate": 12, "severe": 12, "critical": 12}
        save_predictions(predictions(counts, seed=seed), file)
    first, second = (table.assign(label=labelled()["label"]) for table in (load_predictions(f)[0] for f in tables))
    save_predictions(first, tables[0])
    save_predictions(second, tables[1])
    assert cov3d("compare", *tables, "--output-dir", tmp_path / "a").code == 0
    found = compare(*tables, output_dir=tmp_path / "b")
    assert set(found) == {"presence", "severity"}
    assert files(tmp_path / "a") == files(tmp_path / "b")
    ended = cov3d("ensemble", *tables, "--output-dir", tmp_path / "c")
    assert ended.code == 0, ended.err
    made = ensemble(tables, output_dir=tmp_path / "d")
    assert files(tmp_path / "c") == files(tmp_path / "d")
    mean = (first.set_index("scan")["p_mild"] + second.set_index("scan")["p_mild"]) / 2
    assert made.table.set_index("scan")["p_mild"].to_dict() == pytest.approx(mean.to_dict())
    assert set(made.evaluated) == {"presence", "severity"}


def test_a_submission_is_checked_from_python(scans: Path, tmp_path: Path) -> None:
    from cov3d.api.submissions import check_submission

    cov3d.predict(scans, "c.safetensors", device="cpu", jobs=1, submission=True, output_dir=tmp_path / "made")
    checked = check_submission(tmp_path / "made", scans, allow_empty=True)
    assert (checked.scans, checked.problems) == (3, 0)
    names = (tmp_path / "made" / "covid.csv").read_text() + (tmp_path / "made" / "non-covid.csv").read_text()
    (tmp_path / "made" / "covid.csv").write_text(names + "ct_scan_9\n")
    assert check_submission(str(tmp_path / "made"), [scans], allow_empty=True).problems
