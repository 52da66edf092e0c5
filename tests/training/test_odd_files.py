"""Files that others may have written or damaged: refused in a sentence or accepted, and never another exception."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cov3d.challenge.runs import Runs
from cov3d.challenge.sets import load_sets
from cov3d.errors import CheckpointError, Cov3dError
from cov3d.evaluation import crossval
from cov3d.evaluation.summary import selection_of_run
from cov3d.inference.origin import count_trained_on, networks_of, write_origin
from cov3d.preprocessing.sizes import Size
from cov3d.preprocessing.store import Store
from cov3d.reports.entries import read_entry
from cov3d.reports.sources import Source, SourceKind
from cov3d.reports.tables import fold_scores_table
from cov3d.run_files import run_options
from cov3d.training import checkpoint, resume
from tests.inference.conftest import make_run
from tests.training.conftest import SmallNetwork, fill
from tests.training.test_checkpoint import INFO

MISSING = object()
ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 5, 10**30, -(10**400), 0.5, -0.5, 1e308, float("nan"), float("inf")),
    *("", "hot", "0.2", "presence", "resnet", "swin", "tiny", "a\nb", "\ud800", "\x1b[31m", "x" * 5000),
    *([], [1], ["a", "b"], [0.3, 0.1], ["non-covid", "mild"], [[]], [None, None], ["0.1", "0.2"], [0.1, 0.2, 0.3]),
    *({}, {"dropout": 5}, {"dropout": "0.2"}, {"dropout": True}, {"window": 7}, {"hash": 3}, {"a": {"b": []}}),
    MISSING,
]


def deep() -> str:
    return "[" * 100_000 + "]" * 100_000


def with_values(content: Any) -> Iterator[tuple[str, Any]]:
    """A JSON value with each of its parts in turn replaced by each odd value, and where that was."""

    def places(value: Any, above: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        yield above
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, item in items:
            yield from places(item, (*above, name))

    for place in places(content, ()):
        for odd in ODD:
            changed = json.loads(json.dumps(content))
            if not place:
                if odd is not MISSING:
                    yield f"all is {odd!r}"[:80], odd
                continue
            *above, name = place
            part = changed
            for step in above:
                part = part[step]
            if odd is MISSING:
                del part[name]
            else:
                part[name] = odd
            yield f"{place} is {odd!r}"[:80], changed


def write_metadata(file: Path, text: str, network: torch.nn.Module | None = None) -> None:
    save_file((network or SmallNetwork(5)).state_dict(), file, metadata={"cov3d": text})


def described(**changed: Any) -> dict[str, Any]:
    values = {"format": 1, **asdict(replace(INFO, model={})), **changed}
    return {name: value for name, value in values.items() if value is not MISSING}


@pytest.mark.usefixtures("quick_network")
def test_every_odd_value_in_a_checkpoints_metadata_is_refused_or_predicts(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    accepted = 0
    for field in described():
        for odd in ODD:
            write_metadata(file, json.dumps(described(**{field: odd})))
            try:
                model, info = checkpoint.load(file)
            except CheckpointError as error:
                reported = str(error)
                sound = reported.isprintable() and len(reported) < 1000 and field in reported
                if not sound:
                    pytest.fail(f"{field}, {odd!r}: {reported}")
                continue
            accepted += 1
            assert info.temperature is None or 0 < info.temperature < float("inf")
            assert info.lung_share is None or 0 <= info.lung_share[0] <= info.lung_share[1] <= 1
            assert set(info.model) <= {"dropout"}
            assert torch.isfinite(model(torch.zeros(1, 1, *Size.TINY.shape))).all()
    assert accepted > 20  # what is missing and has a default, and odd values that are allowed


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"lung_share": ["0.1", "0.2"]}, "lung_share holds an item that is '0.1', but must be a number from 0 to 1"),
        ({"lung_share": [0.3, 0.1]}, "lung_share is [0.3, 0.1], but must be the smallest value, then the largest"),
        ({"model": {"dropout": 5}}, "model dropout is 5, but must be a number from 0 to 1"),
        ({"model": {"window": 7}}, "model has the argument 'window', which resnet does not take"),
        ({"architecture": "swin", "model": {"dropout": 0.2}}, "the argument 'dropout', which swin does not take"),
        ({"architecture": 7}, 'architecture is 7, but must be one of "resnet", "swin", "r2plus1d", "mc3"'),
        ({"temperature": float("nan")}, "temperature is nan, but must be a number from 0.01 to 100"),
        ({"temperature": 0}, "temperature is 0, but must be a number"),
        ({"temperature": -1}, "temperature is -1, but must be a number"),
        ({"temperature": "hot"}, "temperature is 'hot', but must be a number"),
        ({"temperature": True}, "temperature is True, but must be a number"),
        ({"categories": ["non-covid", "sick"]}, "categories is ['non-covid', 'sick'], but must be one of"),
        ({"size": "huge"}, "size is 'huge', but must be one of \"tiny\""),
        ({"fold": 2.0}, "fold is 2.0, but must be a whole number from 0 to 4"),
        ({"preprocessing": []}, "preprocessing is [], but must be an object"),
        ({"preprocessing": {}}, "preprocessing hash is missing"),
        ({"epoch": MISSING}, "epoch is missing"),
        ({"format": "1"}, "format is '1', but must be a whole number"),
    ],
)
def test_the_sentence_names_file_field_and_value(tmp_path: Path, changed: dict[str, Any], sentence: str) -> None:
    file = tmp_path / "c.safetensors"
    write_metadata(file, json.dumps(described(**changed)))
    with pytest.raises(CheckpointError) as caught:
        checkpoint.read_info(file)
    assert str(caught.value).startswith(f"{file} is damaged: in its metadata, ")
    assert sentence in str(caught.value)


def test_a_network_that_is_not_installed_is_named(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    write_metadata(file, json.dumps(described(architecture="vgg")))
    with pytest.raises(CheckpointError) as caught:
        checkpoint.read_info(file)
    assert str(caught.value) == (
        f"{file} has the architecture 'vgg', which this installation does not have (resnet, swin, r2plus1d, mc3): use "
        "the installation that trained it"
    )


@pytest.mark.parametrize("text", ["", "[]", "1", "null", '"x"', "{", deep(), '{"format": ' + "9" * 5000 + "}"])
def test_metadata_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    write_metadata(tmp_path / "c", text)
    with pytest.raises(CheckpointError, match="is damaged: in its metadata"):
        checkpoint.read_info(tmp_path / "c")


@pytest.mark.usefixtures("quick_network")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda w: {**w, "head.bias": torch.full((5,), float("nan"))}, "head.bias holds values that are not numbers"),
        (lambda w: {**w, "head.bias": torch.full((5,), 1e300, dtype=torch.float64)}, "head.bias holds values"),
        (lambda w: {**w, "head.bias": torch.zeros(5, dtype=torch.int64)}, "holds numbers of type torch.int64"),
        (lambda w: {**w, "head.bias": torch.zeros(5, dtype=torch.bool)}, "head.bias holds"),
        (lambda w: {**w, "head.bias": torch.zeros(4)}, r"head.bias has the shape \(4,\), not \(5,\)"),
        (lambda w: {**w, "head.bias": torch.zeros(())}, r"head.bias has the shape \(\)"),
        (lambda w: {"head.bias": w["head.bias"]}, "head.weight is missing"),
        (lambda w: {**w, "tail": torch.zeros(1)}, "the network has no 'tail'"),
        (lambda w: {}, "head.bias is missing"),
    ],
)
def test_weights_of_other_shapes_kinds_or_values_are_refused(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], sentence: str
) -> None:
    file = tmp_path / "c.safetensors"
    save_file(change(SmallNetwork(5).state_dict()), file, metadata={"cov3d": json.dumps(described())})
    with pytest.raises(CheckpointError, match=f"its weights do not fit resnet .*{sentence}") as caught:
        checkpoint.load(file)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("quick_network")
def test_half_precision_weights_are_accepted(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    halved = {name: tensor.half() for name, tensor in SmallNetwork(5).state_dict().items()}
    save_file(halved, file, metadata={"cov3d": json.dumps(described())})
    model, _ = checkpoint.load(file)
    assert all(tensor.dtype == torch.float32 for tensor in model.state_dict().values())
    assert load_file(file)["head.bias"].dtype == torch.float16


# --- the files of a run, of a store, of a search, beside a checkpoint ---


def refused_or_read(read: Callable[[], object], where: str) -> bool:
    try:
        read()
    except Cov3dError as error:
        if "\n" in str(error):
            pytest.fail(f"{where}: {error}")
        return True
    except Exception as error:  # noqa: BLE001
        pytest.fail(f"{where}: {type(error).__name__}: {error}")
    return False


@pytest.fixture
def run(tmp_path: Path, quick_network: None) -> Path:
    made = make_run(tmp_path / "runs", 12, 0, scans=6)
    config = {
        "options": {"experiment": 12, "fold": 0, "seed": 12, "size": "tiny", "distances": [1.0, 1.0]},
        "categories": ["non-covid", "mild", "moderate", "severe", "critical"],
        "preprocessing": {"hash": "x"},
        "lung_share": [0.1, 0.2],
        "started_from": {"kind": "random"},
    }
    (made / "config.json").write_text(json.dumps(config))
    score = {"macro_f1": 0.5, "scans": 6}
    task = {"best_epoch": 1, "best": score, "last_epoch": 2, "last": score, "epochs_to_choose_from": 2}
    (made / "summary.json").write_text(json.dumps({"epochs": 2, "tasks": {"presence": task, "severity": task}}))
    (made / "history.csv").write_text("epoch,train_loss,valid_loss,presence_f1,severity_f1\n1,1,1,0.5,0.5\n")
    return made


def every_text(file: Path) -> Iterator[tuple[str, str]]:
    for where, content in with_values(json.loads(file.read_text())):
        yield where, json.dumps(content)
    yield from (("deep", deep()), ("text", "x"), ("empty", ""), ("digits", '{"epochs": ' + "9" * 5000 + "}"))


@pytest.fixture
def quick_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are not scored: what is read beside them matters here."""
    monkeypatch.setattr("cov3d.reports.entries._read_task", lambda source, task: None)
    monkeypatch.setattr(crossval, "evaluate_task", lambda table, categories, task, seed=0: None)
    monkeypatch.setattr(crossval, "_calibrate", lambda *_: None)


@pytest.mark.usefixtures("quick_scores")
@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_odd_values_in_a_runs_files(run: Path, name: str) -> None:
    file = run / name
    refused = 0
    for where, text in every_text(file):
        file.write_text(text)
        readers: dict[str, Callable[[], object]] = {
            "options": lambda: run_options(run),
            "runs": lambda: Runs(run.parent, run.parent).find(12, 0, "presence.safetensors"),
            "selection": lambda: str(selection_of_run(run, "presence")),
            "collected": lambda: fold_scores_table(crossval.collect({0: run})),
            "entry": lambda: read_entry(Source(run, SourceKind.RUN)),
        }
        for reader, read in readers.items():
            refused += refused_or_read(read, f"{name}, {where}, {reader}")
    assert refused > 100


def test_odd_values_in_a_set_an_origin_and_settings(run: Path, tmp_path: Path) -> None:
    sets = tmp_path / "set.json"
    sets.write_text(json.dumps([{"task": "presence", "number": 1, "members": ["12"], "folds": [0], "threshold": 0.5}]))
    write_origin(tmp_path, networks=["a"], seen_in_training=0)
    (tmp_path / "predictions.csv").touch()
    store, _ = fill(tmp_path / "store", ["mild"], [0])
    record = next((store.folder / "records").rglob("*.json"))
    readers: dict[Path, Callable[[], object]] = {
        sets: lambda: load_sets(sets),
        tmp_path / "origin.json": lambda: (
            networks_of(tmp_path),
            count_trained_on(tmp_path / "predictions.csv", ["a"]),
        ),
        store.settings_file: lambda: Store.open(store.folder, Size.TINY),
        record: lambda: (store.has("train/x/scan_0"), store.manifest()),
    }
    for file, read in readers.items():
        refused = 0
        for where, text in every_text(file):
            file.write_text(text)
            refused += refused_or_read(read, f"{file.name}, {where}")
        assert refused > 5, file.name


def test_odd_values_in_a_resume_state(tmp_path: Path) -> None:
    sound: dict[str, Any] = {
        "format": 1,
        "identity": {"fold": 0},
        "versions": {"torch": "2"},
        "epoch": 1,
        "model": {"head.bias": torch.zeros(5)},
        "optimiser": {"state": {}, "param_groups": []},
        "scaler": {},
        "history": [{"epoch": 1, "presence_f1": 0.5}],
        "best": {"presence": {"epoch": 1, "probabilities": torch.full((2, 5), 0.2)}},
        "last": torch.full((2, 5), 0.2),
    }
    torch.save(sound, tmp_path / resume.FILE_NAME)
    assert resume.load(tmp_path) is not None
    odd = [*ODD, torch.zeros(2, 5), torch.full((2, 5), float("nan")), {"presence": {}}, {"presence": {"epoch": "1"}}]
    for name in sound:
        for value in odd:
            changed = {key: item for key, item in {**sound, name: value}.items() if item is not MISSING}
            torch.save(changed, tmp_path / resume.FILE_NAME)

            def read() -> None:
                state = resume.load(tmp_path)
                assert state is not None
                resume.check_identity(state, {"fold": 1}, tmp_path)

            assert refused_or_read(read, f"{name} is {value!r}") or name in ("model", "optimiser", "scaler")
    for whole in odd:
        torch.save(None if whole is MISSING else whole, tmp_path / resume.FILE_NAME)
        assert refused_or_read(lambda: resume.load(tmp_path), f"all is {whole!r}")
    shutil.rmtree(tmp_path)
