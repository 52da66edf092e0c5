"""Every command that writes a folder: one at a time, whole or as before, continued after a failure."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cov3d.files import folder_lock
from cov3d.inference import networks, raw_scans
from tests.conftest import Ended, sphere_chest, write_slices
from tests.inference.conftest import make_run, no_pictures  # noqa: F401  a fixture
from tests.training.conftest import fill, quick_network  # noqa: F401  a fixture

Command = Callable[..., Ended]
pytestmark = pytest.mark.usefixtures("quick_network", "no_pictures")


@dataclass
class Case:
    """A command line, the folder of its results, one of its last files, and what `--overwrite` is called."""

    words: list[object]
    folder: Path
    late: str
    overwrite: tuple[str, ...] = ("--overwrite",)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dataset with a store, runs on two folds and test scans."""
    root = tmp_path / "data"
    labels = ["non-covid", "mild", "moderate", "severe", "critical", "covid"]
    _, table = fill(root / "preprocessed" / "tiny", labels * 5, [number // 6 for number in range(30)])
    table.to_csv(root / "scans.csv", index=False)
    for fold in range(5):
        make_run(root / "runs", 12, fold, scans=12)
    for number in range(3):
        chest = sphere_chest(depth=12, side=48)
        chest[chest == 55] += np.uint8(9 * number)
        write_slices(root / "task1" / f"ct_{number}", chest)
    (root / "sets.csv").write_text("task,number,members,folds,threshold\npresence,1,12,0,\n")
    return root


@pytest.fixture
def cases(data: Path, tmp_path: Path) -> dict[str, Case]:
    run = [data / "runs" / f"experiment-12_fold-{fold}_seed-12" for fold in range(5)]
    checkpoint = run[0] / "presence.safetensors"
    out = tmp_path / "out"
    cpu = ["--device", "cpu"]
    return {
        "infer": Case(
            ["infer", "--checkpoint", checkpoint, "--scans", data / "task1", "--output-dir", out, "--jobs", 1, *cpu],
            *(out, "critical.csv"),
        ),
        "submit": Case(
            ["submit", "--data", data, "--set", data / "sets.csv", "--output-dir", out, "--jobs", 1, *cpu],
            *(out, "submissions.csv"),
        ),
        "validate": Case(
            ["validate", "--checkpoint", checkpoint, "--data", data, "--output-dir", out, *cpu], out, "scores.csv"
        ),
        "ensemble": Case(["ensemble", run[0], "--task", "presence", "--output-dir", out], out, "set.json"),
        "compare": Case(
            ["compare", run[0], run[0] / "validation-presence.csv", "--output-dir", out, "--task", "presence"],
            *(out, "comparison.csv"),
        ),
        "report": Case(["report", run[0], "--data", data, "--output-dir", out], out, "report.html", ()),
    }


COMMANDS = ("infer", "submit", "validate", "ensemble", "compare", "report")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if path.name != ".lock"}


@contextmanager
def full_disk(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk that is full when the file `name` is written."""
    replace = Path.replace

    def full(path: Path, target: Path) -> Path:
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        yield


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many scans were predicted at a time."""
    found: list[int] = []
    probabilities = networks.launched

    def counting(member: object, voxels: object, device: object, amp: object = None) -> object:
        found.append(len(voxels))  # type: ignore[arg-type]
        return probabilities(member, voxels, device)  # type: ignore[arg-type]

    monkeypatch.setattr(networks, "launched", counting)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_after_a_full_disk_the_same_command_completes_and_predicts_nothing_again(
    name: str, cases: dict[str, Case], cov3d: Command, monkeypatch: pytest.MonkeyPatch, predicted: list[int]
) -> None:
    case = cases[name]
    with full_disk(case.late, monkeypatch):
        ended = cov3d(*case.words)
    assert ended.code == 2
    sentence = ended.err.strip().splitlines()[-1]
    assert sentence.startswith(f"error: {case.folder}")
    assert sentence.endswith(f"{case.late} can't be written: No space left on device")
    assert ".staged" not in ended.err
    before = len(predicted)
    again = cov3d(*case.words)
    assert again.code == 0, again.err
    assert len(predicted) == before
    assert predicted or name not in ("infer", "submit", "validate")
    found = contents(case.folder)
    assert any(file.endswith(case.late) for file in found)
    # It is what the command makes without a failure, and nothing else is left.
    assert cov3d(*case.words, *case.overwrite).code == 0
    assert contents(case.folder) == found
    assert not [path for path in case.folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_failure_leaves_the_earlier_result(
    name: str, cases: dict[str, Case], cov3d: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = cases[name]
    assert cov3d(*case.words).code == 0
    (case.folder / "notes.txt").write_text("mine")
    before = contents(case.folder)
    with full_disk(case.late, monkeypatch):
        assert cov3d(*case.words, *case.overwrite).code == 2
    assert {file: content for file, content in contents(case.folder).items() if file[0] != "."} == before
    if case.overwrite:
        refused = cov3d(*case.words)
        assert refused.code == 2
        assert "already holds" in refused.err
        assert "give another --output-dir, or --overwrite" in refused.err


def test_a_damaged_scan_and_a_stop_leave_the_earlier_predictions_and_keep_the_new_ones(
    cases: dict[str, Case], cov3d: Command, data: Path, predicted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = cases["infer"]
    case.words += ["--batch-size", 1]
    assert cov3d(*case.words).code == 0
    before = contents(case.folder)
    predicted.clear()
    slices = sorted((data / "task1" / "ct_2").iterdir())
    whole = {file: file.read_bytes() for file in slices}
    for file in slices:
        file.write_bytes(b"damaged")
    words = [*case.words, "--overwrite"]
    assert cov3d(*words).code == 2
    assert predicted == [1, 1]
    assert {file: content for file, content in contents(case.folder).items() if file[0] != "."} == before
    for file, content in whole.items():
        file.write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr(raw_scans, "preprocess_scan", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        stopped = cov3d(*words)
    assert stopped.code == 130
    assert f"kept in {case.folder}, and the same command continues" in stopped.err
    ended = cov3d(*words)
    assert ended.code == 0, ended.err
    assert "2 of 3 scans were predicted by an earlier call that did not finish" in ended.out
    assert predicted == [1, 1, 1]
    assert contents(case.folder) == before


def test_what_was_kept_of_another_scan_or_network_is_not_used(
    cases: dict[str, Case], cov3d: Command, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = cases["infer"]
    other = [*case.words]
    other[2] = data / "runs" / "experiment-12_fold-1_seed-12" / "presence.safetensors"
    for words in (other, case.words):
        with full_disk("critical.csv", monkeypatch):
            assert cov3d(*words).code == 2
    write_slices(data / "task1" / "ct_1", 255 - sphere_chest(depth=13, side=48))
    kept = next((case.folder / ".predicted").glob("*.jsonl"))
    with kept.open("ab") as stream:
        stream.write(b'{"scan": "ct_0", "probabilities": [[9')  # a line that was cut short
    assert cov3d(*case.words).code == 0
    words = [tmp_path / "fresh" if word == case.folder else word for word in case.words]
    assert cov3d(*words).code == 0
    assert contents(case.folder) == contents(tmp_path / "fresh")


def test_submit_predicts_a_scan_that_was_replaced_again(
    cases: dict[str, Case], cov3d: Command, data: Path, tmp_path: Path, predicted: list[int]
) -> None:
    words = [*cases["submit"].words, "--batch-size", 1]
    assert cov3d(*words).code == 0
    write_slices(data / "task1" / "ct_1", 255 - sphere_chest(depth=13, side=48))
    predicted.clear()
    assert cov3d(*words, "--overwrite").code == 0
    assert predicted == [1]
    fresh = [tmp_path / "fresh" if word == tmp_path / "out" else word for word in words]
    assert cov3d(*fresh).code == 0
    for file in ("predictions/presence-1.csv", "manifest-presence.csv", "presence/1/covid.csv"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "fresh" / file).read_bytes()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_command_in_a_folder_is_refused(name: str, cases: dict[str, Case], cov3d: Command) -> None:
    case = cases[name]
    with folder_lock(case.folder, "test"):
        ended = cov3d(*case.words)
    assert ended.code == 2
    assert f"another cov3d {name} is using {case.folder}: wait for it" in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not contents(case.folder)


def test_commands_that_make_data_hold_its_folder(cov3d: Command, data: Path, tmp_path: Path) -> None:
    words = {
        "phantom": ["phantom", tmp_path / "new", "--scans", 12, "--resolution", 64, "--jobs", 1],
        "demo": ["demo", tmp_path / "new", "--scans", 12],
        "folds": ["folds", "--data", data, "--overwrite"],
        "crossval": ["crossval", "--data", data, "--size", "tiny", "--output-dir", tmp_path / "new"],
    }
    for name, command in words.items():
        with folder_lock(data if name == "folds" else tmp_path / "new", "test"):
            ended = cov3d(*command)
        assert (ended.code, "another cov3d" in ended.err) == (2, True), (name, ended.err)
    (data / ".lock").unlink()  # of this test
    before = {path.name for path in data.iterdir()}
    cov3d("folds", "--data", data, "--overwrite")
    assert {path.name for path in data.iterdir()} - {"scans.origin.json"} == before


def test_shares_of_one_store_are_still_preprocessed_at_once(cov3d: Command, data: Path, tmp_path: Path) -> None:
    """The store takes any number of writers; the pictures of its crops take one."""
    store = tmp_path / "store"
    words = ["preprocess", "--data", data / "task1", "--size", "tiny", "--store", store, "--jobs", 1]
    with folder_lock(store, "test"):
        assert cov3d(*words, "--shard", "1/2").code == 0
        assert cov3d(*words, "--shard", "2/2").code == 0
    with folder_lock(store / "report", "test"):
        ended = cov3d(*words, "--only-report")
    assert ended.code == 2
    assert "another cov3d preprocess is using" in ended.err
    assert cov3d(*words, "--only-report").code == 0
    assert {path.name for path in (store / "report").iterdir()} == {"crops.html", "crops-1.png"}
