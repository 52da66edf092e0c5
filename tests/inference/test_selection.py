"""Selection of members and of a threshold: against plain search, whatever the order, and on out-of-fold scans only."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from cov3d.evaluation.predictions import save_predictions
from cov3d.inference.member_tables import MemberTable
from cov3d.inference.selection import macro_f1, select
from cov3d.inference.task import Task
from cov3d.labels import CATEGORIES
from tests.conftest import Ended
from tests.inference.conftest import LABELS, make_run, some_table

pytestmark = pytest.mark.usefixtures("no_pictures")
Command = Callable[..., Ended]
P = ["p_non_covid", "p_mild", "p_moderate", "p_severe", "p_critical"]
SCANS = [f"ct_{number}" for number in range(120)]
TRUE = [LABELS[number % 6] for number in range(120)]
GRADED = [number for number, label in enumerate(TRUE) if label in CATEGORIES[1:]]


def members(count: int, first: int = 0) -> list[MemberTable]:
    tables = [some_table(first + number, SCANS, TRUE).sort_values("scan", ignore_index=True) for number in range(count)]
    return [MemberTable(f"m{number}", (Path(f"m{number}"),), table, CATEGORIES) for number, table in enumerate(tables)]


def scored(chosen: Sequence[MemberTable], task: Task, threshold: float = 0.5) -> float:
    """The macro F1 of the mean of members, by NumPy and scikit-learn."""
    labels = chosen[0].table["label"]
    each = np.array([member.table[P].to_numpy(dtype=float) for member in chosen])
    if task == Task.PRESENCE:
        return float(f1_score(labels != "non-covid", each.mean(axis=0)[:, 0] < threshold, average="macro"))
    with_severity = labels.isin(CATEGORIES[1:]).to_numpy()
    conditional = (each[..., 1:] / each[..., 1:].sum(axis=-1, keepdims=True)).mean(axis=0)
    called = np.array(CATEGORIES[1:])[conditional.argmax(axis=1)]
    return float(f1_score(labels[with_severity], called[with_severity], average="macro"))


@pytest.mark.parametrize(("task", "first"), [(Task.PRESENCE, 30), (Task.SEVERITY, 0)])
def test_members_are_added_while_one_of_them_helps(task: Task, first: int) -> None:
    candidates = members(6, first)
    chosen: list[MemberTable] = []
    scores: list[float] = []
    while len(chosen) < 6:
        tried = [(scored([*chosen, other], task), other) for other in candidates if other not in chosen]
        score, best = max(tried, key=lambda pair: pair[0])  # the first of equals
        if scores and score <= scores[-1] + 1e-9:
            break
        chosen.append(best)
        scores.append(score)
    assert 1 < len(chosen) < 6
    for order in (candidates, candidates[::-1]):
        found = select(order, task, choose_members=True, choose_threshold=False)
        assert found.members == tuple(member.name for member in chosen)
        assert found.scores == pytest.approx(scores)
        assert found.threshold == 0.5


def test_the_threshold_is_the_best_there_is() -> None:
    candidates = members(2, first=3)
    found = select(candidates, Task.PRESENCE, choose_members=False, choose_threshold=True)
    assert found.members == ("m0", "m1")
    means = np.mean([member.table["p_non_covid"] for member in candidates], axis=0)
    best = max(scored(candidates, Task.PRESENCE, threshold) for threshold in means + 1e-9)
    assert scored(candidates, Task.PRESENCE, found.threshold) == pytest.approx(best)
    assert best > scored(candidates, Task.PRESENCE)
    called = np.where(found.chosen["p_non_covid"] < found.threshold, "covid", "non-covid")
    assert found.chosen["presence"].tolist() == called.tolist()


def test_a_threshold_of_one_half_is_kept_where_none_is_better() -> None:
    (one,) = members(1)
    positive = (one.table["label"] != "non-covid").to_numpy()
    one.table["p_non_covid"] = np.where(positive, 0.3, 0.9)
    assert select([one], Task.PRESENCE, choose_members=False, choose_threshold=True).threshold == 0.5


def test_each_scan_is_cross_fitted_by_what_was_chosen_without_it() -> None:
    """A member that knows the scans of one fifth and no others is chosen on all, and not for that fifth."""
    found = select(members(12), Task.SEVERITY, choose_members=True, choose_threshold=False)
    assert found.cross_fitted["scan"].tolist() == found.plain["scan"].tolist() == sorted(SCANS[n] for n in GRADED)
    labels = found.plain["label"]
    score = {
        name: f1_score(labels, table["severity"], average="macro")
        for name, table in (("plain", found.plain), ("chosen", found.chosen), ("cross", found.cross_fitted))
    }
    assert score["chosen"] == pytest.approx(found.scores[-1])
    assert score["chosen"] > score["cross"]
    assert score["plain"] == pytest.approx(scored(members(12), Task.SEVERITY))


def test_noise_gains_as_chosen_and_not_when_cross_fitted() -> None:
    """Twenty networks that know nothing: choosing among them seems to help, over many draws, and does not."""
    gains = []
    for draw in range(12):
        made = []
        for number in range(20):
            table = some_table(1000 + 20 * draw + number, SCANS).assign(label=TRUE)
            made.append(MemberTable(f"m{number}", (Path("m"),), table.sort_values("scan"), CATEGORIES))
        found = select(made, Task.SEVERITY, choose_members=True, choose_threshold=False)
        gains.append(
            [
                f1_score(table["label"], table["severity"], average="macro")
                for table in (found.plain, found.chosen, found.cross_fitted)
            ]
        )
    plain, chosen, cross_fitted = np.mean(gains, axis=0)
    assert chosen - plain > 0.08
    assert abs(cross_fitted - 0.25) < 0.04


@pytest.mark.parametrize("classes", [2, 4])
def test_the_macro_f1_is_scikit_learns(classes: int) -> None:
    rng = np.random.default_rng(classes)
    for size in (1, 5, 60):
        true, called = rng.integers(0, classes, (2, size))
        wanted = f1_score(true, called, labels=range(classes), average="macro", zero_division=0)
        assert macro_f1(true, called, classes) == pytest.approx(wanted)


def test_what_was_chosen_is_reported_and_can_be_submitted(cov3d: Command, tmp_path: Path, quick_network: None) -> None:
    runs = [make_run(tmp_path / "runs", number, fold, scans=60) for number in (1, 2, 3) for fold in (0, 1)]
    words = ["ensemble", *runs, "--task", "presence", "--select-members", "--select-threshold"]
    ended = cov3d(*words, "--output-dir", tmp_path / "out")
    assert ended.code == 0, ended.err
    ensemble = json.loads((tmp_path / "out" / "set.json").read_text())[0]
    found = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert ensemble["threshold"] != 0.5
    assert (
        found["presence"].tolist()
        == np.where(found["p_non_covid"] < ensemble["threshold"], "covid", "non-covid").tolist()
    )
    chosen = {member.split("/")[-2] for member in ensemble["members"]}
    averaged = [pd.read_csv(run / "validation-presence.csv").set_index("scan") for run in runs if run.name in chosen]
    for fold in (0, 1):
        tables = [table[P] for table in averaged if f"_{fold}_" in table.index[0]]
        mean = np.mean([table.sort_index().to_numpy() for table in tables], axis=0)
        rows = found[found["scan"].str.contains(f"_{fold}_")]
        assert np.abs(rows[P].to_numpy() - mean).max() < 1e-7
    flat = re.sub(r"\s+", " ", ended.out)
    assert (
        "on the scans that it was chosen on: this gain was itself selected, and is optimistic; B, the mean of all"
        in flat
    )
    assert "presence, 120 scans; members or threshold were selected on these scans: scores are optimistic" in flat
    assert "chosen on four fifths of the scans and scored on the last fifth, five times: the gain to trust" in flat
    assert cov3d("ensemble", *runs, "--task", "presence", "--output-dir", tmp_path / "all").code == 0
    compared = cov3d(
        "compare", tmp_path / "out", tmp_path / "all", "--task", "presence", "--output-dir", tmp_path / "c"
    )
    assert compared.code == 0, compared.err
    wanted = json.loads((tmp_path / "c" / "comparison.json").read_text())["presence"]["rows"]
    selection = json.loads((tmp_path / "out" / "selection.json").read_text())
    assert selection["as_chosen"]["rows"] == wanted
    assert selection["cross_fitted"]["rows"][0]["difference"] < wanted[0]["difference"]
    assert wanted[0]["low"] < wanted[0]["difference"] < wanted[0]["high"]
    by_name = cov3d(
        *("ensemble", "--name", "EP2", "--data", tmp_path, "--fold", 0, "--fold", 1, "--select-members"),
        *("--output-dir", tmp_path / "named"),
    )
    assert by_name.code == 0, by_name.err
    named = json.loads((tmp_path / "named" / "set.json").read_text())[0]
    assert (set(named["members"]) <= {"1", "2", "3"}, named["folds"]) == (True, [0, 1])


def test_nothing_is_selected_on_what_may_have_been_trained_on(
    cov3d: Command, tmp_path: Path, quick_network: None
) -> None:
    honest = make_run(tmp_path / "runs", 1, 0)
    known = pd.read_csv(honest / "validation-presence.csv")["scan"].tolist()
    leaking = make_run(tmp_path / "runs", 2, 0, trained_on=known[:3])
    forgotten = make_run(tmp_path / "runs", 3, 0, trained_on=())
    file = tmp_path / "somebodys.csv"
    save_predictions(pd.read_csv(honest / "validation-presence.csv"), file)
    words = ["ensemble", honest, "--select-members", "--output-dir", tmp_path / "out"]
    refused: dict[tuple[object, ...], str] = {
        (leaking, "--task", "presence"): "its network was trained on 3 of its 24 scans",
        (leaking, "--task", "presence", "--out-of-fold"): "its network was trained on 3 of its 24 scans",
        (forgotten, "--task", "presence"): "nothing beside it says what its network was trained on",
        (file, "--task", "presence"): f"{file}: nothing beside it says what its network was trained on",
        ("--task", "severity", "--select-threshold"): "--select-threshold is for presence",
    }
    for more, sentence in refused.items():
        ended = cov3d(*words, *more)
        assert (ended.code, sentence in ended.err) == (2, True), (more, ended.err)
    ended = cov3d("ensemble", file, "--select-threshold", "--output-dir", tmp_path / "out")
    assert (ended.code, "selection needs a task" in ended.err) == (2, True)
    assert not (tmp_path / "out").exists()
    assert cov3d(*words, file, "--task", "presence", "--out-of-fold").code == 0
    warned = cov3d("ensemble", honest, leaking, "--task", "presence", "--output-dir", tmp_path / "warned")
    assert warned.code == 0
    assert "experiment-2_fold-0_seed-2 was trained on 3 of these scans" in warned.err
    # What an ensemble was made of is known of it, too.
    again = ["ensemble", "--task", "presence", "--select-threshold", "--overwrite", "--output-dir", tmp_path / "again"]
    assert cov3d(*again, tmp_path / "warned").code == 2
    plain = cov3d("ensemble", honest, "--task", "presence", "--output-dir", tmp_path / "plain")
    assert plain.code == 0
    assert cov3d(*again, tmp_path / "plain").code == 0


def test_runs_of_one_name_are_distinguished(cov3d: Command, tmp_path: Path, quick_network: None) -> None:
    runs = [make_run(tmp_path / name, None, 0, seed=seed, name="mine") for seed, name in enumerate(("x", "y"))]
    table = pd.read_csv(runs[1] / "validation-presence.csv")
    positive = (table["label"] != "non-covid").to_numpy()
    table[P] = np.where(positive[:, None], [0.0, 1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0])
    save_predictions(table, runs[1] / "validation-presence.csv")
    ended = cov3d("ensemble", *runs, "--task", "presence", "--select-members", "--output-dir", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "the mean of 1 member, of" in ended.out
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["presence"]["macro_f1"] == 1.0
    (made,) = json.loads((tmp_path / "out" / "set.json").read_text())
    assert made["members"] == ["../y/mine/presence.safetensors"]


def test_a_set_names_the_checkpoints_that_were_averaged(cov3d: Command, tmp_path: Path, quick_network: None) -> None:
    run = make_run(tmp_path / "runs", None, 0, name="mine")
    both = [run / "presence.safetensors", run / "severity.safetensors"]
    assert cov3d("ensemble", *both, "--task", "severity", "--output-dir", tmp_path / "out").code == 0
    (made,) = json.loads((tmp_path / "out" / "set.json").read_text())
    assert [(tmp_path / "out" / member).resolve() for member in made["members"]] == both


def test_without_labels_there_is_nothing_to_choose_by(cov3d: Command, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_predictions(some_table(1, SCANS), tmp_path / f"{name}.csv")
    ended = cov3d(
        *("ensemble", tmp_path / "a.csv", tmp_path / "b.csv", "--task", "severity", "--select-members"),
        *("--out-of-fold", "--output-dir", tmp_path / "out"),
    )
    assert (ended.code, "has a severity label: selection needs labelled scans" in ended.err) == (2, True)


@pytest.mark.parametrize("seen", [0, 2, None])
def test_a_cross_validation_is_a_member_over_its_folds(cov3d: Command, tmp_path: Path, seen: int | None) -> None:
    for name, first in (("a", 0), ("b", 40)):
        for number, task in enumerate(("presence", "severity")):
            table = some_table(first + number, SCANS, TRUE)
            table["fold"] = [number % 5 for number in range(120)]
            save_predictions(table, tmp_path / name / f"out-of-fold-{task}.csv")
        if seen is not None:
            origin = {"networks": ["x"], "seen_in_training": seen}
            (tmp_path / name / "origin.json").write_text(json.dumps(origin))
    words = ["ensemble", tmp_path / "a", tmp_path / "b", "--task", "severity", "--output-dir", tmp_path / "out"]
    ended = cov3d(*words, "--select-members")
    if seen:
        assert (ended.code, "its network was trained on 2 of its 120 scans" in ended.err) == (2, True)
        return
    if seen is None:
        assert (ended.code, "nothing beside it says what its network was trained on" in ended.err) == (2, True)
        return
    assert ended.code == 0, ended.err
    assert "severity macro F1 by fold: 0: " in ended.out
    assert cov3d(*words[:-4], "--output-dir", tmp_path / "both").code == 2
