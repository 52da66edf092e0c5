"""Training, validation and submission with the three categories of STOIC."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cov3d.challenge.submission import write_submission
from cov3d.errors import CheckpointError, Cov3dError
from cov3d.evaluation.metrics import score_severity
from cov3d.evaluation.scores import evaluate, save_scores
from cov3d.inference.networks import load_members
from cov3d.inference.task import Task
from cov3d.inference.validate import check_labels, save_validated, validate
from cov3d.labels import CATEGORIES, STOIC_CATEGORIES
from cov3d.reports import figures, score_figures
from cov3d.reports.tables import confusion_table, fold_table, score_table
from cov3d.training import checkpoint
from cov3d.training.learner import train
from cov3d.training.loaders import choose_fold
from tests.training.conftest import fill
from tests.training.test_checkpoint import INFO
from tests.training.test_training import CPU, QUICK

LABELS = ["non-covid", "covid-not-severe", "covid-severe", "covid", "non-covid", "covid-not-severe", "covid-severe"]
FOLDS = [1, 1, 1, 1, 0, 0, 0]


@pytest.mark.usefixtures("quick_network")
def test_three_categories_are_trained_validated_and_drawn(tmp_path: Path) -> None:
    store, table = fill(tmp_path / "store", LABELS, FOLDS)
    fold = choose_fold(table, 0)
    train(QUICK, fold, store, tmp_path / "run", device=CPU, categories=STOIC_CATEGORIES)
    info = checkpoint.read_info(tmp_path / "run" / "severity.safetensors")
    assert info.categories == STOIC_CATEGORIES
    assert info.options["distances"] == [1.0, 1.0]
    saved = pd.read_csv(tmp_path / "run" / "validation-severity.csv")
    assert list(saved.columns) == [
        *("scan", "p_non_covid", "p_covid_not_severe", "p_covid_severe", "presence", "severity", "label")
    ]
    assert saved.filter(like="p_").sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-6)
    assert set(saved["severity"]) <= {"covid-not-severe", "covid-severe"}
    (member,) = load_members([tmp_path / "run" / "severity.safetensors"], CPU)
    found = validate(member, fold.validation, store, device=CPU)
    assert found.severity.classes == ("covid-not-severe", "covid-severe")
    assert (found.presence.scans, found.severity.scans) == (3, 2)
    save_validated(found, tmp_path)
    evaluated = evaluate(found.table, STOIC_CATEGORIES, resamples=50)
    save_scores(evaluated, tmp_path, {})
    assert list(json.loads((tmp_path / "scores.json").read_text())["severity"]["f1"]) == list(found.severity.classes)
    assert evaluated["severity"].result.macro_f1 == found.severity.macro_f1
    assert [axes.get_title().split(":")[0] for axes in score_figures.curves(evaluated).axes] == [
        *["presence"] * 2, *["severity"] * 2
    ]  # fmt: skip
    drawn = figures.confusion({"presence": found.presence, "severity": found.severity})
    assert [text.get_text() for text in drawn.axes[1].get_xticklabels()] == list(found.severity.classes)
    assert confusion_table(found.severity, "").row_count == 2
    assert score_table({"severity": found.severity}, "").row_count == 3


def test_folds_of_stoic_are_counted_and_drawn_by_its_labels(tmp_path: Path) -> None:
    table = pd.DataFrame({"scan": range(7), "partition": "train", "label": LABELS, "fold": FOLDS})
    counts = fold_table(table)
    columns = [list(column.cells) for column in counts.columns]
    assert columns[0] == ["non-covid", "covid-not-severe", "covid-severe", "covid"]
    assert columns[1:] == [["1", "1", "1", "0"], ["1", "1", "1", "1"], ["2", "2", "2", "1"]]
    axes = figures.folds(table).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [*columns[0][:3], "COVID, severity unknown"]


def test_severity_of_three_categories_is_scored_over_two_classes() -> None:
    # Labels 1 and 2 are grades, 3 is unknown severity: three graded scans, called 0, 0, 1.
    score = score_severity(np.array([0, 1, 2, 2, 3]), np.array([1, 0, 0, 1, 1]), STOIC_CATEGORIES)
    assert score.scans == 3
    assert score.f1 == pytest.approx((2 / 3, 2 / 3))


def test_other_distances_than_ones_need_as_many_as_there_are_steps() -> None:
    other = replace(QUICK, distances=(1.0, 2.0, 1.0, 1.0))
    assert other.for_categories(CATEGORIES) is other
    with pytest.raises(Cov3dError, match=r"--distances has 4 values, .*covid-severe\) need 2: leave the option out"):
        other.for_categories(STOIC_CATEGORIES)
    assert replace(QUICK, distances=(1.0, 3.0)).for_categories(STOIC_CATEGORIES).distances == (1.0, 3.0)


def test_a_checkpoint_is_validated_on_labels_of_its_own_dataset_only() -> None:
    stoic = replace(INFO, categories=STOIC_CATEGORIES)
    for info, labels in ((INFO, ["mild", "", "covid"]), (stoic, ["covid-severe", "non-covid"]), (stoic, ["covid"])):
        check_labels(info, labels)
    both = ["non-covid, mild, moderate, severe, critical", "non-covid, covid-not-severe, covid-severe"]
    for info, labels in ((INFO, ["covid-severe"]), (stoic, ["non-covid", "mild"])):
        with pytest.raises(CheckpointError) as caught:
            check_labels(info, labels)
        mine, other = both if info is INFO else reversed(both)
        assert f"the checkpoint has the categories {mine}, but the scan table" in str(caught.value)
        assert f"another dataset, {other}:" in str(caught.value)


def test_files_of_the_four_grades_are_not_written_from_three_categories(tmp_path: Path) -> None:
    calls = pd.DataFrame([("1.mha", "covid", "covid-severe")], columns=["scan", "presence", "severity"])
    for task in (Task.BOTH, Task.SEVERITY):
        with pytest.raises(CheckpointError, match="give --task presence, or --no-submission"):
            write_submission(calls, STOIC_CATEGORIES, tmp_path, task)
    assert not list(tmp_path.iterdir())
    assert write_submission(calls, STOIC_CATEGORIES, tmp_path, Task.PRESENCE) == {"covid.csv": 1, "non-covid.csv": 0}


def test_the_loss_of_three_categories_by_hand() -> None:
    from cov3d.training.loss import FocalEMDLoss

    loss = FocalEMDLoss(gamma=0.0, emd_weight=1.0, distances=(1.0, 1.0))
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    for label, distance in ((0, 0.3 + 0.4), (1, 0.5 + 0.2), (2, 1.0 + 0.3), (3, 0.5)):
        assert float(loss(logits, torch.tensor([label]))) == pytest.approx(distance, abs=1e-6)
