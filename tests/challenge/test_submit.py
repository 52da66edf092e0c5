"""The paper's submissions, and others, from runs: the right networks in the right folders, each predicting once."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cov3d.challenge import member_cache
from cov3d.challenge.runs import Runs
from cov3d.challenge.sets import SubmissionSet, checkpoints_of, load_sets, paper_sets
from cov3d.errors import SubmissionError
from cov3d.files import folder_lock
from cov3d.inference import networks, raw_scans
from cov3d.inference.task import Task
from cov3d.labels import CATEGORIES
from cov3d.training.checkpoint import write_temperature
from tests.conftest import Ended, sphere_chest, write_slices
from tests.inference.conftest import make_run

Command = Callable[..., Ended]
P = ["p_non_covid", "p_mild", "p_moderate", "p_severe", "p_critical"]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of test scans only: three of the first task, two of the second."""
    root = tmp_path_factory.mktemp("scans")
    for number, place in enumerate(("task1/a/ct_1", "task1/a/ct_2", "task1/b/ct_10", "task2/t/ct_1", "task2/t/ct_2")):
        chest = sphere_chest(depth=12, side=48)
        chest[chest == 55] += np.uint8(9 * number)
        write_slices(root / place, chest)
    return root


@pytest.fixture
def data(scans: Path, tmp_path: Path, quick_network: None) -> Path:
    """The test scans, and the runs of experiments 1 to 4 and 16, 18 and 13, of which some are over five folds."""
    for task in ("task1", "task2"):
        (tmp_path / task).symlink_to(scans / task)
    for experiment in (1, 2, 3, 4, 13):
        for fold in range(5):
            make_run(tmp_path / "runs", experiment, fold, scans=6)
    for experiment in (16, 18):
        make_run(tmp_path / "runs", experiment, 0, scans=6)
    return tmp_path


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many scans were preprocessed and how many predictions were made."""
    counts = {"preprocessed": 0, "predicted": 0}
    preprocess, probabilities = raw_scans.preprocess_scan, networks.launched

    def count_scan(*arguments: object, **options: object) -> object:
        counts["preprocessed"] += 1
        return preprocess(*arguments, **options)  # type: ignore[arg-type]

    def count_prediction(member: object, voxels: object, device: object, amp: object = None) -> object:
        counts["predicted"] += len(voxels)  # type: ignore[arg-type]
        return probabilities(member, voxels, device)  # type: ignore[arg-type]

    monkeypatch.setattr(raw_scans, "preprocess_scan", count_scan)
    monkeypatch.setattr(networks, "launched", count_prediction)
    return counts


def names(folder: Path) -> dict[str, list[str]]:
    return {file.name: file.read_text().splitlines() for file in sorted(folder.iterdir())}


def by_infer(cov3d: Command, data: Path, task: str, checkpoints: list[str], to: Path) -> pd.DataFrame:
    """The predictions and files that `cov3d infer` makes of the same checkpoints."""
    words = [word for name in checkpoints for word in ("--checkpoint", data / "runs" / name / f"{task}.safetensors")]
    scans = data / {"presence": "task1", "severity": "task2"}[task]
    ended = cov3d("infer", *words, "--scans", scans, "--task", task, "--jobs", 1, "--output-dir", to)
    assert ended.code == 0, ended.err
    return pd.read_csv(to / "predictions.csv")


def runs_of(experiments: list[int], folds: list[int]) -> list[str]:
    return [f"experiment-{number}_fold-{fold}_seed-{number}" for number in experiments for fold in folds]


def test_the_papers_ten_submissions_are_what_infer_makes_of_their_networks(
    cov3d: Command, data: Path, tmp_path: Path, counted: dict[str, int]
) -> None:
    ended = cov3d("submit", "--data", data, "--jobs", 1, "--output-dir", tmp_path / "out")
    assert ended.code == 0, ended.err
    # 20 networks of experiments 1 to 4 on three scans; 16, 18 and five of 13 on two.
    assert counted == {"preprocessed": 5, "predicted": 20 * 3 + 7 * 2}
    every = list(range(5))
    wanted = {
        "presence": [([1], [0]), ([1], every), ([4], every), ([1, 2, 3, 4], [0]), ([1, 2, 3, 4], every)],
        "severity": [([16], [0]), ([18], [0]), ([13], [0]), ([13], every), ([16, 18], [0])],
    }
    for task, submissions in wanted.items():
        for number, (experiments, folds) in enumerate(submissions, start=1):
            to = tmp_path / "by-infer" / task / str(number)
            table = by_infer(cov3d, data, task, runs_of(experiments, folds), to)
            found = pd.read_csv(tmp_path / "out" / "predictions" / f"{task}-{number}.csv")
            assert np.abs(found[P].to_numpy() - table[P].to_numpy()).max() < 1e-7
            written = names(tmp_path / "out" / task / str(number))
            assert written == {name: lines for name, lines in names(to).items() if name in written}
            files = ("covid.csv", "non-covid.csv") if task == "presence" else (f"{c}.csv" for c in CATEGORIES[1:])
            assert set(written) == set(files)
    overview = pd.read_csv(tmp_path / "out" / "submissions.csv")
    assert len(overview) == 10
    assert [len(networks.split()) for networks in overview["networks"]] == [1, 5, 5, 4, 20, 1, 1, 1, 5, 2]
    assert overview.loc[overview["task"] == "presence", ["covid", "non-covid"]].sum(axis=1).tolist() == [3] * 5
    assert pd.read_csv(tmp_path / "out" / "manifest-presence.csv")["scan"].tolist() == ["a/ct_1", "a/ct_2", "b/ct_10"]
    for task, place in (("presence", "task1"), ("severity", "task2")):
        folders = sorted((tmp_path / "out" / task).iterdir())
        checked = cov3d("check-submission", *folders, "--scans", data / place, "--allow-empty")
        assert checked.code == 0, checked.err


def test_what_was_predicted_is_not_predicted_again(
    cov3d: Command, data: Path, tmp_path: Path, counted: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    header = "task,number,members,folds,threshold\n"
    (tmp_path / "sets.csv").write_text(f"{header}presence,1,1 2,0,\nseverity,1,16,0,\n")
    words = ["submit", "--data", data, "--jobs", 1, "--batch-size", 1, "--set", tmp_path / "sets.csv"]
    words += ["--output-dir", tmp_path / "out"]
    add, added = member_cache._Cache.add, []

    def stopped(self: member_cache._Cache, *arguments: object) -> None:
        if len(added) == stop_at:
            raise KeyboardInterrupt
        added.append(add(self, *arguments))  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(member_cache._Cache, "add", stopped)
        for task in ("presence", "severity"):
            stop_at = len(added) + 2  # a scan of each task is left
            ended = cov3d(*words)
            assert ended.code == 130
            assert f"what was predicted is kept in {tmp_path / 'out' / 'members' / task}" in ended.err
            assert not (tmp_path / "out" / "presence").exists()
    # Of the scan at which it was stopped, each time, the work is lost.
    assert counted == {"preprocessed": 3 + 3, "predicted": 3 * 2 + 2 + 2}
    ended = cov3d(*words)
    assert ended.code == 0, ended.err
    assert "6 of 6 predictions were there already" in ended.out
    assert "1 of 2 predictions were there already" in ended.out
    assert counted == {"preprocessed": 7, "predicted": 11}
    assert cov3d(*words[:-1], tmp_path / "whole").code == 0
    for file in ("predictions/presence-1.csv", "manifest-presence.csv", "presence/1/covid.csv", "submissions.csv"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert cov3d(*words).code == 2
    with folder_lock(tmp_path / "out", "test"):
        ended = cov3d(*words, "--overwrite")
    assert (ended.code, "another cov3d submit is using" in ended.err) == (2, True)
    # A network more: the others stay. The submissions that are there are not replaced unless told to.
    (tmp_path / "sets.csv").write_text(f"{header}presence,1,EP2,0,\nseverity,1,16,0,\n")
    before = dict(counted)
    assert cov3d(*words, "--overwrite").code == 0
    assert (counted["preprocessed"], counted["predicted"]) == (before["preprocessed"] + 3, before["predicted"] + 3)
    # Other weights under the same name are another network.
    run = data / "runs" / "experiment-1_fold-0_seed-1"
    shutil.copy(data / "runs" / "experiment-4_fold-0_seed-4" / "presence.safetensors", run)
    assert cov3d(*words, "--overwrite").code == 0
    assert counted["predicted"] == before["predicted"] + 6
    # And scans of the same names elsewhere are other scans.
    shutil.copytree(data / "task1", tmp_path / "elsewhere")
    ended = cov3d(*words, "--overwrite", "--presence-scans", tmp_path / "elsewhere")
    assert ended.code == 2
    assert "give another --output-dir" in ended.err
    assert (tmp_path / "out" / "presence" / "1" / "covid.csv").exists()  # what was there goes when there is other
    # Of other sets nothing stays: what stands there is what the overview counts.
    (tmp_path / "sets.csv").write_text(f"{header}presence,9,1,0,\n")
    assert cov3d(*words, "--overwrite").code == 0
    assert [path.name for task in ("presence", "severity") for path in (tmp_path / "out").glob(f"{task}/*")] == ["9"]


def test_the_papers_submissions_have_no_temperature_unless_asked_for(
    cov3d: Command, data: Path, tmp_path: Path, counted: dict[str, int]
) -> None:
    (run,) = runs_of([16], [0])
    plain = by_infer(cov3d, data, "severity", [run], tmp_path / "plain")
    write_temperature(data / "runs" / run / "severity.safetensors", 2.0)
    scaled = by_infer(cov3d, data, "severity", [run], tmp_path / "scaled")
    assert np.abs(plain[P].to_numpy() - scaled[P].to_numpy()).max() > 0.01
    (tmp_path / "sets.csv").write_text(
        "task,number,members,folds,threshold,fitted_temperature\nseverity,1,16,0,,\nseverity,2,16,0,,no\n"
    )
    words = ["submit", "--data", data, "--jobs", 1, "--output-dir", tmp_path / "out", "--overwrite"]

    def made(number: int, *more: object) -> pd.DataFrame:
        ended = cov3d(*words, *more)
        assert ended.code == 0, ended.err
        return pd.read_csv(tmp_path / "out" / "predictions" / f"severity-{number}.csv")

    for wanted, found in (
        (plain, made(1)),
        (scaled, made(1, "--temperature")),
        (scaled, made(1, "--set", tmp_path / "sets.csv")),
        (plain, made(2, "--set", tmp_path / "sets.csv")),
        (plain, made(1, "--set", tmp_path / "sets.csv", "--no-temperature")),
    ):
        assert np.abs(found[P].to_numpy() - wanted[P].to_numpy()).max() < 1e-6
    assert pd.read_csv(tmp_path / "out" / "submissions.csv")["fitted_temperature"].tolist() == ["no", "no"]
    assert counted["predicted"] == 2 + 2 + 20 * 3 + 7 * 2  # the same predictions serve with and without


def test_all_missing_runs_are_reported_at_once(cov3d: Command, data: Path, tmp_path: Path) -> None:
    for name in ("experiment-2_fold-3_seed-2", "experiment-18_fold-0_seed-18"):
        shutil.rmtree(data / "runs" / name)
    (data / "runs" / "experiment-13_fold-4_seed-13" / "severity.safetensors").unlink()
    ended = cov3d("submit", "--data", data, "--output-dir", tmp_path / "out")
    assert ended.code == 2
    on = f"cov3d train --data {data}"
    for sentence in (
        f"experiment 2, fold 3 is not in {data / 'runs'}: {on} --experiment 2 --fold 3 --from-checkpoint",
        f"experiment 18, fold 0 is not in {data / 'runs'}: {on} --experiment 18 --fold 0\n",
        "experiment-13_fold-4_seed-13 has no severity.safetensors",
        "3 runs missing for 10 sets of submissions",
    ):
        assert sentence in ended.err
    assert ended.err.count("experiment 2, fold 3") == 1
    assert not (tmp_path / "out").exists()


def test_missing_runs_of_one_experiment_are_one_line_with_the_command_that_makes_them(
    cov3d: Command, data: Path, tmp_path: Path
) -> None:
    for fold in range(5):
        shutil.rmtree(data / "runs" / f"experiment-2_fold-{fold}_seed-2")
    ended = cov3d("submit", "--data", data, "--output-dir", tmp_path / "out")
    assert ended.code == 2
    crossval = f"experiment 2, 5 folds: cov3d crossval --data {data} --experiment 2 --from-checkpoint STOIC.safetensors"
    assert crossval in ended.err
    assert "5 runs missing for 10 sets" in ended.err
    assert len(ended.err.splitlines()) == 2


def test_sets_of_ones_own_take_runs_thresholds_and_formats(cov3d: Command, data: Path, tmp_path: Path) -> None:
    run = data / "runs" / "experiment-3_fold-1_seed-3"
    rows = [
        {"task": "presence", "number": 7, "members": ["runs/experiment-3_fold-1_seed-3", "1"], "threshold": 0.01},
        {"task": "severity", "number": 1, "members": [str(run / "severity.safetensors")]},
    ]
    (data / "mine.json").write_text(json.dumps(rows))
    ended = cov3d(
        *("submit", "--data", data, "--set", data / "mine.json", "--output-dir", tmp_path / "out", "--jobs", 1),
        *("--line-format", "row", "--severity-scans", data / "task1", "--runs", data / "runs", "--device", "cpu"),
        *("--batch-size", 3),
    )
    assert ended.code == 0, ended.err
    assert (tmp_path / "out" / "presence" / "7" / "non-covid.csv").read_text() == "ct_1,ct_2,ct_10\n"
    assert f"{tmp_path / 'out' / 'presence' / '7'}: covid.csv is empty" in ended.err
    with_severity = [
        name for file in (tmp_path / "out" / "severity" / "1").iterdir() for name in file.read_text().split(",")
    ]
    assert sorted(name.strip() for name in with_severity if name) == ["ct_1", "ct_10", "ct_2"]
    table = pd.read_csv(tmp_path / "out" / "predictions" / "presence-7.csv")
    infer = by_infer(cov3d, data, "presence", [run.name, "experiment-1_fold-0_seed-1"], tmp_path / "infer")
    assert np.abs(table[P].to_numpy() - infer[P].to_numpy()).max() < 1e-7


def test_a_scan_that_can_not_be_read_stops_or_is_listed(cov3d: Command, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "task1", tmp_path / "scans")
    (tmp_path / "scans" / "a" / "ct_3").mkdir()
    for slice_name in ("1.jpg", "2.jpg"):
        (tmp_path / "scans" / "a" / "ct_3" / slice_name).write_bytes(b"x")
    (tmp_path / "sets.csv").write_text("task,number,members,folds,threshold\npresence,1,EP1,0,0.5\n")
    words = ["submit", "--data", data, "--set", tmp_path / "sets.csv", "--presence-scans", tmp_path / "scans"]
    words += ["--output-dir", tmp_path / "out", "--jobs", 1]
    ended = cov3d(*words)
    assert (ended.code, "ct_3" in ended.err) == (2, True)
    ended = cov3d(*words, "--skip-errors")
    assert (ended.code, "presence: a/ct_3:" in ended.err) == (3, True)
    written = names(tmp_path / "out" / "presence" / "1")
    assert sorted(written["covid.csv"] + written["non-covid.csv"]) == ["ct_1", "ct_10", "ct_2"]


def test_a_test_scan_in_a_format_that_is_not_read_is_named_and_counted(
    cov3d: Command, data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data / "task1", tmp_path / "scans")
    (tmp_path / "scans" / "b" / "ct_3" / "series").mkdir(parents=True)
    (tmp_path / "scans" / "b" / "ct_3" / "series" / "1.dcm").write_bytes(b"x")
    (tmp_path / "sets.csv").write_text("task,number,members,folds,threshold\npresence,1,1,0,0.5\n")
    words = ["submit", "--data", data, "--set", tmp_path / "sets.csv", "--presence-scans", tmp_path / "scans"]
    ended = cov3d(*words, "--output-dir", tmp_path / "out", "--jobs", 1)
    assert ended.code == 3
    assert "ct_3/series/1.dcm is a DICOM file" in ended.err
    assert len(pd.read_csv(tmp_path / "out" / "left-out.csv")) == 1
    written = names(tmp_path / "out" / "presence" / "1")
    assert sorted(written["covid.csv"] + written["non-covid.csv"]) == ["ct_1", "ct_10", "ct_2"]


def test_without_test_scans_it_says_where_they_are_looked_for(cov3d: Command, data: Path, tmp_path: Path) -> None:
    (data / "task2").unlink()
    ended = cov3d("submit", "--data", data, "--output-dir", tmp_path / "out")
    assert ended.code == 2
    assert f"there are no test scans at {data / 'task2'}: give their folder with --severity-scans" in ended.err


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("presence,1,ES1,0,", "line 2: ES1 is an ensemble for severity, not presence"),
        ("presence,1,99,0,", "line 2: --experiment 99"),
        ("both,1,1,0,", "line 2: task must be presence or severity, not 'both'"),
        ("presence,0,1,0,", "line 2: number is 1 or more, not 0"),
        ("presence,x,1,0,", "line 2: number is 1 or more, not 'x'"),
        ("presence,1,,0,", "line 2: 'members' is missing"),
        ("presence,1,1,7,", r"line 2: folds must be numbers from 0 to 4, each once, not \[7\]"),
        ("presence,1,1,0 0,", "line 2: folds must be numbers from 0 to 4, each once"),
        ("presence,1,1,0,2", "line 2: threshold is for presence only and must be between 0 and 1, not 2.0"),
        ("severity,1,16,0,0.4", "line 2: threshold is for presence only"),
        ("presence,1,1,0,,maybe", "line 2: fitted_temperature must be yes or no .*, not 'maybe'"),
        ("presence,1,1,0,\npresence,1,2,0,", "line 3: there is a presence/1 already"),
        ("", "has no set"),
    ],
)
def test_a_set_that_can_not_be_made_is_refused_by_its_line(rows: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "sets.csv"
    file.write_text(f"task,number,members,folds,threshold,fitted_temperature\n{rows}\n")
    with pytest.raises(SubmissionError, match=sentence):
        load_sets(file)


def test_a_member_that_is_nothing_is_reported(tmp_path: Path) -> None:
    (_, (missing,)) = checkpoints_of(SubmissionSet(Task.PRESENCE, 1, ("EP9",)), Runs(tmp_path, tmp_path))
    assert str(missing).startswith("there is no checkpoint at EP9: a member is an experiment's number, an ensemble's")


def test_json_that_is_no_list_of_sets_is_refused(cov3d: Command, tmp_path: Path) -> None:
    for text, sentence in {
        "{": "can't be read as JSON",
        "{}": "must hold a list of sets",
        '[{"task": "presence", "number": 1, "members": "1"}]': "set 1: members must be a list",
        '[{"task": "presence", "number": 1, "members": ["1"], "fold": 0}]': "set 1: fold is none of task, number",
    }.items():
        (tmp_path / "sets.json").write_text(text)
        with pytest.raises(SubmissionError, match=sentence):
            load_sets(tmp_path / "sets.json")
    ended = cov3d("submit", "--set", tmp_path / "nowhere.json")
    assert (ended.code, "--set is paper, or a CSV or JSON file" in ended.err) == (2, True)


def test_a_network_is_not_averaged_with_itself(tmp_path: Path, quick_network: None) -> None:
    run = make_run(tmp_path, 1, 0)
    make_run(tmp_path, 2, 0)
    for members in (("1", "EP1"), ("1", str(run)), (str(run), str(run / "presence.safetensors"))):
        with pytest.raises(SubmissionError, match=r"would average .* with itself"):
            checkpoints_of(SubmissionSet(Task.PRESENCE, 1, members), Runs(tmp_path, tmp_path))


def test_the_papers_sets_are_those_of_section_6() -> None:
    assert [(one.place, one.members, one.folds) for one in paper_sets()] == [
        ("presence/1", ("1",), (0,)),
        ("presence/2", ("1",), (0, 1, 2, 3, 4)),
        ("presence/3", ("4",), (0, 1, 2, 3, 4)),
        ("presence/4", ("EP3",), (0,)),
        ("presence/5", ("EP3",), (0, 1, 2, 3, 4)),
        ("severity/1", ("16",), (0,)),
        ("severity/2", ("18",), (0,)),
        ("severity/3", ("13",), (0,)),
        ("severity/4", ("13",), (0, 1, 2, 3, 4)),
        ("severity/5", ("ES1",), (0,)),
    ]
