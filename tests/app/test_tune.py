"""`cov3d tune` as a person meets it: what it searches, what it tells, and what it refuses."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from cov3d.models import weights
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.training import learner, start, tune
from cov3d.training.options import Compute
from cov3d.training.search_space import BY_DEFAULT, RANGES, Objective
from tests.app.conftest import ReachedError
from tests.conftest import Ended
from tests.training.conftest import fill, quick_network  # noqa: F401  a fixture

Command = Callable[..., Ended]
Reached = Callable[..., ReachedError]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset preprocessed at size tiny; fold 1 has no severities."""
    root = tmp_path_factory.mktemp("tune")
    labels = ["non-covid", "mild", "moderate", "severe", "critical", "non-covid", "covid"]
    _, table = fill(root / "preprocessed" / "tiny", labels, [2, 2, 0, 0, 0, 0, 1])
    table.to_csv(root / "scans.csv", index=False)
    return root


@pytest.fixture
def base(data: Path) -> list[object]:
    return ["tune", "--data", data, "--size", "tiny", "--no-pretrained", "--epochs", 1]


def flat(text: str) -> str:
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text)


@pytest.mark.usefixtures("quick_network")
def test_a_search_ends_with_its_best_and_the_command_that_trains_it(
    cov3d: Command, base: list[object], data: Path, tmp_path: Path, reached: Reached
) -> None:
    folder = tmp_path / "search"
    words = [*base, "--output-dir", folder, "--objective", "severity", "--seed", 5]
    ended = cov3d(*words, "--trials", 2)
    assert ended.code == 0, ended.err
    trials = pd.read_csv(folder / "trials.csv")
    best = trials.loc[trials["score"].idxmax()]
    told = json.loads((folder / "best.json").read_text())
    assert (told["trial"], told["objective"]) == (best["number"], "severity")
    assert told["score"] == pytest.approx(best["score"])
    assert told["options"] == {name: pytest.approx(best[name]) for name in BY_DEFAULT}
    assert f"train it: {told['command']}" in ended.out
    assert "its score is optimistic" in ended.out
    command, *arguments = shlex.split(told["command"])
    assert command == "cov3d"
    trained = reached(learner, "train", *arguments).arguments[0]
    found = json.loads((folder / "trials" / str(best["number"]) / "config.json").read_text())["options"]
    assert json.loads(json.dumps(vars(trained))) == found
    more = cov3d(*words, "--trials", 3)
    assert more.code == 0, more.err
    assert "trial 3 of 3" in more.out
    assert "trial 2 of" not in more.out
    assert pd.read_csv(folder / "trials.csv").iloc[:2].equals(trials)


def test_what_tune_declares_reaches_the_search(reached: Reached, base: list[object], data: Path) -> None:
    plain = reached(tune, "search", *base)
    wanted = plain.arguments[0]
    assert list(wanted.space) == list(BY_DEFAULT)
    assert (wanted.objective, wanted.prune) == (Objective.PRESENCE, True)
    assert (plain.options["n_trials"], plain.options["overwrite"]) == (20, False)
    assert plain.arguments[2] == data / "tuning" / "presence_resnet_tiny_epochs-1_pretrained-False_fold-0_seed-0"
    told = reached(
        *(tune, "search", *base, "--trials", 7, "--objective", "mean", "--no-prune", "--overwrite"),
        *("--search", "gamma=1:2", "--search", "dropout", "--output-dir", data / "elsewhere", "--fold", 2),
    )
    wanted = told.arguments[0]
    assert {name: str(over) for name, over in wanted.space.items()} == {"gamma": "1:2", "dropout": "0:0.6"}
    assert (wanted.objective, wanted.prune, wanted.base.fold) == (Objective.MEAN, False, 2)
    assert (told.options["n_trials"], told.options["overwrite"]) == (7, True)
    assert told.arguments[2] == data / "elsewhere"
    assert wanted.data != plain.arguments[0].data  # another fold, other scans


def test_an_option_that_is_given_is_held_and_not_searched(reached: Reached, base: list[object]) -> None:
    held = reached(tune, "search", *base, "--dropout", 0.2, "--learning-rate", 0.001, "--no-reflect").arguments[0]
    assert set(held.space) == set(BY_DEFAULT) - {"dropout", "learning_rate"}
    assert (held.base.dropout, held.base.learning_rate, held.base.reflect) == (0.2, 0.001, False)
    row = reached(tune, "search", *base, "--experiment", 9).arguments[0]
    assert set(row.space) == set(BY_DEFAULT)
    assert (row.base.experiment, row.base.dropout, row.base.size) == (9, 0.5, "tiny")
    assert "dropout" not in reached(tune, "search", *base, "--architecture", "swin").arguments[0].space


def test_a_trial_is_trained_as_train_would(reached: Reached, base: list[object], data: Path, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text((data / "scans.csv").read_text().replace(",mild,", ",critical,"))
    words = ["--table", tmp_path / "table.csv", "--device", "cpu", "--workers", 3, "--no-deterministic", "--compile"]
    words += ["--store", data / "preprocessed" / "tiny", "--channels-last", "--gradient-checkpointing"]
    call = reached(learner, "train", *base, "--output-dir", tmp_path / "search", *words)
    assert set(call.arguments[1].train["label"]) == {"non-covid", "critical", "covid"}
    assert call.arguments[3] == tmp_path / "search" / "trials" / "1"
    assert call.options["device"] == torch.device("cpu")
    assert call.options["compute"] == Compute(
        workers=3, deterministic=False, compile=True, channels_last=True, gradient_checkpointing=True
    )
    assert (call.options["start"], call.options["continues"]) == (start.RANDOM, True)


def test_stoics_three_categories_are_searched_over_too(
    reached: Reached, base: list[object], data: Path, tmp_path: Path
) -> None:
    table = (
        (data / "scans.csv").read_text().replace(",mild,", ",covid-not-severe,").replace(",moderate,", ",covid-severe,")
    )
    (tmp_path / "stoic.csv").write_text(
        table.replace(",severe,", ",covid-severe,").replace(",critical,", ",covid-severe,")
    )
    words = [*base, "--table", tmp_path / "stoic.csv", "--objective", "mean", "--output-dir", tmp_path / "s"]
    call = reached(learner, "train", *words)
    assert call.options["categories"] == ("non-covid", "covid-not-severe", "covid-severe")
    assert call.arguments[0].distances == (1.0, 1.0)


def test_every_network_and_size_that_is_searched_must_be_at_hand(
    cov3d: Command, reached: Reached, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(weights, "find_or_fetch", lambda *arguments: asked.append(arguments[:2]))
    monkeypatch.setattr(start, "from_kinetics", lambda *arguments: start.RANDOM)
    words = ["tune", "--data", data, "--weights-dir", "w", "--search", "architecture=resnet,swin"]
    reached(tune, "search", *words, "--size", "tiny")
    assert asked == [("resnet", Path("w")), ("swin", Path("w"))]
    two = [*words, "--search", "size=tiny,small"]
    ended = cov3d(*two)
    assert (ended.code, "run cov3d preprocess --size small first" in flat(ended.err)) == (2, True)
    Store.create(data / "preprocessed" / "small", Size.SMALL)
    ended = cov3d(*two)
    assert ended.code == 2
    assert re.search("7 of 7 scans are missing or incomplete in .* run cov3d preprocess --size small", flat(ended.err))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--search", "speed"],
            "--search must be one of architecture, size, learning-rate, gamma, emd-weight, dropout, brightness",
        ),
        (["--search", "gamma", "--gamma", 1], "--gamma and --search gamma cannot be combined"),
        (["--search", "dropout", "--architecture", "swin"], "--search dropout: swin has none"),
        (["--search", "size=tiny,small", "--store", "s"], "--store is the store of one size"),
        (["--fold", 1, "--objective", "mean"], "no scan of fold 1 has a severity: give --objective presence"),
        (["--experiment", 1], "experiment 1 starts from a network that was pretrained on STOIC"),
        (["--from-checkpoint", "x"], "--from-checkpoint and --no-pretrained cannot be combined"),
        (["--weights", "x"], "--weights and --no-pretrained cannot be combined"),
        (["--precision", "fp16", "--device", "cpu"], "--precision fp16 needs a CUDA device"),
        ([word for name in BY_DEFAULT for word in (f"--{name.replace('_', '-')}", 0.1)], "name others with --search"),
        (["--trials", 0], "is not in the range"),
    ],
)
def test_what_can_not_be_searched_is_one_sentence(
    cov3d: Command, data: Path, tmp_path: Path, words: list[object], sentence: str
) -> None:
    base = ["tune", "--data", data, "--no-pretrained", "--output-dir", tmp_path / "out"]
    size = [] if "size=tiny,small" in words else ["--size", "tiny"]
    ended = cov3d(*base, *size, *words)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert sentence in flat(ended.err)
    assert not (tmp_path / "out").exists()


def test_torchrun_is_refused(cov3d: Command, base: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    ended = cov3d(*base)
    assert (ended.code, "start it without torchrun" in ended.err) == (2, True)


@pytest.mark.usefixtures("quick_network")
def test_a_search_of_which_no_trial_ends_says_where_to_look(cov3d: Command, base: list[object], tmp_path: Path) -> None:
    ended = cov3d(*base, "--search", "learning-rate=1e37:1e38", "--trials", 1, "--output-dir", tmp_path / "s")
    assert ended.code == 2
    assert "warning: trial 1 failed:" in flat(ended.err)
    assert "none of the 1 trials came to its end" in flat(ended.err)
    assert pd.read_csv(tmp_path / "s" / "trials.csv")["state"].tolist() == ["failed"]
    assert not (tmp_path / "s" / "best.json").exists()


def test_ctrl_c_ends_a_search_cleanly_and_says_how_to_continue(
    cov3d: Command, base: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(learner, "train", interrupt)
    ended = cov3d(*base)
    assert ended.code == 130
    assert "the same command continues" in flat(ended.err)


def test_the_ranges_stand_in_the_help(cov3d: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    text = flat(cov3d("tune", "--help").out)
    for name, over in RANGES.items():
        assert f"{name.replace('_', '-')}={over}" in text
