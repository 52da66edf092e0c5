"""Runs in half precision: what is reported is what the checkpoints give in float32."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cov3d.evaluation.predictions import load_predictions
from cov3d.inference.networks import load_members
from cov3d.inference.predict import predict_store
from cov3d.preprocessing.store import Store
from cov3d.training import checkpoint, learner
from cov3d.training.loaders import choose_fold
from cov3d.training.options import Compute, Precision
from tests.training.test_training import CPU, QUICK, run

BF16 = replace(QUICK, epochs=3, precision=Precision.BF16, learning_rate=3e-3)
Labelled = tuple[Store, pd.DataFrame]


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a run; torch's archive of the resume state is compared by its tensors elsewhere."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name not in ("last.pt", ".lock")}


@pytest.mark.usefixtures("quick_network")
def test_reported_scores_are_those_of_validate(labelled: Labelled, tmp_path: Path) -> None:
    store, table = labelled
    found = run(labelled, tmp_path / "run", BF16)
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())["tasks"]
    for task in ("presence", "severity"):
        (member,) = load_members([tmp_path / "run" / f"{task}.safetensors"], CPU)
        again = predict_store(member, choose_fold(table, 0).validation, store, device=CPU)
        saved, _ = load_predictions(tmp_path / "run" / f"validation-{task}.csv")
        assert saved.filter(like="p_").to_numpy() == pytest.approx(again, abs=1e-6)
        assert found.best[task].probabilities == pytest.approx(again, abs=1e-6)
        info = checkpoint.read_info(tmp_path / "run" / f"{task}.safetensors")
        assert info.epoch == summary[task]["best_epoch"] == found.best[task].epoch
        assert info.score == summary[task]["best"]["macro_f1"] == found.best[task].scores[task].macro_f1
        assert summary[task]["chosen_in"] == "bf16"
        # The epoch was chosen by the scores in half precision, which the history shows.
        assert info.epoch == int(history[f"{task}_f1"].to_numpy().argmax()) + 1


@pytest.mark.usefixtures("quick_network")
def test_the_epochs_are_validated_in_half_precision(
    labelled: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves, fulls = [], []
    real = learner.rescore

    def spy(folder, validation, best, *given, **how):  # type: ignore[no-untyped-def]
        halves.extend(best.values())
        results = real(folder, validation, best, *given, **how)
        fulls.extend(results[0].values())
        return results

    monkeypatch.setattr(learner, "rescore", spy)
    run(labelled, tmp_path / "run", BF16)
    off = np.abs(halves[0].probabilities - fulls[0].probabilities).max()
    assert 1e-6 < off < 0.05
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.usefixtures("quick_network")
def test_a_run_that_was_killed_before_its_scores_were_computed_again_is_the_unbroken_one(
    labelled: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(labelled, tmp_path / "unbroken", BF16)
    real = learner.rescore
    for number, killed in enumerate(("before", "after")):

        def die(*given, when=killed, **how):  # type: ignore[no-untyped-def]
            if when == "after":
                real(*given, **how)
            raise KeyboardInterrupt

        folder = tmp_path / f"killed-{number}"
        with monkeypatch.context() as patch:
            patch.setattr(learner, "rescore", die)
            with pytest.raises(KeyboardInterrupt):
                run(labelled, folder, BF16)
        assert not (folder / "summary.json").exists()
        run(labelled, folder, BF16, continues=True)
        assert contents(folder) == contents(tmp_path / "unbroken")


@pytest.mark.usefixtures("quick_network")
def test_a_finished_run_keeps_the_temperature_of_its_checkpoints(labelled: Labelled, tmp_path: Path) -> None:
    first = run(labelled, tmp_path / "run", BF16)
    checkpoint.write_temperature(tmp_path / "run" / "presence.safetensors", 1.7)
    before = contents(tmp_path / "run")
    again = run(labelled, tmp_path / "run", BF16, continues=True)
    assert contents(tmp_path / "run") == before
    assert again.best["presence"].scores["presence"].macro_f1 == first.best["presence"].scores["presence"].macro_f1


@pytest.mark.usefixtures("quick_network")
@pytest.mark.parametrize("workers", [0, 2])
def test_the_batch_of_the_validation_changes_only_rounding(labelled: Labelled, tmp_path: Path, workers: int) -> None:
    options = replace(QUICK, epochs=2)
    first = run(labelled, tmp_path / "first", options)
    second = run(labelled, tmp_path / "second", options, compute=Compute(validation_batch_size=3, workers=workers))
    for task, result in first.best.items():
        assert second.best[task].probabilities == pytest.approx(result.probabilities, abs=1e-6)
    pd.testing.assert_frame_equal(first.history, second.history, rtol=1e-5)
    shutil.rmtree(tmp_path / "second")
