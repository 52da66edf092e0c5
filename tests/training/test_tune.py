"""The search for hyper-parameters: what trials are, that they repeat, that a search goes on after any end."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fastai.callback.core import Callback, CancelFitException

from cov3d.errors import Cov3dError, OutputError, TrainingDivergedError
from cov3d.models.names import Architecture
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training import search_space
from cov3d.training.dimensions import Choices, Numbers
from cov3d.training.learner import Run
from cov3d.training.options import TrainingOptions
from cov3d.training.search_space import BY_DEFAULT, RANGES, Objective, parse
from cov3d.training.tracking.tracker import Tracker
from cov3d.training.trials import Trial, best_of
from cov3d.training.tune import Train, Tuning, search
from tests.training.test_training import QUICK, run

Labelled = tuple[Store, pd.DataFrame]
BASE = replace(QUICK, epochs=2, seed=3)
TUNING = Tuning(BASE, parse(["dropout", "learning-rate"]), Objective.PRESENCE, prune=False)


@pytest.fixture
def train(labelled: Labelled, quick_network: None) -> Train:
    """Trains a trial on the labelled scans."""

    def train(options: TrainingOptions, folder: Path, trackers: Sequence[Tracker]) -> Run:
        return run(labelled, folder, options, continues=True, trackers=trackers)

    return train


def faked(scores: Sequence[Sequence[float]]) -> Train:
    """Trials whose presence F1 by epoch is given; an empty one diverges. They stop where they are pruned."""
    left = iter(scores)

    def train(options: TrainingOptions, folder: Path, trackers: Sequence[Any]) -> Run:
        rows: list[dict[str, float]] = []
        for epoch, score in enumerate(next(left), start=1):
            rows.append({"epoch": epoch, "presence_f1": score, "severity_f1": 0.5})
            (watch,) = trackers
            watch.learn = type("Learn", (), {"journal": type("Journal", (), {"rows": rows})})
            try:
                watch.after_epoch()
            except CancelFitException:
                raise watch.error from None
        if not rows:
            raise TrainingDivergedError("the loss became nan")
        return Run(folder, None, {}, pd.DataFrame(rows))  # type: ignore[arg-type]

    return train


def test_the_same_seed_draws_the_same_trials_and_another_seed_others(tmp_path: Path) -> None:
    def drawn(folder: str, tuning: Tuning = TUNING) -> list[float]:
        found = search(tuning, faked([[0.1], [0.9], [0.5]]), tmp_path / folder, n_trials=3)
        return [trial.options["dropout"] for trial in found]

    first = drawn("first")
    assert len(set(first)) == 3
    assert drawn("second") == first
    assert drawn("third", replace(TUNING, base=replace(BASE, seed=4))) != first


def test_a_trial_is_a_run_of_what_was_drawn_and_its_score_is_the_last_epochs(train: Train, tmp_path: Path) -> None:
    found = search(replace(TUNING, objective=Objective.MEAN), train, tmp_path, n_trials=2)
    for trial in found:
        folder = tmp_path / "trials" / str(trial.number)
        last = pd.read_csv(folder / "history.csv").iloc[-1]
        assert trial.score == pytest.approx((last["presence_f1"] + last["severity_f1"]) / 2)
        trained = json.loads((folder / "config.json").read_text())["options"]
        assert trained == trial.options
        assert 0 <= trained["dropout"] <= 0.6
        assert 1e-5 <= trained["learning_rate"] <= 1e-3
        assert {name: trained[name] for name in ("seed", "epochs", "gamma")} == {"seed": 3, "epochs": 2, "gamma": 2.0}
        assert not [file for file in folder.iterdir() if file.suffix in (".safetensors", ".pt")]
    written = pd.read_csv(tmp_path / "trials.csv")
    assert list(written.columns) == [
        *("number", "state", "score", "presence_f1", "severity_f1", "epochs", "dropout", "learning_rate", "error")
    ]
    assert written["number"].tolist() == [1, 2]
    assert written["score"].tolist() == pytest.approx([trial.score for trial in found])


class Interrupting(Callback):
    """Ctrl-C in the second epoch."""

    order, error = 70, None

    def after_batch(self) -> None:
        if self.learn.epoch == 1:
            raise KeyboardInterrupt

    def close(self) -> None:
        pass


def test_a_search_continues_as_if_it_had_not_been_interrupted(train: Train, labelled: Labelled, tmp_path: Path) -> None:
    unbroken = search(TUNING, train, tmp_path / "unbroken", n_trials=2)
    broken = tmp_path / "broken"
    assert search(TUNING, train, broken, n_trials=1) == unbroken[:1]

    def interrupted(options: TrainingOptions, folder: Path, trackers: Sequence[Tracker]) -> Run:
        return run(labelled, folder, options, continues=True, trackers=[*trackers, Interrupting()])

    with pytest.raises(KeyboardInterrupt):
        search(TUNING, interrupted, broken, n_trials=2)
    begun_at: list[int] = []

    def going_on(options: TrainingOptions, folder: Path, trackers: Sequence[Tracker]) -> Run:
        found = train(options, folder, trackers)
        begun_at.append(found.resumed_after)
        return found

    assert search(TUNING, going_on, broken, n_trials=2) == unbroken
    assert begun_at == [1]  # the interrupted trial went on from its last epoch
    for file in ("trials.csv", "trials/2/history.csv"):
        assert (broken / file).read_bytes() == (tmp_path / "unbroken" / file).read_bytes()
    assert search(TUNING, faked([]), broken, n_trials=1) == unbroken  # there are more already


def test_a_killed_search_continues_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = [[0.1], [0.2], [0.3]]
    unbroken = search(TUNING, faked(scores), tmp_path / "unbroken", n_trials=3)
    search(TUNING, faked(scores), tmp_path / "killed", n_trials=1)
    with monkeypatch.context() as patch:
        patch.setattr("optuna.Study.tell", lambda *arguments, **options: None)  # kill -9: nothing is told any more

        def killed(*arguments: object) -> Run:
            raise SystemExit

        with pytest.raises(SystemExit):
            search(TUNING, killed, tmp_path / "killed", n_trials=3)
    assert search(TUNING, faked(scores[1:]), tmp_path / "killed", n_trials=3) == unbroken


def test_a_trial_that_diverges_is_recorded_and_the_search_continues(tmp_path: Path) -> None:
    found = search(TUNING, faked([[0.4], [], [0.6]]), tmp_path, n_trials=3)
    assert [trial.state for trial in found] == ["complete", "failed", "complete"]
    assert "the loss became nan" in pd.read_csv(tmp_path / "trials.csv")["error"][1]
    best = best_of(found)
    assert best is not None
    assert (best.number, best.score) == (3, 0.6)
    assert best_of([trial for trial in found if trial.state == "failed"]) is None


def test_a_bad_file_system_ends_the_search_and_the_trial_is_done_again(tmp_path: Path) -> None:
    def broken(*arguments: object) -> Run:
        raise OutputError("the disk is full")

    with pytest.raises(OutputError, match="the disk is full"):
        search(TUNING, broken, tmp_path, n_trials=1)
    (trial,) = search(TUNING, faked([[0.4]]), tmp_path, n_trials=1)
    assert trial.number == 1


def test_a_trial_worse_than_the_median_at_its_epoch_is_pruned_where_asked(tmp_path: Path) -> None:
    good, bad = [0.5, 0.6, 0.7, 0.8], [0.1, 0.1, 0.1, 0.1]
    tuning = replace(TUNING, base=replace(BASE, epochs=4), prune=True)
    found = search(tuning, faked([good] * 5 + [bad]), tmp_path / "pruned", n_trials=6)
    assert [trial.state for trial in found] == ["complete"] * 5 + ["pruned"]
    assert (found[-1].epochs, found[-1].score, found[-1].presence_f1) == (2, None, 0.1)
    kept = search(replace(tuning, prune=False), faked([good] * 5 + [bad]), tmp_path / "kept", n_trials=6)
    assert (kept[-1].state, kept[-1].epochs, kept[-1].score) == ("complete", 4, 0.1)


@pytest.mark.usefixtures("quick_network")
def test_pruning_ends_a_real_run(labelled: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optuna.Trial.should_prune", lambda trial: True)

    def train(options: TrainingOptions, folder: Path, trackers: Sequence[Tracker]) -> Run:
        return run(labelled, folder, options, trackers=trackers)

    (trial,) = search(replace(TUNING, base=replace(BASE, epochs=3)), train, tmp_path, n_trials=1)
    assert (trial.state, trial.epochs) == ("pruned", 1)
    assert len(pd.read_csv(tmp_path / "trials" / "1" / "history.csv")) == 1


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"objective": Objective.SEVERITY}, "objective"),
        ({"space": parse(["dropout=0.1:0.2", "learning-rate"])}, "search"),
        ({"base": replace(BASE, epochs=9)}, "epochs"),
        ({"data": "other scans"}, "data"),
    ],
)
def test_a_folder_holds_trials_of_one_search(tmp_path: Path, changed: dict[str, Any], what: str) -> None:
    search(TUNING, faked([[0.4]]), tmp_path, n_trials=1)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=rf"holds another search \(different {what}\).*--overwrite"):
        search(replace(TUNING, **changed), faked([]), tmp_path, n_trials=1)
    (again,) = search(replace(TUNING, **changed), faked([[0.7]]), tmp_path, n_trials=1, overwrite=True)
    assert again.presence_f1 == 0.7
    assert (tmp_path / "notes.txt").exists()


def test_two_searches_do_not_work_in_one_folder(tmp_path: Path) -> None:
    def nested(*arguments: object) -> Run:
        search(TUNING, faked([]), tmp_path, n_trials=1)
        raise AssertionError

    with pytest.raises(OutputError, match="another search is using"):
        search(TUNING, nested, tmp_path, n_trials=1)


def test_a_study_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("not a database, but long enough to be taken for one" * 100)
    with pytest.raises(OutputError, match=r"study\.db can't be read or written as an Optuna study"):
        search(TUNING, faked([]), tmp_path, n_trials=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't be written"):
        search(TUNING, faked([]), tmp_path / "file" / "folder", n_trials=1)


def test_a_network_without_dropout_draws_none(tmp_path: Path) -> None:
    space = parse(["architecture=resnet,swin", "dropout=0.1:0.3", "size=tiny,small"])
    found = search(replace(TUNING, space=space), faked([[0.5]] * 12), tmp_path, n_trials=12)
    drawn = {(trial.options["architecture"], trial.options["size"]) for trial in found}
    assert drawn == {(network, size) for network in ("resnet", "swin") for size in ("tiny", "small")}
    for trial in found:
        has_none = trial.options["architecture"] == "swin"
        assert trial.options["dropout"] is None if has_none else 0.1 <= trial.options["dropout"] <= 0.3
        options = trial.trained_with(BASE)
        assert isinstance(options.architecture, Architecture)
        assert (options.size, options.dropout, options.seed) == (trial.options["size"], trial.options["dropout"], 3)


def test_what_to_search_is_read_from_words() -> None:
    assert parse(["gamma"]) == {"gamma": RANGES["gamma"]}
    assert parse(["learning-rate=1e-4:2e-4", "size=tiny,small"]) == {
        "learning_rate": Numbers(1e-4, 2e-4, log=True),
        "size": Choices((Size.TINY, Size.SMALL)),
    }
    assert set(RANGES) - set(BY_DEFAULT) == {"size", "architecture"}
    for name, low, high in (("dropout", 0.2, 0.5), ("emd_weight", 0.0, 0.9), ("brightness", 0.0, 0.04)):
        over = RANGES[name]
        assert isinstance(over, Numbers)
        assert over.low <= low < high <= over.high  # what the paper tried


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["speed"], "--search must be one of architecture, size, learning-rate, .* not 'speed'"),
        (["dropout", "dropout=0:0.1"], "--search dropout is given twice"),
        (["dropout=0.3"], "after dropout= give a range, low to high, such as dropout=0:0.6, not '0.3'"),
        (["dropout=0.5:0.1"], "give a range, low to high"),
        (["gamma=nan:1"], "give a range, low to high"),
        (["size=huge"], "after size= give a list of choices, such as size=small,medium,large, not 'huge'"),
        (["dropout=0:1"], "--dropout must be from 0 to below 1"),
        (["learning-rate=0:1"], "--learning-rate must be above 0"),
    ],
)
def test_words_that_can_not_be_searched_are_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(Cov3dError, match=sentence):
        parse(words)


def test_numbers_are_drawn_with_three_digits_inside_their_range() -> None:
    class Drawn:
        def __init__(self, value: float) -> None:
            self.value = value

        def suggest_float(self, *arguments: object, **options: object) -> float:
            return self.value

    assert Numbers(0.0, 0.6).suggest(Drawn(0.123456), "dropout") == 0.123
    assert Numbers(1e-5, 1e-3).suggest(Drawn(1.23456e-5), "learning_rate") == 1.23e-5
    assert Numbers(0.0, 0.59999).suggest(Drawn(0.599989), "dropout") <= 0.59999
    assert search_space.option("learning_rate") == "learning-rate"


def test_the_objective_is_a_task_or_their_mean() -> None:
    row = {"presence_f1": 0.9, "severity_f1": 0.5}
    assert [objective.of(row) for objective in Objective] == [0.9, 0.5, pytest.approx(0.7)]
    first, second = Trial(1, "complete", {}, score=0.5), Trial(2, "complete", {}, score=0.5)
    assert best_of([first, second]) is first
    assert not math.isnan(Objective.MEAN.of(row))
